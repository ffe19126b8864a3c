"""Single ways of writing a model that real architectures use, each a few lines long: the ledger closes on all of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from lxtlike import propagate
from lxtlike.errors import InputError
from lxtlike.methods.leaves import embedding_leaves


class Written(nn.Module):
    """A linear layer, and then whatever `rest` does with its output and its input."""

    def __init__(self, rest: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6, dtype=torch.float64)
        self.rest = rest

    def forward(self, x: Tensor) -> Tensor:
        return self.rest(self.linear(x), x)


def _scaled_in_place(y: Tensor, _: Tensor) -> Tensor:
    y /= 2.0  # longformer's queries; F.linear hands out a view, whose node autograd drops here
    return y


def _slice_changed(y: Tensor, _: Tensor) -> Tensor:
    y[:, 1:].mul_(3.0)
    return y


def _state_overwritten(y: Tensor, x: Tensor) -> Tensor:
    state = torch.ones(1, 6, dtype=x.dtype)  # rwkv: read in one step, overwritten in the same column before the next
    shifted = torch.zeros_like(y)
    shifted[:, 1:] = y[:, :-1]
    shifted[:, 0] = state
    state[:, :] = y[:, -1]
    return shifted + state


def _solved(y: Tensor, x: Tensor) -> Tensor:
    matrix = torch.eye(4, dtype=x.dtype) + (x @ x.transpose(1, 2)).tril(-1)  # the delta rule of linear attention
    return torch.linalg.solve_triangular(matrix, y, upper=False, unitriangular=True)


@pytest.mark.parametrize("composite", ["attnlrp", "cp-lrp"])
@pytest.mark.parametrize("rest", [_scaled_in_place, _slice_changed, _state_overwritten, _solved])
def test_ledger_closes(rest: Callable[[Tensor, Tensor], Tensor], composite: str) -> None:
    torch.manual_seed(0)
    model = Written(rest)
    x = torch.randn(1, 4, 6, dtype=torch.float64, requires_grad=True)
    plain = model(x.detach())
    with propagate(model, composite) as audit:
        output = model(x)
        weights = torch.randn_like(output)
        value = (output * weights).sum()
        (c,) = torch.autograd.grad(value, x)
    assert torch.equal(plain, output)
    assert audit.uncovered == []
    ledger = audit.ledger(value, (x * c).detach())
    assert ledger.relative_error < 1e-12
    assert ledger.tokens != 0.0
    assert ledger.biases + ledger.positions != 0.0


def test_solving_is_division_by_a_constant_matrix() -> None:
    torch.manual_seed(0)
    matrix = torch.randn(3, 3, dtype=torch.float64).triu() + 3 * torch.eye(3, dtype=torch.float64)

    class Solve(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.linalg.solve_triangular(matrix * x[:, :1], x, upper=True)

    x = torch.rand(3, 1, dtype=torch.float64).add(1).requires_grad_()
    model = Solve()
    with propagate(model, "attnlrp") as audit:
        (c,) = torch.autograd.grad(model(x).sum(), x)
    expected = torch.linalg.solve((matrix * x.detach()).T, torch.ones(3, 1, dtype=torch.float64))
    assert torch.allclose(c, expected)
    assert audit.uncovered == []


def test_batch_norm_does_not_mix_channels() -> None:
    """Torch's own gradient does, on CPU, when the coefficients of one image come with these strides (CvT, LeViT)."""
    mean, var = torch.linspace(-1, 1, 6, dtype=torch.float64), torch.linspace(1, 3, 6, dtype=torch.float64)

    class Normed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.nn.functional.batch_norm(x, mean, var, var + 1, mean + 2)

    torch.manual_seed(0)
    x = torch.randn(1, 6, 2, 2, dtype=torch.float64, requires_grad=True)
    given = torch.randn(24, dtype=torch.float64).as_strided((1, 6, 2, 2), (6, 1, 12, 6))
    model = Normed()
    with propagate(model, "attnlrp") as audit:
        y = model(x)
        (c,) = torch.autograd.grad(y, x, given)
    assert torch.allclose(c, given * ((var + 1) / (var + 1e-5).sqrt()).reshape(1, 6, 1, 1))
    assert audit.ledger((y * given).sum(), (x * c).detach()).relative_error < 1e-12


class LooksUp(nn.Module):
    """A model that changes in place what it looked up (CTRL), from an embedding that hands out a tuple (I-BERT)."""

    def __init__(self, pair: bool) -> None:
        super().__init__()

        class Pair(nn.Embedding):
            def forward(self, ids: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
                return super().forward(ids), None

        self.embedding = (Pair if pair else nn.Embedding)(5, 3)
        self.pair = pair

    def get_input_embeddings(self) -> nn.Module:
        return self.embedding

    def forward(self, ids: Tensor) -> Tensor:
        found = self.embedding(ids)
        vectors: Tensor = found[0] if self.pair else found
        vectors *= 3.0
        return vectors


@pytest.mark.parametrize("pair", [False, True])
def test_looked_up_embeddings_may_be_changed_in_place(pair: bool) -> None:
    model, ids = LooksUp(pair), torch.tensor([[1, 4]])
    plain = model(ids).detach()
    with propagate(model, "attnlrp"), embedding_leaves(model) as leaves:
        output = model(ids)
        (c,) = torch.autograd.grad(output.sum(), leaves)
    assert torch.equal(output, plain)
    assert torch.equal(leaves[0], model.embedding.weight[ids])
    assert torch.equal(c, torch.full_like(c, 3.0))


def test_a_norm_with_other_inputs_may_refuse_the_probe() -> None:
    class GatedNorm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.eps = nn.Parameter(torch.ones(4)), 1e-6

        def forward(self, x: Tensor, gate: Tensor | None = None) -> Tensor:
            return self.weight * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * gate.sigmoid()  # type: ignore[union-attr]

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = GatedNorm()

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(x, x)  # type: ignore[no-any-return]

    x = torch.randn(2, 4, requires_grad=True)
    model = Model()
    with propagate(model, "attnlrp") as audit:
        value = model(x).sum()
        (c,) = torch.autograd.grad(value, x)
    assert audit.ledger(value, (x * c).detach()).relative_error < 1e-5


@pytest.mark.parametrize("weights", [True, False])
@pytest.mark.parametrize("composite", ["attnlrp", "cp-lrp"])
def test_torchs_own_multihead_attention_is_taken_apart(composite: str, weights: bool) -> None:
    torch.manual_seed(0)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(6, 2, batch_first=True, dtype=torch.float64)

        def forward(self, x: Tensor) -> Tensor:
            return self.attention(x, x, x, need_weights=weights)[0]

    class Written(Model):
        def forward(self, x: Tensor) -> Tensor:
            own = self.attention
            q, k, v = (
                part.unflatten(-1, (2, 3)).transpose(1, 2)
                for part in nn.functional.linear(x, own.in_proj_weight, own.in_proj_bias).chunk(3, -1)
            )
            mixed = (q @ k.transpose(-1, -2) / 3**0.5).softmax(-1) @ v
            return own.out_proj(mixed.transpose(1, 2).flatten(2))

    model, written = Model(), Written()
    torch.nn.init.normal_(model.attention.in_proj_bias)
    torch.nn.init.normal_(model.attention.out_proj.bias)
    written.load_state_dict(model.state_dict())
    x = torch.randn(1, 4, 6, dtype=torch.float64, requires_grad=True)
    found = []
    for each in (model, written):
        with propagate(each, composite) as audit:
            output = each(x)
            (coefficients,) = torch.autograd.grad(output[0, -1, 2], x)
        assert audit.uncovered == []
        assert audit.ledger(output[0, -1, 2], x * coefficients).relative_error < 1e-14
        found.append(coefficients)
    assert torch.allclose(found[0], found[1], rtol=1e-10, atol=1e-12)


def test_a_function_that_refuses_the_backward_pass_is_named() -> None:
    class Refusing(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: Tensor) -> Tensor:
            return 2 * x

        @staticmethod
        def backward(ctx: object, *_: Tensor) -> Tensor:
            raise AssertionError("only in train mode")

    x = torch.randn(1, 4, 6, dtype=torch.float64, requires_grad=True)
    model = Written(lambda y, _: Refusing.apply(y))
    with pytest.raises(InputError, match=r"^Refusing, a custom .* \(only in train mode\)"), propagate(model):
        torch.autograd.grad(model(x).sum(), x)

    def failing() -> None:
        with propagate(model):
            model(x)
            raise AssertionError("the caller's own")

    with pytest.raises(AssertionError, match="the caller's own"):
        failing()


@pytest.mark.parametrize("composite", ["attnlrp", "cp-lrp"])
@pytest.mark.parametrize("gate_first", [True, False])
def test_gated_products_keep_their_layout_in_memory(composite: str, gate_first: bool) -> None:
    def gated(y: Tensor, x: Tensor) -> Tensor:
        up, gate = y.transpose(1, 2), nn.functional.silu(x).transpose(1, 2).contiguous()
        return gate * up if gate_first else up * gate

    torch.manual_seed(0)
    model = Written(gated)
    x = torch.randn(2, 4, 6, dtype=torch.float64, requires_grad=True)
    with propagate(model, composite):
        patched = model(x).stride()
    assert patched == model(x.detach()).stride()
