"""HTML: a page that stands alone, and the same page as a fragment for notebooks.

Everything from the result is escaped by jinja2 (text) or by its `tojson` (data); the page allows its own script by hash
and nothing from the network. Colours are computed by the style sheet from each token's ``--r``, so the page needs no
script to be read.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from lxtlike.render import markup, scale
from lxtlike.render.groups import Runs
from lxtlike.render.packing import compact
from lxtlike.render.view import Piece, View

# A page above this keeps of a generation's matrix only what holds most of it.
PAGE_LIMIT = 4_000_000
# Notebooks keep every output in one file; more than this is not put there.
FRAGMENT_LIMIT = 2_000_000
KEPT = 0.99
_NOTE = "only the largest entries, which hold 99 % of |relevance|, are in this page"


def html(result: Mapping[str, Any]) -> str:
    """One self-contained page of a result: works from disk, in light and dark, printed, and without a script.

    The data in the page keep an attribution's relevance to float32 precision and a generation's to 1/127 of the largest in
    its row. Above 4 MB they keep the largest entries, which hold 99 % of |relevance|, and the page says so.

    Args:
        result: an object of schema ``lxtlike/attribution/1`` or ``lxtlike/generation/1``.

    Raises:
        InputError: the result has another schema.
    """
    view = View.of(result)
    page = _rendered("page.html", view, compact(view.result))
    if len(page.encode()) > PAGE_LIMIT and view.outputs:
        page = _rendered("page.html", view, compact(view.result, KEPT), note=_NOTE)
    return page


def fragment(result: Mapping[str, Any]) -> str:
    """The result as a piece of HTML for a notebook: the page in a shadow root, with its data, its style and its script.

    The script opens the shadow root. Where scripts do not run or are removed, the same text is shown with inline colours.
    Above 2 MB the fragment is no longer interactive, and only the tokens that hold most of |relevance| stay coloured; it
    says so.

    Args:
        result: an object of schema ``lxtlike/attribution/1`` or ``lxtlike/generation/1``.

    Raises:
        InputError: the result has another schema.
    """
    view = View.of(result)
    attempts: tuple[Callable[[], str], ...] = (
        lambda: _live(view, 1.0, "", view.pieces),
        lambda: _live(view, KEPT, _NOTE, _strongest(view, 0.0)),
        lambda: _rendered("static.html", view, None, note=_STATIC, plain=_strongest(view, KEPT)),
        lambda: _rendered("static.html", view, None, note="too long to colour", plain=_strongest(view, 0.0)),
    )
    for attempt in attempts:
        rendered = attempt()
        if len(rendered.encode()) <= FRAGMENT_LIMIT:
            return rendered
    return str(escape(f"{view.title}: too long for a notebook ({len(view.result['text'])} characters)."))


_STATIC = "too long to be interactive here; only what holds 99 % of |relevance| is coloured"


def script_hash() -> str:
    """The hash by which a content security policy allows the script of pages and fragments."""
    return digest(_script())


def digest(script: str) -> str:
    """The hash by which a content security policy allows a script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _live(view: View, share: float, note: str, plain: Iterable[Piece]) -> str:
    page = _rendered("shadow.html", view, compact(view.result, share), note=note)
    return _rendered("fragment.html", view, None, note=note, plain=plain, page=page)


def _rendered(
    template: str,
    view: View,
    data: Mapping[str, Any] | None,
    note: str = "",
    plain: Iterable[Piece] = (),
    page: str = "",
) -> str:
    groups = data["groups"] if data else {}
    granularity = _granularity(view.result.get("units"), groups)
    extra = [name for name in ("layers", "heads") if view.result.get(name)]
    return markup.encodable(
        environment()
        .get_template(template)
        .render(
            view=view,
            data=data,
            note=note,
            plain=plain,
            page=page,
            stretches=markup.stretches(view),
            views=["text", "table", *(["matrix"] if view.outputs else []), *extra],
            layers="layers" in extra,
            granularities=["token", *groups, *([granularity] if granularity == "units" else [])],
            granularity=granularity,
            grouped=granularity if granularity == "units" else f"{granularity}s",
            open=template == "page.html",
            style=Markup(style()),
            script=Markup(_script()),
            digest=script_hash(),
            palettes=list(scale.PALETTES),
        )
    )


def _granularity(units: Sequence[Mapping[str, Any]] | None, groups: Mapping[str, Runs]) -> str:
    """What the result's own units are called: "token" without any, "units" where none of the page's `groups` is the same."""
    if not units:
        return "token"
    sizes = [len(unit["tokens"]) for unit in units]
    in_order = [token for unit in units for token in unit["tokens"]] == list(range(sum(sizes)))
    runs = {name: [run if isinstance(run, int) else run["length"] for run in group] for name, group in groups.items()}
    return next((name for name, lengths in runs.items() if in_order and lengths == sizes), "units")


def _strongest(view: View, share: float) -> Iterable[Piece]:
    """The pieces in order, those outside the strongest `share` of |relevance| as plain text and joined."""
    pieces: Sequence[Piece] = view.pieces
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


@cache
def _script() -> str:
    """The page's script in its small form, without the line that says of what source it is."""
    source = (resources.files("lxtlike.render") / "templates" / "page.min.js").read_text(encoding="utf-8")
    return source.partition("\n")[2].strip()


@cache
def style() -> str:
    """The style sheet of every page and fragment."""
    source = environment().get_template("page.css")
    return source.render(light=scale.LIGHT, dark=scale.DARK, gamma=scale.GAMMA, palettes=scale.PALETTES).replace(
        "\n", ""
    )


@cache
def environment() -> Environment:
    """The templates, with what they call."""
    environment = Environment(
        loader=PackageLoader("lxtlike.render"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "ensure_ascii": False, "allow_nan": False}
    environment.filters |= {
        "verbatim": markup.verbatim,
        "quoted": markup.quoted,
        "number": scale.number,
        "percent": scale.percent,
        "decimal": markup.decimal,
        "inline": markup.inline,
    }
    return environment
