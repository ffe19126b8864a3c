"""Tables: one line for each token, for each unit where the result is grouped, for each output of a generation.

Columns are ``index,id,token,text,start,end,special,relevance``, for units ``index,label,text,start,end,tokens,relevance``
(`tokens`: their indices with spaces between). Of a generation they are ``index,id,token,position,value`` and then one for
each token, headed by it. Matrices also come in long form, one number a line. Numbers are raw, in full precision.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, TypeAlias

from lxtlike.errors import InputError
from lxtlike.render.decoded import joined
from lxtlike.render.signs import COMMAND

TOKEN_COLUMNS = ("index", "id", "token", "text", "start", "end", "special", "relevance")
UNIT_COLUMNS = ("index", "label", "text", "start", "end", "tokens", "relevance")
OUTPUT_COLUMNS = ("index", "id", "token", "position", "value")
LONG_COLUMNS = {
    "layers": ("layer", "index", "token", "relevance"),
    "heads": ("layer", "head", "relevance"),
    "pairs": ("output", "output_token", "index", "token", "relevance"),
}

Lines: TypeAlias = tuple[Sequence[str], Sequence[Sequence[Any]]]
"""The column names, and the rows."""

_NAMED = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}


def csv(result: Mapping[str, Any], kind: str | None = None, *, spreadsheet: bool = False) -> str:
    """Comma-separated values after RFC 4180, lines ending in a newline; any text survives a CSV reader unchanged.

    Args:
        kind: as in `table`.
        spreadsheet: write ``'`` before a text that a spreadsheet would take for a formula (``=1+1``), which changes it.
            Without it nothing but quoting is done, and such a file should be imported with its columns as text.
    """
    return as_csv(table(result, kind), spreadsheet)


def tsv(result: Mapping[str, Any]) -> str:
    """Tab-separated values, one line for each row whatever its text: controls become ``\\t``, ``\\n``, ``\\x1b``."""
    return as_tsv(table(result))


def as_csv(lines: Lines, spreadsheet: bool) -> str:
    """Any lines, as `csv` writes them."""
    begins = re.compile("[=+\\-@\t\r\n＝＋－＠]") if spreadsheet else re.compile("(?!)")
    return written(lines, ",", lambda text: _quoted("'" + text if begins.match(text) else text))


def as_tsv(lines: Lines) -> str:
    """Any lines, as `tsv` writes them."""
    return written(lines, "\t", lambda text: re.sub(rf"\\|{COMMAND.pattern}", _escaped, text))


def table(result: Mapping[str, Any], kind: str | None = None) -> Lines:
    """Columns and rows, as Python values.

    Args:
        kind: None for a row for each token, unit or output; in long form ``layers`` and ``heads`` of an attribution, counted
            from 1 (layer 0 are the embeddings), and ``pairs`` of output and input of a generation, as far as the output.

    Raises:
        InputError: an unknown kind, or one that the result has no numbers for.
    """
    if kind is None:
        return _matrix(result) if "outputs" in result else _list(joined(result))
    if kind not in LONG_COLUMNS:
        raise InputError(f"table {kind!r} is unknown: use {', '.join(LONG_COLUMNS)}, or none")
    if not result.get("outputs" if kind == "pairs" else kind):
        how = "only a generation has them" if kind == "pairs" else "ask for them when explaining"
        raise InputError(f"this result has no {kind}: {how}")
    names = [token["token"] for token in result["tokens"]]
    if kind == "heads":
        rows = [[layer, h, x] for layer, row in enumerate(result["heads"], 1) for h, x in enumerate(row, 1)]
    elif kind == "layers":
        rows = [[layer, i, names[i], x] for layer, row in enumerate(result["layers"]) for i, x in enumerate(row)]
    else:
        rows = [
            [output["index"], output["token"], i, names[i], x]
            for output in result["outputs"]
            for i, x in enumerate(output["relevance"][: output["position"]])
        ]
    return LONG_COLUMNS[kind], rows


def written(lines: Lines, separator: str, guard: Callable[[str], str] = str) -> str:
    """A table as text; `guard` makes of a string what may stand between separators."""
    head, rows = lines
    guard = cache(guard)  # in long form each token comes many times
    return "".join(
        separator.join(guard(value) if isinstance(value, str) else _field(value) for value in line) + "\n"
        for line in (head, *rows)
    )


def _list(result: Mapping[str, Any]) -> Lines:
    units = result.get("units")
    columns = UNIT_COLUMNS if units else TOKEN_COLUMNS
    rows = [{"label": None, **unit, "index": index} for index, unit in enumerate(units)] if units else result["tokens"]
    return columns, [[row[column] for column in columns] for row in rows]


def _matrix(result: Mapping[str, Any]) -> Lines:
    head = [*OUTPUT_COLUMNS, *(token["token"] for token in result["tokens"])]
    return head, [
        [*(output[column] for column in OUTPUT_COLUMNS), *output["relevance"]] for output in result["outputs"]
    ]


def _field(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return "" if value is None else str(value)


def _quoted(field: str) -> str:
    return '"' + field.replace('"', '""') + '"' if re.search('[",\r\n]', field) else field


def _escaped(match: re.Match[str]) -> str:
    character = match.group()
    code = ord(character)
    return _NAMED.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")
