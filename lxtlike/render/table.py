"""Tables: one line for each token, or for each unit where the result is grouped.

Columns are ``index,id,token,text,start,end,special,relevance``, for units ``index,text,start,end,tokens,relevance``
(`tokens`: their indices with spaces between). Numbers are raw, in full precision.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from lxtlike.render.signs import COMMAND

TOKEN_COLUMNS = ("index", "id", "token", "text", "start", "end", "special", "relevance")
UNIT_COLUMNS = ("index", "text", "start", "end", "tokens", "relevance")

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
    units = result.get("units")
    columns = UNIT_COLUMNS if units else TOKEN_COLUMNS
    rows = [{**unit, "index": index} for index, unit in enumerate(units)] if units else result["tokens"]
    lines = [columns, *(tuple(_field(row[column]) for column in columns) for row in rows)]
    return "".join(separator.join(map(guard, line)) + "\n" for line in lines)


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
