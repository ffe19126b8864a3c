"""What there is to show of an explained image, before any medium: its relevance by pixels and by larger cells."""

from __future__ import annotations

import base64
import math
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lxtlike.errors import InputError
from lxtlike.render.scale import Scale
from lxtlike.render.view import Row, View
from lxtlike.version import IMAGE_SCHEMA

COARSE = 16
"""Cells along the longer edge of the picture, where the model has no patches, for lists and terminals."""

PALE = 0.3
"""How much of the picture stays under the heat, in grey: the colours are those of the heat."""


@dataclass(frozen=True)
class Grid:
    """Relevance by cells of one size.

    Attributes:
        name: of one cell: ``pixel``, ``patch``, or ``cell``.
        size: height and width of a cell in pixels.
        rows: its numbers, row by row from the top.
    """

    name: str
    size: tuple[int, int]
    rows: Sequence[Sequence[float]]

    @cached_property
    def scale(self) -> Scale:
        """The scale of its numbers."""
        return Scale.of(value for row in self.rows for value in row)

    def by(self, name: str, size: tuple[int, int]) -> Grid:
        """The sums of a grid of pixels over larger cells."""
        high, wide = size
        columns = range(0, len(self.rows[0]), wide)
        rows = []
        for top in range(0, len(self.rows), high):
            band = self.rows[top : top + high]
            rows.append([math.fsum(x for row in band for x in row[left : left + wide]) for left in columns])
        return Grid(name, size, rows)

    @property
    def plural(self) -> str:
        """The name of several cells."""
        return f"{self.name}es" if self.name == "patch" else f"{self.name}s"

    @cached_property
    def ranked(self) -> tuple[Row, ...]:
        """Its cells as rows of a ranking, each named by its row and its column, counted from 1."""
        width = len(self.rows[0])
        return tuple(
            Row(y * width + x, f"{self.name} at {y + 1}, {x + 1}", "", "", 0, 0, False, value)
            for y, row in enumerate(self.rows)
            for x, value in enumerate(row)
        )


@dataclass(frozen=True)
class Raster:
    """One explained image, ready to be lowered. Built by `Raster.of`; nothing in it is escaped yet.

    Attributes:
        result: the object of schema ``lxtlike/image/1``.
        grids: by pixel, by larger cells, and of the result's own cells, each once.
        own: the grid of the result's own cells.
    """

    result: Mapping[str, Any]
    grids: tuple[Grid, ...]
    own: Grid

    @classmethod
    def of(cls, result: Mapping[str, Any]) -> Raster:
        """The raster of a ``lxtlike/image/1`` object.

        Raises:
            InputError: another schema.
        """
        if result.get("schema") != IMAGE_SCHEMA:
            raise InputError(f"cannot render a result with schema {result.get('schema')!r} as an image")
        pixels = Grid("pixel", (1, 1), _pixels(result))
        grids = {pixels.size: pixels}
        if result["patch"]:
            patch = tuple(result["patch"])
            grids[patch] = pixels.by("patch", patch)
        edge = math.ceil(max(result["image"]["height"], result["image"]["width"]) / COARSE)
        if len(grids) == 1 and edge > 1:
            grids[edge, edge] = pixels.by("cell", (edge, edge))
        cell = tuple(result["cell"])
        if cell not in grids:
            grids[cell] = pixels.by("cell", cell)
        return cls(result, tuple(grids.values()), grids[cell])

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the picture."""
        return self.result["image"]["height"], self.result["image"]["width"]

    @property
    def picture(self) -> str:
        """The picture as a PNG file in base64."""
        return str(self.result["image"]["png"])

    @cached_property
    def coarse(self) -> Grid:
        """The cells to list: the result's own ones, unless these are pixels and there are larger ones."""
        return self.own if self.own.name != "pixel" else self.grids[-1]

    def view(self, shown: Grid) -> View:
        """Headline, facts, warnings, ledger and a ranking of the coarse cells; the scale is that of the grid shown."""
        return View({**self.result, "tokens": (), "text": ""}, self.coarse.ranked, (), shown.scale)


def _pixels(result: Mapping[str, Any]) -> list[list[float]]:
    """Relevance of every pixel, summed over its channels."""
    if "channels" not in result:
        return [list(row) for row in result["relevance"]]
    count, height, width = result["channels"]["shape"]
    numbers = array("f", base64.b64decode(result["channels"]["float32"]))
    if _BIG_ENDIAN:
        numbers.byteswap()
    size = height * width
    sums = [
        math.fsum(values) for values in zip(*(numbers[c * size : (c + 1) * size] for c in range(count)), strict=True)
    ]
    return [sums[start : start + width] for start in range(0, size, width)]


_BIG_ENDIAN = array("H", b"\0\1")[0] == 1
