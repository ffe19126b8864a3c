"""Which composite suits an image classifier? Each is tried on a few images and ranked by what hiding relevant patches does.

python scripts/gamma_search.py --model digits-vit --composite attnlrp --composite attnlrp-gamma --set gamma=0.05,0.25 DIGITS/*.png

--set NAME=VALUES tries every value with every composite that has the parameter, and every combination of several; of one
family it is ``linear.gamma=0,0.1``. The definitions are in `lxtlike.vision.perturbing`.
"""

from __future__ import annotations

import argparse

from lxtlike import COMPOSITES, ImageExplainer, InputError
from lxtlike.composites import Composite
from lxtlike.vision import grid


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("images", nargs="+")
    parser.add_argument("--model", required=True)
    parser.add_argument("--composite", action="append", help=f"one of {', '.join(COMPOSITES)}")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUES", dest="values")
    parser.add_argument("--target")
    parser.add_argument(
        "--cell", type=int, help="edge of what is hidden at once, in pixels; without it the model's patch"
    )
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--replacement", choices=("mean", "blur"), default="mean")
    options = parser.parse_args()
    values = dict(setting.split("=") for setting in options.values)
    numbers = {name: [float(value) for value in text.split(",")] for name, text in values.items()}
    composites = [made for name in options.composite or ["attnlrp-gamma"] for made in _tried(name, numbers)]
    explainer = ImageExplainer.from_pretrained(options.model)
    cell = options.cell or "patch"
    search = explainer.search(
        composites, options.images, options.target, cell=cell, steps=options.steps, replacement=options.replacement
    )
    print(search)


def _tried(name: str, numbers: dict[str, list[float]]) -> list[str]:
    """A composite with all values of the parameters that it has."""
    own = {}
    for parameter, chosen in numbers.items():
        try:
            Composite.parse(f"{name}:{parameter}=0")
        except InputError:
            continue
        own[parameter] = chosen
    return grid(name, **own)


if __name__ == "__main__":
    main()
