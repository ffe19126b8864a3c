"""Terminal: flowing text on coloured background, or with bars under the words where there is no colour."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.cells import cell_len
from rich.style import Style

from lxtlike.render.flow import lines, named, shortened, visible
from lxtlike.render.ink import Colors, Ink, Paper, paper
from lxtlike.render.outputs import outputs
from lxtlike.render.printing import BOLD, FAINT, PLAIN, Run, amounts, column_of, facts, printed, ranking, warnings
from lxtlike.render.scale import number, percent
from lxtlike.render.view import Row, View

_BAR = 8


def terminal(
    result: Mapping[str, Any],
    *,
    color: bool | Colors = False,
    width: int = 80,
    top: int = 5,
    theme: Paper | None = None,
) -> str:
    """A result for people at a terminal, ending in a newline. No character of the result is obeyed by the terminal.

    Args:
        result: an object of schema ``lxtlike/attribution/1`` or ``lxtlike/generation/1``; of the latter the text shows the
            sums over all outputs, and a list the strongest inputs of each.
        color: False for none, no escape sequence at all; True for what the environment says the terminal has; or which.
        width: columns; below 30 is taken as 30.
        top: how many rows for and how many against the target to list; 0 for none.
        theme: of the terminal; None looks at ``COLORFGBG``, dark where that is not set.

    Raises:
        InputError: the result has a schema that cannot be shown.
    """
    view, width = View.of(result), max(30, width)
    ink = Ink.of(color, theme or paper())
    return composed(view, _text(view, ink, width), ink, width, top)


def composed(view: View, body: Iterable[Sequence[Run]], ink: Ink, width: int, top: int) -> str:
    """What stands around a result's own `body`: headline and facts before it, legend, ranking and ledger behind it."""
    page = [*lines(_head(view), width), [], *body, [], *lines(_legend(view, ink), width)]
    if view.outputs and top > 0:
        page += [[], *outputs(view, ink, width, top)]
    if top > 0:
        page += [[], *_ranking(view, ink, width, top)]
    page += [[], *lines(_foot(view), width)]
    return printed(page, ink)


def _head(view: View) -> Iterator[Run]:
    for word in view.headline:
        text = named(word.text) if word.quoted else word.text
        yield (f"“{text}” " if word.quoted else f"{text} ", BOLD)
    yield from facts(view.facts, f"{visible(view.result['model'])} · {view.result['task']}")
    yield from warnings(view.warnings)


def _text(view: View, ink: Ink, width: int) -> Iterator[Sequence[Run]]:
    """The text, each piece on its background; without colour each line is followed by its bars."""
    runs = []
    for place, piece in enumerate(view.pieces):
        # A sign where the newline is, and room around what the text does not contain.
        shown = visible(piece.text).replace("\n", "↵\n") if piece.text else f" {named(piece.label)} "
        runs.append((shown.lstrip(" ") if place == 0 and not piece.text else shown, place))
    for line in lines(runs, width):
        yield [(text, _style(view, ink, place)) for text, place in line]
        if ink.system is None and (bars := "".join(_under(view, ink, *run) for run in line)).strip(" "):
            yield [(bars, PLAIN)]


def _style(view: View, ink: Ink, place: int) -> Style:
    piece = view.pieces[place]
    if piece.relevance is None:
        return PLAIN
    return FAINT if piece.special else ink.style(view.scale.ratio(piece.relevance))


def _under(view: View, ink: Ink, text: str, place: int) -> str:
    """The bars under one run: as wide as its letters, blank under its spaces, between tokens and under special ones."""
    piece = view.pieces[place]
    block = " " if piece.relevance is None or piece.special else ink.block(view.scale.ratio(piece.relevance))
    letters = text.strip(" ")
    before = len(text) - len(text.lstrip(" "))
    after = len(text) - before - len(letters)
    return " " * before + block * cell_len(letters) + " " * after


def _legend(view: View, ink: Ink) -> Iterator[Run]:
    """The scale as a bar between its ends, and what the ends are."""
    yield (f"{number(-view.scale.limit)} against ", FAINT)
    for step in range(-8, 9):
        yield (" " if ink.system is not None else ink.block(step / 8), ink.style(step / 8))
    yield (f" for {number(view.scale.limit, sign=True)}  {view.scale.rule}", FAINT)


def _ranking(view: View, ink: Ink, width: int, top: int) -> Iterator[Sequence[Run]]:
    """The strongest rows for and against, side by side where there is room."""
    favour, against = (
        [_ranked(view, ink, row, column_of(width)) for row in view.ranked(sign, top)] for sign in (1, -1)
    )
    return ranking(favour, against, width)


def _ranked(view: View, ink: Ink, row: Row, column: int) -> list[Run]:
    share = view.width(row)
    filled = max(1, round(share * _BAR))
    sign = 1.0 if row.relevance > 0 else -1.0
    if ink.system is None:
        bar: Run = (("▆" if sign > 0 else "▒") * filled, PLAIN)
    else:
        bar = ("▆" * filled, Style(color=ink.style(sign).bgcolor))
    amount = number(row.relevance, sign=True).rjust(9)
    place = f" #{row.index}"
    label = shortened(named(row.label), column - _BAR - 11 - len(place))
    return [(f"{amount} ", PLAIN), bar, (" " * (_BAR - filled + 1) + label, PLAIN), (place, FAINT)]


def _foot(view: View) -> Iterator[Run]:
    """The ledger in one line, and what the model would have said."""
    if not view.ledger:
        return
    special = f" (special {number(view.result['ledger']['special'])})" if view.has_special else ""
    first = amounts(view.ledger, special)
    yield (f"ledger: {view.explained_name} {number(view.result['ledger']['explained'])} = {first}", PLAIN)
    if view.result["prediction"]:
        choices = ", ".join(f"“{named(c['token'])}” {percent(c['prob'])}" for c in view.result["prediction"][:5])
        yield (f"\nfirst choices: {choices}", FAINT)
