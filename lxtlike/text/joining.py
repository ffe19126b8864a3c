"""A prompt and what follows it: a completion that is given as text, or tokens that a model generated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

from lxtlike.text.encoding import Encoded, placed, within
from lxtlike.text.entries import Entries, Tokenizer
from lxtlike.text.offsets import Span, said, spell
from lxtlike.text.parts import Segment

COMPLETION = "completion"
"""The part that follows a prompt with parts."""


def begun(encoded: Encoded, start: Sequence[int], tokenizer: Tokenizer) -> Encoded:
    """A text for an encoder, and the tokens with which its decoder starts (special ones, which say nothing)."""
    source = replace(encoded, text=encoded.text + "\n")
    joined = _joined(source, "", start, [True] * len(start), [(0, 0)] * len(start), tokenizer)
    return replace(joined, decoder=len(encoded.tokens))


def extend(encoded: Encoded, completion: str, tokenizer: Tokenizer) -> Encoded:
    """Prompt and completion, tokenised apart and joined; the text is both texts, one after the other.

    The completion's tokens are those of a target string (see `token_ids`): none is special, and a leading space counts.
    Special tokens that the tokenizer put behind the prompt are left out, for the completion goes on with its text.

    Raises:
        InputError: the completion is empty, not valid Unicode, or has a part that the vocabulary does not know.
    """
    ids, spans = within(completion, tokenizer, "the completion")
    prompt = list(encoded.tokens)
    while encoded.decoder is None and prompt and prompt[-1].special and prompt[-1].start == prompt[-1].end:
        prompt.pop()
    return _joined(replace(encoded, tokens=tuple(prompt)), completion, ids, [False] * len(ids), spans, tokenizer)


def extend_ids(encoded: Encoded, ids: Sequence[int], tokenizer: Tokenizer) -> Encoded:
    """Prompt and generated tokens; the text is the prompt's and what the tokens say after it.

    Give all generated ids at once: tokens that are parts of one character share its span, and only together they give
    it. A byte that is part of no character stands in the text as U+FFFD. Special tokens say nothing: their spans are
    empty.
    """
    ids = [int(token_id) for token_id in ids]
    entries = Entries(tokenizer)
    special = [token_id in entries.special for token_id in ids]
    own = [token_id for token_id, mark in zip(ids, special, strict=True) if not mark]
    before = [token.id for token in encoded.sequences[-1] if token.id not in entries.special][-1:]
    text, places = _said(own, before, entries, tokenizer)
    found = iter(places)
    spans = [(0, 0) if mark else next(found) for mark in special]
    return _joined(encoded, text, ids, special, spans, tokenizer)


def _said(ids: list[int], before: list[int], entries: Entries, tokenizer: Tokenizer) -> tuple[str, list[Span]]:
    """What tokens say after the token `before` them, and where in it each stands."""
    pieces = [piece for piece in map(entries.spelling, ids) if piece is not None]
    if len(pieces) == len(ids):
        return spell(pieces)
    strings = said(ids, tokenizer, before)
    ends = list(accumulate(map(len, strings)))
    return "".join(strings), [(end - len(string), end) for end, string in zip(ends, strings, strict=True)]


def _joined(
    prompt: Encoded,
    added: str,
    ids: Sequence[int],
    special: Sequence[bool],
    spans: Sequence[Span],
    tokenizer: Tokenizer,
) -> Encoded:
    text, begin = prompt.text + added, len(prompt.text)
    shifted = [(begin + start, begin + end) for start, end in spans]
    tokens = placed(text, ids, special, shifted, tokenizer, first=len(prompt.tokens), begin=begin)
    part = [Segment(COMPLETION, begin, len(text))] if prompt.parts and added else []
    return replace(prompt, text=text, tokens=prompt.tokens + tokens, parts=(*prompt.parts, *part))
