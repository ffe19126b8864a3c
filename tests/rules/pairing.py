"""Runs one torch operation under a composite and compares it with its oracle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from reference import Array, Step
from torch import Tensor, nn

from lxtlike.composites import Composite
from lxtlike.ledger import Ledger
from lxtlike.propagation import Audit, propagate


class Of(nn.Module):
    """A module that computes one function of its inputs; modules and parameters it uses are its own."""

    def __init__(self, function: Callable[..., Tensor], **own: nn.Module | nn.Parameter) -> None:
        super().__init__()
        self.function = function
        for name, value in own.items():
            setattr(self, name, value)

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs)


def layer(kind: type[nn.Module], *args: Any, **kwargs: Any) -> nn.Module:
    """A layer with weights of its own seed, so that biases and betas are not zero."""
    module = kind(*args, **kwargs)
    for number, parameter in enumerate(module.parameters()):
        parameter.data = torch.tensor(normal(*parameter.shape, seed=50 + number))
    return module


class Measured(NamedTuple):
    """Output, coefficients at the inputs (zero where nothing arrives), the audit and the ledger of the backward pass."""

    output: Tensor
    coefficients: list[Tensor]
    audit: Audit
    ledger: Ledger
    relevance: list[Tensor]


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def measure(
    function: Callable[..., Tensor],
    inputs: tuple[Array | Tensor, ...],
    c: Array | Tensor,
    composite: str | Composite = "attnlrp",
    dtype: torch.dtype = torch.float64,
    fast: bool = True,
) -> Measured:
    """Forward and backward of `function` (a module, or what `Of` wraps) under `composite`; the value is checked."""
    module = function if isinstance(function, nn.Module) else Of(function)
    module = module.to(dtype)
    tensors = [torch.as_tensor(t).to(dtype) for t in inputs]
    plain = module(*[t.clone() for t in tensors]).detach()
    leaves = [t.clone().requires_grad_() for t in tensors]
    with propagate(module, composite, fast=fast) as audit:
        output = module(*leaves)
        top = (output * torch.as_tensor(c).to(output.dtype)).sum()
        found = torch.autograd.grad(top, leaves, allow_unused=True)
    tolerance = 1e-12 if dtype.itemsize > 4 else 1e-6 if dtype.itemsize > 2 else 1e-2
    torch.testing.assert_close(output.detach(), plain, rtol=tolerance, atol=1e-12, equal_nan=True)
    filled = [torch.zeros_like(t) if g is None else g for g, t in zip(found, leaves, strict=True)]
    relevance = [audit.relevance(t, g) for t, g in zip(leaves, filled, strict=True)]
    tokens = sum(float(r.double().sum()) for r in relevance)
    return Measured(output.detach(), filled, audit, audit.ledger(top.detach(), tokens), relevance)


def check(
    function: Callable[..., Tensor],
    step: Step,
    inputs: tuple[Array, ...],
    c: Array,
    composite: str | Composite = "attnlrp",
    *,
    fast: bool = True,
    tolerance: float = 1e-10,
) -> Measured:
    """Assert that value, coefficients and accounts agree with the oracle's, to `tolerance` of their largest entry."""
    measured = measure(function, inputs, c, composite, fast=fast)
    assert_same(measured.output, step.output, "output", tolerance, floor=1.0)
    for number, (actual, expected) in enumerate(zip(measured.coefficients, step.coefficients, strict=True)):
        assert_same(actual, expected, f"coefficient of input {number}", tolerance)
    assert measured.audit.uncovered == []
    ledger = measured.ledger
    size = max(
        1.0,
        np.abs(step.output * c).sum(),
        *(np.abs(t * g).sum() for t, g in zip(inputs, step.coefficients, strict=True)),
    )
    assert abs(ledger.rest) <= tolerance * size, "the ledger does not close"
    absorbed = sum(ledger.accounts.values()) - ledger.tokens
    assert absorbed == pytest.approx(sum(step.absorbed.values()), abs=tolerance * size), "absorbed in total"
    assert ledger.epsilon == pytest.approx(step.absorbed.get("epsilon", 0.0), abs=tolerance * size)
    return measured


def assert_same(actual: Tensor, expected: Array, what: str, tolerance: float = 1e-10, floor: float = 1e-300) -> None:
    """Largest difference over the largest expected entry (but at least `floor`); where all should be 0, all are 0."""
    assert tuple(actual.shape) == expected.shape, what
    scale = max(np.abs(expected).max(initial=0.0), floor)
    worst = np.abs(actual.double().numpy() - expected).max(initial=0.0)
    assert worst <= tolerance * scale, f"{what} is off by {worst:.1e}, its largest entry being {scale:.1e}"
