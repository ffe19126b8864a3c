"""Results of many rows to one file: JSON lines, or Parquet with the same keys as nested columns."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from lxtlike.dataset.records import JSON, PARQUET, arrow, kind_of
from lxtlike.errors import InputError
from lxtlike.files import replaced
from lxtlike.ledger import Uncovered

Results = Callable[[], Iterable[Mapping[str, Any]]]
"""The results, as JSON objects, from the first on whenever it is called."""

_AT_ONCE = 512


@dataclass
class Tally:
    """What there is to say of many results.

    Attributes:
        rows, failed: how many there are, and how many of them have an error.
        first: the first that has one.
        uncovered: the operations that no rule covers, as sentences, each once.
    """

    rows: int = 0
    failed: int = 0
    first: Mapping[str, Any] | None = None
    uncovered: dict[str, None] = field(default_factory=dict)

    def counted(self, result: dict[str, Any]) -> dict[str, Any]:
        """The same result, counted."""
        self.rows += 1
        if "error" in result:
            self.failed += 1
            self.first = self.first or result
        else:
            self.uncovered.update((str(Uncovered(**one)), None) for one in result["audit"]["uncovered"])
        return result


def check_output(path: Path) -> None:
    """Raise unless results can be written to a file of this name, before anything is computed.

    Raises:
        InputError: its suffix is that of something else, or it is a device.
        LxtlikeError: it is a Parquet file, and pyarrow is not installed.
    """
    kind = kind_of(path, b"{")
    if path.suffix.lower() not in ("", ".parquet", ".jsonl", ".ndjson", ".json"):
        raise InputError(f"results are JSON lines or Parquet: {path.name!r} must end in .jsonl or .parquet")
    if path.exists() and not path.is_file():
        raise InputError(f"{str(path)!r} is no file that can be gone on with: leave -o out to write to stdout")
    if kind == PARQUET:
        arrow()


def line(result: Mapping[str, Any]) -> str:
    """A result as a line of JSON."""
    return json.dumps(result, ensure_ascii=False, allow_nan=False) + "\n"


def write_rows(path: Path, results: Results, temporary: Path) -> None:
    """Write results to a file that is there as a whole or not at all, by way of another one beside it."""
    with replaced(path, temporary) as place:
        if kind_of(path, b"{") == JSON:
            with place.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
                file.writelines(map(line, results()))
        else:
            _write_parquet(place, results)


def _write_parquet(path: Path, results: Results) -> None:
    pyarrow, parquet = arrow()
    schemas = [pyarrow.Table.from_pylist(part).schema for part in _parts(results)]
    if not schemas:
        schemas = [pyarrow.schema([("id", pyarrow.int64()), ("error", pyarrow.string())])]
    schema = pyarrow.unify_schemas(schemas, promote_options="permissive")
    with parquet.ParquetWriter(path, schema) as writer:
        for part in _parts(results):
            writer.write_table(pyarrow.Table.from_pylist(part, schema=schema))


def _parts(results: Results) -> Iterator[list[dict[str, Any]]]:
    """Some rows at a time, in which what may be of several kinds is of one: a table's columns are."""
    texts = any(isinstance(result["id"], str) for result in results())
    found = iter(results())
    while part := [_columns(result, texts) for result in islice(found, _AT_ONCE)]:
        yield part


def _columns(result: Mapping[str, Any], texts: bool) -> dict[str, Any]:
    row = {"id": None, "error": None, **result}
    if texts:
        row["id"] = str(row["id"])
    if "target" in row:
        words = {key: value for key in ("contrast", "reference") if isinstance(value := row["target"].get(key), str)}
        row["target"] = {**row["target"], **{key: {"id": None, "token": word} for key, word in words.items()}}
    return row
