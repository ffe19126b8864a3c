"""Layer-wise relevance propagation to a model's own input: an image, a row of a table, a signal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lxtlike.composites import Composite
from lxtlike.ledger import Ledger
from lxtlike.methods.lrp import Read
from lxtlike.methods.passes import Progress, Scalar, backward_passes, check
from lxtlike.propagation import Audit, propagate
from lxtlike.propagation.surroundings import frozen, owned


@dataclass(frozen=True)
class ExplainedInput:
    """What one target gives back for a batch of inputs.

    Attributes:
        relevance: [B, ...] of the input's own shape, float32 or wider; raw.
        values: the explained scalars F [B].
        rows: the rows of the output [R, V] that were read.
        ledgers: one for each item [B].
        audit: complete.
    """

    relevance: Tensor
    values: Tensor
    rows: Tensor
    ledgers: tuple[Ledger, ...]
    audit: Audit


def input_lrp(
    model: nn.Module,
    given: Tensor,
    read: Read,
    scalars: Sequence[Scalar],
    composite: Composite,
    *,
    name: str | None = None,
    options: Mapping[str, Any] | None = None,
    strict: bool = False,
    compare: bool = False,
    checkpointing: bool | None = None,
    progress: Progress | None = None,
) -> list[ExplainedInput]:
    """Relevance of every number of a floating-point input, ``R = x c``; one forward pass, one backward pass for each target.

    Args:
        model: any module.
        given: the input [B, ...], such as images [B, C, H, W] or rows of a table [B, F].
        read: outputs -> the rows [R, V] that are explained.
        scalars: see `backward_passes`.
        name: the keyword by which the model takes the input; None: as its first argument.
        options: other keyword arguments of the model.
        compare: run a plain forward first and measure the patched one's deviation from it.
        strict, checkpointing: see `propagate`.

    Raises:
        NumericalError: NaN in the output, or NaN or inf in the target or in the relevance.
        AuditError: under `strict`.
    """

    def run(x: Tensor) -> Tensor:
        keywords = dict(options or {})
        return read(model(x, **keywords) if name is None else model(**{name: x}, **keywords))

    plain = None
    if compare:
        with owned(model), frozen(model), torch.no_grad():
            plain = run(given)
    with torch.enable_grad(), propagate(model, composite, strict=strict, checkpointing=checkpointing) as audit:
        leaf = given.detach().requires_grad_()
        rows = run(leaf)
        if plain is not None:
            audit.compare(plain, rows)
        found = []
        for backward in backward_passes(rows, scalars, [leaf], audit, progress):
            relevance, values = next(backward.relevance), backward.values
            check(bool(relevance.isfinite().all()), "the relevance is NaN or infinite")
            ledgers = tuple(
                audit.ledger(value, item, item=number)
                for number, (value, item) in enumerate(zip(values, relevance, strict=True))
            )
            found.append(ExplainedInput(relevance, values, rows.detach(), ledgers, audit))
    return found
