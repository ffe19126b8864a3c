"""Figures with matplotlib: lines between the words of two texts, or the matrix of their pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lxtlike.errors import InputError
from lxtlike.render import canvas
from lxtlike.render.flow import named, shortened
from lxtlike.render.pairs.view import PairView
from lxtlike.render.scale import GAMMA, LIGHT, SEEN, number
from lxtlike.render.view import Row

KINDS = ("lines", "matrix")

_LETTER = 0.085  # inches, of a letter of 10 points
_GAP = 0.16
_COLUMNS = 60  # tokens a heat map names below itself


def figure(result: Mapping[str, Any], format: str = "png", kind: str | None = None, top: int = 20) -> bytes:
    """A figure of a similarity, as the bytes of a file; see `lxtlike.render.figure` and `drawing`."""
    return canvas.saved(drawing(result, kind, top), format)


def drawing(result: Mapping[str, Any], kind: str | None = None, top: int = 20) -> Any:
    """A figure of a similarity, as a `matplotlib.figure.Figure`.

    Args:
        result: an object of schema ``lxtlike/similarity/1``.
        kind: ``lines`` (both texts, one above the other, the strongest pairs joined by lines), or ``matrix``.
        top: how many lines are drawn.

    Raises:
        InputError: an unknown kind, or another schema.
        LxtlikeError: matplotlib is not installed.
    """
    view = PairView.of(result)
    kind = kind or "lines"
    if kind not in KINDS:
        raise InputError(f"figure kind {kind!r} is unknown: use {', '.join(KINDS)}")
    return _lines(view, top) if kind == "lines" else _map(view)


def _lines(view: PairView, top: int) -> Any:
    """Red lines for the similarity, blue dashed ones against it, as thick as the pair is strong."""
    sides = [[row for row in rows if not row.special] for rows in view.items]
    places, width = _placed(sides)
    drawn, (axes,) = canvas.figure(max(5.0, width + 0.4), 2.6)
    axes.set_axis_off()
    axes.set_xlim(-0.1, max(5.0, width + 0.4) - 0.3)
    axes.set_ylim(-0.22, 1.22)
    strongest = sorted(view.pairs, key=lambda pair: abs(pair.relevance))[-max(1, top) :]
    for pair in strongest:
        ratio = view.scale.ratio(pair.relevance)
        if abs(ratio) < SEEN:
            continue
        ends = places[0][pair.first.index], places[1][pair.second.index]
        weight = abs(ratio) ** GAMMA
        axes.plot(
            ends,
            (0.94, 0.06),
            color=LIGHT.favour if ratio > 0 else LIGHT.against,
            linewidth=0.6 + 5.0 * weight,
            alpha=0.25 + 0.7 * weight,
            linestyle="-" if ratio > 0 else (0, (2.5, 1.2)),
            solid_capstyle="round",
        )
    for height, rows, where, align in ((1.0, sides[0], places[0], "bottom"), (0.0, sides[1], places[1], "top")):
        words = [
            axes.text(where[row.index], height, shortened(named(row.label), 24), ha="center", va=align, fontsize=10)
            for row in rows
        ]
        canvas.plain(words)
    canvas.titled(drawn, _title(view))
    told = f"red: for the similarity, blue and dashed: against; the thickest lines are {number(view.scale.limit)}"
    canvas.plain([drawn.supxlabel(told, fontsize=canvas.SMALL, x=0.01, ha="left", color=LIGHT.ink)])
    return drawn


def _placed(sides: Sequence[Sequence[Row]]) -> tuple[list[dict[int, float]], float]:
    """Where the middle of each word of a text is, in inches, both texts spread over the same width, and that width."""
    sizes = [[_LETTER * max(1, len(shortened(named(row.label), 24))) for row in rows] for rows in sides]
    width = max(sum(row) + _GAP * len(row) for row in sizes)
    found = []
    for rows, own in zip(sides, sizes, strict=True):
        gap = (width - sum(own)) / max(1, len(own))
        at, middles = 0.0, {}
        for row, size in zip(rows, own, strict=True):
            middles[row.index] = at + (size + gap) / 2
            at += size + gap
        found.append(middles)
    return found, width


def _map(view: PairView) -> Any:
    """The matrix as coloured cells; special tokens are left out."""
    rows, columns = ([row for row in rows if not row.special] for rows in view.items)
    matrix = [[view.matrix[row.index][column.index] for column in columns] for row in rows]
    high, wide = len(rows), len(columns)
    height = min(12.0, max(2.6, 1.8 + 0.24 * high))
    drawn, (axes,) = canvas.figure(min(14.0, max(4.2, 2.2 + 0.24 * wide)), height)
    canvas.titled(drawn, _title(view))
    image = canvas.cells(axes, matrix, view.scale.limit, dotted=wide <= _COLUMNS and high <= _COLUMNS)
    beyond = any(abs(value) > view.scale.limit for line in matrix for value in line)
    bar = drawn.colorbar(image, ax=axes, pad=0.02, aspect=7 * height, extend="both" if beyond else "neither")
    bar.set_label("relevance of the pair", fontsize=canvas.SMALL)
    bar.ax.tick_params(labelsize=canvas.SMALL)
    canvas.plain([bar.ax.yaxis.label, *bar.ax.get_yticklabels()])
    across, down = range(0, wide, max(1, -(-wide // _COLUMNS))), range(0, high, max(1, -(-high // _COLUMNS)))
    canvas.ticks(axes.xaxis, across, [shortened(named(columns[i].label), 14) for i in across], rotation=90)
    canvas.ticks(axes.yaxis, down, [shortened(named(rows[i].label), 18) for i in down])
    return drawn


def _title(view: PairView) -> str:
    return f"{view.title} · {view.result['form']} · {view.result['composite']}"
