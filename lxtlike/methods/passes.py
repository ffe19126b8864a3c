"""One backward pass for each target, from the rows of the output that it reads to the tensors whose relevance is wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lxtlike.errors import LxtlikeError, NumericalError
from lxtlike.propagation import Audit
from lxtlike.rules.primitives import Book

Scalar = Callable[[Tensor, Book], Tensor]
Progress = Callable[[int, int], None]
"""Called with how many are done and how many there are; what it raises ends the work, and the model is as it was."""

SCALES: dict[torch.dtype, tuple[float, ...]] = {torch.float16: (256.0, 1.0, 1 / 256)}
"""By what the target is multiplied for the backward pass, which is linear in it; divided by again in every read-out.

Coefficients are far below 1 where hidden states are large or tokens many, and float16 has no normal numbers below 6e-5. Where
they are large the second or third one serves.
"""


@dataclass(frozen=True)
class BackwardPass:
    """What one target's backward pass gave.

    Attributes:
        values: the explained scalars F [B], detached.
        relevance: of each tensor that was wanted, in its own shape, float32 or wider; to be taken once, in order.
        coefficients: of each, as the pass left them: in the model's dtype and times the scale of the book.
    """

    values: Tensor
    relevance: Iterator[Tensor]
    coefficients: Sequence[Tensor]


def backward_passes(
    rows: Tensor, scalars: Sequence[Scalar], wanted: Sequence[Tensor], audit: Audit, progress: Progress | None = None
) -> Iterator[BackwardPass]:
    """A backward pass for each of the targets that one forward pass serves; to be used within the `propagate` block.

    Args:
        rows: what the targets read of the model's output, [R, V].
        scalars: each rows [R, V] and the account book -> F [B]. The items of a batch are independent, so one backward pass
            of their sum serves all.
        wanted: the tensors whose relevance is asked for, leaves or not.
        progress: called after each pass, when its results have been taken.

    Raises:
        NumericalError: NaN in the rows, NaN or inf in a target.
    """
    check(not bool(rows.isnan().any()), "the model's output is NaN")
    scales = SCALES.get(rows.dtype) or SCALES.get(wanted[0].dtype, (1.0,))
    for number, scalar in enumerate(scalars, start=1):
        # Hooks of one target's scalar must not see the passes of another: each gets rows of its own.
        values = scalar(rows.view_as(rows), audit.book)
        check(bool(values.isfinite().all()), "the target's value is NaN or infinite")
        found = _coefficients(values, wanted, audit, scales, number < len(scalars))
        relevance = (audit.relevance(x, c) for x, c in zip(wanted, found, strict=True))
        yield BackwardPass(values.detach(), relevance, found)
        if progress is not None:
            progress(number, len(scalars))


def _coefficients(
    values: Tensor, wanted: Sequence[Tensor], audit: Audit, scales: Sequence[float], again: bool
) -> Sequence[Tensor]:
    """The coefficient of each tensor wanted.

    The target is multiplied by the first of the scales at which none overflows; read-outs divide by it.
    """
    if not values.requires_grad:
        raise LxtlikeError(
            "nothing leads back from the target to the input: an operation on the way has no derivative (a kernel for quantised "
            "activations, code under `no_grad`); explain the model without it"
        )
    for scale in scales:
        last = scale == scales[-1]
        audit.book.scale = scale
        found = torch.autograd.grad(
            values.sum() * scale, wanted, retain_graph=again or not last, materialize_grads=True, allow_unused=True
        )
        if last or all(bool(c.isfinite().all()) for c in found):
            break
    return found


def check(fine: bool, what: str) -> None:
    """Raise NumericalError if something is not fine."""
    if not fine:
        raise NumericalError(
            f"{what}: the model overflows on this input, or its weights are damaged; try dtype float32"
        )
