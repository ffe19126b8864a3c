"""Terminal: the strongest features with bars, and the ledger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.cells import cell_len
from rich.style import Style

from lxtlike.render.features.view import Feature, FeatureView
from lxtlike.render.flow import lines, named, shortened, visible
from lxtlike.render.ink import Colors, Ink, Paper, paper
from lxtlike.render.printing import BOLD, FAINT, PLAIN, Run, amounts, facts, printed, warnings
from lxtlike.render.scale import number

_BAR = 16


def terminal(
    result: Mapping[str, Any],
    *,
    color: bool | Colors = False,
    width: int = 80,
    top: int = 5,
    theme: Paper | None = None,
) -> str:
    """Explained rows for people at a terminal, ending in a newline. No character of them is obeyed by the terminal.

    Args:
        result: an object of schema ``lxtlike/table/1``.
        color, width, theme: as in `lxtlike.render.terminal`.
        top: half as many features are listed; 0 for none.

    Raises:
        InputError: another schema.
    """
    view, width = FeatureView.of(result), max(30, width)
    ink = Ink.of(color, theme or paper())
    page: list[Sequence[Run]] = [*lines(_head(view), width), []]
    if top > 0:
        title = "relevance" if view.single else "mean |relevance|, of it for and against"
        page += [[(title, BOLD)], *(_ranked(view, ink, feature, width) for feature in view.ranked(2 * top)), []]
    page += lines(_foot(view), width)
    return printed(page, ink)


def _head(view: FeatureView) -> Iterator[Run]:
    yield (named(view.title), BOLD)
    yield from facts(view.facts, visible(view.result["model"]))
    yield from warnings(view.warnings)


def _ranked(view: FeatureView, ink: Ink, feature: Feature, width: int) -> list[Run]:
    amount = number(feature.relevance, sign=True) if view.single else number(feature.importance)
    favour, against = (round(_BAR * view.width(size)) for size in (feature.favour, feature.against))
    against = min(against, _BAR - favour)
    told = f"  = {number(feature.value)}" if feature.value is not None else _parts(feature)
    label = shortened(named(feature.name), max(8, width - 10 - _BAR - 1 - cell_len(told)))
    bars = [("▆" * favour, _bar(ink, 1.0)), (("▆" if ink.system else "▒") * against, _bar(ink, -1.0))]
    room = " " * (_BAR - favour - against + 1)
    return [(amount.rjust(9) + " ", PLAIN), *bars, (room + label, PLAIN), (told, FAINT)]


def _parts(feature: Feature) -> str:
    return f"  {number(feature.favour, sign=True)} {number(feature.against, sign=True)}"


def _bar(ink: Ink, sign: float) -> Style:
    return PLAIN if ink.system is None else Style(color=ink.style(sign).bgcolor)


def _foot(view: FeatureView) -> Iterator[Run]:
    total = number(view.result["ledger"]["explained"])
    yield (f"ledger: {view.value_name} {total} = " + amounts(view.ledger), PLAIN)
