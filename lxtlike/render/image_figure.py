"""Figure: the picture, its heat map, and both in one."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any

from lxtlike.errors import InputError
from lxtlike.render import canvas
from lxtlike.render.raster import PALE, Grid, Raster
from lxtlike.render.scale import GAMMA, SEEN, STRONG

_DOTTED = 20  # cells beside each other up to which what is against is dotted


def figure(result: Mapping[str, Any], format: str = "png", kind: str | None = None, top: int = 20) -> bytes:
    """A figure of an explained image, as the bytes of a file.

    Args:
        format: ``png``, ``svg`` or ``pdf``.
        result, kind, top: as in `drawing`.

    Raises:
        InputError: as `drawing`, or an unknown format.
        LxtlikeError: matplotlib is not installed.
    """
    return canvas.saved(drawing(result, kind, top), format)


def drawing(result: Mapping[str, Any], kind: str | None = None, top: int = 20) -> Any:
    """A figure of an explained image, as a `matplotlib.figure.Figure`: the picture, its heat map, and both in one.

    Args:
        result: an object of schema ``lxtlike/image/1``.
        kind, top: for texts; None here, and of no use.

    Raises:
        InputError: a kind, or another schema.
        LxtlikeError: matplotlib is not installed.
    """
    raster = Raster.of(result)
    if kind is not None:
        raise InputError(f"an image has one figure, none of {kind!r}: leave the kind out")
    view, grid = raster.view(raster.own), raster.own
    height, width = raster.size
    tall = min(6.0, max(1.5, 3.2 * height / width))
    drawn = canvas.matplotlib("figure").Figure(figsize=(10.6, tall + 0.9), layout="constrained")
    plain, heat, over = drawn.subplots(1, 3)
    picture = canvas.matplotlib("image").imread(io.BytesIO(base64.b64decode(raster.picture)), format="png")
    plain.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    cells = canvas.cells(heat, grid.rows, grid.scale.limit, dotted=False, theme=STRONG)
    grey = picture[..., :3].mean(-1) if picture.ndim == 3 else picture
    over.imshow(1 - PALE * (1 - grey), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    _framed(heat, cells, raster)
    _framed(over, over.imshow(_colours(grid), interpolation="nearest"), raster)
    for panel in (plain, heat, over):
        panel.set(xticks=[], yticks=[])
    canvas.titled(drawn, view.title)
    facts = drawn.supxlabel(
        " · ".join(f"{name} {value}" for name, value in view.facts), fontsize=canvas.SMALL, x=0.01, ha="left"
    )
    beyond = any(abs(x) > grid.scale.limit for row in grid.rows for x in row)
    bar = drawn.colorbar(cells, ax=[plain, heat, over], pad=0.02, aspect=18, extend="both" if beyond else "neither")
    bar.set_label(f"relevance of a {grid.name}", fontsize=canvas.SMALL)
    bar.ax.tick_params(labelsize=canvas.SMALL)
    canvas.plain([facts, bar.ax.yaxis.label, *bar.ax.get_yticklabels()])
    return drawn


def _colours(grid: Grid) -> list[list[tuple[float, ...]]]:
    """Red for, blue against, as opaque as they are strong."""
    return [[_colour(grid.scale.ratio(value)) for value in row] for row in grid.rows]


def _colour(ratio: float) -> tuple[float, ...]:
    red, green, blue = STRONG.rgb(ratio)
    return red / 255, green / 255, blue / 255, abs(ratio) ** GAMMA


def _framed(panel: Any, cells: Any, raster: Raster) -> None:
    """Cells in the frame of the picture, which may cut off those at its edges; few that are against are dotted."""
    (height, width), (high, wide), rows = raster.size, raster.own.size, raster.own.rows
    cells.set_extent((-0.5, len(rows[0]) * wide - 0.5, len(rows) * high - 0.5, -0.5))
    panel.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), aspect="equal")
    if max(len(rows), len(rows[0])) <= _DOTTED:
        against = [
            ((x + 0.5) * wide - 0.5, (y + 0.86) * high - 0.5)
            for y, row in enumerate(rows)
            for x, value in enumerate(row)
            if raster.own.scale.ratio(value) <= -SEEN
        ]
        canvas.underline(panel, against, 0.36 * wide)
