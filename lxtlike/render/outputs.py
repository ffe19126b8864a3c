"""Terminal: the strongest inputs of each output of a generation, one line an output."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.cells import cell_len
from rich.style import Style

from lxtlike.render.flow import named, shortened
from lxtlike.render.ink import Ink
from lxtlike.render.scale import Scale, number
from lxtlike.render.view import View

_NAME = 16  # cells of an output's name at most


def outputs(view: View, ink: Ink, width: int, top: int) -> Iterator[Sequence[tuple[str, Style]]]:
    """For each output its `top` strongest inputs, as far as the line reaches; each row has a scale of its own."""
    labels = [shortened(named(output["token"]), _NAME) for output in view.outputs]
    wide = max(map(cell_len, labels))
    yield [("strongest inputs by output", Style(bold=True))]
    for output, label in zip(view.outputs, labels, strict=True):
        value = number(output["value"]).rjust(9)
        place = f"{output['index']:>3} "
        line = [
            (place, Style(dim=True)),
            (label + " " * (wide - cell_len(label)), Style(bold=True)),
            (value, Style(dim=True)),
        ]
        left = width - len(place) - wide - len(value)
        for shown in _inputs(view, output, ink, top):
            left -= sum(cell_len(text) for text, _ in shown)
            if left < 0:
                break
            line += shown
        yield line


def _inputs(view: View, output: Mapping[str, Any], ink: Ink, top: int) -> Iterator[list[tuple[str, Style]]]:
    """The inputs with their numbers, strongest first; without colour a block shows sign and size."""
    row = {i: x for i, x in enumerate(output["relevance"]) if x and math.isfinite(x) and not view.rows[i].special}
    scale = Scale.of(row.values())
    for i in sorted(row, key=lambda i: -abs(row[i]))[:top]:
        ratio = scale.ratio(row[i])
        block = "" if ink.system is not None else ink.block(ratio).strip()
        label = shortened(named(view.rows[i].label), _NAME)
        yield [("  " + block, Style()), (label, ink.style(ratio)), (" " + number(row[i], sign=True), Style(dim=True))]
