"""Which tokens belong to which stretch of the text: its words, sentences, parts, or segments of the caller's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from lxtlike.errors import InputError
from lxtlike.text.encoding import Token
from lxtlike.text.offsets import Span
from lxtlike.text.parts import Given, Segment, checked, of_kind
from lxtlike.text.segments import sentences, words

_CUTS: dict[str, Callable[[str], list[Span]]] = {"word": words, "sentence": sentences}


def cut(
    granularity: str | Iterable[Given], text: str, tokens: Sequence[Token], parts: Sequence[Segment] = ()
) -> list[Segment]:
    """The segments of a text for a granularity.

    ``"word"`` and ``"sentence"`` are those of `words` and `sentences`, between special tokens that stand in the text;
    neighbours that one token says together are one segment. ``"message"`` are all parts, another string those parts
    that are called so, numbered or not (``"document"``). Else the segments are the caller's own.

    Raises:
        InputError: an unknown granularity, or a segment that is not within the text.
    """
    if not isinstance(granularity, str):
        return list(checked(granularity, text))
    if granularity in _CUTS:
        open_text = list(text)
        for token in tokens:
            if token.special:  # a line break ends words and sentences and is part of none
                open_text[token.start : token.end] = "\n" * (token.end - token.start)
        return [Segment(None, *span) for span in _whole(_CUTS[granularity]("".join(open_text)), tokens)]
    found = list(parts) if granularity == "message" else of_kind(granularity, parts)
    if not found:
        known = ["token", *_CUTS, *(["message"] if parts else []), *dict.fromkeys(part.label for part in parts)]
        missing = "" if parts else "; a text has messages if it is given as a chat or with segments"
        raise InputError(
            f"granularity {granularity!r} is unknown: use {', '.join(map(str, known))} or a list of segments{missing}"
        )
    return found


def _whole(spans: Sequence[Span], tokens: Sequence[Token]) -> list[Span]:
    """Disjoint spans, with those that would be left without a token joined to the one that has the token they share."""
    owners: dict[int, int] = {}  # which span has the token that says a character
    empty = []
    for number, indices in group(tokens, spans):
        if number is not None and not indices:
            empty.append(number)
        elif number is not None:
            for index in indices:
                for place in range(tokens[index].start, tokens[index].end):
                    owners.setdefault(place, number)
    glued: set[int] = set()  # spans that go on in the next one
    for number in empty:
        owner = next((owners[place] for place in range(*spans[number]) if place in owners), number)
        glued.update(range(min(number, owner), max(number, owner)))
    whole: list[Span] = []
    for number, (start, end) in enumerate(spans):
        if number - 1 in glued:
            whole[-1] = (whole[-1][0], end)
        else:
            whole.append((start, end))
    return whole


def group(tokens: Sequence[Token], spans: Sequence[Span]) -> list[tuple[int | None, tuple[int, ...]]]:
    """Every token's index in exactly one group: those of a span (by its number) and those of one token (None).

    A token goes to the span that it shares most characters with, of several to the first in the text; one without
    characters goes to the first span around its place. Special tokens without characters and tokens outside every
    span are groups of their own. All spans are there, also those without tokens. Groups come in reading order.
    """
    order = sorted(range(len(spans)), key=lambda number: spans[number][0])
    members: dict[int, list[int]] = {number: [] for number in order}
    groups: list[tuple[tuple[int, bool, int], int | None, tuple[int, ...]]] = []
    passed = 0  # spans before this one in `order` end before the token starts; starts never decrease
    for index, token in enumerate(tokens):
        while passed < len(order) and spans[order[passed]][1] <= token.start:
            passed += 1
        best, most = None, 0
        stop = max(token.end, token.start + 1)  # a token without characters counts as one where it stands
        for place in range(passed, len(order) if not (token.special and token.start == token.end) else 0):
            start, end = spans[order[place]]
            if start >= stop:
                break
            if min(end, stop) - max(start, token.start) > most:
                best, most = order[place], min(end, stop) - max(start, token.start)
        if best is None:
            groups.append(((token.start, token.start < token.end, index), None, (index,)))
        else:
            members[best].append(index)
    for number, indices in members.items():
        groups.append(((spans[number][0], True, min(indices, default=-1)), number, tuple(indices)))
    return [(number, indices) for _, number, indices in sorted(groups, key=lambda entry: entry[0])]
