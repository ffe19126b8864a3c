"""Targets: which scalar of the model's output is explained.

A row of logits ``z`` [V] (of one position, or of the whole text) becomes a scalar F (method, section 5): the objective turns
``z`` into a score per choice, the contrast is subtracted. ``centered`` subtracts the mean of all logits, which makes F
invariant to shifts like the softmax. For ``logprob`` and ``prob`` the gradient of the objective is the plain one, and what its
Taylor expansion leaves over (``F - sum(z c)``) goes to the softmax account.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from lxtlike.errors import InputError
from lxtlike.rules.primitives import Book, wide
from lxtlike.text import Tokenizer, surfaces, token_ids

OBJECTIVES = {
    "logit": lambda z: z,
    "centered": lambda z: z - z.mean(-1, keepdim=True),
    "logprob": lambda z: z.log_softmax(-1),
    "prob": lambda z: z.softmax(-1),
}
"""Name -> logits [..., V] to scores [..., V]."""

MEAN = "mean"


@dataclass(frozen=True)
class Target:
    """What the caller asks for.

    Attributes:
        choice: a token's text or a label (str), an id (int), or None for what the model puts first.
        contrast: the same of what is subtracted, or "mean" for the mean over all choices.
        objective: one of `OBJECTIVES`.
        position: index of the token whose output is read (negative: from the end); None for the task's own choice.

    Raises:
        InputError: unknown objective, or a type that is neither text nor id.
    """

    choice: str | int | None = None
    contrast: str | int | None = None
    objective: str = "logit"
    position: int | None = None

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            raise InputError(f"unknown objective {self.objective!r}; choose one of {', '.join(OBJECTIVES)}")
        for name in ("choice", "contrast", "position"):
            value = getattr(self, name)
            kinds = (int,) if name == "position" else (int, str)
            if value is not None and (isinstance(value, bool) or not isinstance(value, kinds)):
                what = "target" if name == "choice" else name
                expected = "an index (int)" if name == "position" else "a text (str) or an id (int)"
                raise InputError(f"the {what} must be {expected}, not {value!r}")


@dataclass(frozen=True)
class Span:
    """A continuation of the text, explained as a whole: the weighted sum of its tokens' scores.

    Attributes:
        text: what follows the text; a leading space counts.
        weights: one for each of its tokens; None means 1.
    """

    text: str
    weights: Sequence[float] | None = None


class Choices(Protocol):
    """What a model chooses from: a vocabulary or labels."""

    def id(self, choice: str | int) -> int:
        """The id of a choice; InputError if there is no such thing."""

    def name(self, number: int) -> str:
        """Its text."""


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of a language model."""

    tokenizer: Tokenizer
    size: int

    def id(self, choice: str | int) -> int:
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
            return surfaces([number], self.tokenizer)[0]
        except (KeyError, IndexError, TypeError, ValueError):  # rows of padding beyond the tokenizer's last entry
            return f"<{number}>"


@dataclass(frozen=True)
class Labels:
    """The classes of a classifier: id -> label."""

    labels: Mapping[int, str]

    def id(self, choice: str | int) -> int:
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
class Chosen:
    """A `Target` resolved for one row of logits: ids instead of names; `contrast` is an id, "mean" or None."""

    id: int
    contrast: int | str | None
    objective: str

    def value(self, logits: Tensor) -> Tensor:
        """The scalar F, a tensor [] in float32 or wider, of one row of logits [V]."""
        scores: Tensor = OBJECTIVES[self.objective](wide(logits))
        if self.contrast is None:
            return scores[self.id]
        return scores[self.id] - (scores.mean() if self.contrast == MEAN else scores[int(self.contrast)])


def resolve(target: Target, logits: Tensor, choices: Choices) -> Chosen:
    """The ids of a target, for one row of logits [V].

    Raises:
        InputError: unknown token or label, id out of range, a text that is several tokens.
    """
    number = int(logits.argmax()) if target.choice is None else choices.id(target.choice)
    contrast = target.contrast if target.contrast in (None, MEAN) else choices.id(target.contrast)
    if contrast == number:
        raise InputError(
            f"target and contrast are both {choices.name(number)!r}: their difference is 0; choose another contrast"
        )
    return Chosen(number, contrast, target.objective)


def values(rows: Tensor, chosen: list[Chosen], book: Book) -> Tensor:
    """The scalars F [B] of rows of logits [B, V]; what an objective's Taylor expansion leaves over is written to `book`."""
    explained = torch.stack([choice.value(row) for choice, row in zip(chosen, rows, strict=True)])
    if any(choice.objective in ("logprob", "prob") for choice in chosen):
        value, logits = explained.detach(), rows.detach()
        book.absorb("softmax", explained, lambda c: value * c)
        book.absorb("softmax", rows, lambda c: -wide(torch.where(c != 0, logits, 0)) * wide(c))
    return explained


def _in_range(number: int, size: int, what: str) -> int:
    if not 0 <= number < size:
        raise InputError(f"{what} id {number} is out of range: ids go from 0 to {size - 1}")
    return number


def contrast_of(chosen: Chosen, choices: Choices) -> dict[str, Any] | str | None:
    """The contrast as results state it: id and name, "mean" or None."""
    if isinstance(chosen.contrast, int):
        return {"id": chosen.contrast, "token": choices.name(chosen.contrast)}
    return chosen.contrast
