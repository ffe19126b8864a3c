"""The three primitives that touch autograd, and the book in which absorbed relevance is written.

Every rule is made of `scale`, `substitute` and `torch.Tensor.detach`. A backward pass of its own has besides only what keeps or
computes less so: norms (`norm`), gated products (`product`), rows of a vocabulary (`rows`), attention (`blocks`, `weighed`); and
what is no multiple of a coefficient (`first`, `radial`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

Measure = Callable[[Tensor], Tensor]


class Book(Protocol):
    """Where rules write down the relevance that an operation keeps (see `lxtlike.propagation.book`)."""

    def absorb(self, account: str, output: Tensor, measure: Measure) -> None:
        """Add ``measure(coefficient of output)`` to an account when the backward pass comes by.

        Args:
            account: a field name of `lxtlike.ledger.Ledger`; of biases with their kind, as in ``biases.linear``.
            output: the tensor whose coefficient is handed to `measure`.
            measure: coefficient -> relevance, a tensor whose leading dimension is that of `output` (or a scalar). It must
                not hold `output` itself, only a detached alias: the closure is kept by the autograd graph. What it holds
                of the size of an activation, it holds by `keep`.
        """

    def is_part(self, t: Tensor) -> bool:
        """Whether other processes have other parts of this tensor, so that sums over its features are none."""

    def deposit(self, x: Tensor) -> Callable[[Tensor], None]:
        """Where to put the relevance of `x`, an input or entries of one, that is no multiple of its coefficient.

        Called in the forward pass; what it gives is called in the backward pass, with relevance of the shape of `x`. The
        read-out (`Audit.relevance`) adds it to ``x c``.
        """


class _Scale(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *coefficients: Tensor) -> tuple[Tensor, None]:
        return coefficients[0] * ctx.factor, None


class _Substitute(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, source: Tensor, value: list[Tensor], ratio: Tensor | None) -> Tensor:
        # The value comes in a list: a tensor argument returned as it is would count as a view, and in-place changes of it
        # (`x = act(x); x += y`) would be refused.
        ctx.dtype = source.dtype
        ctx.save_for_backward(ratio)
        return value[0]

    @staticmethod
    def backward(ctx: Any, *coefficients: Tensor) -> tuple[Tensor, None, None]:
        (ratio,) = ctx.saved_tensors
        coefficient = coefficients[0] if ratio is None else coefficients[0] * ratio
        return coefficient.to(ctx.dtype), None, None


def scale(x: Tensor, factor: float) -> Tensor:
    """An alias of `x` whose coefficient is multiplied by `factor` on its way to `x`.

    For inputs of an operation only: the alias is a view, so it must not be changed in place.
    """
    if factor == 1.0:
        return x
    scaled: Tensor = _Scale.apply(x, factor)  # type: ignore[no-untyped-call]
    return scaled


def substitute(value: Tensor, source: Tensor, ratio: Tensor | None = None) -> Tensor:
    """The value of `value`, with the coefficient ``c_source = c * ratio``.

    Args:
        value: a fresh tensor without gradient history; it is returned itself, not a copy.
        source: the tensor that receives the coefficient; same shape as `value`.
        ratio: broadcastable to the shape of `value`; None means 1. It is all that is kept for the backward pass.
    """
    substituted: Tensor = _Substitute.apply(source, [value], ratio)  # type: ignore[no-untyped-call]
    return substituted


class _Keep(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, anchor: Tensor, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return anchor.clone()

    @staticmethod
    def backward(ctx: Any, *coefficients: Tensor) -> tuple[None, None]:
        return None, None


def keep(x: Tensor) -> Callable[[], Tensor]:
    """`x`, held as autograd holds what it saves, for a `Measure` to read once in a backward pass.

    So gradient checkpointing can let go of it and compute it again, and a change of `x` in place is found out.
    """
    if not torch.is_grad_enabled():
        return lambda: x
    anchor = torch.empty(0, requires_grad=True)
    kept: Tensor = _Keep.apply(anchor, x.detach())  # type: ignore[no-untyped-call]
    return lambda: kept.grad_fn.saved_tensors[0]  # type: ignore[union-attr]


def times(x: Tensor, factor: float = 1.0) -> Measure:
    """Coefficient of `x` -> relevance of `x`, times `factor`, summed over the last dimension; `x` is held by `keep`."""
    value = keep(x)

    def measure(c: Tensor) -> Tensor:
        relevance = wide(value()) * wide(c)
        return (relevance.sum(-1) if relevance.dim() > 1 else relevance) * factor

    return measure


def wide(x: Tensor) -> Tensor:
    """`x` in float32, or in float64 if it is float64: the precision of all read-outs."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def stabilized(z: Tensor, epsilon: float) -> Tensor:
    """``z + epsilon sign(z)`` with sign(0) = +1, for denominators; inf where that is 0, so that nothing goes on."""
    denominator = torch.where(z >= 0, z + epsilon, z - epsilon)
    return denominator if epsilon else torch.where(denominator == 0, torch.inf, denominator)
