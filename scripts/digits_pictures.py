"""The pictures of the rules on a handwritten digit: ``python scripts/digits_pictures.py [FOLDER]``, by default docs/pictures.

One digit under all rules side by side, for the convolution network and for the vision transformer; the same digit under one
kind of rule for each page of docs/rules; and two misread digits. Each panel has a scale of its own, symmetric around zero up
to the 99th percentile of |relevance|, and says what its relevance sums to.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lxtlike import Composite, ImageExplainer
from lxtlike.loading import load
from lxtlike.render import canvas
from lxtlike.render.scale import LIGHT, Scale, number

FOLDER = Path(__file__).parents[1] / "docs" / "pictures"
IMAGES = Path(__file__).parents[1] / "lxtlike" / "assets" / "images"
ZERO = np.asarray(Image.open(IMAGES / "digit-0.png"))
INCHES = 1.72  # of a panel

Grey = NDArray[np.uint8]
Rules = Mapping[str, str | Composite]
"""A panel's title -> its composite."""

CNN = (
    "lrp-0 epsilon:epsilon=0.1 gamma epsilon-plus epsilon-alpha2-beta1 epsilon-gamma-box epsilon-plus-flat "
    "layerwise layerwise-w-squared"
)
VIT = "input-x-gradient attnlrp cp-lrp attnlrp-gamma"


@dataclass(frozen=True)
class Panel:
    """What is drawn, relevance or a digit [8, 8], with words above and below it."""

    above: str
    below: str
    drawn: NDArray[Any]


def rule_pages() -> dict[str, Rules]:
    """Page of docs/rules -> what its picture shows, all of the convolution network."""
    plus, gamma = Composite.parse("epsilon-plus"), Composite.parse("gamma")
    first = {rule: plus.where({"convolution": rule}, first=True) for rule in ("w-squared", "flat")}
    low_gamma = Composite.parse("epsilon") | {"convolution": "generalized-gamma"}
    gammas = {f"gamma {g}": f"gamma:gamma={g}" for g in (0.05, 0.25, 1)}
    return {
        "epsilon": {"LRP-0": "lrp-0"} | {f"epsilon {e}": f"epsilon:epsilon={e}" for e in (0.1, 1)},
        "gamma": {"LRP-0": "lrp-0", **gammas},
        "alpha-beta": {
            "z+": "epsilon-plus",
            "alpha 1.5, beta 0.5": "epsilon-alpha2-beta1:alpha=1.5",
            "alpha 2, beta 1": "epsilon-alpha2-beta1",
        },
        "w-squared-and-flat": {"z+ everywhere": plus, "w² first": first["w-squared"], "flat first": first["flat"]},
        "box": {"gamma everywhere": low_gamma, r"$z^B$ first": "epsilon-gamma-box"},
        "batch-norm": {f"gamma, {rule}": gamma | {"batch-norm": rule} for rule in ("merged", "constant", "pass")},
    }


@cache
def loaded(name: str) -> tuple[Any, Any]:
    """A bundled classifier and its image processor."""
    found = load(name)
    return found.model, found.processor


def explained(
    name: str, digit: Grey, composite: str | Composite, target: str | None = None, contrast: str | None = None
) -> Any:
    """A result by the digit's own pixels, each of which the image processor may have made a square of."""
    model, processor = loaded(name)
    explainer = ImageExplainer(model, processor, composite=composite, name=name, strict=True)
    found = explainer.explain(digit, target, contrast=contrast)
    return found.by(found.channels.shape[-1] // digit.shape[-1])


def relevance(title: str, found: Any) -> Panel:
    return Panel(title, f"sum {amount(found.relevance.sum())}", found.relevance)


def amount(value: float) -> str:
    return number(float(value), sign=True).replace("-", "−")


def digit_panel(name: str, digit: Grey, title: str) -> Panel:
    """The digit, and what it is read as."""
    first, *_ = explained(name, digit, "attnlrp").prediction
    return Panel(title, f"reads a {first.token}: {amount(first.logit)}", digit)


def side_by_side(name: str, rules: Rules) -> list[Panel]:
    return [
        digit_panel(name, ZERO, name),
        *(relevance(title, explained(name, ZERO, rule)) for title, rule in rules.items()),
    ]


def misread(name: str, composite: str, digit: Grey, right: str) -> list[Panel]:
    """Why `right` was taken for something else, and how few pixels decided it."""
    found = explained(name, digit, composite)
    read = found.target.token
    against = explained(name, digit, composite, target=read, contrast=right)
    shown = [
        digit_panel(name, digit, f"{name}, a {right}"),
        relevance(f"for {read}", found),
        relevance(f"for {right}", explained(name, digit, composite, target=right)),
        relevance(f"for {read} rather than {right}", against),
    ]
    print(f"{name}: {deciding(name, digit, composite, right)} of {np.count_nonzero(digit)} inked pixels would do alone")
    changed = digit.copy()
    for count, place in enumerate(np.argsort(-against.relevance, axis=None), start=1):
        changed.flat[place] = 0
        if explained(name, changed, composite).target.token == right:
            return [*shown, digit_panel(name, changed, f"without {count} pixel{'s' if count > 1 else ''}")]
    return shown


def deciding(name: str, digit: Grey, composite: str, right: str) -> int:
    """How many single pixels, painted black, make the model read the digit rightly: what relevance is to be held against."""
    count = 0
    for place in np.flatnonzero(digit):
        changed = digit.copy()
        changed.flat[place] = 0
        count += explained(name, changed, composite).target.token == right
    return count


def save(file: Path, panels: Sequence[Panel], columns: int) -> None:
    rows = -(-len(panels) // columns)
    size = (INCHES * columns, (INCHES + 0.38) * rows)
    drawn = canvas.matplotlib("figure").Figure(figsize=size, layout="constrained", facecolor=LIGHT.paper)
    axes = drawn.subplots(rows, columns, squeeze=False).flat
    for place in axes[len(panels) :]:
        place.set_axis_off()
    for place, panel in zip(axes, panels, strict=False):
        draw(place, panel)
    file.write_bytes(canvas.saved(drawn, "png"))
    print(file)


def draw(place: Any, panel: Panel) -> None:
    if panel.drawn.dtype == np.uint8:
        place.imshow(panel.drawn, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    else:
        values = panel.drawn.tolist()
        canvas.cells(place, values, Scale.of(value for row in values for value in row).limit, dotted=False)
        place.set_aspect("equal")
    place.set_xticks([])
    place.set_yticks([])
    for spine in place.spines.values():
        spine.set_color("#d0d7de")
    place.set_title(panel.above, fontsize=8.5, color=LIGHT.ink, pad=3)
    place.set_xlabel(panel.below, fontsize=8, color=LIGHT.ink, labelpad=3)


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for name, composites in {"digits-cnn": CNN, "digits-vit": VIT}.items():
        save(folder / f"rules-{name}.png", side_by_side(name, {title: title for title in composites.split()}), 5)
    for page, rules in rule_pages().items():
        save(folder / f"rules-{page}.png", side_by_side("digits-cnn", rules), len(rules) + 1)
    wrong = []
    for name, composite in {"digits-cnn": "gamma", "digits-vit": "attnlrp-gamma"}.items():
        (path,) = IMAGES.glob(f"{name}-misreads-*.png")
        wrong += misread(name, composite, np.asarray(Image.open(path)), path.stem[-1])
    save(folder / "digits-misclassified.png", wrong, 5)


if __name__ == "__main__":
    main()
