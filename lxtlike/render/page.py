"""HTML: a page that stands alone, and a fragment for notebooks.

Everything from the result is escaped by jinja2 (text) or by its `tojson` (data); the page allows its own script by hash
and nothing from the network. Colours are computed by the style sheet from each token's ``--r``, so the page needs no
script to be read.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib import resources
from itertools import pairwise
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from lxtlike.render import scale
from lxtlike.render.signs import COMMAND, sign
from lxtlike.render.view import Piece, View

# Notebooks keep every output in one file; more than this is not put there.
FRAGMENT_LIMIT = 2_000_000
_SURROGATE = re.compile("[\ud800-\udfff]")


def html(result: Mapping[str, Any]) -> str:
    """One self-contained page of a result: works from disk, in light and dark, printed, and without a script.

    The data in the page keep every number to float32 precision, which is what relevance has.

    Raises:
        InputError: the result has a schema that cannot be shown.
    """
    view = View.of(result)
    script = _source("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = _environment().get_template("page.html")
    style = Markup(_style("text.css") + _style("page.css"))
    return _encodable(
        page.render(
            view=view, style=style, script=Markup(script), script_hash=f"sha256-{digest}", data=_compact(result)
        )
    )


def fragment(result: Mapping[str, Any]) -> str:
    """The result as a piece of HTML for a notebook: no script, no id, its style inside a declarative shadow root.

    Where a front end leaves the shadow root closed (it inserts markup with ``innerHTML``) the same text is shown with
    inline colours. Above 2 MB only the tokens that hold most of |relevance| stay coloured, and the fragment says so.

    Raises:
        InputError: the result has a schema that cannot be shown.
    """
    view = View.of(result)
    template = _environment().get_template("fragment.html")
    style = Markup(_style("text.css") + _style("fragment.css"))
    rendered = ""
    for share, note in (
        (1.0, ""),
        (0.99, "only what holds 99 % of |relevance| is coloured"),
        (0.0, "too long to colour"),
    ):
        kept = view if share == 1.0 else replace(view, pieces=tuple(_strongest(view.pieces, share)))
        rendered = _encodable(template.render(view=kept, style=style, note=note))
        if len(rendered.encode()) <= FRAGMENT_LIMIT:
            return rendered
    return str(escape(f"{view.title}: too long for a notebook ({len(view.result['text'])} characters)."))


def _strongest(pieces: Sequence[Piece], share: float) -> Iterable[Piece]:
    """The pieces in order, those outside the strongest `share` of |relevance| as plain text and joined."""
    sizes = {
        i: abs(p.relevance) for i, p in enumerate(pieces) if p.relevance is not None and math.isfinite(p.relevance)
    }
    left = share * sum(sizes.values())
    keep = set()
    for i in sorted(sizes, key=lambda i: -sizes[i]):
        if left <= 0.0:
            break
        keep.add(i)
        left -= sizes[i]
    plain = ""
    for i, piece in enumerate(pieces):
        if i not in keep:
            plain += piece.text
            continue
        if plain:
            yield Piece(plain, "", (), None, False)
            plain = ""
        yield piece
    if plain:
        yield Piece(plain, "", (), None, False)


def _encodable(page: str) -> str:
    """Lone surrogates, which no file can hold, as the replacement character."""
    return _SURROGATE.sub("\ufffd", page)


def _verbatim(text: str) -> Markup:
    """`text` so that the browser's own text of it is the same, with a sign at newlines and at other commands.

    A command stands in an element of its own, which keeps what it does to itself. The parser would read a carriage
    return as a newline, so that is a reference, and it has no NUL.
    """
    return Markup(COMMAND.sub(_command, str(escape(text))))


def _command(match: re.Match[str]) -> str:
    character = match.group()
    if character == "\t":
        return character
    if character == "\n":
        return "<span class=n>\n</span>"
    kept = {"\r": "&#13;", "\0": "\ufffd"}.get(character, character)
    return f'<bdi class=c data-c="{sign(character)}">{kept}</bdi>'


def _decimal(value: float) -> str:
    """Two decimals in the fewest characters that CSS reads: .83, -.5, 1, 0."""
    short = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if short == "-0" else short.replace("0.", ".", 1) if short.lstrip("-").startswith("0.") else short


def _attributes(view: View, at: int, titles: bool) -> Markup:
    """The attributes of the span of piece `at`: its ratio, or that it is special; its label where it has no text.

    With `titles` its tooltip; without, what the page's script needs to write it: ``data-i``, the rows it stands for,
    where that is not simply the row after the span before.
    """
    piece = view.pieces[at]
    marks = " class=s" if piece.special else f" style=--r:{_decimal(view.scale.ratio(piece.relevance or 0.0))}"
    if not piece.text:
        marks += f' data-t="{escape(piece.label or "∅")}"'
    if titles or len(piece.rows) > 1:
        marks += f' title="{escape(view.tooltip(piece))}"'
    before = next((view.pieces[i].rows[-1] for i in range(at - 1, -1, -1) if view.pieces[i].rows), -1)
    if not titles and piece.rows != (before + 1,):
        marks += f' data-i="{" ".join(map(str, piece.rows))}"'
    return Markup(marks)


def _inline(ratio: float) -> str:
    """Declarations for front ends without our style sheet: a light background with dark ink reads on any page."""
    line = ";text-decoration:underline dotted" if ratio < 0.0 else ""
    return f"background-color:{scale.LIGHT.background(ratio)};color:{scale.LIGHT.ink}{line}"


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
    no index and no text where place and offsets tell them."""
    if not rows or any(row.keys() != rows[0].keys() for row in rows):
        return rows
    columns: dict[str, Any] = {key: [row[key] for row in rows] for key in rows[0]}
    if columns.get("index") == list(range(len(rows))):
        columns["index"] = None
    if columns["text"] == [text[row["start"] : row["end"]] for row in rows]:
        columns["text"] = None
    for key in ("start", "end"):
        columns[key] = {"steps": [after - before for before, after in pairwise([0, *columns[key]])]}
    if "special" in columns:
        columns["special"] = {"true": [i for i, row in enumerate(rows) if row["special"]]}
    return columns


def _compact(result: Mapping[str, Any]) -> dict[str, Any]:
    """The result for the page's script, about a third of its size as plain JSON; the script restores it."""
    lists = {key: _columns(result[key], result["text"]) for key in ("tokens", "units") if result.get(key)}
    compact: dict[str, Any] = _shortened({**result, **lists})
    return compact


def _source(name: str) -> str:
    return (resources.files("lxtlike.render") / "templates" / name).read_text(encoding="utf-8")


@cache
def _style(name: str) -> str:
    return _environment().get_template(name).render(light=scale.LIGHT, dark=scale.DARK, gamma=scale.GAMMA)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("lxtlike.render"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "ensure_ascii": False, "allow_nan": False}
    environment.filters |= {
        "verbatim": _verbatim,
        "number": scale.number,
        "percent": scale.percent,
        "decimal": _decimal,
        "inline": _inline,
    }
    environment.globals["attributes"] = _attributes
    return environment
