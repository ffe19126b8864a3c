"""Several explanations of one text below each other: methods, targets or models against tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from lxtlike.errors import InputError
from lxtlike.render import canvas
from lxtlike.render.flow import named, shortened
from lxtlike.render.scale import Scale, number
from lxtlike.render.view import Row, View

_WIDE = 44  # tokens side by side; a longer text goes on in the next panel
_PANELS = 12  # then they become narrower


def comparison(results: Sequence[Mapping[str, Any]], names: Sequence[str] | None = None) -> Any:
    """A heat map with a row for each result and a column for each token, as a `matplotlib.figure.Figure`.

    Each row has a scale of its own, symmetric around zero, whose end is written beside it: methods differ in units. Special
    tokens are left out.

    Args:
        results: two or more objects of schema ``lxtlike/attribution/1`` or ``lxtlike/generation/1`` of the same text and
            tokens, or of the same units (words make models with different tokenizers comparable).
        names: of the rows; without them what differs: composite, target, model.

    Raises:
        InputError: texts or tokens differ, there are fewer than two results, or names do not fit.
        LxtlikeError: matplotlib is not installed.
    """
    views = [View.of(result) for result in results]
    columns = _shared(views)
    shared, told = _told(views)
    if names is not None and len(names) != len(views):
        raise InputError(f"{len(names)} names for {len(views)} results: one for each is needed")
    scales = [Scale.of(row.relevance for row in rows) for rows in columns]
    matrix = [[scale.ratio(row.relevance) for row in rows] for scale, rows in zip(scales, columns, strict=True)]
    labels = [shortened(named(name), 40) for name in names or told]
    tokens = [shortened(named(row.label), 14) for row in columns[0]]
    panels = min(_PANELS, -(-len(tokens) // _WIDE))
    wide = -(-len(tokens) // panels)
    height = 0.8 + panels * (0.75 + 0.34 * len(views))
    drawn, axes = canvas.figure(2.6 + 0.25 * max(12, min(wide, _WIDE)), height, panels)
    canvas.titled(drawn, shared)
    for start, panel in zip(range(0, len(tokens), wide), axes, strict=True):
        cut = slice(start, start + wide)
        image = canvas.cells(panel, [row[cut] for row in matrix], 1.0, dotted=wide <= 2 * _WIDE)
        _framed(panel, labels, tokens[cut], wide)
    for place, scale in enumerate(scales):
        end = f"± {number(scale.limit)}"
        axes[0].text(1.01, place, end, transform=axes[0].get_yaxis_transform(), va="center", fontsize=canvas.SMALL)
    axes[-1].set_xlabel("each row on its own scale, whose ends stand beside it", fontsize=canvas.SMALL)
    shrink = min(1.0, 1.6 / height)
    bar = drawn.colorbar(image, ax=axes, pad=0.02, fraction=0.04, shrink=shrink, anchor=(0.0, 1.0), ticks=[-1, 0, 1])
    bar.ax.set_yticklabels(["against", "0", "for"], fontsize=canvas.SMALL)
    return drawn


def _framed(axes: Any, rows: Sequence[str], tokens: Sequence[str], wide: int) -> None:
    """Names at both axes, and room between the rows."""
    step = max(1, -(-wide // (_WIDE + 16)))
    canvas.ticks(axes.xaxis, range(0, len(tokens), step), tokens[::step], rotation=90)
    canvas.ticks(axes.yaxis, range(len(rows)), rows)
    axes.set_xlim(-0.5, wide - 0.5)
    axes.hlines([place - 0.5 for place in range(1, len(rows))], -0.5, wide - 0.5, colors="white", linewidths=4)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def _shared(views: Sequence[View]) -> list[list[Row]]:
    """What is compared of each: its rows but for special tokens, at the same places of the same text."""
    if len(views) < 2:
        raise InputError(f"a comparison needs two or more results, not {len(views)}")
    columns = [[row for row in view.rows if not row.special] for view in views]
    first = [(row.start, row.end) for row in columns[0]]
    for place, (view, rows) in enumerate(zip(views, columns, strict=True), 1):
        if view.result["text"] != views[0].result["text"]:
            raise InputError(f"result {place} is about another text than result 1: compare explanations of one text")
        if [(row.start, row.end) for row in rows] != first:
            raise InputError(f"result {place} has other {view.grouped} than result 1: compare by words, a.by('word')")
    if not first:
        raise InputError("there is nothing to compare: the text has no tokens but special ones")
    return columns


def _told(views: Sequence[View]) -> tuple[str, list[str]]:
    """What all results have in common, in one line, and what each is called."""
    facts = [(view.title, view.result["composite"], view.result["model"], view.value_name) for view in views]
    differ = [len(set(values)) > 1 for values in zip(*facts, strict=True)]
    names = [" · ".join(fact for fact, differs in zip(own, differ, strict=True) if differs) for own in facts]
    count = Counter(names)
    names = [f"{name} {place}".strip() if count[name] > 1 else name for place, name in enumerate(names, 1)]
    return " · ".join(fact for fact, differs in zip(facts[0], differ, strict=True) if not differs), names
