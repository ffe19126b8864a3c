"""Terminal: a coarse heat map in blocks between headline and ledger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lxtlike.render.console import composed
from lxtlike.render.ink import Colors, Ink, Paper, paper
from lxtlike.render.printing import FAINT, PLAIN, Run
from lxtlike.render.raster import COARSE, Grid, Raster


def terminal(
    result: Mapping[str, Any],
    *,
    color: bool | Colors = False,
    width: int = 80,
    top: int = 5,
    theme: Paper | None = None,
) -> str:
    """An explained image for people at a terminal; arguments as of `lxtlike.render.terminal`.

    The map shows the result's own cells, or larger ones where there are more than a terminal has room for; the list those
    of the model's patches, if it has any.
    """
    raster, width = Raster.of(result), max(30, width)
    ink = Ink.of(color, theme or paper())
    grid = _fitting(raster, min(COARSE, (width - 2) // 2))
    return composed(raster.view(grid), _map(grid, ink), ink, width, top)


def _fitting(raster: Raster, most: int) -> Grid:
    """The own grid, the coarse one, or one that has at most so many cells in a row and in a column."""
    for grid in (raster.own, raster.coarse):
        if max(len(grid.rows), len(grid.rows[0])) <= most:
            return grid
    edge = -(-max(raster.size) // most)
    return raster.grids[0].by("cell", (edge, edge))


def _map(grid: Grid, ink: Ink) -> Iterator[Sequence[Run]]:
    """Two characters for each cell, which make it a square, in a frame."""
    edge = "─" * (2 * len(grid.rows[0]))
    yield [(f"┌{edge}┐", PLAIN)]
    for row in grid.rows:
        ratios = [grid.scale.ratio(value) for value in row]
        cells = [("  " if ink.system is not None else 2 * ink.block(ratio), ink.style(ratio)) for ratio in ratios]
        yield [("│", PLAIN), *cells, ("│", PLAIN)]
    yield [(f"└{edge}┘", PLAIN)]
    high, wide = grid.size
    one = grid.name if grid.name != "cell" else f"cell of {high} x {wide} pixels"
    yield [(f"{len(grid.rows)} x {len(grid.rows[0])}, one {one} each", FAINT)]
