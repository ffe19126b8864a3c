"""Where in a text that a template wrote the things stand that it was given."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count, pairwise

from lxtlike.errors import InputError
from lxtlike.text.offsets import Span


@dataclass(frozen=True)
class Slot:
    """A thing that a template is given.

    Attributes:
        label: what it is called.
        content: the thing itself, where it is one string.
        marked: the text with a mark (digits) in place of every string of it; raises what the template raises.
    """

    label: str
    content: str | None
    marked: Callable[[str], str]


def locate(text: str, slots: Sequence[Slot]) -> list[list[Span]]:
    """For each slot where it stands in the text: nowhere, in one place, or (a thing that is repeated) in several.

    What is in front of the mark and behind it is the same in both texts, so what lies between is the thing, whatever
    the template made of it and whatever it says. Where a change of the thing changes the text elsewhere too, the thing
    is where its content stands word for word, once, apart from all other things, else where the two texts differ.

    Raises:
        InputError: a thing that can be told by none of these, or two in the same place.
    """
    mark = next(mark for n in count(84170293651940278365) if (mark := str(n)) not in text)
    rendered: list[str | None] = [None] * len(slots)
    for n, slot in enumerate(slots):
        with suppress(Exception):  # of any kind, from a template that looks into the thing and refuses the mark
            rendered[n] = slot.marked(mark)
    found = [_between(text, other, mark, slot.content is not None) for slot, other in zip(slots, rendered, strict=True)]
    for n, slot in enumerate(slots):
        if found[n] is None:
            taken = [span for spans in found for span in spans or ()]
            found[n] = _verbatim(text, slot.content, taken) or _changed(text, rendered[n], taken)
        if found[n] is None:
            raise InputError(_LOST.format(slot.label))
    spans = sorted((*span, slot.label) for slot, spans in zip(slots, found, strict=True) for span in spans or ())
    for (_, end, _), (start, _, label) in pairwise(spans):
        if start < end:
            raise InputError(_LOST.format(label))
    return [spans or [] for spans in found]


_LOST = (
    "where {0!r} stands in the text cannot be told from what the chat template wrote: explain the rendered text "
    "(apply_chat_template(..., tokenize=False)) and name its parts with segments"
)


def _between(text: str, rendered: str | None, mark: str, single: bool) -> list[Span] | None:
    """The spans of `text` that stand for the marks in `rendered`; from the first to the last, if they are not `single`."""
    if rendered is None or (mark not in rendered and rendered != text):
        return None
    pieces = rendered.split(mark)
    if not single:
        pieces = [pieces[0], pieces[-1]][: len(pieces)]
    times = len(pieces) - 1
    size, rest = divmod(len(text) - sum(map(len, pieces)), times or 1)
    if size < 0 or rest:
        return None
    content = text[len(pieces[0]) : len(pieces[0]) + size]
    if content.join(pieces) != text:
        return None
    starts = [sum(map(len, pieces[:n])) + (n - 1) * size for n in range(1, times + 1)]
    return [(start, start + size) for start in starts if size]


def _verbatim(text: str, content: str | None, taken: Sequence[Span]) -> list[Span] | None:
    if content is None:
        return None
    found = [match.span() for match in re.finditer(re.escape(content.strip()), text)]
    found = [span for span in found if _apart(span, taken)]
    return found if len(found) == 1 else None


def _changed(text: str, rendered: str | None, taken: Sequence[Span]) -> list[Span] | None:
    if rendered is None:
        return None
    start = _alike(text, rendered)
    end = len(text) - _alike(text[start:][::-1], rendered[start:][::-1])
    if start >= end:
        return []  # of this thing nothing is left
    return [(start, end)] if _apart((start, end), taken) else None


def _alike(one: str, other: str) -> int:
    """How many characters two strings have in common in front."""
    return next(
        (n for n, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), min(len(one), len(other))
    )


def _apart(span: Span, taken: Sequence[Span]) -> bool:
    return all(span[1] <= start or end <= span[0] for start, end in taken)
