"""Untrusted text and numbers as HTML, and what of a piece of text becomes which element."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from markupsafe import Markup, escape

from lxtlike.render import scale
from lxtlike.render.flow import named
from lxtlike.render.signs import COMMAND, sign
from lxtlike.render.view import Piece, View
from lxtlike.text.chat import TEMPLATE

_SURROGATE = re.compile("[\ud800-\udfff]")


def encodable(page: str) -> str:
    """Lone surrogates, which no file can hold, as the replacement character."""
    return _SURROGATE.sub("\ufffd", page)


def verbatim(text: str) -> Markup:
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


def quoted(text: str) -> Markup:
    """`text` as a label on one line: as `verbatim`, but spaces alone have a sign, and so has a tab."""
    return verbatim(text).replace("\t", "⇥") if text.strip(" ") else Markup(named(text))


def decimal(value: float) -> str:
    """Two decimals in the fewest characters that CSS reads: .83, -.5, 1, 0."""
    short = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if short == "-0" else short.replace("0.", ".", 1) if short.lstrip("-").startswith("0.") else short


def inline(ratio: float) -> str:
    """Declarations for front ends without our style sheet: a light background with dark ink reads on any page."""
    line = ";text-decoration:underline dotted" if ratio < 0.0 else ""
    return f"background-color:{scale.LIGHT.background(ratio)};color:{scale.LIGHT.ink}{line}"


@dataclass(frozen=True)
class Stretch:
    """A piece of the text as markup: an `a` with `attributes` or, where they are None, what lies between tokens.

    `parts` are the labels of the parts of the text that begin here; of what the chat template writes there is none.
    """

    parts: tuple[str, ...]
    attributes: Markup | None
    text: str


def stretches(view: View) -> Iterator[Stretch]:
    """The text of `view` by tokens, each with the ratio of what it is counted with; the script relies on the order."""
    ratio = _ratio(view)
    outputs = {output["position"] for output in view.outputs}
    parts = sorted(((part["start"], part["label"]) for part in view.result.get("parts") or ()), reverse=True)
    place, last, within = 0, -1, ""
    for piece in view.by_token.pieces:
        place += len(piece.text)
        labels = []
        while parts and parts[-1][0] < place + (not piece.text):  # a mark at the beginning of a part is in it
            within = parts.pop()[1]
            labels += [within] if within != TEMPLATE else []
        if piece.relevance is None:
            yield Stretch(tuple(labels), None, piece.text)
            continue
        attributes = _attributes(piece, ratio(piece), not outputs.isdisjoint(piece.rows), within == TEMPLATE)
        if piece.rows != (last + 1,):
            attributes += Markup(f' data-i="{" ".join(map(str, piece.rows))}"')
        last = piece.rows[-1]
        yield Stretch(tuple(labels), attributes, piece.text)


def _ratio(view: View) -> Callable[[Piece], float]:
    """What gives a piece of tokens its ratio: its own sum or, where the result is grouped, that of its unit."""
    units = view.result.get("units")
    if not units:
        return lambda piece: view.scale.ratio(piece.relevance or 0.0)
    owner = {token: row.relevance for row, unit in zip(view.rows, units, strict=True) for token in unit["tokens"]}
    return lambda piece: view.scale.ratio(owner.get(piece.rows[0], 0.0))


def _attributes(piece: Piece, ratio: float, output: bool, template: bool) -> Markup:
    """Its ratio, or that it is special; its label where it has no text. An output is a button that stays in the line."""
    marks = ' role=button tabindex=-1 aria-pressed="false"' if output else ""
    names = [name for name, has in (("s", piece.special), ("t", template and piece.text)) if has]
    marks += f' class="{" ".join(names)}"' if len(names) > 1 else f" class={names[0]}" if names else ""
    if not piece.special:
        marks += f" style=--r:{decimal(ratio)}"
    if not piece.text.strip():
        label = escape(named(piece.label))
        marks += f' data-t="{label}"' if not piece.text else ""
        marks += f' aria-label="{label}"' if output else ""
    return Markup(marks)
