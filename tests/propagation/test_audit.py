"""What the audit tells: where the constants went, which layer kept what, what no rule covers and where it stands."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lxtlike import Audit, Ledger, propagate


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
