"""Rendering of similarities, ``lxtlike/similarity/1``: which tokens of two texts meet. It has the names of `lxtlike.render`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lxtlike.errors import InputError
from lxtlike.render.pairs.console import terminal
from lxtlike.render.pairs.figure import drawing, figure
from lxtlike.render.pairs.page import fragment, html
from lxtlike.render.pairs.view import PairView
from lxtlike.render.table import Lines, as_csv, as_tsv

__all__ = ["csv", "drawing", "figure", "fragment", "html", "latex", "table", "terminal", "tsv"]

COLUMNS = ("first", "first_text", "second", "second_text", "special", "relevance")


def table(result: Mapping[str, Any], kind: str | None = None) -> Lines:
    """A line for each pair: index and text of both, whether a special token is in it, and the relevance.

    Raises:
        InputError: a kind was given, of which there is none.
    """
    if kind is not None:
        raise InputError(f"a similarity has one table, of its pairs, and none of kind {kind!r}")
    view = PairView.of(result)
    rows = [
        [one.index, one.label, other.index, other.label, one.special or other.special, value]
        for one, line in zip(view.items[0], view.matrix, strict=True)
        for other, value in zip(view.items[1], line, strict=True)
    ]
    return COLUMNS, rows


def csv(result: Mapping[str, Any], kind: str | None = None, *, spreadsheet: bool = False) -> str:
    """`table` as in `lxtlike.render.csv`."""
    return as_csv(table(result, kind), spreadsheet)


def tsv(result: Mapping[str, Any]) -> str:
    """`table` as in `lxtlike.render.tsv`."""
    return as_tsv(table(result))


def latex(result: Mapping[str, Any]) -> str:
    """There is none: InputError."""
    raise InputError("a similarity has no LaTeX form: include its figure, plot().savefig('pairs.pdf')")
