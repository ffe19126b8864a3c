"""Texts, with what is known of each: read from a file, or given as Python objects."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO

from lxtlike.dataset.records import JSON, PARQUET, check_columns, kind_of, records
from lxtlike.errors import InputError
from lxtlike.text import Message, read_messages

Span = tuple[int, int]

_LOOKED_AT = 256
"""Of JSON lines, how many rows are looked at for their columns before the first is used."""

KNOWN_CAUSE = "known-cause"
"""The name of the bundled sentences whose cause is known; see docs/bundled-models.md."""


@dataclass(frozen=True)
class Row:
    """One text, and what is asked about it.

    Attributes:
        id: its own, or its number in the file, counted from 0.
        text: of a chat its messages, or one user turn.
        target, contrast, completion, context: as `Explainer.explain` takes them.
        evidence: character spans of what should be relevant; None where that is not known.
        error: why the row cannot be used; its text may be empty then.
    """

    id: str | int
    text: str | list[Message]
    target: str | int | None = None
    contrast: str | int | None = None
    completion: str | None = None
    context: str | None = None
    evidence: tuple[Span, ...] | None = None
    error: str | None = None


@dataclass(frozen=True)
class Columns:
    """What keys or columns of a file are called; those that a row does not have are left out."""

    text: str = "text"
    target: str = "target"
    contrast: str = "contrast"
    completion: str = "completion"
    context: str = "context"
    evidence: str = "evidence"
    id: str = "id"


def read(path: str | Path, content: bytes | None = None, columns: Columns | None = None) -> list[Row]:
    """The rows of a file: JSON lines, CSV or TSV with a head, Parquet, or one text a line.

    Args:
        path: a file, whose suffix says which (``.jsonl``, ``.csv``, ``.tsv``, ``.parquet``, ``.txt``); else one that begins
            with ``{`` is JSON lines and any other is one text a line. "known-cause": the bundled sentences for `bindings`.
        content: instead of what the file holds.
        columns: what its keys or columns are called.

    Raises:
        InputError: it cannot be read, is not UTF-8, holds no text at all, or no row has a text.
    """
    name, columns = str(path), columns or Columns()
    if content is None:
        path, columns = located(path, columns)
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            raise InputError(f"cannot read {name!r}: {error.strerror or error}") from error
    kind = kind_of(path, content[:4096])
    try:
        if kind != PARQUET:
            content.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = f"byte {error.object[error.start]:#04x} at {error.start}"
        raise InputError(f"{name!r} is not valid UTF-8 ({byte}): convert it, for example with iconv") from error
    found = records(io.BytesIO(content), kind, name, [columns.text])
    rows = [_row(number, record, columns) for number, record in enumerate(found)]
    if not rows:
        raise InputError(f"{name!r} holds no text: give a file of JSON lines, CSV, or one text a line")
    if all(row.error for row in rows):
        raise InputError(f"no row of {name!r} can be used; the first one: {rows[0].error}")
    return rows


def located(path: str | Path, columns: Columns) -> tuple[Path, Columns]:
    """Where a file is and what its columns are called; "known-cause" is the bundled one, if there is no other."""
    if str(path) != KNOWN_CAUSE or Path(path).exists():
        return Path(path), columns
    return Path(__file__).parents[1] / "assets" / "known_cause.jsonl", Columns(target="answer", evidence="cause")


def stream(file: BinaryIO, kind: str, name: str, columns: Columns, *, chat: bool = False) -> Iterator[Row]:
    """The rows of a file, one after the other; a row that cannot be used has an error, and there may be none.

    Args:
        kind: as `lxtlike.dataset.records.kind_of` tells it.
        name: of the file, for messages.
        columns: what its keys or columns are called ("": there is none); the text's, and those that are called otherwise
            than usual, must be there, of JSON lines among the first rows.
        chat: a text is a list of messages, as such or spelt in JSON, or one user turn.

    Raises:
        InputError: one of them is not, or it is no such file.
    """
    usual = asdict(Columns())
    needed = [own for key, own in asdict(columns).items() if own and (key == "text" or own != usual[key])]
    found = records(file, kind, name, needed)
    first = list(islice(found, _LOOKED_AT))
    if kind == JSON and first:
        check_columns(tuple({key: None for one in first if isinstance(one, Mapping) for key in one}), needed, name)
    return (_row(number, record, columns, chat) for number, record in enumerate(chain(first, found)))


def taken(rows: Iterable[Row | str | Mapping[str, Any]]) -> list[Row]:
    """Rows of a caller's own: texts, mappings with the keys of `Columns`, or rows.

    Raises:
        InputError: there is none.
    """
    found = list(given(rows))
    if not found:
        raise InputError("there is no text to evaluate on: give at least one")
    return found


def given(rows: Iterable[Row | str | list[Message] | Mapping[str, Any]], *, chat: bool = False) -> Iterator[Row]:
    """Rows of a caller's own, as `taken`, one after the other; there may be none. Of a `chat` a row may be its messages."""
    for number, row in enumerate(rows):
        yield row if isinstance(row, Row) else _row(number, row, Columns(), chat)


def _row(number: int, given: Any, columns: Columns, chat: bool = False) -> Row:
    if isinstance(given, str) or (chat and isinstance(given, list)):
        given = {columns.text: given}
    if not isinstance(given, Mapping):
        return Row(number, "", error="the row is no JSON object")
    identity = _identity(given.get(columns.id), number)
    text = given.get(columns.text)
    try:
        if text is None:
            keys = ", ".join(repr(key) for key in given if key is not None) or "none"
            raise InputError(
                f"the row has no {columns.text!r}, its keys are {keys}: name the right one (--text-column)"
            )
        said = _messages(text, columns.text) if chat else _text(text, columns.text)
        return Row(
            identity,
            said,
            target=_choice(given.get(columns.target), columns.target),
            contrast=_choice(given.get(columns.contrast), columns.contrast),
            completion=_optional(given.get(columns.completion), columns.completion),
            context=_optional(given.get(columns.context), columns.context),
            evidence=_spans(given.get(columns.evidence), columns.evidence, said) if isinstance(said, str) else None,
        )
    except InputError as error:
        return Row(identity, text if isinstance(text, str) else "", error=str(error))


def _identity(value: Any, number: int) -> str | int:
    """A row's own id, if it is a number or a text that can be written (half a surrogate pair cannot)."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    usable = isinstance(value, str) and value and value == value.encode(errors="replace").decode()
    return str(value) if usable else number


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise InputError(f"{name!r} must be a text, not {value!r}")
    return value


def _messages(value: Any, name: str) -> str | list[Message]:
    found = read_messages(value) if isinstance(value, str) else value
    if not isinstance(found, str | list):
        raise InputError(f"{name!r} must be a list of messages, or one user turn, not {value!r}")
    return found


def _optional(value: Any, name: str) -> str | None:
    return None if value in (None, "") else _text(value, name)


def _choice(value: Any, name: str) -> str | int | None:
    """A target: a text, an id, or nothing."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return _optional(value, name)


def _spans(value: Any, name: str, text: str) -> tuple[Span, ...] | None:
    """Character spans within the text, as lists or as a cell of a table that spells them in JSON."""
    if value in (None, "", []):
        return None
    try:
        found = json.loads(value) if isinstance(value, str) else value
        spans = tuple((start, end) for start, end in found)
        whole = all(type(place) is int for span in spans for place in span)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name!r} must be spans such as [[3, 8], [12, 15]], not {value!r}") from error
    if not whole or any(not 0 <= start < end <= len(text) for start, end in spans):
        raise InputError(f"{name!r} must be spans within the text's {len(text)} characters, not {value!r}")
    return spans
