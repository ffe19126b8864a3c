"""Named stretches of a text: what its parts are (messages, documents, examples)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import index as integer
from typing import NamedTuple, TypeAlias

from lxtlike.errors import InputError


class Segment(NamedTuple):
    """A stretch ``[start, end)`` of a text, in characters, and what it is called."""

    label: str | None
    start: int
    end: int


Given: TypeAlias = tuple[int, int] | tuple[str | None, int, int]
"""A segment as callers write it: ``(start, end)`` or ``(label, start, end)``."""


def checked(given: Iterable[Given], text: str) -> tuple[Segment, ...]:
    """Segments of a text, in the order given; they may overlap.

    Raises:
        InputError: one is neither, or is not within the text.
    """
    if isinstance(given, str):
        raise InputError(f"segments must be a list of (label, start, end), not the string {given!r}")
    found: list[Segment] = []
    for entry in given:
        try:
            label, start, end = entry if len(entry) == 3 else (None, *entry)
            start, end = integer(start), integer(end)
        except (TypeError, ValueError):
            raise InputError(f"segment {entry!r} is neither (start, end) nor (label, start, end)") from None
        if not 0 <= start < end <= len(text):
            raise InputError(f"segment {entry!r} is not within the text: 0 <= start < end <= {len(text)} is needed")
        found.append(Segment(None if label is None else str(label), start, end))
    return tuple(found)


def named(given: Iterable[Given], text: str) -> tuple[Segment, ...]:
    """The parts of a text: segments that all have a label.

    Raises:
        InputError: as `checked`, or one has no label.
    """
    found = checked(given, text)
    nameless = next((segment for segment in found if segment.label is None), None)
    if nameless is not None:
        raise InputError(f"the part at {nameless.start} to {nameless.end} has no label: give (label, start, end)")
    return found


def of_kind(kind: str, parts: Sequence[Segment]) -> list[Segment]:
    """The parts called `kind`, numbered or not: "user" finds "user 1" and "user 2"."""
    return [part for part in parts if part.label is not None and f"{part.label} ".startswith(f"{kind} ")]
