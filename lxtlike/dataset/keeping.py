"""A file of texts explained into another file, by a run that can be ended at any moment and gone on with.

Every batch that is explained goes into a journal at once, each process into its own (``out.jsonl.journal``,
``out.jsonl.journal.1``, ...), with the numbers of its rows. When all rows are there, the main process writes the output, whole,
and takes the journals away. Whatever the moment at which a run is killed, a row is in a journal as a whole or not at all,
and one that is there twice is the same row.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from glob import escape
from itertools import chain
from pathlib import Path
from typing import Any

from lxtlike.dataset.explaining import Asking, windows
from lxtlike.dataset.journal import check, check_free, kept, read
from lxtlike.dataset.processes import Processes
from lxtlike.dataset.records import count, opened
from lxtlike.dataset.rows import Columns, stream
from lxtlike.dataset.writing import Tally, check_output, write_rows
from lxtlike.errors import InputError, LxtlikeError
from lxtlike.explainer import Explainer
from lxtlike.version import versions

Progress = Callable[[int, int | None], None]
"""Called with how many rows this process has finished, and how many there are about for it (None: nobody knows)."""


class Journals:
    """The journals beside an output, and where in them the results of finished rows stand (10 bytes for each row).

    Args:
        output: the file that is made of them in the end.
        processes: those that share the run.
    """

    def __init__(self, output: Path, processes: Processes) -> None:
        self._first = output.with_name(f"{output.name}.journal")
        self.own = self._of(processes.number)
        self.temporary = output.with_name(f"{output.name}.journal.part")
        self._places, self._journals = array("q"), array("H")
        self._paths: list[Path] = []

    def _of(self, number: int) -> Path:
        return self._first.with_name(f"{self._first.name}.{number}") if number else self._first

    @property
    def paths(self) -> list[Path]:
        """Those that are there, of this run or of one before with more processes."""
        numbered = self._first.parent.glob(f"{escape(self._first.name)}.*")
        others = (path for path in numbered if path.suffix[1:].isdecimal())
        return [path for path in (self._first, *sorted(others)) if path.exists()]

    def begin_anew(self) -> None:
        """Take away what another run has left; InputError if that is still going on."""
        for path in self.paths:
            check_free(path)
        self.remove()

    def remove(self) -> None:
        """Take them away."""
        for path in [*self.paths, self.temporary]:
            path.unlink(missing_ok=True)

    def look(self, head: Mapping[str, Any]) -> None:
        """See which rows are finished.

        Raises:
            InputError: a journal is none, or one of another run.
        """
        self._paths = self.paths
        for journal, path in enumerate(self._paths):
            check(path, head)
            for place, entry in read(path):
                self._put(entry["row"], journal, place)

    def _put(self, row: int, journal: int, place: int) -> None:
        if (more := row + 1 - len(self._places)) > 0:
            self._places.extend([-1] * more)
            self._journals.extend([0] * more)
        self._places[row], self._journals[row] = place, journal

    def __contains__(self, row: int) -> bool:
        return row < len(self._places) and self._places[row] >= 0

    def __len__(self) -> int:
        return sum(place >= 0 for place in self._places)

    def results(self) -> Iterator[dict[str, Any]]:
        """What was found for each row, in order."""
        with ExitStack() as stack:
            files = [stack.enter_context(path.open("rb")) for path in self._paths]
            for journal, place in zip(self._journals, self._places, strict=True):
                files[journal].seek(place)
                yield json.loads(files[journal].readline())["result"]


def explain_file(
    explainer: Explainer,
    source: Path | None,
    output: Path,
    asking: Asking,
    *,
    columns: Columns | None = None,
    resume: bool = False,
    processes: Processes | None = None,
    progress: Progress | None = None,
) -> Tally:
    """Explain the rows of a file, in batches, into JSON lines or Parquet, in order; what the main process says of them.

    Args:
        source: JSON lines, CSV, TSV, Parquet, or one text a line; None: JSON lines from stdin, which cannot be gone on with.
        output: where results go when all are there; ends in ``.jsonl`` or ``.parquet``.
        columns: what the keys or columns of the source are called.
        resume: go on with what an interrupted run kept, if there is something.
        processes: those that share the run; None: this one alone.

    Raises:
        InputError: the source cannot be read or has no such column, it is the output, or the run that was interrupted was
            another one or is still going on.
        LxtlikeError: rows are missing in the end.
    """
    columns, processes = columns or Columns(), processes or Processes()
    check_output(output)
    if source is None and resume:
        raise InputError("only what is read from a file can be resumed: what stdin held before cannot be known")
    if source is not None and output.exists() and output.samefile(source):
        raise InputError(f"{str(output)!r} is the input, too: write the results to another file")
    journals = Journals(output, processes)
    head = _head(explainer, source, asking, columns)
    total = finished = 0

    def wanted(window: int, rows: Sequence[int]) -> bool:
        nonlocal total
        total = rows[-1] + 1
        return window % processes.count == processes.number and not all(row in journals for row in rows)

    with opened(source) as (file, kind):
        rows = stream(file, kind, str(source or "stdin"), columns, chat=asking.chat is not False)
        found = windows(explainer, rows, asking, wanted, journals.__contains__)
        if processes.main and not resume:
            journals.begin_anew()
        processes.wait()
        with kept(journals.own, head, resume) as journal:
            journals.look(head)
            expected = None
            if progress is not None and source is not None:
                expected = -(-(count(source) - len(journals)) // processes.count)
            for batch in chain.from_iterable(found):
                journal.add(*({"row": row.number, "result": row.to_dict()} for row in batch))
                finished += len(batch)
                if progress is not None:
                    progress(finished, expected)
            processes.wait()
            tally = _written(output, journals, head, total) if processes.main else Tally()
    if processes.main:
        journals.remove()
    return tally


def _written(output: Path, journals: Journals, head: Mapping[str, Any], rows: int) -> Tally:
    """Make the output of what all processes have found."""
    journals.look(head)
    missing = next((row for row in range(rows) if row not in journals), None)
    if missing is not None:
        raise LxtlikeError(
            f"row {missing} was finished by no process: all must write into one folder; --resume goes on"
        )
    tally = Tally()
    for result in journals.results():
        tally.counted(result)
    write_rows(output, journals.results, journals.temporary)
    return tally


def _head(explainer: Explainer, source: Path | None, asking: Asking, columns: Columns) -> dict[str, Any]:
    """What decides the results."""
    asked = {name: value for name, value in asdict(asking).items() if name != "strict"}
    return {
        "input": _digest(source),
        "model": explainer.name,
        "weights": explainer.fingerprint(),
        "composite": explainer.composite.name,
        **asked,
        "method": explainer.method(asking.method).name,
        "columns": asdict(columns),
        "versions": versions(),
    }


def _digest(source: Path | None) -> str | None:
    if source is None:
        return None
    found = hashlib.sha256()
    with opened(source) as (file, _):
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()[:16]
