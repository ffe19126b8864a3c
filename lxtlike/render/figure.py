"""Figures with matplotlib: bars of tokens, relevance layer by layer, outputs against inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lxtlike.errors import InputError
from lxtlike.render import canvas
from lxtlike.render.flow import named, shortened
from lxtlike.render.scale import LIGHT, Scale, number
from lxtlike.render.view import View

KINDS = ("bars", "layers", "heads", "matrix")

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
    return canvas.saved(drawing(result, kind, top), format)


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
    drawn, (axes,) = canvas.figure(6.0, 1.0 + 0.24 * max(3, len(rows)))
    values = [row.relevance for row in rows]
    colours = [LIGHT.favour if value > 0 else LIGHT.against for value in values]
    bars = axes.barh(range(len(rows)), values, color=colours)
    for bar, value in zip(bars, values, strict=True):
        bar.set_hatch("///" if value < 0 else "")
        bar.set_edgecolor("white")
    amounts = [number(value, sign=True).replace("-", "−") for value in values]
    axes.bar_label(bars, amounts, padding=3, fontsize=canvas.SMALL - 1, color=LIGHT.ink)
    axes.margins(x=0.12, y=0.5 / max(1, len(rows)))
    axes.invert_yaxis()
    axes.axvline(0.0, color=LIGHT.ink, linewidth=0.8)
    canvas.ticks(axes.yaxis, range(len(rows)), [shortened(named(row.label), 24) for row in rows])
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(f"relevance for the {view.value_name}", fontsize=canvas.SMALL)
    canvas.plain([axes.xaxis.label])
    canvas.titled(drawn, view.title)
    return drawn


def _map(view: View, kind: str) -> Any:
    """Rows of numbers as coloured cells. Special tokens do not set the scale, and are off it but for layers."""
    matrix: list[Sequence[float]] = (
        [output["relevance"] for output in view.outputs] if kind == "matrix" else list(view.result[kind])
    )
    wide, high = len(matrix[0]), len(matrix)
    tokens = view.by_token.rows
    special = [False] * wide if kind == "heads" else [row.special for row in tokens]
    scale = Scale.of(x for line in matrix for x, off in zip(line, special, strict=True) if not off)
    if kind == "matrix":
        matrix = [[canvas.NOTHING if off else x for x, off in zip(line, special, strict=True)] for line in matrix]
    height = min(12.0, max(2.6, 1.8 + 0.2 * high))
    drawn, (axes,) = canvas.figure(min(14.0, max(4.0, 1.8 + 0.2 * wide)), height)
    canvas.titled(drawn, view.title)
    image = canvas.cells(axes, matrix, scale.limit, dotted=wide <= _COLUMNS and high <= _COLUMNS)
    beyond = any(abs(x) > scale.limit for line in matrix for x in line)
    bar = drawn.colorbar(image, ax=axes, pad=0.02, aspect=7 * height, extend="both" if beyond else "neither")
    bar.set_label("relevance", fontsize=canvas.SMALL)
    bar.ax.tick_params(labelsize=canvas.SMALL)
    canvas.plain([bar.ax.yaxis.label, *bar.ax.get_yticklabels()])
    down = range(0, high, max(1, -(-high // _COLUMNS)))
    across = range(0, wide, max(1, -(-wide // _COLUMNS)))
    if kind == "heads":
        canvas.ticks(axes.xaxis, across, [str(i + 1) for i in across])  # counted from 1, as on the page
        canvas.ticks(axes.yaxis, down, [f"layer {i + 1}" for i in down])
        axes.set_xlabel("head", fontsize=canvas.SMALL)
        return drawn
    canvas.ticks(axes.xaxis, across, [shortened(named(tokens[i].label), 14) for i in across], rotation=90)
    if kind == "matrix":
        canvas.ticks(axes.yaxis, down, [shortened(named(view.outputs[i]["token"]), 18) for i in down])
    else:
        canvas.ticks(axes.yaxis, down, ["embeddings" if i == 0 else f"layer {i}" for i in down])
    return drawn
