"""Layer-wise relevance propagation: one forward and one backward pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lxtlike.composites import Composite
from lxtlike.errors import LxtlikeError, NumericalError
from lxtlike.ledger import Ledger
from lxtlike.methods.leaves import embedding_leaves
from lxtlike.propagation import Audit, propagate
from lxtlike.propagation.surroundings import frozen, owned
from lxtlike.rules.primitives import Book, wide

Scalar = Callable[[Tensor, Book], Tensor]
Read = Callable[[Any], Tensor]


SCALES: dict[torch.dtype, tuple[float, ...]] = {torch.float16: (256.0, 1.0, 1 / 256)}
"""By what the target is multiplied for the backward pass, which is linear in it; divided by again in every read-out.

Coefficients are far below 1 where hidden states are large or tokens many, and float16 has no normal numbers below 6e-5. Where
they are large the second or third one serves.
"""


@dataclass(frozen=True)
class Explained:
    """What a method gives back for a batch.

    Attributes:
        relevance: [B, T], float32 or wider; raw.
        values: the explained scalars F [B].
        rows: the rows of logits [R, V] that were read.
        ledgers: one for each item [B].
        audit: complete.
    """

    relevance: Tensor
    values: Tensor
    rows: Tensor
    ledgers: tuple[Ledger, ...]
    audit: Audit


def lrp(
    model: nn.Module,
    inputs: Mapping[str, Any],
    read: Read,
    scalars: Sequence[Scalar],
    composite: Composite,
    *,
    strict: bool = False,
    compare: bool = False,
    checkpointing: bool | None = None,
) -> list[Explained]:
    """Relevance of the input tokens: ``R = sum_d e_d c_d`` at the input embeddings (2502.15886; method, section 1).

    One forward pass serves all targets; each takes a backward pass of its own.

    Args:
        model: a transformers model with `get_input_embeddings`.
        inputs: keyword arguments of its forward, ``input_ids`` [B, T] among them.
        read: outputs -> the rows of logits [R, V] that are explained.
        scalars: each rows [R, V] and the account book -> F [B]. The items of a batch are independent, so one backward pass
            of their sum serves all.
        compare: run a plain forward first and measure the patched one's deviation from it.
        checkpointing: see `propagate`.

    Raises:
        NumericalError: NaN in the logits, or NaN or inf in the target or in the relevance.
        AuditError: under `strict`.
    """
    plain = None
    if compare:
        with owned(model), frozen(model), torch.no_grad():
            plain = read(model(**inputs))
    with torch.enable_grad(), propagate(model, composite, strict=strict, checkpointing=checkpointing) as audit:
        with embedding_leaves(model) as leaves:
            audit.book.items = len(inputs["input_ids"])
            rows = read(model(**inputs))
        _check(not bool(rows.isnan().any()), "the model's output is NaN")
        if plain is not None:
            audit.compare(plain, rows)
        found = []
        scales = SCALES.get(rows.dtype) or SCALES.get(leaves[0].dtype, (1.0,))
        for number, scalar in enumerate(scalars, start=1):
            # Hooks of one target's scalar must not see the passes of another: each gets rows of its own.
            values = scalar(rows.view_as(rows), audit.book)
            _check(bool(values.isfinite().all()), "the target's value is NaN or infinite")
            coefficient = _coefficient(values, leaves, audit, scales, number < len(scalars))
            relevance = (wide(leaves[0].detach()) * coefficient).sum(-1)
            _check(bool(relevance.isfinite().all()), "the relevance is NaN or infinite")
            values = values.detach()
            ledgers = tuple(audit.ledger(values[item], relevance[item], item=item) for item in range(len(values)))
            found.append(Explained(relevance, values, rows.detach(), ledgers, audit))
    return found


def _coefficient(values: Tensor, leaves: list[Tensor], audit: Audit, scales: Sequence[float], again: bool) -> Tensor:
    """The coefficient at the first leaf, in float32 or wider, with the first of the scales at which nothing overflows."""
    if not values.requires_grad:
        raise LxtlikeError(
            "nothing leads back from the target to the input: an operation on the way has no derivative (a kernel for quantised "
            "activations, code under `no_grad`); explain the model without it"
        )
    for scale in scales:
        last = scale == scales[-1]
        audit.book.scale = scale
        found = torch.autograd.grad(values.sum() * scale, leaves, retain_graph=again or not last)
        if last or all(bool(c.isfinite().all()) for c in found):
            break
    return wide(found[0]) / scale


def _check(fine: bool, what: str) -> None:
    if not fine:
        raise NumericalError(
            f"{what}: the model overflows on this input, or its weights are damaged; try dtype float32"
        )
