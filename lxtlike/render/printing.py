"""What every result at a terminal is made of: runs of text with a style, two columns, facts, the accounts of a ledger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest

from rich.cells import cell_len
from rich.style import Style

from lxtlike.render.flow import visible
from lxtlike.render.ink import Ink
from lxtlike.render.scale import number
from lxtlike.render.view import Account

Run = tuple[str, Style]

PLAIN, BOLD, FAINT, WARNING = Style(), Style(bold=True), Style(dim=True), Style(color="yellow")


def printed(page: Iterable[Sequence[Run]], ink: Ink) -> str:
    """Lines of runs as text that ends in a newline."""
    return "".join("".join(ink.render(*run) for run in line).rstrip(" ") + "\n" for line in page)


def column_of(width: int) -> int:
    """How wide a column is: half of the width where there is room for two, else all of it."""
    return width // 2 - 1 if width >= 60 else width


def beside(sides: Sequence[Sequence[Sequence[Run]]], width: int) -> Iterator[Sequence[Run]]:
    """Two columns of lines side by side where there is room, else one below the other."""
    column = column_of(width)
    if column == width:
        yield from (line for side in sides for line in side)
        return
    for left, right in zip_longest(*sides, fillvalue=[]):
        room = column + 2 - sum(cell_len(text) for text, _ in left)
        yield [*left, (" " * room, PLAIN), *right]


def ranking(favour: Sequence[Sequence[Run]], against: Sequence[Sequence[Run]], width: int) -> Iterator[Sequence[Run]]:
    """The strongest rows for and against under their titles."""
    sides = [
        [[(title, BOLD)], *(rows or [[("     none", FAINT)]])]
        for title, rows in (("for", favour), ("against", against))
    ]
    return beside(sides, width)


def facts(values: Iterable[tuple[str, str]], below: str) -> Iterator[Run]:
    """The line of facts under a headline, and a faint one below it."""
    yield ("\n" + " · ".join(f"{name} {visible(value)}" for name, value in values), PLAIN)
    yield (f"\n{below}", FAINT)


def warnings(texts: Iterable[str]) -> Iterator[Run]:
    """A line for each."""
    for text in texts:
        yield (f"\nwarning: {visible(text)}", WARNING)


def amounts(accounts: Sequence[Account], behind_first: str = "") -> str:
    """``tokens 6.2 + softmax 11.6 - rest 1e-7``, with something behind the first amount."""
    shown = [
        f"{'-' if account.amount < 0 else '+'} {account.name} {number(abs(account.amount))}" for account in accounts
    ]
    shown[:1] = [one + behind_first for one in shown[:1]]
    return " ".join(shown).removeprefix("+ ")
