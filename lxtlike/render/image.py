"""Rendering of an explained image (schema ``lxtlike/image/1``), with the functions that `lxtlike.render` has for texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lxtlike.errors import InputError
from lxtlike.render.image_console import terminal
from lxtlike.render.image_figure import drawing, figure
from lxtlike.render.image_page import fragment, html
from lxtlike.render.raster import Raster
from lxtlike.render.table import Lines, written

__all__ = ["csv", "drawing", "figure", "fragment", "html", "latex", "table", "terminal", "tsv"]


def csv(result: Mapping[str, Any], kind: str | None = None, *, spreadsheet: bool = False) -> str:
    """The `table` as comma-separated values after RFC 4180; it holds numbers only, which no spreadsheet takes otherwise."""
    return written(table(result, kind), ",")


def tsv(result: Mapping[str, Any]) -> str:
    """The `table` as tab-separated values."""
    return written(table(result), "\t")


def table(result: Mapping[str, Any], kind: str | None = None) -> Lines:
    """Columns and rows: `y`, `x` and `relevance` of every pixel, counted from the top left; of cells their size as well.

    Raises:
        InputError: another schema, or a kind: there is one table.
    """
    if kind is not None:
        raise InputError(f"an image has one table, none of {kind!r}: leave the kind out")
    raster = Raster.of(result)
    (high, wide), (height, width) = raster.own.size, raster.size
    cells = [(y * high, x * wide, value) for y, row in enumerate(raster.own.rows) for x, value in enumerate(row)]
    if raster.own.name == "pixel":
        return ("y", "x", "relevance"), cells
    columns = ("y", "x", "height", "width", "relevance")
    return columns, [(y, x, min(high, height - y), min(wide, width - x), value) for y, x, value in cells]


def latex(result: Mapping[str, Any]) -> str:
    """Not for images.

    Raises:
        InputError: always; it says what to do.
    """
    raise InputError("an explained image has no LaTeX form: write a PNG or PDF and include that")
