"""HTML of an explained image: a page that stands alone, and the same page as a fragment for notebooks.

The heat map is a PNG beside the picture's, so both are seen without the script, which draws it anew for other cells, gains,
palettes and themes. Security is that of `lxtlike.render.page`.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from markupsafe import Markup

from lxtlike import png
from lxtlike.render import markup, scale
from lxtlike.render.matrix import packed
from lxtlike.render.page import digest, environment, style
from lxtlike.render.raster import PALE, Grid, Raster

EDGE = 448
"""Pixels of the longer edge that a heat map has at least."""

_EXACT = 4096  # numbers that a page holds as they are
_STEPS = 127  # of opacity, for and against
_STRIPE = 6  # pixels from one stripe to the next, where it is against
_FAINT = 0.35  # share of the opacity between stripes


def html(result: Mapping[str, Any]) -> str:
    """One self-contained page of an explained image: works from disk, in light and dark, printed, and without a script.

    Args:
        result: an object of schema ``lxtlike/image/1``.

    Raises:
        InputError: the result has another schema.
    """
    return _rendered("image_page.html", Raster.of(result))


def fragment(result: Mapping[str, Any]) -> str:
    """The explained image as a piece of HTML for a notebook: the page in a shadow root.

    Where scripts do not run, the picture and its heat map are shown side by side.

    Args:
        result: an object of schema ``lxtlike/image/1``.

    Raises:
        InputError: the result has another schema.
    """
    raster = Raster.of(result)
    return _rendered("image_fragment.html", raster, _rendered("image_shadow.html", raster))


def _rendered(template: str, raster: Raster, page: str = "") -> str:
    return markup.encodable(
        environment()
        .get_template(template)
        .render(
            raster=raster,
            view=raster.view(raster.own),
            heat=base64.b64encode(heat(raster)).decode(),
            data=_data(raster),
            page=page,
            note="",
            grouped=raster.coarse.plural,
            times=_times(raster),
            open=template == "image_page.html",
            style=Markup(style() + _style()),
            script=Markup(_script()),
            digest=digest(_script()),
            palettes=list(scale.PALETTES),
        )
    )


def heat(raster: Raster) -> bytes:
    """The heat map of the result's own cells as a PNG, transparent where relevance is zero, striped where it is against.

    Cells are so many pixels large that the longer edge has at least `EDGE`.
    """
    grid, (height, width) = raster.own, raster.size
    times = _times(raster)
    high, wide = (times * edge for edge in grid.size)
    weak = bytes(_weakened(level) for level in range(256))
    rows: list[bytes] = []
    for cells in grid.rows:
        line = b"".join(bytes([_level(grid.scale.ratio(value))]) * wide for value in cells)[: times * width]
        for _ in range(min(high, times * height - len(rows))):
            rows.append(_striped(line, len(rows), weak))
    return png.encoded(rows, times * width, times * height, _palette())


def _level(ratio: float) -> int:
    """The number of a ratio's colour: 0 for zero, up to 127 for, from 129 on against."""
    step = round(abs(ratio) * _STEPS)
    return step if ratio > 0 or not step else 128 + step


def _weakened(level: int) -> int:
    """What a number becomes between stripes: the same for, a fainter one against."""
    return level if level <= 128 else 128 + round((level - 128) * _FAINT)


def _striped(line: bytes, y: int, weak: bytes) -> bytes:
    striped = bytearray(line)
    for start in range(_STRIPE):
        if (start + y) % _STRIPE >= 3:
            striped[start::_STRIPE] = striped[start::_STRIPE].translate(weak)
    return bytes(striped)


@cache
def _palette() -> list[tuple[int, int, int, int]]:
    """Colour and opacity of every number."""
    opacity = [round(255 * (step / _STEPS) ** scale.GAMMA) for step in range(_STEPS + 1)]
    return [(*scale.STRONG.rgb(sign), o) for sign in (1, -1) for o in opacity]


def _times(raster: Raster) -> int:
    """Pixels of a heat map for each pixel of the picture, in both directions."""
    return max(1, -(-EDGE // max(raster.size)))


def _data(raster: Raster) -> dict[str, Any]:
    """What the script reads: the numbers of all grids, and all else of the result but its picture and channels."""
    left_out = ("channels", "image", "relevance")
    return {
        "height": raster.size[0],
        "width": raster.size[1],
        "own": raster.own.name,
        "grids": [_numbers(grid) for grid in raster.grids],
        "result": {name: value for name, value in raster.result.items() if name not in left_out},
    }


def _numbers(grid: Grid) -> dict[str, Any]:
    """A grid as it is or, where it is large, in steps of 1/127 of the largest number of a row."""
    rows = packed(grid.rows) if len(grid.rows) * len(grid.rows[0]) > _EXACT else {"rows": grid.rows}
    return {"name": grid.name, "size": grid.size, "limit": grid.scale.limit, **rows}


@cache
def _script() -> str:
    return (resources.files("lxtlike.render") / "templates" / "image.js").read_text(encoding="utf-8").strip()


@cache
def _style() -> str:
    source = environment().get_template("image.css")
    return source.render(palettes=scale.PALETTES, pale=PALE).replace("\n", "")
