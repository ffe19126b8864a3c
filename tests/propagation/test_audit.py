"""What the audit tells: where the constants went, which layer kept what, what no rule covers and where it stands."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from families import build, embeddings_of, run
from torch import Tensor, nn

from lxtlike import Audit, InputError, Ledger, propagate
from lxtlike.ledger import Layer, LayerLedger
from lxtlike.propagation.precision import Float64Casts


class Function(nn.Module):
    """A model that is one function of its input; `held` are its parameters."""

    def __init__(self, run: Callable[..., Tensor], *held: Tensor) -> None:
        super().__init__()
        self.run = run
        self.held = nn.ParameterList([nn.Parameter(t) for t in held])

    def forward(self, x: Tensor) -> Tensor:
        return self.run(x, *self.held)


def explained(model: nn.Module, x: Tensor, **options: bool) -> tuple[Ledger, Audit]:
    """The ledger of the sum of a model's outputs."""
    x = x.detach().requires_grad_()
    with propagate(model, **options) as audit:
        value = model(x).sum()
        (c,) = torch.autograd.grad(value, x)
    return audit.ledger(value, (x * c).detach()), audit


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


X = numbers(2, 5, 4)
LOOKED_UP = nn.Embedding(3, 4, dtype=torch.float64).requires_grad_(False)
ACCOUNTS = {
    "linear": (lambda x, w, b: F.linear(x, w, b), (numbers(3, 4), numbers(3)), "linear", lambda b: 10 * b[1].sum()),
    "convolution": (
        lambda x, w, b: F.conv1d(x, w, b),
        (numbers(3, 5, 1), numbers(3)),
        "linear",
        lambda b: 8 * b[1].sum(),
    ),
    "addmm with a row": (
        lambda x, w, b: torch.addmm(b, x.reshape(-1, 4), w),
        (numbers(4, 3), numbers(1, 3)),
        "linear",
        lambda b: 10 * b[1].sum(),
    ),
    "layer norm": (
        lambda x, w, b: F.layer_norm(x, (4,), w, b),
        (numbers(4), numbers(4)),
        "norm",
        lambda b: 10 * b[1].sum(),
    ),
    "a number": (lambda x: x + 2.0, (), "other", lambda _: torch.tensor(2.0 * X.numel())),
    "class token": (
        lambda x, t: torch.cat([t.expand(2, -1, -1), x], 1),
        (numbers(1, 1, 4),),
        "other",
        lambda b: 2 * b[0].sum(),
    ),
    "attention sink": (
        lambda x, s: torch.cat([x, s.reshape(1, -1, 1).expand(2, -1, 1)], -1),
        (numbers(5),),
        "other",
        lambda b: 2 * b[0].sum(),
    ),
    "position embeddings that are parameters": (
        lambda x, p: x + p,
        (numbers(1, 5, 4),),
        "positions",
        lambda b: 2 * b[0].sum(),
    ),
    "one looked up position": (
        lambda x: x + LOOKED_UP(torch.tensor([[1]])).unsqueeze(0),
        (),
        "positions",
        lambda _: 10 * LOOKED_UP.weight[1].sum(),
    ),
}


@pytest.mark.parametrize("name", ACCOUNTS)
def test_constants_are_booked_where_they_belong(name: str) -> None:
    run, held, account, expected = ACCOUNTS[name]
    ledger, _ = explained(Function(run, *held), X)
    amount = pytest.approx(float(expected(held)))
    if account == "positions":
        assert (ledger.positions, ledger.biases, dict(ledger.bias_kinds)) == (amount, 0.0, {})
    else:
        assert (ledger.positions, ledger.biases, dict(ledger.bias_kinds)) == (0.0, amount, {account: amount})
    assert ledger.relative_error < 1e-12


def test_kinds_add_up_to_the_biases() -> None:
    def run(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return F.layer_norm(F.linear(x, w, b), (4,), b, b) - 1

    ledger, _ = explained(Function(run, numbers(4, 4), numbers(4)), X)
    assert set(ledger.bias_kinds) == {"linear", "norm", "other"}
    assert sum(ledger.bias_kinds.values()) == pytest.approx(ledger.biases)
    assert ledger.bias_kinds["other"] == -X.numel()


class Block(nn.Module):
    """A layer that gets and gives more than its hidden state, and writes in place."""

    def __init__(self, lossy: bool) -> None:
        super().__init__()
        self.lossy = lossy
        self.norm, self.up, self.down = nn.LayerNorm(4), nn.Linear(4, 8), nn.Linear(8, 4)

    def forward(self, pair: tuple[Tensor, Tensor], *, first: Tensor, seen: list[Tensor]) -> tuple[Tensor, Tensor]:
        hidden, shift = pair
        inner = F.gelu(self.up(self.norm(hidden)))
        if self.lossy:
            inner = torch.special.i1(inner)  # no rule: its plain derivative does not conserve
        hidden += self.down(inner) + 0.5 * first  # what the caller handed over changes too
        hidden[:, 0] = hidden[:, 0] + (sum(seen) if seen else hidden).mean(1)
        seen.append(inner @ self.down.weight.T)
        return hidden, shift * hidden.clone()


class Tower(nn.Module):
    """Hidden states that go to the next layer, past it, through a list and out of the model."""

    def __init__(self, lossy: int | None) -> None:
        super().__init__()
        self.embed = nn.Linear(4, 4)
        self.blocks = nn.ModuleList([Block(number == lossy) for number in range(4)])
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        first, seen = self.embed(x), []
        hidden, shift = first.clone(), first * 0.1
        for block in self.blocks:
            hidden, shift = block((hidden, shift), first=first, seen=seen)
        return {"logits": self.head(hidden + shift + seen[1]), "hidden": hidden}


def tower(lossy: int | None = None, **options: bool) -> tuple[Tensor, Tensor, Audit]:
    """Values by item, relevance by item, and the audit."""
    torch.manual_seed(0)
    model = Tower(lossy).double()
    x = X.clone().requires_grad_()
    with propagate(model, **options) as audit:
        outputs = model(x)
        values = outputs["logits"].sum((1, 2)) + outputs["hidden"].mean((1, 2))
        (c,) = torch.autograd.grad(values.sum(), x)
    with torch.no_grad():
        assert torch.equal(model(X)["logits"], outputs["logits"])
    return values.detach(), (x * c).detach().sum((1, 2)), audit


def test_every_layer_has_its_ledger() -> None:
    values, relevance, audit = tower(by_layer=True)
    assert audit.ledger(values, relevance).relative_error < 1e-12
    ledger = audit.ledger(by="layer")
    assert [layer.name for layer in ledger.layers] == ["(before)", *(f"blocks.{i}" for i in range(4)), "(behind)"]
    assert all(layer.relative_error < 1e-12 for layer in ledger.layers)
    assert all(layer.accounts["biases"] != 0.0 for layer in ledger.layers)
    biases = sum(layer.accounts["biases"] for layer in ledger.layers)
    assert biases == pytest.approx(audit.ledger(values, relevance).biases)
    assert ledger.layers[0].passes == pytest.approx(float(relevance.sum()))
    for item in range(2):
        rows = audit.ledger(by="layer", item=item).layers
        assert rows[0].passes == pytest.approx(float(relevance[item]))
        assert all(layer.relative_error < 1e-12 for layer in rows)


def test_by_layer_changes_no_number() -> None:
    _, apart, _ = tower(by_layer=True)
    _, together, _ = tower()
    assert torch.allclose(apart, together, rtol=1e-12)


def test_a_loss_shows_in_the_layer_that_loses() -> None:
    values, relevance, audit = tower(lossy=2, by_layer=True)
    rest = {layer.name: layer.rest for layer in audit.ledger(by="layer").layers}
    assert abs(rest["blocks.2"]) > 1e-2
    assert rest.pop("blocks.2") == pytest.approx(audit.ledger(values, relevance).rest)
    assert max(map(abs, rest.values())) < 1e-12


def test_layers_of_models_without_a_list() -> None:
    image = numbers(2, 3, 8, 8)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 2)
    ).double()
    ledger, audit = explained(model, image, by_layer=True)
    assert ledger.relative_error < 1e-12
    rows = audit.ledger(by="layer").layers
    assert [row.name for row in rows] == [str(number) for number in range(6)]
    assert all(row.relative_error < 1e-12 for row in rows)


@pytest.mark.parametrize("name", ["t5", "bert", "mixtral", "gpt2"])
def test_layers_of_transformers(name: str) -> None:
    model = build(name, "eager", torch.float64)
    with Float64Casts(), propagate(model, by_layer=True) as audit:
        row, leaves = run(model, embeddings_of(model))
        torch.autograd.grad(row.max(), leaves)
    rows = {layer.name: layer for layer in audit.ledger(by="layer").layers}
    assert all(layer.relative_error < 1e-12 for layer in rows.values())
    expected = {
        "t5": ["(before)", "encoder.block.0", "encoder.block.1", "(between)", "decoder.block.0", "decoder.block.1"],
        "bert": ["(before)", "bert.encoder.layer.0", "bert.encoder.layer.1"],
        "mixtral": ["model.layers.0", "model.layers.1"],
        "gpt2": ["(before)", "transformer.h.0", "transformer.h.1"],
    }[name]
    assert list(rows) == [*expected, "(behind)"]
    assert rows["(behind)"].arrives == pytest.approx(float(row.detach().max()))


def test_the_table_of_layers() -> None:
    ledger = LayerLedger((Layer("h.0", 3.0, 1.0, {"biases": 1.5}), Layer("h.1", 0.0, 0.0)))
    assert str(ledger).splitlines() == [
        "     arrives  passes on  biases     rest",
        "h.0        3          1     1.5  5.0e-01",
        "h.1        0          0       0  0.0e+00",
    ]
    assert ledger.to_dict()["layers"][0] == {
        "name": "h.0",
        "arrives": 3.0,
        "passes": 1.0,
        "accounts": {"biases": 1.5},
        "rest": 0.5,
        "relative_error": 0.2,
    }
    assert Layer("x", 1.0, 0.0).relative_error == 1.0


def test_layers_must_be_asked_for_before() -> None:
    _, _, audit = tower()
    with pytest.raises(InputError, match=r"propagate\(\.\.\., by_layer=True\)"):
        audit.ledger(by="layer")
    with pytest.raises(InputError, match="by='layer'"):
        audit.ledger(by="head")


class Cycles(nn.Module):
    """A first round without gradient, as in recurrent models that learn from their last round only."""

    def __init__(self, enter: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.enter, self.step = enter, nn.Linear(4, 4, dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            early = self.step(x).relu().unsqueeze(0)
            positions = torch.arange(4, dtype=torch.int64).type_as(x) + torch.zeros_like(x)
        return self.step(self.enter(x, early[0]) + positions)


@pytest.mark.parametrize(
    ("enter", "cut"),
    [
        (lambda x, early: x + early, "cut: add"),
        (lambda x, early: torch.stack([early, x]).sum(0), "cut: stack"),
        (lambda x, early: early.clone().mul_(2).add_(x), "cut: add"),
        (lambda x, early: torch.baddbmm(input=early, batch1=torch.ones(2, 5, 5).double(), batch2=x), "cut: baddbmm"),
        (lambda x, early: x * early, None),  # a factor is a constant like any other
        (lambda x, early: x + torch.ones_like(early), None),
        (lambda x, early: (x + early).detach() * x, None),  # no relevance comes by the sum
    ],
)
def test_what_is_computed_without_gradient_and_added_is_a_cut(
    enter: Callable[[Tensor, Tensor], Tensor], cut: str | None
) -> None:
    _, audit = explained(Cycles(enter), X)
    assert [found.operation for found in audit.uncovered] == ([cut] if cut else [])
    if cut:
        (found,) = audit.uncovered
        assert found.source.startswith("test_audit.py:")
        assert "early" in found.source
        assert "torch.no_grad" in found.remedy


def test_zeros_that_a_model_makes_to_require_gradient_are_a_constant() -> None:
    class Model(nn.Module):
        def __init__(self, make: Callable[[Tensor], Tensor]) -> None:
            super().__init__()
            self.make, self.out = make, nn.Linear(4, 4, dtype=torch.float64)

        def forward(self, x: Tensor) -> Tensor:
            made = self.make(x)
            return x + self.out(made)

    def assigned(x: Tensor) -> Tensor:
        made = torch.zeros_like(x)
        made.requires_grad = True
        return made

    for make in (
        lambda x: torch.zeros_like(x).requires_grad_(),
        lambda x: torch.zeros_like(x, requires_grad=True),
        lambda x: torch.zeros(x.shape, dtype=x.dtype, requires_grad=True),
        assigned,
    ):
        model = Model(make)
        ledger, audit = explained(model, X)
        assert ledger.relative_error < 1e-12
        assert audit.uncovered == []
        assert ledger.biases + ledger.positions == pytest.approx(float(10 * model.out.bias.detach().sum()))


def test_a_leaf_whose_relevance_nobody_asks_for_is_reported() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = [nn.Parameter(torch.ones(4, dtype=torch.float64))]  # in a list: not registered

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return (x * self.hidden[0] + y).sum()

    x, y = X.clone().requires_grad_(), X.clone().requires_grad_()
    with propagate(Model()) as audit:
        torch.autograd.grad(Model()(x, y), (x, y))  # another instance: not ours
        assert audit.uncovered == []
    for asked, missing in (((x, y), ["[4]"]), ((x,), ["[4]", "[2, 5, 4]"])):
        model = Model()
        with propagate(model) as audit:
            torch.autograd.grad(model(x, y), asked)
        assert sorted(found.operation for found in audit.uncovered) == sorted(f"a leaf of shape {s}" for s in missing)
        assert not x._backward_hooks


def test_an_operation_that_ran_by_several_rules_has_them_all() -> None:
    model = Function(lambda x: F.silu(x) * x * (x + 1))
    _, audit = explained(model, torch.randn(1, 3, requires_grad=True), trace=True)
    assert audit.rules()[""]["mul"] == "gated-product: uniform + product: uniform"
    assert "mul → gated-product: uniform; mul → product: uniform" in audit.report()
