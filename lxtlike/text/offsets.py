"""Character offsets for tokenizers that give none: decode token by token, and look for what each says in the text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from itertools import groupby

from lxtlike.text.entries import Tokenizer
from lxtlike.text.segments import words

Span = tuple[int, int]

_REACH = 64  # characters that unlocated tokens may stand for
_PARTS = 6  # tokens that may be parts of one character


def align(text: str, ids: Sequence[int], tokenizer: Tokenizer) -> list[Span]:
    """Spans in `text` of the tokens `ids` (no special ones among them), in order.

    Tokens that cannot be found (unknown words) stand for what lies between their neighbours: for a word each if there are
    as many words, else all for all of it; where nothing lies, their spans are empty. Case and accents are ignored only
    if that finds more tokens.
    """
    decode = _Decoder(ids, tokenizer)
    found = _locate(text, decode, lambda character: character)
    if None in found:
        found = max(found, _locate(text, decode, _folded), key=lambda spans: len(spans) - spans.count(None))
    filled: list[Span] = []
    end = 0
    for lost, run in groupby(found, lambda span: span is None):
        spans = [span or (0, 0) for span in run]
        if lost:
            after = found[len(filled) + len(spans) :]
            spans = _shared(text, end, after[0][0] if after and after[0] else len(text), len(spans))
        filled += spans
        end = spans[-1][1]
    return filled


def _shared(text: str, start: int, stop: int, count: int) -> list[Span]:
    """Spans for tokens of which is only known that they stand for `text[start:stop]` together."""
    gap = text[start:stop]
    pieces = [match.span() for match in re.finditer(r"\S+", gap)]
    for cut in (pieces, words(gap)):
        if len(cut) == count:
            return [(start + first, start + last) for first, last in cut]
    return [(start + pieces[0][0], start + pieces[-1][1]) if pieces else (start, start)] * count


def spell(pieces: Sequence[bytes]) -> tuple[str, list[Span]]:
    """The text that bytes give together, and each piece's span in it: all characters that it has a byte of.

    A byte that is part of no character stands there as U+FFFD.
    """
    text = b"".join(pieces).decode("utf-8", "surrogateescape")
    characters = [n for n, sign in enumerate(text) for _ in sign.encode("utf-8", "surrogateescape")]  # one per byte
    spans: list[Span] = []
    end = 0
    for piece in pieces:
        start, end = end, end + len(piece)
        spans.append((characters[start], characters[end - 1] + 1) if piece else (len(text), len(text)))
    return "".join("\ufffd" if "\udc80" <= sign <= "\udcff" else sign for sign in text), spans


def said(ids: Sequence[int], tokenizer: Tokenizer, before: Sequence[int] = ()) -> list[str]:
    """What each token adds to the decoded text, after the tokens `before`."""
    decode = _Decoder([*before, *ids], tokenizer)
    return [decode.said(index, index + 1) for index in range(len(before), len(decode.ids))]


class _Decoder:
    """What tokens say, seen after the token before them (which joins word pieces to it)."""

    def __init__(self, ids: Sequence[int], tokenizer: Tokenizer) -> None:
        self.ids = list(ids)
        self._tokenizer = tokenizer

    def said(self, first: int, last: int) -> str:
        """What tokens ``first, ..., last - 1`` add to the decoded text."""
        before = self._decode(first - 1, first) if first else ""
        joined = self._decode(first - 1, last) if before else ""
        return joined[len(before) :] if before and joined.startswith(before) else self._decode(first, last)

    def _decode(self, first: int, last: int) -> str:
        return str(self._tokenizer.decode(self.ids[first:last], clean_up_tokenization_spaces=False))


def _folded(character: str) -> str:
    """Without case and accents, as many tokenizers normalise."""
    parts = unicodedata.normalize("NFKD", character).casefold()
    return "".join(part for part in parts if not unicodedata.combining(part))


def _locate(text: str, decode: _Decoder, fold: Callable[[str], str]) -> list[Span | None]:
    """Search from left to right, in the text without whitespace and with every character folded."""

    def key(string: str) -> str:
        return "".join(fold(character) for character in string if not character.isspace())

    origin = [index for index, character in enumerate(text) for _ in key(character)]
    target = key(text)
    spans: list[Span | None] = [None] * len(decode.ids)
    index = at = end = 0  # reached among the tokens, in `target`, in `text`
    while index < len(spans):
        blank = False
        for count in range(1, min(_PARTS, len(spans) - index) + 1):
            piece = decode.said(index, index + count)
            wanted = key(piece)
            blank = bool(piece) and not wanted  # whitespace, or a mark that folding drops
            if blank or (wanted and target.startswith(wanted, at)):
                place = at
                break
        else:
            count, wanted = 1, key(decode.said(index, index + 1))
            place = target.find(wanted, at, at + _REACH + len(wanted)) if wanted else -1
        if blank:
            if text.startswith(piece, end):
                spans[index : index + count] = [(end, end + len(piece))] * count
                end += len(piece)
            index += count
            continue
        if place >= 0:
            at = place + len(wanted)
            end = origin[at - 1] + 1
            while end < len(text) and not text[end].isspace() and not key(text[end]):
                end += 1  # the marks that folding dropped belong to the letter before
            spans[index : index + count] = [(origin[place], end)] * count
        index += count
    return spans
