"""Vocabulary entries as a person reads them, for every way in which tokenizers spell theirs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Protocol


class Tokenizer(Protocol):
    """What is asked of a HuggingFace tokenizer, fast or not. It is never changed."""

    def __call__(self, text: str, **options: Any) -> Any: ...
    def convert_ids_to_tokens(self, ids: int) -> Any: ...
    def convert_tokens_to_ids(self, tokens: str) -> Any: ...
    def decode(self, token_ids: list[int], **options: Any) -> Any: ...
    def apply_chat_template(self, conversation: Any, **options: Any) -> Any: ...


def surfaces(ids: Sequence[int], tokenizer: Tokenizer) -> list[str]:
    """The readable entries of token ids, as in `Token.token`; ``<123>`` for an id that the vocabulary does not have."""
    entries = Entries(tokenizer)
    return [entries.surface(int(token_id)) for token_id in ids]


class Entries:
    """How one tokenizer spells its entries (byte-level, ``▁``, ``</w>`` or plain), found by having it join some."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._surfaces: dict[int, str] = {}
        self._bytes: dict[str, int] = {}
        if self._join("Ġ") == " ":
            self._bytes = _gpt2_alphabet()
        elif self._join("Ã", "©") == "é":  # ByT5: each byte is the character of that number
            self._bytes = {chr(byte): byte for byte in range(256)}
        self._metaspace = self._join("a", "▁b") == "a b"
        model = getattr(getattr(tokenizer, "backend_tokenizer", None), "model", None)
        self._suffix: str = getattr(model, "end_of_word_suffix", None) or ""
        if not self._suffix and self._join("a</w>").strip() == "a":
            self._suffix = "</w>"
        marks = set(getattr(tokenizer, "all_special_ids", ()))
        try:
            added = getattr(tokenizer, "added_tokens_decoder", {})
        except NotImplementedError:
            added = dict.fromkeys(marks)
        self._added = set(added)
        self.special = marks | {token_id for token_id, entry in added.items() if getattr(entry, "special", False)}
        unknown = {getattr(tokenizer, "unk_token_id", None), self._id(getattr(model, "unk_token", None) or "")}
        self.unknown = {token_id for token_id in unknown if token_id is not None}

    def surface(self, token_id: int) -> str:
        """The entry of one id, with bytes that are no whole character written as ``<0xF0>``."""
        if token_id not in self._surfaces:
            decoded = self._utf8(token_id).decode("utf-8", "surrogateescape")
            shown = re.sub("[\udc80-\udcff]", lambda match: f"<0x{ord(match[0]) - 0xDC00:02X}>", decoded)
            self._surfaces[token_id] = shown
        return self._surfaces[token_id]

    def reads(self, ids: Sequence[int], string: str) -> bool:
        """Whether the entries, one after the other, spell the string."""
        return b"".join(map(self._utf8, ids)) == string.encode()

    def find(self, string: str) -> int | None:
        """The id of the entry that reads exactly so, if there is one; of several, the one an encoder would choose."""
        piece = string
        if self._bytes:
            characters = {byte: character for character, byte in self._bytes.items()}
            piece = "".join(characters[byte] for byte in string.encode())
        elif self._metaspace:
            piece = string.replace(" ", "▁")
        byte = f"<0x{ord(string):02X}>" if len(string) == 1 else ""
        for candidate in (piece + self._suffix, piece, byte):
            token_id = self._id(candidate)
            if token_id is not None and self.surface(token_id) == string:
                return token_id
        token_id = self._id(string)  # added tokens are not spelt like the others
        return token_id if token_id in self._added else None

    def spelling(self, token_id: int) -> bytes | None:
        """The bytes that an entry puts into a text; None where entries alone do not say so (word pieces, whole words)."""
        if not self._bytes and not self._metaspace:
            return None
        return b"" if self._piece(token_id) is None else self._utf8(token_id)

    def _piece(self, token_id: int) -> str | None:
        try:
            piece = self._tokenizer.convert_ids_to_tokens(token_id)
        except (IndexError, KeyError, OverflowError, TypeError, ValueError):
            return None
        return None if piece is None else str(piece)

    def _utf8(self, token_id: int) -> bytes:
        piece = self._piece(token_id)
        if piece is None:  # an id that the vocabulary does not have (a padded embedding matrix)
            return f"<{token_id}>".encode()
        if token_id not in self._added:
            if self._suffix and len(piece) > len(self._suffix):
                piece = piece.removesuffix(self._suffix)
            if self._bytes and all(character in self._bytes for character in piece):
                return bytes(self._bytes[character] for character in piece)
            if self._metaspace:
                byte = re.fullmatch(r"<0x([0-9A-F]{2})>", piece)
                if byte:
                    return bytes([int(byte[1], 16)])
                piece = piece.replace("▁", " ")
        return piece.encode("utf-8", "surrogatepass")

    def _join(self, *pieces: str) -> str:
        join = getattr(self._tokenizer, "convert_tokens_to_string", None)
        if join is None:
            return ""
        try:
            return str(join(list(pieces)))
        except (KeyError, NotImplementedError, TypeError, ValueError):
            return ""  # it has no such entries, so it does not spell this way

    def _id(self, piece: str) -> int | None:
        if not piece:
            return None
        try:
            token_id = self._tokenizer.convert_tokens_to_ids(piece)
        except (KeyError, TypeError, ValueError):
            return None
        # Where an entry is missing, tokenizers answer None or the unknown token's id.
        known = token_id is not None and self._tokenizer.convert_ids_to_tokens(token_id) == piece
        return int(token_id) if known else None


def _gpt2_alphabet() -> dict[str, int]:
    """The characters that stand for bytes in byte-level vocabularies: printable ones for themselves."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = sorted(set(range(256)) - set(printable))
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}
