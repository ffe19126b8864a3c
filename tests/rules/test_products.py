"""Products, quotients, gates and the softmax against the oracle."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import reference as ref
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from pairing import check, normal
from torch import Tensor, nn

X, C, Y = normal(3, 4), normal(3, 4, seed=1), normal(3, 4, seed=2)
W, C5 = normal(5, 4, seed=3), normal(3, 5, seed=5)
BOTH = pytest.mark.parametrize("composite", ["attnlrp", "cp-lrp"])

PRODUCTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "operator": lambda x, y: x * y,
    "mul": torch.mul,
    "multiply": torch.multiply,
    "method": lambda x, y: x.mul(y),
    "keyword": lambda x, y: torch.mul(x, other=y),
    "in place": lambda x, y: x.clone().mul_(y),
    "augmented": lambda x, y: x.clone().__imul__(y),
    "einsum": lambda x, y: torch.einsum("nd,nd->nd", x, y),
    "addcmul": lambda x, y: torch.addcmul(torch.zeros((), dtype=x.dtype), x, 2 * y, value=0.5),
}
MATRIX_PRODUCTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "operator": lambda x, y: x @ y,
    "matmul": torch.matmul,
    "mm": torch.mm,
    "bmm": lambda x, y: torch.bmm(x[None], y[None])[0],
    "einsum": lambda x, y: torch.einsum("nk,km->nm", x, y),
    "baddbmm": lambda x, y: torch.baddbmm(torch.ones(1, 3, 5, dtype=x.dtype), x[None], y[None], beta=0, alpha=1)[0],
    "baddbmm, alpha": lambda x, y: torch.baddbmm(
        input=torch.zeros(1, 3, 5, dtype=x.dtype), batch1=x[None], batch2=y[None], beta=1.0, alpha=0.5
    )[0] * 2,
    "addmm": lambda x, y: torch.zeros(3, 5, dtype=x.dtype).addmm(x, y, beta=0.3, alpha=2.0) / 2,
    "linear": lambda x, y: F.linear(x, y.T),
}  # fmt: skip


class TestProducts:
    @BOTH
    @pytest.mark.parametrize("spelling", PRODUCTS.values(), ids=list(PRODUCTS))
    def test_uniform(self, spelling: Callable[[Tensor, Tensor], Tensor], composite: str) -> None:
        check(spelling, ref.product(X, Y, C), (X, Y), C, composite)

    @BOTH
    @pytest.mark.parametrize("spelling", MATRIX_PRODUCTS.values(), ids=list(MATRIX_PRODUCTS))
    def test_uniform_matrices(self, spelling: Callable[[Tensor, Tensor], Tensor], composite: str) -> None:
        check(spelling, ref.matrix_product(X, W.T, C5), (X, W.T), C5, composite)

    def test_a_tracked_addend_is_no_factor(self) -> None:
        """`alpha x y + beta b` with all three from the input: halves for x and y, the plain gradient for b."""
        step = ref.matrix_product(X, W.T, 0.5 * C5)
        expected = ref.Step(0.5 * step.output + 2 * C5, (2 * C5, *step.coefficients), {})
        check(lambda b, x, y: torch.addmm(b, x, y, beta=2, alpha=0.5), expected, (C5, X, W.T), C5)

    @settings(max_examples=12, deadline=None)
    @given(st.lists(st.sampled_from([1, 2, 3]), min_size=2, max_size=3), st.integers(0, 2), st.integers(0, 2))
    def test_broadcasting(self, shape: list[int], lowered: int, dropped: int) -> None:
        small = [1 if i == lowered else size for i, size in enumerate(shape)][min(dropped, len(shape) - 1) :]
        a, b, c = normal(*shape), normal(*small, seed=1), normal(*shape, seed=2)
        check(torch.mul, ref.product(a, b, c), (a, b), c)

    @BOTH
    def test_division_holds_the_denominator(self, composite: str) -> None:
        below = np.abs(Y) + 0.5
        for spelling in (torch.div, torch.true_divide, lambda x, y: x / y, lambda x, y: x.clone().div_(y)):
            check(spelling, ref.divide(X, below, C), (X, below), C, composite)
        check(lambda x, y: x * y.reciprocal(), ref.divide(X, below, C), (X, below), C, composite)
        check(lambda x: x / 3, ref.divide(X, np.full((1,), 3.0), C)._replace(coefficients=(C / 3,)), (X,), C, composite)

    @BOTH
    @pytest.mark.parametrize(
        ("name", "act"), [("silu", F.silu), ("gelu", F.gelu), ("gelu_tanh", nn.GELU("tanh")), ("relu", F.relu)]
    )
    def test_gated_product(self, name: str, act: Callable[[Tensor], Tensor], composite: str) -> None:
        step = ref.gated_product(X, Y, ref.IDENTITY[name], C, composite)
        check(lambda g, u: act(g) * u, step, (X, Y), C, composite)
        check(lambda g, u: act(g) * u, step, (X, Y), C, composite, fast=False)
        check(lambda g, u: u * act(g), step, (X, Y), C, composite)
        check(lambda g, u: u.clone().mul_(act(g)), step, (X, Y), C, composite)
        joined, both = np.concatenate([X, Y], 1), np.concatenate(step.coefficients, 1)

        def chunked(h: Tensor) -> Tensor:
            g, u = h.chunk(2, dim=-1)
            return act(g) * u

        check(chunked, step._replace(coefficients=(both,)), (joined,), C, composite)

    @BOTH
    def test_gated_product_written_over_the_gate(self, composite: str) -> None:
        step = ref.gated_product(X, Y, ref.IDENTITY["silu"], C, composite)
        check(lambda g, u: F.silu(g).mul_(u), step, (X, Y), C, composite)

    def test_a_gate_that_opens_by_sigmoid_times_itself(self) -> None:
        """`g * sigmoid(g)` is no activation one can see, so CP-LRP takes its product with `up` for any other product."""
        step = ref.gated_product(X, Y, ref.IDENTITY["silu"], C, "attnlrp")
        for composite in ("attnlrp", "cp-lrp"):
            check(lambda g, u: g * torch.sigmoid(g) * u, step, (X, Y), C, composite)

    @BOTH
    @pytest.mark.parametrize("fast", [True, False])
    def test_an_activation_that_was_added_to_is_no_gate(self, composite: str, fast: bool) -> None:
        """`h = act(x); h += y; h * u`: what was added gets its share, whether it was added in place or not."""
        u = normal(3, 4, seed=11)
        inner = ref.elementwise(X, ref.IDENTITY["tanh"], C)
        step = ref.product(inner.output + Y, u, C)
        c_h, c_u = step.coefficients
        inner = ref.elementwise(X, ref.IDENTITY["tanh"], c_h)
        step = ref.Step(step.output, (inner.coefficients[0], c_h, c_u), {})

        def added(x: Tensor, y: Tensor, u: Tensor) -> Tensor:
            return (torch.tanh(x) + y) * u

        def added_in_place(x: Tensor, y: Tensor, u: Tensor) -> Tensor:
            h = torch.tanh(x)
            h += y
            return h * u

        for spelling in (added, added_in_place):
            check(spelling, step, (X, Y, u), C, composite, fast=fast)

    @pytest.mark.parametrize("fast", [True, False])
    def test_an_activation_that_was_scaled_in_place(self, fast: bool) -> None:
        u = torch.tensor(Y)

        def scaled(x: Tensor, y: Tensor) -> Tensor:
            h = torch.tanh(x)
            h *= 3
            return h * y

        def scaled_through_a_view(x: Tensor, y: Tensor) -> Tensor:
            h = torch.tanh(x)
            h.view(-1).mul_(3)
            return h * y

        def source_changed_later(x: Tensor, y: Tensor) -> Tensor:
            x = x.clone()
            h = torch.tanh(x)
            x *= 5
            return 3 * (h * y)

        inner = ref.elementwise(X, ref.IDENTITY["tanh"], C)
        outer = ref.product(3 * inner.output, u.numpy(), C)
        inner = ref.elementwise(X, ref.IDENTITY["tanh"], 3 * outer.coefficients[0])
        step = ref.Step(outer.output, (inner.coefficients[0], outer.coefficients[1]), {})
        for spelling in (scaled, scaled_through_a_view, source_changed_later):
            check(spelling, step, (X, Y), C, fast=fast)

    @BOTH
    def test_glu_has_a_constant_gate(self, composite: str) -> None:
        opened = ref.elementwise(Y, ref.GATES["sigmoid"], C).output
        step = ref.Step(X * opened, (np.concatenate([opened * C, np.zeros_like(C)], 1),), {})
        check(lambda h: F.glu(h, dim=-1), step, (np.concatenate([X, Y], 1),), C, composite)

    def test_log_softmax_is_its_gradient(self) -> None:
        """The rest of the expansion, ``sum log p * p * sum c``, is the softmax's."""
        p = ref.softmax(X, C).output
        gradient = C - p * C.sum(1, keepdims=True)
        step = ref.Step(np.log(p), (gradient,), {"softmax": float((np.log(p) * p * C.sum(1, keepdims=True)).sum())})
        for spelling in (lambda x: F.log_softmax(x, -1), lambda x: torch.log_softmax(x, dim=1), nn.LogSoftmax(-1)):
            check(spelling, step, (X,), C)

    @BOTH
    def test_softmax(self, composite: str) -> None:
        step = ref.softmax(X, C)
        absorbed = step.absorbed
        if composite == "cp-lrp":  # The weights are constants, wherever they go.
            absorbed = {"constant": float((step.output * C).sum())}
            step = step._replace(coefficients=(np.zeros_like(X),))
        for spelling in (
            lambda x: torch.softmax(x, -1),
            lambda x: F.softmax(x, dim=1),
            lambda x: x.softmax(dim=-1),
            lambda x: F.softmax(x, dim=-1, dtype=torch.float64),
            nn.Softmax(dim=-1),
        ):
            flow = ref.Step(step.output + Y, (*step.coefficients, C), absorbed)
            check(lambda x, y: spelling(x) + y, flow, (X, Y), C, composite)  # noqa: B023
