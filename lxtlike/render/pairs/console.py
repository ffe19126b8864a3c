"""Terminal: both texts, the strongest pairs for and against, and the matrix in shades."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from rich.cells import cell_len
from rich.style import Style

from lxtlike.render.flow import lines, named, shortened, visible
from lxtlike.render.ink import Colors, Ink, Paper, paper
from lxtlike.render.pairs.view import Pair, PairView
from lxtlike.render.scale import number
from lxtlike.render.view import Row

Run = tuple[str, Style]

_PLAIN, _BOLD, _FAINT, _WARNING = Style(), Style(bold=True), Style(dim=True), Style(color="yellow")
_LABEL = 14  # cells of a row's name
_CELL = 3


def terminal(
    result: Mapping[str, Any],
    *,
    color: bool | Colors = False,
    width: int = 80,
    top: int = 5,
    theme: Paper | None = None,
) -> str:
    """A similarity for people at a terminal, ending in a newline. No character of it is obeyed by the terminal.

    Args:
        result: an object of schema ``lxtlike/similarity/1``.
        color, width, theme: as in `lxtlike.render.terminal`.
        top: how many pairs for and how many against to list; 0 for none.

    Raises:
        InputError: another schema.
    """
    view = PairView.of(result)
    width = max(30, width)
    ink = Ink.of(color, theme or paper())
    page: list[Sequence[Run]] = [*lines(_head(view), width), []]
    if top > 0:
        page += [*_ranking(view, ink, width, top), []]
    page += [*_matrix(view, ink, width), [], *lines(_foot(view, ink), width)]
    return "".join("".join(ink.render(*run) for run in line).rstrip(" ") + "\n" for line in page)


def _head(view: PairView) -> Iterator[Run]:
    yield (view.title, _BOLD)
    yield ("\n" + " · ".join(f"{name} {visible(value)}" for name, value in view.facts), _PLAIN)
    yield (f"\n{visible(view.result['model'])}", _FAINT)
    for name in ("first", "second"):
        yield (f"\n{name}: {visible(view.result[name]['text'])}", _PLAIN)
    for warning in view.warnings:
        yield (f"\nwarning: {visible(warning)}", _WARNING)


def _ranking(view: PairView, ink: Ink, width: int, top: int) -> Iterator[Sequence[Run]]:
    """The strongest pairs for and against, side by side where there is room."""
    column = width // 2 - 1 if width >= 60 else width
    sides = []
    for title, sign in (("for", 1), ("against", -1)):
        rows = [_ranked(view, ink, pair, column) for pair in view.ranked(sign, top)]
        sides.append([[(title, _BOLD)], *(rows or [[("     none", _FAINT)]])])
    if column == width:
        yield from (line for side in sides for line in side)
        return
    for left, right in zip_longest(*sides, fillvalue=[]):
        room = column + 2 - sum(cell_len(text) for text, _ in left)
        yield [*left, (" " * room, _PLAIN), *right]


def _ranked(view: PairView, ink: Ink, pair: Pair, column: int) -> list[Run]:
    ratio = view.scale.ratio(pair.relevance)
    mark: Run = (ink.block(ratio), _PLAIN) if ink.system is None else ("  ", ink.style(ratio))
    amount = number(pair.relevance, sign=True).rjust(9)
    room = column - len(amount) - 3 - 3
    labels = [named(item.label) for item in (pair.first, pair.second)]
    first = shortened(labels[0], max(room // 2, room - cell_len(labels[1])))
    second = shortened(labels[1], room - cell_len(first))
    return [(f"{amount} ", _PLAIN), mark, (f" {first} ~ {second}", _PLAIN)]


def _matrix(view: PairView, ink: Ink, width: int) -> Iterator[Sequence[Run]]:
    """Rows are the first text, columns the second one, in as many blocks of columns as the width needs."""
    columns = [item for item in view.items[1] if not item.special]
    rows = [(item, line) for item, line in zip(view.items[0], view.matrix, strict=True) if not item.special]
    wide = max(1, (width - _LABEL - 1) // _CELL)
    for start in range(0, len(columns), wide):
        part = columns[start : start + wide]
        if start:
            yield []
        yield from lines(_names(part), width)
        yield [(" " * _LABEL, _PLAIN), *((f"{item.index}".rjust(_CELL), _FAINT) for item in part)]
        for item, line in rows:
            label = shortened(named(item.label), _LABEL - 1)
            cells = [_cell(ink, view.scale.ratio(line[other.index])) for other in part]
            yield [
                (" " * (_LABEL - 1 - cell_len(label)) + label + " ", _PLAIN),
                *(run for cell in cells for run in cell),
            ]


def _names(part: Sequence[Row]) -> Iterator[Run]:
    for item in part:
        yield (f"{item.index} ", _FAINT)
        yield (f"{shortened(named(item.label), 20)}  ", _PLAIN)


def _cell(ink: Ink, ratio: float) -> tuple[Run, Run]:
    if ink.system is None:
        return (" ", _PLAIN), (ink.block(ratio) * (_CELL - 1), _PLAIN)
    return (" ", _PLAIN), (" " * (_CELL - 1), ink.style(ratio))


def _foot(view: PairView, ink: Ink) -> Iterator[Run]:
    """The scale and the ledger."""
    against = "hatched" if ink.system is None else "underlined"
    yield (f"scale: ±{number(view.scale.limit)}, {view.scale.rule}; against is {against}", _FAINT)
    amounts = [f"{'-' if x.amount < 0 else '+'} {x.name} {number(abs(x.amount))}" for x in view.ledger]
    total = number(view.result["value"])
    yield (f"\nledger: {view.result['similarity']} {total} = " + " ".join(amounts).removeprefix("+ "), _PLAIN)
