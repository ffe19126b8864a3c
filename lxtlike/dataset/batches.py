"""Which rows are explained together: those of about one length, as many as a budget of tokens allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lxtlike.reader import Question

PADDING = 16
"""One token in so many of the budget may be padding: more of it costs about as much as another batch."""


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
    open_, padding = False, 0  # whether the last batch may grow, and the padding in it
    for item in sorted(items, key=lambda item: (item.length, item.number)):
        together = item.question is not None and item.question.together
        last = found[-1] if found else []
        fits = len(last) < most and (len(last) + 1) * item.length <= tokens
        padding += len(last) * (item.length - last[-1].length) if last else 0
        if together and open_ and fits and padding <= (tokens // PADDING if mixed else 0):
            last.append(item)
        else:
            found.append([item])
            padding = 0
        open_ = together
    return found
