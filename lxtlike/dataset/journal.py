"""What is finished of a long run, a line for each text, so that an interrupted run can go on where it was."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from lxtlike.errors import InputError

try:
    import fcntl
except ImportError:  # Windows: two runs on one file are not noticed there
    fcntl = None  # type: ignore[assignment]

SCHEMA = "lxtlike/journal/1"

Entry = dict[str, Any]
"""What is kept of one text: a JSON object."""


class Journal:
    """A file of JSON lines: a head that says what is computed, then one entry for each finished text, in order.

    Args:
        path: where it is kept; None keeps it in memory.
        file: the same, open to be added to.
    """

    def __init__(self, path: Path | None = None, file: BinaryIO | None = None) -> None:
        self._path, self._file = path, file
        self._kept: list[Entry] = []

    @property
    def entries(self) -> list[Entry]:
        """Those that are finished."""
        return self._kept if self._path is None else [entry for _, entry in read(self._path)]

    def add(self, *entries: Entry) -> None:
        """Keep some more, as whole lines that are handed to the system at once."""
        if self._file is None:
            self._kept.extend(entries)
        else:
            self._file.write(b"".join(map(_line, entries)))
            self._file.flush()


@contextmanager
def kept(path: Path | None, head: Mapping[str, Any], resume: bool) -> Iterator[Journal]:
    """A journal at `path` for as long as the run lasts; the file stays, for its owner to remove when all is saved.

    Args:
        path: None keeps nothing.
        head: what decides the entries; a journal with another head is not gone on with.
        resume: go on with what is there, if something is; else begin anew.

    Raises:
        InputError: the file cannot be read or written, holds something else or another run, or a run is still writing it.
    """
    if path is None:
        yield Journal()
        return
    with ExitStack() as stack:
        try:
            file = stack.enter_context(path.open("ab"))
            _alone(file, path)
            end = 0
            if resume:
                check(path, head)
                end = _whole(path)
            file.truncate(end)
            if not end:
                file.write(_line({"schema": SCHEMA, **head}))
                file.flush()
        except OSError as error:
            raise InputError(f"cannot keep a journal in {str(path)!r}: {error.strerror or error}") from error
        yield Journal(path, file)


def read(path: Path) -> Iterator[tuple[int, Entry]]:
    """The whole entries of a journal, each with the place in the file where its line begins.

    Raises:
        InputError: it holds something else.
    """
    with path.open("rb") as file:
        place = len(file.readline())
        for line in file:
            if line.endswith(b"\n"):  # else it was being written when the run was ended
                yield place, _read(line, path)
                place += len(line)


def check(path: Path, head: Mapping[str, Any]) -> None:
    """Raise InputError if a file is no journal, or one of another run; one whose head is not whole is of any run."""
    first, _ = _head(path)
    if first is None:
        return
    known = first.pop("schema", None)
    if known is None:
        raise _no_journal(path)
    if known != SCHEMA:
        raise InputError(f"{str(path)!r} has schema {known!r}, not {SCHEMA!r}: leave --resume out to begin anew")
    if first != (asked := json.loads(_line(head))):
        name = next(name for name in {**first, **asked} if first.get(name) != asked.get(name))
        was, now = (json.dumps(values.get(name))[:80] for values in (first, asked))
        raise InputError(
            f"{str(path)!r} was begun with another {name} ({was} instead of {now}): "
            "give the same options, or leave --resume out to begin anew"
        )


def check_free(path: Path) -> None:
    """Raise InputError if a run is still writing a journal."""
    with path.open("ab") as file:
        _alone(file, path)


def _head(path: Path) -> tuple[Entry | None, int]:
    """The first line of a journal, and where it ends; None and 0 where it is not whole."""
    with path.open("rb") as file:
        line = file.readline()
    return (_read(line, path), len(line)) if line.endswith(b"\n") else (None, 0)


def _whole(path: Path) -> int:
    """Where the last whole line ends."""
    with path.open("rb") as file:
        return sum(len(line) for line in file if line.endswith(b"\n"))


def _alone(file: BinaryIO, path: Path) -> None:
    """Raise InputError if another process is writing this file; no other may as long as it is open."""
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"another run is still writing {str(path)!r}: wait for it, or end it") from error


def _read(line: bytes, path: Path) -> Entry:
    try:
        found = json.loads(line)
    except (RecursionError, ValueError) as error:
        raise _no_journal(path) from error
    if not isinstance(found, dict):
        raise _no_journal(path)
    return found


def _no_journal(path: Path) -> InputError:
    return InputError(f"{str(path)!r} is no journal of a run: move it away, or leave --resume out")


def _line(entry: Mapping[str, Any]) -> bytes:
    return (json.dumps(entry, allow_nan=False) + "\n").encode("ascii")
