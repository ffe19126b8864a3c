"""Text to tokens with their places in it, and a target string to token ids.

Conventions, the same for every tokenizer:

* ``Token.token`` is the vocabulary entry as a person reads it: ``" Paris"`` for ``ĠParis`` and ``▁Paris``, ``"##ing"``
  as it is, ``"<0xF0>"`` for a byte that is no whole character, ``"<s>"`` for special tokens.
* ``Token.text == text[start:end]`` always. The span leaves leading whitespace out unless the token is only whitespace.
* Tokens that are parts of one character (the bytes of an emoji) share that character's span.
* A token that the tokenizer added (``special``), that stands for nothing in the text (the dummy space some tokenizers
  put in front) or that cannot be located has an empty span, where the tokens before it end. Only special tokens that a
  chat template wrote stand in the text.
* Starts never decrease.
"""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, NamedTuple

from lxtlike.errors import InputError
from lxtlike.text.entries import Entries, Tokenizer
from lxtlike.text.offsets import Span, align, spell
from lxtlike.text.parts import Given, Segment, named

_turn = threading.Lock()


@dataclass(frozen=True)
class Token:
    """One token of a text: place in the sequence, id, readable entry, and characters ``[start, end)`` of the text."""

    index: int
    id: int
    token: str
    text: str
    start: int
    end: int
    special: bool


@dataclass(frozen=True)
class Encoded:
    """A text, all its tokens in the order the model reads them, and its parts (messages, documents), if it has any.

    Attributes:
        types: [T], which of two texts each token is of, as the tokenizer numbers them; empty where all are 0.
        decoder: index of the first token that a decoder reads, where an encoder reads those before it; a line break
            stands between what both read.
    """

    text: str
    tokens: tuple[Token, ...]
    parts: tuple[Segment, ...] = ()
    types: tuple[int, ...] = ()
    decoder: int | None = None

    @property
    def sequences(self) -> tuple[tuple[Token, ...], ...]:
        """The tokens of the model's one input, or of encoder and decoder."""
        if self.decoder is None:
            return (self.tokens,)
        return self.tokens[: self.decoder], self.tokens[self.decoder :]

    @property
    def ids(self) -> list[int]:
        """Token ids [T], special tokens included."""
        return [token.id for token in self.tokens]

    def with_parts(self, given: Iterable[Given]) -> Encoded:
        """The same with these parts, ``(label, start, end)`` in characters of the text; they may overlap.

        Raises:
            InputError: one has no label or is not within the text.
        """
        return replace(self, parts=named(given, self.text))


def encode(text: str, tokenizer: Tokenizer, *, add_special_tokens: bool = True) -> Encoded:
    """Tokenise one text with the special tokens the tokenizer adds, without truncation or padding.

    Raises:
        InputError: the text is empty, gives no token, is not valid Unicode, or the tokenizer refuses it.
    """
    ids, special, spans, types = _tokenise(_checked(text, "the text"), tokenizer, add_special_tokens)
    if all(special):
        raise InputError("the text has nothing that becomes a token; give a text with at least one word")
    return Encoded(text, placed(text, ids, special, spans, tokenizer), types=types)


def encode_pair(first: str, second: str, tokenizer: Tokenizer, names: tuple[str, str]) -> Encoded:
    """Two texts that the model reads together (question and context), as one text with a line break between them.

    Its parts are the two, called `names`. The tokenizer says which goes first, by the side on which it pads: texts that
    follow a question are cut and padded on the right, XLNet's stand before it.

    Raises:
        InputError: as `encode`, or the tokenizer takes no two texts.
    """
    texts = [_checked(first, f"the {names[0]}"), _checked(second, f"the {names[1]}")]
    if getattr(tokenizer, "padding_side", "right") == "left":
        texts, names = texts[::-1], (names[1], names[0])
    ids, special, spans, types = _tokenise(texts[0], tokenizer, True, pair=texts[1])
    text, begin = "\n".join(texts), len(texts[0]) + 1
    parts = (Segment(names[0], 0, begin - 1), Segment(names[1], begin, len(text)))
    return Encoded(text, placed(text, ids, special, spans, tokenizer), parts, types)


def placed(
    text: str,
    ids: Sequence[int],
    special: Sequence[bool],
    spans: Sequence[Span],
    tokenizer: Tokenizer,
    *,
    first: int = 0,
    begin: int = 0,
) -> tuple[Token, ...]:
    """The tokens of `text[begin:]`, with their raw spans (in `text`) put in order; the first token has index `first`."""
    entries = Entries(tokenizer)
    tokens: list[Token] = []
    spans = _told_apart(text, ids, spans, entries)
    last = position = begin  # where the last token starts, and where all so far end
    for index, (token_id, added, (start, end)) in enumerate(zip(ids, special, spans, strict=True), first):
        surface = entries.surface(token_id)
        if added:
            start = end = position
        elif surface.isspace() and not text[start:end].isspace():
            # Byte-level tokenizers may trim spaces off their offsets; otherwise it is a dummy.
            start, end = position, position + len(surface) * text.startswith(surface, position)
        elif not text[start:end].isspace():
            start = end - len(text[start:end].lstrip())
        if start >= end:
            start = end = position
        start = max(start, last)
        end = max(start, end)
        last, position = start, max(position, end)
        tokens.append(Token(index, token_id, surface, text[start:end], start, end, added))
    return _with_marks(text, tokens)


def _with_marks(text: str, tokens: Sequence[Token]) -> tuple[Token, ...]:
    """Combining marks that normalising dropped, or joined to their letter, belong to the letter's tokens."""
    covered = bytearray(len(text))
    for token in tokens:
        covered[token.start : token.end] = b"\1" * (token.end - token.start)
    marked = list(tokens)
    for number, token in enumerate(tokens):
        end = token.end
        while token.start < end < len(text) and not covered[end] and unicodedata.category(text[end])[0] == "M":
            end += 1
        if end > token.end:
            marked[number] = replace(token, text=text[token.start : end], end=end)
    return tuple(marked)


def _told_apart(text: str, ids: Sequence[int], spans: Sequence[Span], entries: Entries) -> list[Span]:
    """Spans of their own for tokens that share one but spell different characters of it (runs of bytes do)."""
    apart: list[Span] = []
    for (start, end), run in groupby(zip(ids, spans, strict=True), key=lambda pair: pair[1]):
        pieces = [entries.spelling(token_id) for token_id, _ in run]
        if len(pieces) > 1 and end - start > 1 and None not in pieces:
            spelt, places = spell([piece or b"" for piece in pieces])
            if spelt == text[start:end]:
                apart += [(start + first, start + last) for first, last in places]
                continue
        apart += [(start, end)] * len(pieces)
    return apart


def token_ids(string: str, tokenizer: Tokenizer) -> list[int]:
    """The ids of a target string, without special tokens: one id if a vocabulary entry reads exactly so.

    A leading space matters where the vocabulary tells ``" Paris"`` from ``"Paris"``, and is ignored elsewhere.

    Raises:
        InputError: the string is empty, not valid Unicode, or has a part that the vocabulary does not know.
    """
    return within(string, tokenizer, "the target")[0]


def within(string: str, tokenizer: Tokenizer, name: str) -> tuple[list[int], list[Span]]:
    """Ids and raw spans of a string that stands within a text, as `token_ids`; errors call it `name`."""
    entries = Entries(tokenizer)
    entry = entries.find(_checked(string, name))
    if entry is not None:
        return [entry], [(0, len(string))]

    ids, _, spans, _ = _tokenise(string, tokenizer, add_special_tokens=False)
    if not entries.reads(ids, string):
        # Many tokenizers put a space of their own before a text's first word: look behind an anchor instead.
        for anchor in ("\n", ".", "a"):
            front = _ids(anchor, tokenizer)
            whole, _, places, _ = _tokenise(anchor + string, tokenizer, add_special_tokens=False)
            rest = whole[len(front) :]
            if front and whole[: len(front)] == front and entries.reads(rest, string):
                ids, skip = rest, len(anchor)
                spans = [(max(start - skip, 0), max(end - skip, 0)) for start, end in places[len(front) :]]
                break
    if not ids or entries.unknown & set(ids):
        raise InputError(f"{name} {string!r} is not in the model's vocabulary; give a text it knows, or a token id")
    return ids, spans


def _checked(text: str, name: str) -> str:
    if not isinstance(text, str):
        raise InputError(f"{name} must be a string, not {type(text).__name__}")
    if not text:
        raise InputError(f"{name} is empty; give at least one character")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(f"{name} is not valid Unicode: half a surrogate pair at character {error.start}") from None
    return text


class _Raw(NamedTuple):
    """Ids [T], whether the tokenizer added them [T], raw spans [T], and token types [T] (empty where all are 0)."""

    ids: list[int]
    special: list[bool]
    spans: list[Span]
    types: tuple[int, ...]


def _tokenise(text: str, tokenizer: Tokenizer, add_special_tokens: bool = True, pair: str | None = None) -> _Raw:
    """What the tokenizer makes of a text, or of two; spans in the second one count on behind the first and a line break."""
    texts = {} if pair is None else {"text_pair": pair}
    if getattr(tokenizer, "is_fast", False) and hasattr(tokenizer, "backend_tokenizer"):
        output = _call(
            text,
            tokenizer,
            add_special_tokens=add_special_tokens,
            return_offsets_mapping=True,
            return_special_tokens_mask=True,
            **texts,
        )
        shifts = [(len(text) + 1) * (sequence == 1) for sequence in output.sequence_ids(0)]
        spans = [
            (int(a) + shift, int(b) + shift) for (a, b), shift in zip(output["offset_mapping"], shifts, strict=True)
        ]
        return _Raw(
            list(output["input_ids"]), [bool(flag) for flag in output["special_tokens_mask"]], spans, _types(output)
        )
    output = _call(text, tokenizer, add_special_tokens=add_special_tokens, **texts)
    ids = [int(token_id) for token_id in output["input_ids"]]
    special, spans, done = [True] * len(ids), [(0, 0)] * len(ids), 0
    for part, shift in ((text, 0), *([(pair, len(text) + 1)] if pair is not None else [])):
        bare = _ids(part, tokenizer)
        # Python tokenizers' own masks are not dependable: what stands around the bare tokens was added.
        fronts = (n for n in range(done, len(ids) - len(bare) + 1) if ids[n : n + len(bare)] == bare)
        front = next(fronts, None)
        if front is None and pair is not None:
            raise InputError(
                "the tokenizer changes two texts that it is given together: their tokens cannot be told apart"
            )
        if front is None:  # adding changed the tokens themselves
            front, bare = 0, ids
        done = front + len(bare)
        special[front:done] = [False] * len(bare)
        spans[front:done] = [(a + shift, b + shift) for a, b in align(part, bare, tokenizer)]
    return _Raw(ids, special, spans, _types(output))


def _types(output: Mapping[str, Any]) -> tuple[int, ...]:
    types = tuple(map(int, output.get("token_type_ids", ())))
    return types if any(types) else ()


def _ids(text: str, tokenizer: Tokenizer, add_special_tokens: bool = False) -> list[int]:
    return [int(token_id) for token_id in _call(text, tokenizer, add_special_tokens=add_special_tokens)["input_ids"]]


def _call(text: str, tokenizer: Tokenizer, **options: Any) -> Any:
    """Call the tokenizer; ``verbose=False`` silences its warning about long texts, which would leave a mark in it."""
    with used(tokenizer):
        try:
            return tokenizer(text, verbose=False, **options)
        except Exception as error:  # the Rust backend raises bare Exception
            raise InputError(f"the tokenizer cannot encode {text[:60]!r}: {error}") from error


@contextmanager
def used(tokenizer: Tokenizer) -> Iterator[None]:
    """One thread at a time, for tokenizers change while they work; and what they change is put back.

    Fast ones drop a stored truncation or padding when they are called without.
    """
    with _turn:
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            yield
            return
        truncation, padding, split = backend.truncation, backend.padding, backend.encode_special_tokens
        try:
            yield
        finally:
            if truncation is not None:
                backend.enable_truncation(**truncation)
            if padding is not None:
                backend.enable_padding(**padding)
            if backend.encode_special_tokens != split:
                backend.encode_special_tokens = split
