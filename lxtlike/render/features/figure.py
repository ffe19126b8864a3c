"""Figures with matplotlib: bars of features, of one row with their values, of several rows as sums for and against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lxtlike.errors import InputError
from lxtlike.render import canvas
from lxtlike.render.features.view import FeatureView
from lxtlike.render.flow import named, shortened
from lxtlike.render.scale import LIGHT, number


def figure(result: Mapping[str, Any], format: str = "png", kind: str | None = None, top: int = 20) -> bytes:
    """A figure of explained rows, as the bytes of a file; see `lxtlike.render.figure` and `drawing`."""
    return canvas.saved(drawing(result, kind, top), format)


def drawing(result: Mapping[str, Any], kind: str | None = None, top: int = 20) -> Any:
    """Bars of the strongest features, the strongest one above, as a `matplotlib.figure.Figure`.

    Of one row: signed relevance, and the value beside the name. Of several: the mean of what spoke for the target to the
    right and of what spoke against it to the left; both together are the mean |relevance|.

    Args:
        result: an object of schema ``lxtlike/table/1``.
        kind: there is one, so None.
        top: how many features are shown.

    Raises:
        InputError: a kind, or another schema.
        LxtlikeError: matplotlib is not installed.
    """
    if kind is not None:
        raise InputError(f"explained rows have one figure, none of {kind!r}: leave the kind out")
    view = FeatureView.of(result)
    features = view.ranked(max(1, top))
    drawn, (axes,) = canvas.figure(6.4, 1.0 + 0.26 * max(3, len(features)))
    places = range(len(features))
    favour = axes.barh(places, [feature.favour for feature in features], color=LIGHT.favour, edgecolor="white")
    against = axes.barh(
        places, [feature.against for feature in features], color=LIGHT.against, edgecolor="white", hatch="///"
    )
    for bars, sizes in ((favour, [f.favour for f in features]), (against, [f.against for f in features])):
        amounts = [number(size, sign=True).replace("-", "−") if size else "" for size in sizes]
        axes.bar_label(bars, amounts, padding=3, fontsize=canvas.SMALL - 1, color=LIGHT.ink)
    axes.margins(x=0.14, y=0.5 / len(features))
    axes.invert_yaxis()
    axes.axvline(0.0, color=LIGHT.ink, linewidth=0.8)
    names = [shortened(named(feature.name), 32) for feature in features]
    values = ["" if feature.value is None else f" = {number(feature.value)}" for feature in features]
    canvas.ticks(axes.yaxis, places, [name + value for name, value in zip(names, values, strict=True)])
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    whole = "relevance for the" if view.single else "mean relevance, for and against, of the"
    axes.set_xlabel(f"{whole} {view.value_name.removeprefix('mean ')}", fontsize=canvas.SMALL)
    canvas.plain([axes.xaxis.label])
    canvas.titled(drawn, view.title)
    return drawn
