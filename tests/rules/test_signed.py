"""Gamma and alpha-beta against their oracles: positive and mixed-sign inputs, with and without bias, zero denominators."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import reference_signed as ref
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from pairing import check, measure, normal
from reference import Array, Step
from torch import Tensor

from lxtlike import Composite

X, W, B, C = normal(3, 4), normal(5, 4, seed=3), normal(5, seed=4), normal(3, 5, seed=5)
TW, TB = torch.tensor(W), torch.tensor(B)
ATTNLRP = Composite.parse("attnlrp")

SPELLINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "F.linear": lambda x: F.linear(x, TW, TB),
    "addmm, factors below zero": lambda x: torch.addmm(-2 * TB, x, -4 * TW.T, beta=-0.5, alpha=-0.25),
    "conv1d": lambda x: F.conv1d(x.T[None], TW[:, :, None], TB)[0].T,
    "conv_transpose2d": lambda x: F.conv_transpose2d(x.T[None, :, :, None], TW.T[:, :, None, None], TB)[0, :, :, 0].T,
}
RULES: dict[str, Callable[..., Step]] = {
    "gamma": ref.gamma,
    "generalized-gamma": ref.generalized_gamma,
    "alpha-beta": ref.alpha_beta,
}


def composite(rule: str, **parameters: float) -> Composite:
    return ATTNLRP | {family: {"rule": rule, **parameters} for family in ("linear", "convolution")}


def inputs(rule: str) -> Array:
    return np.abs(X) if rule == "gamma" else X


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=list(SPELLINGS))
@pytest.mark.parametrize("rule", RULES)
def test_oracle(rule: str, spelling: Callable[[Tensor], Tensor]) -> None:
    check(spelling, RULES[rule](inputs(rule), W, B, C), (inputs(rule),), C, composite(rule))


@pytest.mark.parametrize(
    ("rule", "parameter", "value"),
    [("gamma", "gamma", 0.0), ("gamma", "gamma", 10.0), ("generalized-gamma", "gamma", 0.1)]
    + [("alpha-beta", "alpha", alpha) for alpha in (1.0, 1.5, 3.0)],
)
def test_parameters(rule: str, parameter: str, value: float) -> None:
    step = RULES[rule](inputs(rule), W, None, C, value)
    check(lambda x: x @ TW.T, step, (inputs(rule),), C, composite(rule, **{parameter: value}))


def test_without_gamma_it_is_epsilon() -> None:
    one = measure(SPELLINGS["F.linear"], (X,), C, composite("generalized-gamma", gamma=0.0))
    other = measure(SPELLINGS["F.linear"], (X,), C, "epsilon")
    np.testing.assert_allclose(one.coefficients[0], other.coefficients[0], rtol=1e-9)


def test_for_positive_layers_both_gammas_are_one() -> None:
    x, weight = np.abs(X), torch.tensor(W)
    positive = np.abs(C) * (x @ W.T > 0)  # relevance at outputs above zero only, as a ReLU leaves it
    one, other = (
        measure(lambda t: t @ weight.T, (x,), positive, composite(rule)).coefficients[0]
        for rule in ("gamma", "generalized-gamma")
    )
    np.testing.assert_allclose(one, other, rtol=1e-9)


@pytest.mark.parametrize("rule", RULES)
def test_denominators_of_zero(rule: str) -> None:
    """What has no contribution to go to is booked under epsilon, and nothing becomes infinite."""
    dead = torch.zeros(5, 4, dtype=torch.float64)
    found = measure(lambda x: F.linear(x, dead), (inputs(rule),), C, composite(rule))
    assert torch.isfinite(found.coefficients[0]).all()
    assert found.ledger.relative_error < 1e-12
    signs = torch.tensor(np.abs(W))
    alone = measure(lambda x: F.linear(x, signs), (np.abs(X),), C, composite("alpha-beta", alpha=2.0))
    assert alone.ledger.epsilon == pytest.approx(-float((np.abs(X) @ np.abs(W).T * C).sum()), rel=1e-6)


@settings(max_examples=30, deadline=None)
@given(rule=st.sampled_from(list(RULES)), seed=st.integers(0, 100), bias=st.booleans())
def test_conservation(rule: str, seed: int, bias: bool) -> None:
    """Everything arrives at inputs, biases or epsilon, whatever the signs."""
    weight, b = torch.tensor(normal(6, 4, seed=seed)), torch.tensor(normal(6, seed=seed)) if bias else None
    found = measure(
        lambda x: F.linear(x, weight, b), (normal(2, 4, seed=seed + 1),), normal(2, 6, seed=7), composite(rule)
    )
    assert found.ledger.relative_error < 1e-9


@pytest.mark.parametrize("rule", RULES)
def test_products_of_several_constants_pass_the_gradient(rule: str) -> None:
    left, right = torch.tensor(normal(2, 3)), torch.tensor(W)

    def product(x: Tensor) -> Tensor:
        return torch.einsum("mn,ni,oi->mo", left, x, right)

    c = normal(2, 5)
    one, other = (measure(product, (X,), c, each).coefficients[0] for each in (composite(rule), "attnlrp"))
    np.testing.assert_allclose(one, other, rtol=1e-12)
