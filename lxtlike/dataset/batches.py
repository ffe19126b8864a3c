"""Which rows are explained together: those of about one length, as many as a budget of tokens allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lxtlike.reader import Question


@dataclass(frozen=True)
class Item:
    """A row of the input, ready for the model, or with the reason why it is not.

    Attributes:
        number: its place in the input, from 0.
        id: its own, or its number.
    """

    number: int
    id: str | int
    question: Question | None = None
    error: str | None = None

    @property
    def length(self) -> int:
        """How many tokens the model reads of it."""
        return 0 if self.question is None else len(self.question.encoded.tokens)


def batches(items: Sequence[Item], most: int, tokens: int, *, mixed: bool) -> list[list[Item]]:
    """Batches of items, from the shortest to the longest; a text that is to be explained alone is one of its own.

    Args:
        most: how many items a batch has at most.
        tokens: how many tokens it has at most, padding included; a longer text is a batch of its own.
        mixed: whether texts of different lengths may share one.
    """
    found: list[list[Item]] = []
    open_ = False  # whether the last batch may grow
    for item in sorted(items, key=lambda item: (item.length, item.number)):
        together = item.question is not None and item.question.together
        last = found[-1] if found else []
        fits = len(last) < most and (len(last) + 1) * item.length <= tokens
        if together and open_ and fits and (mixed or last[0].length == item.length):
            last.append(item)
        else:
            found.append([item])
        open_ = together
    return found
