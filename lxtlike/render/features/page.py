"""HTML: features as bars, and the rows as a table in heat colours. Nothing of it is a script."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from lxtlike.render import markup
from lxtlike.render.features.view import FeatureView
from lxtlike.render.page import environment, style

ROWS, COLUMNS = 200, 30
"""The largest table of rows that is shown whole; of a larger one the first rows and the strongest features."""


def html(result: Mapping[str, Any]) -> str:
    """One self-contained page of an object of schema ``lxtlike/table/1``; InputError for another one."""
    return _filled("features.html", result)


def fragment(result: Mapping[str, Any]) -> str:
    """The same for a notebook, with inline colours."""
    return _filled("features_plain.html", result)


def _filled(template: str, result: Mapping[str, Any]) -> str:
    view = FeatureView.of(result)
    page = (
        environment()
        .get_template(template)
        .render(
            view=view,
            features=view.ranked(COLUMNS),
            shown=list(view.rows)[:ROWS],
            style=Markup(style()),
        )
    )
    return markup.encodable(page)
