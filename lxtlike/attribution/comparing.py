"""Several results side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lxtlike.attribution.saved import Saved


def compare(results: Sequence[Saved] | Mapping[str, Saved]) -> Any:
    """Explanations of one text below each other, by method, target or model, as a `matplotlib.figure.Figure`.

    Args:
        results: two or more, of the same text and tokens, or of the same words (``a.by("word")``); ``{"name": result}`` names
            the rows, which else say what differs.

    Raises:
        InputError: texts or tokens differ, or there are fewer than two results.
        LxtlikeError: matplotlib is not installed.
    """
    from lxtlike import render

    names = list(results) if isinstance(results, Mapping) else None
    listed = results.values() if isinstance(results, Mapping) else results
    return render.comparison([result.to_dict() for result in listed], names)
