"""Layer-wise relevance propagation: one forward and one backward pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lxtlike.composites import Composite
from lxtlike.errors import NumericalError
from lxtlike.methods.leaves import embedding_leaves
from lxtlike.propagation import Audit, propagate
from lxtlike.rules.primitives import Book, wide

Scalar = Callable[[Tensor, Book], Tensor]
Read = Callable[[Any], Tensor]


@dataclass(frozen=True)
class Explained:
    """What a method gives back for a batch.

    Attributes:
        relevance: [B, T], float32 or wider; raw.
        values: the explained scalars F [B].
        rows: the rows of logits [B, V] that the targets read.
        audit: complete; its ledger is by item.
    """

    relevance: Tensor
    values: Tensor
    rows: Tensor
    audit: Audit


def lrp(
    model: nn.Module,
    inputs: Mapping[str, Any],
    read: Read,
    scalar: Scalar,
    composite: Composite,
    *,
    strict: bool = False,
    compare: bool = False,
) -> Explained:
    """Relevance of the input tokens: ``R = sum_d e_d c_d`` at the input embeddings (2502.15886; method, section 1).

    Args:
        model: a transformers model with `get_input_embeddings`.
        inputs: keyword arguments of its forward, ``input_ids`` [B, T] among them.
        read: outputs -> the rows of logits [B, V] that are explained.
        scalar: rows [B, V] and the account book -> F [B]. The items of a batch are independent, so one backward pass of
            their sum serves all.
        compare: run a plain forward first and measure the patched one's deviation from it.

    Raises:
        NumericalError: NaN in the logits, or NaN or inf in the target or in the relevance.
        AuditError: under `strict`.
    """
    plain = None
    if compare:
        with torch.no_grad():
            plain = read(model(**inputs))
    with torch.enable_grad(), propagate(model, composite, strict=strict) as audit:
        with embedding_leaves(model) as leaves:
            audit.book.items = len(inputs["input_ids"])
            rows = read(model(**inputs))
        _check(not bool(rows.isnan().any()), "the model's output is NaN")
        values = scalar(rows, audit.book)
        _check(bool(values.isfinite().all()), "the target's value is NaN or infinite")
        if plain is not None:
            audit.compare(plain, rows)
        coefficients = torch.autograd.grad(values.sum(), leaves)
    relevance = (wide(leaves[0].detach()) * wide(coefficients[0])).sum(-1)
    _check(bool(relevance.isfinite().all()), "the relevance is NaN or infinite")
    return Explained(relevance, values.detach(), rows.detach(), audit)


def _check(fine: bool, what: str) -> None:
    if not fine:
        raise NumericalError(
            f"{what}: the model overflows on this input, or its weights are damaged; try dtype float32"
        )
