"""A result as few characters, for the page's script, which restores it."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from lxtlike.render.groups import runs
from lxtlike.render.matrix import STEPS, packed

# What a view of a generation has beside it: sums over the outputs, which are the attribution that the view shows.
_SUMMED = ("target", "prediction", "ledger")


def compact(result: Mapping[str, Any], share: float = 1.0) -> dict[str, Any]:
    """The result at about a third of its size as plain JSON, with the token `groups` that the page offers.

    Relevance of an attribution keeps its float32 precision. The matrix of a generation, and layers and heads, are packed;
    of the matrix only the entries that hold `share` of each row's magnitude. What that rounds, `rounded` says.
    """
    lists: dict[str, Any] = {
        key: _columns(result[key], result["text"]) for key in ("tokens", "units") if result.get(key)
    }
    if outputs := result.get("outputs"):
        lists["total"] = [token["relevance"] for token in result["tokens"]]
        lists["tokens"] = _columns(_without_relevance(result["tokens"]), result["text"])
        lists["matrix"] = packed([output["relevance"] for output in outputs], share)
        lists["outputs"] = _without_relevance(outputs)
    lists |= {key: packed(result[key]) for key in ("layers", "heads") if result.get(key)}
    if rows := [key for key in ("outputs", "layers", "heads") if result.get(key)]:
        lists["rounded"] = f"{', '.join(rows)}: relevance to 1/{STEPS} of the largest in its row"
        lists["rounded"] += f", and only the largest, which hold {share:.0%}" if share < 1.0 else ""
    kept = {key: value for key, value in result.items() if not (outputs and key in _SUMMED)}
    made: dict[str, Any] = _shortened({**kept, **lists, "groups": runs(result)})
    return made


def _without_relevance(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "relevance"} for row in rows]


def _shortest(value: float) -> float | None:
    """A float32 as the shortest float that is the same float32; any other as it is; NaN and infinity as None."""
    if not math.isfinite(value):
        return None
    if abs(value) > 1e38 or struct.unpack("f", single := struct.pack("f", value))[0] != value:
        return value
    rounded = (float(f"{value:.{digits}g}") for digits in range(1, 10))
    return next(short for short in rounded if struct.pack("f", short) == single)


def _shortened(value: Any) -> Any:
    """`value` with `_shortest` floats, through all lists and mappings."""
    if isinstance(value, float):
        return _shortest(value)
    if isinstance(value, Mapping):
        return {key: _shortened(item) for key, item in value.items()}
    return [_shortened(item) for item in value] if isinstance(value, list | tuple) else value


def _columns(rows: Sequence[Mapping[str, Any]], text: str) -> Any:
    """Rows with the same keys as columns, in few characters: offsets as steps, flags as the places where they are true,
    no index and no text where place and offsets tell them, 0 and 1 for a token that is its text without or with a space."""
    if not rows or any(row.keys() != rows[0].keys() for row in rows):
        return rows
    columns: dict[str, Any] = {key: [row[key] for row in rows] for key in rows[0]}
    if columns.get("index") == list(range(len(rows))):
        columns["index"] = None
    if "token" in columns:  # most are their text, or a space and their text
        forms = ([row["text"], " " + row["text"]] for row in rows)
        columns["token"] = [
            known.index(row["token"]) if row["token"] in known else row["token"]
            for row, known in zip(rows, forms, strict=True)
        ]
    if columns["text"] == [text[row["start"] : row["end"]] for row in rows]:
        columns["text"] = None
    for key in ("start", "end"):
        columns[key] = {"steps": [after - before for before, after in pairwise([0, *columns[key]])]}
    if "special" in columns:
        columns["special"] = {"true": [i for i, row in enumerate(rows) if row["special"]]}
    return columns
