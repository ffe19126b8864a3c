"""A model that no library has ever seen, written with operations nobody would choose, against a derivation by hand.

`by_hand` computes the same values with nothing but torch: each rule is a `detach` in the right place, so that the plain
gradient is the coefficient (2502.15886).
"""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lxtlike import Audit, AuditError, Composite, propagate

SIZE, HEADS, LENGTH = 6, 2, 5


class Squash(torch.autograd.Function):
    """x / (1 + |x|), with a derivative of its own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x / (1 + x.abs())

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grads[0] / (1 + x.abs()) ** 2


class Squashing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return Squash.apply(x)  # type: ignore[no-any-return, no-untyped-call]


class Mixer(nn.Module):
    """Attention by einsum, a gate, and writing in place."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(SIZE) + 0.5)
        self.qkv = nn.Parameter(torch.randn(3, SIZE, HEADS, SIZE))
        self.near = nn.Parameter(torch.randn(HEADS, LENGTH, LENGTH))
        self.out = nn.Parameter(torch.randn(HEADS, SIZE, SIZE) / SIZE)
        self.up, self.gate = nn.Linear(SIZE, SIZE), nn.Linear(SIZE, SIZE)
        self.squash = Squashing()

    def forward(self, x: Tensor, *, keep: float) -> Tensor:
        normed = self.scale * x / x.pow(2).mean(-1, keepdim=True).add(1e-6).sqrt()
        q, k, v = torch.einsum("btd,sdhe->sbhte", normed, self.qkv)
        near = self.near.repeat(len(x), 1, 1)
        scores = torch.baddbmm(input=near, batch1=q.flatten(0, 1), batch2=k.flatten(0, 1).mT, alpha=SIZE**-0.5)
        weights = torch.softmax(input=scores, dim=-1)
        mixed = torch.einsum("nqk,nke->nqe", weights, v.flatten(0, 1)).unflatten(0, (-1, HEADS))
        x = torch.add(input=x, other=torch.einsum("bhte,hed->btd", mixed, self.out), alpha=keep)
        gated = self.squash(self.up(x)) * torch.sigmoid(self.gate(x))
        x = x.clone()
        x += gated
        x[:, 1:] += 0.5 * x[:, :-1].clone()
        return x.mul_(0.9)


class Custom(nn.Module):
    def __init__(self, block: type[nn.Module] = Mixer) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([block() for _ in range(2)])
        self.head = nn.Parameter(torch.randn(SIZE, 3))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        for block in self.blocks:
            x = block(x, keep=0.7)
        return {"scores": torch.addmm(input=torch.ones(3, dtype=x.dtype), mat1=x.mean(1), mat2=self.head)}


def by_hand(model: Custom, x: Tensor) -> Tensor:
    """The model's scores, with the rules of AttnLRP as constants in the plain gradient."""

    def half(product: Any, a: Tensor, b: Tensor) -> Tensor:
        return (product(a, b.detach()) + product(a.detach(), b)) / 2

    for m in model.blocks:
        normed = m.scale * x * (x.pow(2).mean(-1, keepdim=True) + 1e-6).rsqrt().detach()
        q, k, v = (torch.einsum("btd,dhe->bhte", normed, weight) for weight in m.qkv)
        scores = half(lambda a, b: a @ b.mT, q, k) * SIZE**-0.5 + m.near
        mixed = half(torch.matmul, scores.softmax(-1), v)
        x = x + 0.7 * torch.einsum("bhte,hed->btd", mixed, m.out)
        up = x @ m.up.weight.T + m.up.bias
        squashed = up * (1 / (1 + up.abs())).detach()
        x = x + squashed * (x @ m.gate.weight.T + m.gate.bias).sigmoid().detach()
        x = torch.cat([x[:, :1], x[:, 1:] + 0.5 * x[:, :-1]], 1) * 0.9
    return x.mean(1) @ model.head + 1


def custom(block: type[nn.Module] = Mixer) -> tuple[Custom, Tensor]:
    torch.manual_seed(0)
    return Custom(block).double(), torch.randn(2, LENGTH, SIZE, dtype=torch.float64, requires_grad=True)


def explained(model: nn.Module, x: Tensor, composite: Composite, **options: bool) -> tuple[Tensor, Tensor, Audit]:
    """Scores, coefficients of the largest ones' sum, and the audit, which has been asked for its ledger."""
    with propagate(model, composite, **options) as audit:
        scores = model(x)["scores"]
        value = scores.max(-1).values.sum()
        (c,) = torch.autograd.grad(value, x)
    audit.ledger(value, (x * c).detach())
    return scores, c, audit


ATTNLRP = Composite.parse("attnlrp")
MAPPED = ATTNLRP | {Squashing: "activation"}


def test_relevance_is_what_is_derived_by_hand() -> None:
    model, x = custom()
    scores, c, audit = explained(model, x, MAPPED, by_layer=True, trace=True)
    expected = by_hand(model, x)
    assert torch.allclose(scores, expected, rtol=1e-12)
    with torch.no_grad():
        assert torch.equal(scores, model(x)["scores"])
    (by_gradient,) = torch.autograd.grad(expected.max(-1).values.sum(), x)
    assert torch.allclose(c, by_gradient, rtol=1e-10, atol=1e-12)
    assert audit.uncovered == []
    ledger = audit.ledger(scores.max(-1).values, x * c)
    assert ledger.relative_error < 1e-12
    assert set(ledger.bias_kinds) == {"linear"}
    assert ledger.positions != 0.0
    assert all(layer.relative_error < 1e-12 for layer in audit.ledger(by="layer").layers)
    report = audit.report()
    assert "Squashing → activation: identity (atom)" in report
    assert report.endswith("the ledger closes; every operation has a rule")


def test_the_plain_gradient_is_another() -> None:
    """So the rules above are really in force."""
    model, x = custom()
    _, c, _ = explained(model, x, MAPPED)
    (plain,) = torch.autograd.grad(model(x)["scores"].max(-1).values.sum(), x)
    assert float((c - plain).norm() / plain.norm()) > 0.1


def test_an_unmapped_function_is_reported_with_its_line() -> None:
    model, x = custom()
    _, _, audit = explained(model, x, ATTNLRP)
    source, first = inspect.getsourcelines(Squashing)
    line = next(number for number, text in enumerate(source, first) if "Squash.apply" in text)
    assert {found.operation for found in audit.uncovered} == {"torch.autograd.Function Squash"}
    assert {found.module for found in audit.uncovered} == {"blocks.0.squash", "blocks.1.squash"}
    (place,) = {found.source for found in audit.uncovered}
    assert place.startswith(f"test_custom_models.py:{line}: return Squash.apply(x)")
    assert "composite | {ModuleClass: 'activation'}" in audit.uncovered[0].remedy
    assert "does NOT close in float64; 2 operations without a rule" in audit.report()


def wobble(x: Tensor) -> Tensor:
    return torch.special.i1e(x)  # a function that no table knows


class Wobbling(Mixer):
    def forward(self, x: Tensor, *, keep: float) -> Tensor:
        aside = torch.special.i0(x)
        assert aside.shape == x.shape
        return wobble(super().forward(x, keep=keep))


def test_an_operation_without_a_rule_is_reported_with_its_line() -> None:
    model, x = custom(Wobbling)
    _, _, audit = explained(model, x, MAPPED, by_layer=True)
    line = inspect.getsourcelines(wobble)[1] + 1
    assert [(found.operation, found.module) for found in audit.uncovered] == [
        ("torch.special.i1e", f"blocks.{number}") for number in (0, 1)
    ]
    for found in audit.uncovered:
        assert (
            found.source
            == f"test_custom_models.py:{line}: return torch.special.i1e(x)  # a function that no table knows"
        )
        assert found.source in str(found)
        assert found.source in audit.report()
    assert all(abs(row.rest) > 1e-6 for row in audit.ledger(by="layer").layers if row.name.startswith("blocks"))
    with pytest.raises(AuditError, match=rf"test_custom_models\.py:{line}"):
        explained(model, x, MAPPED, strict=True)
    _, _, covered = explained(model, x, MAPPED | {torch.special.i1e: "activation"}, strict=True)
    assert covered.report().endswith("the ledger closes; every operation has a rule")


def test_code_without_a_source_is_told_by_its_line() -> None:
    namespace: dict[str, Any] = {"nn": nn, "torch": torch}
    exec(
        "class Model(nn.Module):\n    def forward(self, x):\n        return {'scores': torch.special.i1e(x)}\n",
        namespace,
    )
    _, _, audit = explained(namespace["Model"](), custom()[1].detach()[:, 0].requires_grad_(), ATTNLRP)
    assert [found.source for found in audit.uncovered] == ["<string>:3"]


def test_a_report_without_a_ledger_or_a_trace_says_so() -> None:
    model, x = custom()
    with propagate(model, MAPPED) as audit:
        torch.autograd.grad(model(x)["scores"].sum(), x)
    assert "propagate(..., trace=True)" in audit.report()
    assert audit.report().endswith("no ledger was asked for yet; every operation has a rule")
