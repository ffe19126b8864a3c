"""Terminal: the strongest inputs of each output of a generation, one line an output."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from rich.cells import cell_len
from rich.style import Style

from lxtlike.render.flow import named, shortened
from lxtlike.render.ink import Ink
from lxtlike.render.printing import Run
from lxtlike.render.scale import Scale, number
from lxtlike.render.view import View

_NAME = 16  # cells of a token's name at most


def outputs(view: View, ink: Ink, width: int, top: int) -> Iterator[Sequence[Run]]:
    """For each output its `top` strongest inputs in columns, as many as fit; each row has a scale of its own."""
    labels = [shortened(named(output["token"]), _NAME) for output in view.outputs]
    counts = Counter(row.label for row in view.rows)
    rows = [list(_inputs(view, output, ink, top, counts)) for output in view.outputs]
    names = max(map(cell_len, labels))
    left = width - names - 13
    columns = []
    for column in zip_longest(*rows, fillvalue=()):
        columns.append(max(map(_size, column)))
        left -= columns[-1]
        if left < 0:
            columns.pop()
            break
    yield [("strongest inputs by output", Style(bold=True))]
    for output, label, entries in zip(view.outputs, labels, rows, strict=True):
        line = [
            (f"{output['index']:>3} ", Style(dim=True)),
            (label + " " * (names - cell_len(label)), Style(bold=True)),
            (number(output["value"]).rjust(9), Style(dim=True)),
        ]
        for entry, room in zip(entries, columns, strict=False):
            line += [*entry, (" " * (room - _size(entry)), Style())]
        yield line


def _size(runs: Sequence[Run]) -> int:
    return sum(cell_len(text) for text, _ in runs)


def _inputs(
    view: View, output: Mapping[str, Any], ink: Ink, top: int, counts: Mapping[str, int]
) -> Iterator[Sequence[Run]]:
    """The inputs with their numbers, strongest first; without colour a block shows sign and size.

    A label that several tokens have is followed by its token's index.
    """
    row = {i: x for i, x in enumerate(output["relevance"]) if x and math.isfinite(x) and not view.rows[i].special}
    scale = Scale.of(row.values())
    for i in sorted(row, key=lambda i: -abs(row[i]))[:top]:
        ratio = scale.ratio(row[i])
        block = "" if ink.system is not None else ink.block(ratio).strip()
        label = shortened(named(view.rows[i].label), _NAME)
        place = f"#{i}" if counts[view.rows[i].label] > 1 else ""
        amount = f" {number(row[i], sign=True)}"
        yield [("  " + block, Style()), (label, ink.style(ratio)), (place + amount, Style(dim=True))]
