"""What a model chooses from: the tokens of a vocabulary, labels, or the answers that stand in a text."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from torch import Tensor

from lxtlike.errors import InputError
from lxtlike.text import Encoded, Tokenizer, surfaces, token_ids
from lxtlike.text.entries import Entries

LONGEST_ANSWER = 30
"""Tokens of the longest answer that is looked for in a context."""


class Choices(Protocol):
    """What a model chooses from: a vocabulary, labels, or answers."""

    def id(self, choice: str | int, logits: Tensor | None = None) -> int:
        """The id of a choice, of several alike the one of highest logit [V]; InputError if there is no such thing."""

    def name(self, number: int) -> str:
        """Its text."""


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of a language model."""

    tokenizer: Tokenizer
    size: int

    @cached_property
    def _entries(self) -> Entries:
        return Entries(self.tokenizer)

    def id(self, choice: str | int, logits: Tensor | None = None) -> int:
        """See `Choices`; a text must be exactly one token."""
        if isinstance(choice, int):
            return _in_range(choice, self.size, "token")
        ids = token_ids(choice, self.tokenizer)
        if len(ids) != 1:
            parts = ", ".join(repr(part) for part in surfaces(ids, self.tokenizer))
            raise InputError(
                f"the target {choice!r} is not one token but {len(ids)} ({parts}); give one of them, or an id"
            )
        return _in_range(ids[0], self.size, "token")

    def name(self, number: int) -> str:
        """See `Choices`."""
        try:
            return self._entries.surface(number)
        except (KeyError, IndexError, TypeError, ValueError):  # rows of padding beyond the tokenizer's last entry
            return f"<{number}>"


@dataclass(frozen=True)
class Labels:
    """The classes of a classifier: id -> label."""

    labels: Mapping[int, str]

    def id(self, choice: str | int, logits: Tensor | None = None) -> int:
        """See `Choices`; labels are compared exactly first, then without case."""
        if isinstance(choice, int):
            return _in_range(choice, len(self.labels), "class")
        for same in (str, str.casefold):
            for number, label in self.labels.items():
                if same(label) == same(choice):
                    return number
        known = list(self.labels.values())
        near = difflib.get_close_matches(choice, known, 1)
        question = f"; did you mean {near[0]!r}?" if near else ""
        shown = ", ".join(repr(label) for label in known[:10]) + (", ..." if len(known) > 10 else "")
        raise InputError(f"the model has no label {choice!r}; it has {shown}{question}")

    def name(self, number: int) -> str:
        """See `Choices`."""
        return self.labels.get(number, f"LABEL_{number}")


@dataclass(frozen=True)
class Answers:
    """The stretches of one part of a text, its context: all that are not longer than `LONGEST_ANSWER` tokens."""

    encoded: Encoded
    part: str

    @cached_property
    def places(self) -> list[tuple[int, int]]:
        """First and last token of each answer, by its id; InputError if the context has no tokens."""
        (part,) = (part for part in self.encoded.parts if part.label == self.part)
        tokens = [t.index for t in self.encoded.tokens if not t.special and part.start <= t.start and t.end <= part.end]
        if not tokens:
            raise InputError(f"the {self.part} has nothing that becomes a token; give one with at least one word")
        return [(first, last) for i, first in enumerate(tokens) for last in tokens[i : i + LONGEST_ANSWER]]

    def id(self, choice: str | int, logits: Tensor | None = None) -> int:
        """See `Choices`; an answer is given as the text of whole tokens."""
        if isinstance(choice, int):
            return _in_range(choice, len(self.places), "answer")
        for same in (str, str.casefold):
            found = [number for number in range(len(self.places)) if same(self.name(number)) == same(choice.strip())]
            if found:
                return found[0] if logits is None else max(found, key=lambda number: float(logits[number]))
        raise InputError(
            f"the answer {choice!r} does not stand in the {self.part}: give a stretch of it, of whole words and not longer "
            f"than {LONGEST_ANSWER} tokens"
        )

    def name(self, number: int) -> str:
        """See `Choices`."""
        first, last = self.places[number]
        return self.encoded.text[self.encoded.tokens[first].start : self.encoded.tokens[last].end]


def _in_range(number: int, size: int, what: str) -> int:
    if not 0 <= number < size:
        raise InputError(f"{what} id {number} is out of range: ids go from 0 to {size - 1}")
    return number
