"""What a file holds, record by record: a file of any length takes little memory."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from lxtlike.errors import InputError, LxtlikeError, one_of

JSON, TEXT, PARQUET = "json", "text", "parquet"
"""Kinds of files; a table of text is of the kind that separates its cells."""

_SUFFIXES = {
    ".jsonl": JSON,
    ".ndjson": JSON,
    ".json": JSON,
    ".csv": ",",
    ".tsv": "\t",
    ".txt": TEXT,
    ".parquet": PARQUET,
}
_AT_ONCE = 256
"""Records of a Parquet file that are read together."""


def kind_of(path: str | Path, begin: bytes) -> str:
    """The kind of a file, from its suffix or else from the bytes it begins with; `TEXT` if they say nothing."""
    begin = begin.removeprefix(b"\xef\xbb\xbf")
    told = PARQUET if begin.startswith(b"PAR1") else JSON if begin.lstrip().startswith(b"{") else TEXT
    return _SUFFIXES.get(Path(path).suffix.lower(), told)


def records(file: BinaryIO, kind: str, name: str, needed: Sequence[str]) -> Iterator[Any]:
    """The records of a file: a text, a mapping, or whatever a line of JSON spells (None: nothing).

    Bytes that are not UTF-8 become halves of surrogate pairs, which no text has: it is the record's fault alone.

    Args:
        name: of the file, for messages.
        needed: columns that a table must have.

    Raises:
        InputError: a table without these columns, or that is none.
        LxtlikeError: a Parquet file, and pyarrow is not installed.
    """
    if kind == PARQUET:
        yield from _parquet(file, name, needed)
        return
    text = io.TextIOWrapper(file, "utf-8-sig", "surrogateescape", newline="\n" if kind in (JSON, TEXT) else "")
    try:
        if kind in (JSON, TEXT):
            lines = (line.removesuffix("\n").removesuffix("\r") for line in text if line.strip())
            yield from lines if kind == TEXT else map(_object, lines)
        else:
            yield from _table(text, kind, name, needed)
    finally:
        if not file.closed:
            text.detach()  # what was opened by others is not closed here


def _table(text: io.TextIOWrapper, separator: str, name: str, needed: Sequence[str]) -> Iterator[dict[str, Any]]:
    table = csv.DictReader(text, delimiter=separator)
    try:
        check_columns(tuple(table.fieldnames or ()), needed, name)
        yield from table
    except csv.Error as error:
        raise InputError(f"{name!r} is no table in line {table.line_num}: {error}") from error


def _parquet(file: BinaryIO, name: str, needed: Sequence[str]) -> Iterator[dict[str, Any]]:
    pyarrow, parquet = arrow()
    try:
        found = parquet.ParquetFile(file)
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{name!r} is no Parquet file: {error}") from error
    check_columns(tuple(found.schema_arrow.names), needed, name)
    for batch in found.iter_batches(_AT_ONCE):
        yield from batch.to_pylist()


def arrow() -> tuple[Any, Any]:
    """The modules pyarrow and pyarrow.parquet.

    Raises:
        LxtlikeError: they are not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise LxtlikeError("Parquet needs pyarrow, which is not here: pip install 'lxtlike[data]'") from error
    return pyarrow, parquet


def check_columns(there: tuple[str, ...], needed: Sequence[str], name: str) -> None:
    """Raise InputError if a column that is needed is not there."""
    for column in needed:
        if column not in there:
            known = one_of(column, there) if there else "it has none"
            raise InputError(f"{name!r} has no column {column!r}: {known} (--text-column and its like name them)")


@contextmanager
def opened(path: Path | None) -> Iterator[tuple[BinaryIO, str]]:
    """A file, open to be read, and its kind; None: what stdin holds, JSON lines.

    Raises:
        InputError: it cannot be read, or nobody has given stdin anything.
    """
    if path is None:
        if sys.stdin is None or sys.stdin.isatty():
            raise InputError("stdin is a terminal: give a file, or pipe JSON lines into it")
        yield sys.stdin.buffer, JSON
        return
    try:
        file = path.open("rb")
    except OSError as error:
        raise InputError(f"cannot read {str(path)!r}: {error.strerror or error}") from error
    with file:
        yield file, kind_of(path, file.peek())


def count(path: Path) -> int:
    """How many records a file has.

    Raises:
        InputError: it cannot be read.
    """
    with opened(path) as (file, kind):
        if kind == PARQUET:
            return int(arrow()[1].ParquetFile(file).metadata.num_rows)
        found = (line for line in file if line.strip()) if kind in (JSON, TEXT) else records(file, kind, str(path), ())
        return sum(1 for _ in found)


def _object(line: str) -> Any:
    try:
        return json.loads(line)
    except (RecursionError, ValueError):
        return None
