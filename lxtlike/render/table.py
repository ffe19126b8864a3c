"""Tables: one line for each token, for each unit where the result is grouped, for each output of a generation.

Columns are ``index,id,token,text,start,end,special,relevance``, for units ``index,text,start,end,tokens,relevance``
(`tokens`: their indices with spaces between). Of a generation they are ``index,id,token,position,value`` and then one for
each token, headed by it. Numbers are raw, in full precision.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from lxtlike.render.signs import COMMAND

TOKEN_COLUMNS = ("index", "id", "token", "text", "start", "end", "special", "relevance")
UNIT_COLUMNS = ("index", "text", "start", "end", "tokens", "relevance")
OUTPUT_COLUMNS = ("index", "id", "token", "position", "value")

Lines: TypeAlias = tuple[Sequence[Any], Sequence[Sequence[Any]]]
"""The column names, and the rows."""

_NAMED = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}


def csv(result: Mapping[str, Any]) -> str:
    """Comma-separated values after RFC 4180, lines ending in a newline; any text survives a CSV reader unchanged.

    Nothing but quoting is done: a text that begins with ``=`` is a formula to a spreadsheet, so import it as text.
    """
    return _table(result, ",", _quoted)


def tsv(result: Mapping[str, Any]) -> str:
    """Tab-separated values, one line for each row whatever its text: controls become ``\\t``, ``\\n``, ``\\x1b``."""
    return _table(result, "\t", lambda field: re.sub(rf"\\|{COMMAND.pattern}", _escaped, field))


def _table(result: Mapping[str, Any], separator: str, guard: Callable[[str], str]) -> str:
    head, lines = _matrix(result) if "outputs" in result else _list(result)
    return "".join(separator.join(guard(_field(value)) for value in line) + "\n" for line in (head, *lines))


def _list(result: Mapping[str, Any]) -> Lines:
    units = result.get("units")
    columns = UNIT_COLUMNS if units else TOKEN_COLUMNS
    rows = [{**unit, "index": index} for index, unit in enumerate(units)] if units else result["tokens"]
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
