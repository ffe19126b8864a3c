"""Terminal: both texts, the strongest pairs for and against, and the matrix in shades."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.cells import cell_len

from lxtlike.render.flow import lines, named, shortened, visible
from lxtlike.render.ink import Colors, Ink, Paper, paper
from lxtlike.render.pairs.view import Pair, PairView
from lxtlike.render.printing import BOLD, FAINT, PLAIN, Run, amounts, column_of, facts, printed, ranking, warnings
from lxtlike.render.scale import number
from lxtlike.render.view import Row

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
    return printed(page, ink)


def _head(view: PairView) -> Iterator[Run]:
    yield (view.title, BOLD)
    yield from facts(view.facts, visible(view.result["model"]))
    for name in ("first", "second"):
        yield (f"\n{name}: {visible(view.result[name]['text'])}", PLAIN)
    yield from warnings(view.warnings)


def _ranking(view: PairView, ink: Ink, width: int, top: int) -> Iterator[Sequence[Run]]:
    """The strongest pairs for and against, side by side where there is room."""
    favour, against = (
        [_ranked(view, ink, pair, column_of(width)) for pair in view.ranked(sign, top)] for sign in (1, -1)
    )
    return ranking(favour, against, width)


def _ranked(view: PairView, ink: Ink, pair: Pair, column: int) -> list[Run]:
    ratio = view.scale.ratio(pair.relevance)
    mark: Run = (ink.block(ratio), PLAIN) if ink.system is None else ("  ", ink.style(ratio))
    amount = number(pair.relevance, sign=True).rjust(9)
    room = column - len(amount) - 3 - 3
    labels = [named(item.label) for item in (pair.first, pair.second)]
    first = shortened(labels[0], max(room // 2, room - cell_len(labels[1])))
    second = shortened(labels[1], room - cell_len(first))
    return [(f"{amount} ", PLAIN), mark, (f" {first} ~ {second}", PLAIN)]


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
        yield [(" " * _LABEL, PLAIN), *((f"{item.index}".rjust(_CELL), FAINT) for item in part)]
        for item, line in rows:
            label = shortened(named(item.label), _LABEL - 1)
            cells = [_cell(ink, view.scale.ratio(line[other.index])) for other in part]
            yield [
                (" " * (_LABEL - 1 - cell_len(label)) + label + " ", PLAIN),
                *(run for cell in cells for run in cell),
            ]


def _names(part: Sequence[Row]) -> Iterator[Run]:
    for item in part:
        yield (f"{item.index} ", FAINT)
        yield (f"{shortened(named(item.label), 20)}  ", PLAIN)


def _cell(ink: Ink, ratio: float) -> tuple[Run, Run]:
    if ink.system is None:
        return (" ", PLAIN), (ink.block(ratio) * (_CELL - 1), PLAIN)
    return (" ", PLAIN), (" " * (_CELL - 1), ink.style(ratio))


def _foot(view: PairView, ink: Ink) -> Iterator[Run]:
    """The scale and the ledger."""
    against = "hatched" if ink.system is None else "underlined"
    yield (f"scale: ±{number(view.scale.limit)}, {view.scale.rule}; against is {against}", FAINT)
    total = number(view.result["value"])
    yield (f"\nledger: {view.result['similarity']} {total} = " + amounts(view.ledger), PLAIN)
