"""Residual gamma against its oracle: which sums it takes for residual ones, zero denominators, conservation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import reference_options as ref
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pairing import check, measure, normal
from reference import Array, Step
from torch import Tensor

from lxtlike import Composite

COMPOSITE = Composite.parse("attnlrp-residual-gamma:gamma=0.8")
X, C, W = normal(3, 4), normal(3, 4, seed=1), normal(4, 4, seed=2)
TW = torch.tensor(W)


def stream(x: Array, c: Array, gamma: float) -> Step:
    """``x + x W``."""
    step = ref.residual(x, x @ W, c, gamma)
    own, branch = step.coefficients
    return Step(step.output, (own + branch @ W.T,), {})


def in_place(x: Tensor) -> Tensor:
    y = x @ TW
    y += x
    return y


def onto_the_stream(x: Tensor) -> Tensor:
    h = x * 1
    h += h @ TW
    return h


SPELLINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "x + f": lambda x: x + x @ TW,
    "f + x": lambda x: x @ TW + x,
    "torch.add": lambda x: torch.add(x, x @ TW),
    "other by name": lambda x: torch.add(x, other=x @ TW),
    "in place": in_place,
    "in place, onto the stream": onto_the_stream,
    "through a view": lambda x: x.view(-1, 4) + (x @ TW).view(-1, 4),
    "copied": lambda x: x.clone() + x @ TW,
}


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=list(SPELLINGS))
def test_residual_sums(spelling: Callable[[Tensor], Tensor]) -> None:
    check(spelling, stream(X, C, 0.8), (X,), C, COMPOSITE)


@pytest.mark.parametrize("gamma", [0.0, 0.25, 10.0])
def test_parameter(gamma: float) -> None:
    expected = stream(X, C, gamma) if gamma else Step(X + X @ W, (C + C @ W.T,), {})
    check(SPELLINGS["x + f"], expected, (X,), C, f"attnlrp-residual-gamma:gamma={gamma}")


OTHERS: dict[str, Callable[[Tensor], Tensor]] = {
    "rotary": lambda x: (x @ TW) * 0.6 + torch.cat([-x[:, 2:], x[:, :2]], -1) * 0.8,
    "a bias": lambda x: x + TW[0],
    "other shapes": lambda x: x + (x @ TW)[:1],
    "a difference": lambda x: x - x @ TW,
    "two branches": lambda x: x @ TW + x @ TW.T,
    "weighed": lambda x: torch.add(x, x @ TW, alpha=2),
    "twice itself": lambda x: x + x,
    "itself seen otherwise": lambda x: x + x.view(3, 4),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=list(OTHERS))
def test_other_sums_keep_the_gradient(other: Callable[[Tensor], Tensor]) -> None:
    with_rule, plain = (measure(other, (X,), C, composite) for composite in (COMPOSITE, "attnlrp"))
    assert torch.equal(with_rule.coefficients[0], plain.coefficients[0])
    assert abs(with_rule.ledger.rest) < 1e-12


def test_a_bias_is_still_booked() -> None:
    measured = measure(OTHERS["a bias"], (X,), C, COMPOSITE)
    assert measured.ledger.biases == pytest.approx(float((W[0] * C).sum()))


def test_zeros_are_no_accident() -> None:
    """Terms that cancel exactly, and terms that are zero: what is 0 has no relevance, and nothing is NaN."""
    x = np.array([[1.0, -2.0, 0.0, 3.0]])
    minus = np.array([-1.0, 1.0, 1.0, 0.0])
    c = np.array([[5.0, 1.0, 1.0, 1.0]])
    own, branch = ref.residual(x, x * minus, c, 0.8).coefficients
    assert own[0, 0] == branch[0, 0] == 0
    found = measure(lambda t: t + t * torch.tensor(minus), (x,), c, COMPOSITE)
    assert found.coefficients[0].numpy() == pytest.approx(own + branch * minus)
    assert abs(found.ledger.rest) < 1e-12


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(*[st.floats(-1e3, 1e3)] * 3), min_size=1, max_size=6), st.floats(0.01, 100))
def test_it_conserves_and_no_share_leaves_its_bounds(rows: list[tuple[float, float, float]], gamma: float) -> None:
    """``a c_a + b c_b = y c``, entry by entry, and every ratio ``c_a / c`` lies between 0 and 1."""
    x, weight, c = (np.array(column)[None] for column in zip(*rows, strict=True))
    w = torch.tensor(weight)
    measured = measure(lambda x: x + x * w, (x,), c, f"attnlrp-residual-gamma:gamma={gamma}")
    size = np.abs(x * c).max() + np.abs(x * weight * c).max()
    assert abs(measured.ledger.rest) <= 1e-12 * size * len(rows)
    step = ref.residual(x, x * weight, np.ones_like(c), gamma)
    assert all(((ratio >= 0) & (ratio <= 1 + 1e-12)).all() for ratio in step.coefficients)


def test_terms_that_cancel_blow_up_without_it() -> None:
    """``1001 - 1000 = 1``: the gradient says 1001 and -1000; with residual gamma both shrink the larger gamma is."""
    one, other, c = np.array([[1001.0]]), np.array([[-1000.0]]), np.array([[1.0]])
    sizes = []
    for gamma in (0.0, 0.25, 4.0):
        a, b = (
            float((z * own).sum())
            for z, own in zip((one, other), ref.residual(one, other, c, gamma).coefficients, strict=True)
        )
        assert a + b == pytest.approx(1)
        sizes.append(abs(a) + abs(b))
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 2 < 2000 < sizes[0]
