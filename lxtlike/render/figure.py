"""Figures with matplotlib: bars of tokens, relevance layer by layer, outputs against inputs."""

from __future__ import annotations

import importlib
import io
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from lxtlike.errors import InputError, LxtlikeError
from lxtlike.render.flow import named, shortened
from lxtlike.render.scale import LIGHT, Scale
from lxtlike.render.view import View

FORMATS = ("png", "svg", "pdf")
KINDS = ("bars", "layers", "heads", "matrix")

# Of these the machine's are used, in this order, for whatever the ones before have no glyph.
_FONTS = """DejaVu Sans,Noto Sans,Noto Sans CJK SC,Noto Sans CJK JP,Noto Sans Arabic,Noto Sans Hebrew,Noto Sans Devanagari,
Noto Sans Thai,Arial Unicode MS,PingFang SC,Microsoft YaHei,Segoe UI Symbol""".replace("\n", "").split(",")
_COLUMNS = 60  # tokens a heat map names below itself


def figure(result: Mapping[str, Any], format: str = "png", kind: str | None = None, top: int = 20) -> bytes:
    """A figure of a result, as the bytes of a file.

    Args:
        format: ``png``, ``svg`` or ``pdf``.
        result, kind, top: as in `drawing`.

    Raises:
        InputError: as `drawing`, or an unknown format.
        LxtlikeError: matplotlib is not installed.
    """
    if format not in FORMATS:
        raise InputError(f"figure format {format!r} is unknown: use {', '.join(FORMATS)}")
    return _saved(drawing(result, kind, top), format)


def drawing(result: Mapping[str, Any], kind: str | None = None, top: int = 20) -> Any:
    """A figure of a result, as a `matplotlib.figure.Figure`.

    Drawn without `pyplot`: no window, no state and no setting of matplotlib is changed. Text is set as it is, never read as
    formulas.

    Args:
        result: an object of schema ``lxtlike/attribution/1`` or ``lxtlike/generation/1``.
        kind: ``bars`` (the strongest tokens in reading order), ``layers`` (layers x tokens), ``heads`` (layers x heads) or
            ``matrix`` (outputs x tokens); None takes the matrix of a generation and bars of anything else.
        top: how many tokens the bars show.

    Raises:
        InputError: an unknown kind, one that the result has no numbers for, or another schema.
        LxtlikeError: matplotlib is not installed.
    """
    view = View.of(result)
    kind = kind or ("matrix" if view.outputs else "bars")
    if kind not in KINDS:
        raise InputError(f"figure kind {kind!r} is unknown: use {', '.join(KINDS)}")
    if kind == "matrix" and not view.outputs:
        raise InputError("this result has no matrix: only a generation has one")
    if kind in ("layers", "heads") and not view.result.get(kind):
        raise InputError(f"this result has no {kind}: ask for them when explaining")
    return _bars(view, top) if kind == "bars" else _map(view, kind)


def _bars(view: View, top: int) -> Any:
    """The strongest rows as horizontal bars, in reading order from above."""
    strongest = sorted((*view.ranked(1, top), *view.ranked(-1, top)), key=lambda row: -abs(row.relevance))[
        : max(1, top)
    ]
    rows = sorted(strongest, key=lambda row: row.index)
    drawn, axes = _figure(6.0, 1.0 + 0.24 * max(3, len(rows)))
    values = [row.relevance for row in rows]
    colours = [LIGHT.favour if value > 0 else LIGHT.against for value in values]
    bars = axes.barh(range(len(rows)), values, color=colours)
    for bar, value in zip(bars, values, strict=True):
        bar.set_hatch("///" if value < 0 else "")
        bar.set_edgecolor("white")
    axes.margins(y=0.5 / max(1, len(rows)))
    axes.invert_yaxis()
    axes.axvline(0.0, color=LIGHT.ink, linewidth=0.8)
    _named(axes.yaxis, range(len(rows)), [shortened(named(row.label), 24) for row in rows])
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    _titled(view, axes, f"relevance for the {view.value_name}")
    return drawn


def _map(view: View, kind: str) -> Any:
    """Rows of numbers as coloured cells; what is special is off the scale and grey."""
    matrix: list[Sequence[float]] = (
        [output["relevance"] for output in view.outputs] if kind == "matrix" else list(view.result[kind])
    )
    tokens = view.by_token.rows
    off = [False] * len(matrix[0]) if kind == "heads" else [row.special for row in tokens]
    scale = Scale.of(x for line in matrix for x, special in zip(line, off, strict=True) if not special)
    cells = [[_NO if special else x for x, special in zip(line, off, strict=True)] for line in matrix]
    wide, high = len(matrix[0]), len(matrix)
    drawn, axes = _figure(min(14.0, max(4.0, 1.8 + 0.2 * wide)), min(12.0, max(2.6, 1.8 + 0.2 * high)))
    limit = scale.limit or 1.0
    image = axes.imshow(cells, cmap=_colours(), vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest")
    bar = drawn.colorbar(image, ax=axes, pad=0.02)
    _plain([bar.ax.yaxis.label, *bar.ax.get_yticklabels()])
    if kind == "heads":
        axes.set_xlabel("head")
        axes.set_ylabel("layer")
        for axis, count in ((axes.xaxis, wide), (axes.yaxis, high)):  # counted from 1, as on the page
            places = range(0, count, max(1, -(-count // _COLUMNS)))
            _named(axis, places, [str(i + 1) for i in places])
    else:
        step = max(1, -(-wide // _COLUMNS))
        places = range(0, wide, step)
        _named(axes.xaxis, places, [shortened(named(tokens[i].label), 14) for i in places])
        for label in axes.get_xticklabels():
            label.set_rotation(90)
        if kind == "matrix":
            places = range(0, high, max(1, -(-high // _COLUMNS)))
            _named(axes.yaxis, places, [shortened(named(view.outputs[i]["token"]), 18) for i in places])
        else:
            axes.set_ylabel("layer (0: the embeddings)")
    _titled(view, axes, "")
    return drawn


_NO = float("nan")  # drawn in the colour for bad values


@cache
def _colours() -> Any:
    colors = _matplotlib("colors")
    made = colors.LinearSegmentedColormap.from_list("lxtlike", [LIGHT.against, LIGHT.paper, LIGHT.favour], N=255)
    return made.with_extremes(bad="#e8eaed")


def _figure(width: float, height: float) -> tuple[Any, Any]:
    drawn = _matplotlib("figure").Figure(figsize=(width, height), layout="constrained", facecolor=LIGHT.paper)
    return drawn, drawn.add_subplot()


def _named(axis: Any, places: Sequence[int], labels: Sequence[str]) -> None:
    """Ticks with untrusted labels."""
    axis.set_ticks(list(places), labels=list(labels), fontsize=8)
    _plain(axis.get_ticklabels())


def _titled(view: View, axes: Any, label: str) -> None:
    title = axes.set_title(shortened(named(view.title), 90), fontsize=10, loc="left")
    _plain([title, axes.set_xlabel(label or axes.get_xlabel(), fontsize=9)])


def _plain(texts: Sequence[Any]) -> None:
    """Text that shows what it says: no formulas between dollars, no TeX, and fonts for other scripts."""
    for text in texts:
        text.set_parse_math(False)
        text.set_usetex(False)
        text.set_fontfamily(_families())


@cache
def _families() -> list[str]:
    installed = {font.name for font in _matplotlib("font_manager").fontManager.ttflist}
    return [name for name in _FONTS if name in installed]


def _saved(drawn: Any, format: str) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings():
        # A script that no font of this machine has is shown as boxes.
        warnings.filterwarnings("ignore", message=r"(?s).*[Gg]lyph.*")
        warnings.filterwarnings("ignore", message=r"(?s).*Matplotlib currently does not support")
        drawn.savefig(file, format=format, dpi=160, metadata={"Date": None} if format == "svg" else None)
    return file.getvalue()


def _matplotlib(module: str) -> Any:
    try:
        return importlib.import_module(f"matplotlib.{module}")
    except ImportError as error:
        raise LxtlikeError("figures need matplotlib, which is not here: pip install 'lxtlike[plot]'") from error
