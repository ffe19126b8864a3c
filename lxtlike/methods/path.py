"""Relevance against a reference: at the text itself, or averaged over points on the way to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from lxtlike.composites import Composite
from lxtlike.ledger import Ledger
from lxtlike.methods.leaves import embedding_leaves
from lxtlike.methods.lrp import Explained, Read, lrp
from lxtlike.methods.passes import Scalar
from lxtlike.methods.reference import Point, Way
from lxtlike.propagation import propagate
from lxtlike.propagation.surroundings import frozen, owned


def path_lrp(
    model: nn.Module,
    inputs: Mapping[str, Any],
    read: Read,
    scalars: Sequence[Scalar],
    composite: Composite,
    *,
    way: Way,
    compare: bool = False,
    checkpointing: bool | None = None,
    **options: Any,
) -> list[Explained]:
    """Relevance ``(e - e_ref) c`` of the input tokens, c the mean of the coefficients at the points of a path.

    Costs two forward passes for the values of text and reference, and a forward and a backward pass for each point; without
    points one of each, and a forward pass for the reference. Targets are settled at the text.

    Args:
        way: where it begins, and how many points it has.
        options: others of `lrp`, and as there.

    Returns:
        For each target, values at the text and a ledger of the difference to the reference (see `Ledger.between`).
    """
    with owned(model), frozen(model), torch.no_grad():
        reference = way.reference.embedding(model, inputs["input_ids"].device)

    def ending(share: float) -> tuple[Tensor, list[Tensor]]:
        point = Point(reference, share)
        with torch.enable_grad(), propagate(model, composite, checkpointing=checkpointing) as audit:
            with embedding_leaves(model, inputs["input_ids"], point.place):
                rows = read(model(**inputs))
            return rows.detach(), [scalar(rows, audit.book).detach() for scalar in scalars]

    text = None if way.points is None else ending(1.0)
    found = [
        lrp(
            model,
            inputs,
            read,
            scalars,
            composite,
            compare=compare and not number,
            checkpointing=checkpointing,
            at=Point(reference, share),
            **options,
        )
        for number, share in enumerate(way.shares)
    ]
    rows, values = text or (found[0][0].rows, [explained.values for explained in found[0]])
    _, others = ending(0.0)
    return [
        _together(points, rows, value, other, bool(composite.rules or composite.layers))
        for points, value, other in zip(zip(*found, strict=True), values, others, strict=True)
    ]


def _together(points: Sequence[Explained], rows: Tensor, values: Tensor, others: Tensor, booked: bool) -> Explained:
    """The mean over points of the way, with the values at its ends."""
    relevance = torch.stack([point.relevance for point in points]).mean(0)
    held = [point.positions for point in points if point.positions is not None]
    ledgers = tuple(
        Ledger.mean([point.ledgers[item] for point in points]).between(
            float(values[item] - others[item]), float(relevance[item].double().sum()), booked=booked
        )
        for item in range(len(values))
    )
    return replace(
        points[0],
        relevance=relevance,
        values=values,
        rows=rows,
        ledgers=ledgers,
        positions=torch.stack(held).mean(0) if held else None,
    )
