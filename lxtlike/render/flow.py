"""Text in a grid of cells: made harmless, and broken into lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import TypeVar

from rich.cells import cell_len

from lxtlike.render.signs import COMMAND, sign

Key = TypeVar("Key")

_KEPT = {"\n": "\n", "\t": "    "}


def visible(text: str) -> str:
    """`text` with nothing in it that a terminal obeys: commands as their signs, a tab as four spaces; newlines stay."""
    return COMMAND.sub(lambda match: _KEPT.get(match.group()) or sign(match.group()), text)


def named(label: str) -> str:
    """A token's `label` on one line: visible, newlines as ``↵``, a token of spaces as that many ``␠``."""
    return visible(label.strip(" ")).replace("\n", "↵") or "␠" * len(label) or "∅"


def shortened(text: str, width: int) -> str:
    """`text` cut to `width` cells, with an ellipsis where something was cut."""
    if cell_len(text) <= width:
        return text
    kept, cells = "", 1
    for character in text:
        cells += cell_len(character)
        if cells > width:
            break
        kept += character
    return kept + "…"


def lines(runs: Iterable[tuple[str, Key]], width: int) -> Iterator[list[tuple[str, Key]]]:
    """The runs as lines of at most `width` cells, broken at newlines, at spaces, and inside words longer than a line.

    A space at which a line is broken is not shown. Neighbours with equal keys become one run.
    """
    line: list[tuple[str, Key]] = []
    cells, after_space = 0, 0
    for text, key in runs:
        for character in text:
            if character == "\n":
                yield _joined(line)
                line, cells, after_space = [], 0, 0
                continue
            size = cell_len(character)
            if cells + size > width:
                if character == " ":
                    after_space = len(line)
                    cells = width  # whatever follows begins a line
                    continue
                cut = after_space or len(line)
                yield _joined(line[:cut])
                line, after_space = line[cut:], 0
                cells = sum(cell_len(kept) for kept, _ in line)
            line.append((character, key))
            cells += size
            if character == " ":
                after_space = len(line)
    if line:
        yield _joined(line)


def _joined(line: Sequence[tuple[str, Key]]) -> list[tuple[str, Key]]:
    return [("".join(character for character, _ in run), key) for key, run in groupby(line, key=lambda item: item[1])]
