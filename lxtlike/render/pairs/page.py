"""HTML: both texts, of which each shows what the other's tokens meet, and the matrix."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from markupsafe import Markup

from lxtlike.render import markup, scale
from lxtlike.render.page import digest, environment, style
from lxtlike.render.pairs.view import PairView

LARGEST = 4_000
"""Cells of the largest matrix that is drawn; of a larger one the texts show a row or a column at a time."""
_FRAGMENT_LARGEST = 900


def html(result: Mapping[str, Any]) -> str:
    """One self-contained page of an object of schema ``lxtlike/similarity/1``; readable without a script.

    Raises:
        InputError: another schema.
    """
    view = PairView.of(result)
    script = _script()
    data = {
        "limit": view.scale.limit,
        "matrix": [[float(f"{value:.4g}") for value in line] for line in view.matrix],
        "labels": [[row.label for row in rows] for rows in view.items],
    }
    return _filled("pairs.html", view, LARGEST, data=data, script=Markup(script), digest=digest(script))


def fragment(result: Mapping[str, Any]) -> str:
    """The same for a notebook: texts, strongest pairs and matrix with inline colours, without a script."""
    return _filled("pairs_plain.html", PairView.of(result), _FRAGMENT_LARGEST)


def _filled(template: str, view: PairView, largest: int, **more: Any) -> str:
    """A template with what every one of them shows; special tokens are no part of its matrix."""
    rows, columns = ([row for row in rows if not row.special] for rows in view.items)
    page = (
        environment()
        .get_template(template)
        .render(
            view=view,
            names=("first", "second"),
            text_scale=view.text_scale(),
            rows=rows,
            columns=columns,
            drawn=len(rows) * len(columns) <= largest,
            style=Markup(style()),
            palettes=list(scale.PALETTES),
            **more,
        )
    )
    return markup.encodable(page)


@cache
def _script() -> str:
    return (resources.files("lxtlike.render") / "templates" / "pairs.js").read_text(encoding="utf-8").strip()
