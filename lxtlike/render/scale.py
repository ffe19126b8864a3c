"""The colour scale: relevance to a ratio in [-1, 1], a ratio to a colour, a value to a number as people read it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

Rgb = tuple[int, int, int]

QUANTILE = 0.99
# Opacity is |ratio| ** GAMMA: below 1, so that weak relevance is still seen. The style sheet computes the same.
GAMMA = 0.8
# Ratios from here on are marked where marks are drawn: weaker ones are next to nothing.
SEEN = 0.05


def quantile(values: Iterable[float], q: float) -> float:
    """The q-quantile of the finite `values`, linear between neighbours; 0 when there are none."""
    ordered = sorted(value for value in values if math.isfinite(value))
    if not ordered:
        return 0.0
    place = q * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


@dataclass(frozen=True)
class Scale:
    """A scale symmetric around zero.

    Attributes:
        limit: the |relevance| at the ends of the scale, in units of the target; 0 when there is nothing to colour.
        rule: how `limit` was chosen, in words for the legend.
    """

    limit: float
    rule: str

    @classmethod
    def of(cls, relevance: Iterable[float]) -> Scale:
        """The scale of these values: the 99th percentile of their magnitudes, or their largest where that is zero."""
        sizes = [abs(value) for value in relevance if math.isfinite(value)]
        limit = quantile(sizes, QUANTILE)
        if limit > 0.0:
            return cls(limit, "99th percentile of |relevance|")
        if any(sizes):
            return cls(max(sizes), "largest |relevance|")
        return cls(0.0, "all relevance is zero")

    def ratio(self, relevance: float) -> float:
        """`relevance` over the limit, clipped to [-1, 1]; 0 for anything that has no place on the scale."""
        if self.limit == 0.0 or not math.isfinite(relevance):
            return 0.0
        return max(-1.0, min(1.0, relevance / self.limit))


def _rgb(code: str) -> Rgb:
    return int(code[1:3], 16), int(code[3:5], 16), int(code[5:7], 16)


@dataclass(frozen=True)
class Theme:
    """Colours as ``#rrggbb``: for the target, against it, of the text and of the page."""

    favour: str
    against: str
    ink: str
    paper: str

    def rgb(self, ratio: float) -> Rgb:
        """The colour of a sign, not mixed with anything."""
        return _rgb(self.favour if ratio > 0 else self.against)

    def background(self, ratio: float) -> str:
        """The colour behind a token with this ratio, already mixed with the page, as ``#rrggbb``."""
        opacity = abs(ratio) ** GAMMA
        mixed = (round(p + (c - p) * opacity) for p, c in zip(_rgb(self.paper), self.rgb(ratio), strict=True))
        return "#" + "".join(f"{channel:02x}" for channel in mixed)


LIGHT = Theme(favour="#ef8a62", against="#67a9cf", ink="#1f2328", paper="#ffffff")
DARK = Theme(favour="#b2182b", against="#2166ac", ink="#e6edf3", paper="#0d1117")
STRONG = Theme(favour=DARK.favour, against=DARK.against, ink=LIGHT.ink, paper=LIGHT.paper)
"""For heat maps, on which no text stands, and which lie on pale pictures."""
# For and against by palette, each on light and on dark paper. One grey has the underline alone for the sign.
PALETTES = {
    "red / blue": ((LIGHT.favour, DARK.favour), (LIGHT.against, DARK.against)),
    "orange / purple": (("#f1a340", "#9c4c06"), ("#a79fd0", "#5b3393")),
    "one grey": (("#9aa3ad", "#59626c"), ("#9aa3ad", "#59626c")),
}


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two ``#rrggbb`` colours, 1 to 21 (WCAG 2.2, relative luminance)."""

    def luminance(code: str) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in _rgb(code))]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    bright, dim = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def number(value: float, *, sign: bool = False) -> str:
    """`value` for people: four significant digits, three below 1; `sign` writes the plus as well."""
    if not math.isfinite(value):
        return str(value)
    if value == 0.0:
        return "0"
    plus = "+" if sign else ""
    power = math.floor(math.log10(abs(value)))
    if power >= 6 or power < -4:
        return f"{value:{plus}.2e}"
    return f"{value:{plus}.{2 - power if power < 0 else max(0, 3 - power)}f}"


def percent(share: float) -> str:
    """A share as a percentage with one decimal."""
    if not math.isfinite(share):
        return "–"
    return "<0.1%" if 0.0 < share < 0.0005 else f"{share:.1%}"
