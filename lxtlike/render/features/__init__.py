"""Rendering of explained rows of a table, ``lxtlike/table/1``. It has the names of `lxtlike.render`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lxtlike.errors import InputError
from lxtlike.render.features.console import terminal
from lxtlike.render.features.figure import drawing, figure
from lxtlike.render.features.page import fragment, html
from lxtlike.render.features.view import FeatureView
from lxtlike.render.table import Lines, as_csv, as_tsv

__all__ = ["csv", "drawing", "figure", "fragment", "html", "latex", "table", "terminal", "tsv"]

KINDS = ("features", "long")


def table(result: Mapping[str, Any], kind: str | None = None) -> Lines:
    """Columns and rows, as Python values.

    Args:
        kind: None for a line for each row, with the relevance of every feature; ``features`` for a line for each feature:
            its mean relevance, and the means of |relevance| and of its parts for and against; ``long`` for a line for each
            row and feature, with the value.

    Raises:
        InputError: an unknown kind.
    """
    view = FeatureView.of(result)
    rows = result["rows"]
    if kind == "features":
        columns: tuple[str, ...] = ("index", "feature", "relevance", "importance", "for", "against")
        return columns, [[f.index, f.name, f.relevance, f.importance, f.favour, f.against] for f in view.features]
    if kind == "long":
        return ("row", "feature", "value", "relevance"), [
            [number, name, value, relevance]
            for number, row in enumerate(rows)
            for name, value, relevance in zip(result["features"], row["values"], row["relevance"], strict=True)
        ]
    if kind is not None:
        raise InputError(f"table {kind!r} is unknown: use {', '.join(KINDS)}, or none")
    return ("row", "target", "explained", *result["features"]), [
        [number, row["target"]["token"], row["target"]["value"], *row["relevance"]] for number, row in enumerate(rows)
    ]


def csv(result: Mapping[str, Any], kind: str | None = None, *, spreadsheet: bool = False) -> str:
    """`table` as in `lxtlike.render.csv`."""
    return as_csv(table(result, kind), spreadsheet)


def tsv(result: Mapping[str, Any]) -> str:
    """`table` as in `lxtlike.render.tsv`."""
    return as_tsv(table(result))


def latex(result: Mapping[str, Any]) -> str:
    """There is none: InputError."""
    raise InputError("explained rows have no LaTeX form: include their figure, plot().savefig('features.pdf')")
