"""Which tokens belong to which stretch of the text."""

from __future__ import annotations

from collections.abc import Sequence

from lxtlike.text.encoding import Token
from lxtlike.text.offsets import Span


def group(tokens: Sequence[Token], spans: Sequence[Span]) -> list[tuple[int | None, tuple[int, ...]]]:
    """Every token's index in exactly one group: those of a span (by its number) and those of one token (None).

    A token goes to the span that it shares most characters with, of several to the first in the text; one without
    characters goes to the first span around its place. Special tokens and those outside every span are groups of
    their own. All spans are there, also those without tokens. Groups come in reading order.
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
        for place in range(passed, len(order) if not token.special else 0):
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
