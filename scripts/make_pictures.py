"""The pictures of README and docs, made anew from the bundled models: ``python scripts/make_pictures.py [FOLDER]``.

Needs a chromium or chrome on PATH and playwright (``pip install '.[test]'``), which drives it.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import lxtlike

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FOLDER = Path(__file__).parents[1] / "docs" / "pictures"
WIDTH = 860

BINDING = "the box holds a red ball and the bag holds a blue hat . the hat is"
JOKES = "the jokes are stale , but the acting is superb and the ending is moving ."


@dataclass(frozen=True)
class Picture:
    """A page, what is done on it, and in which colours it is taken; the drawer is left out unless `whole`."""

    name: str
    page: str
    scheme: str
    act: Callable[[Page], object]
    whole: bool = False


def nothing(page: Page) -> None:
    """Leave the page as it opens."""


def pinned(*places: int) -> Callable[[Page], None]:
    """Click the first of these outputs and shift-click the others."""

    def act(page: Page) -> None:
        for number, place in enumerate(places):
            page.locator("#text button").nth(place).click(modifiers=["Shift"] if number else [])

    return act


def reversed_at(word: str) -> Callable[[Page], None]:
    """Click an input."""
    return lambda page: page.locator("#text a", has_text=word).first.click()


def chosen(value: str) -> Callable[[Page], None]:
    """Choose a granularity or a view."""
    return lambda page: page.locator(f"input[value={value}]").check(force=True)


def pictures() -> Iterator[Picture]:
    """Every picture, in the order of the docs."""
    language = lxtlike.Explainer.from_pretrained("bindings")
    sentiment = lxtlike.Explainer.from_pretrained("sentiment")
    one = language.explain(BINDING).to_html()
    contrast = sentiment.explain(JOKES, target="positive", contrast="negative").to_html()
    many = language.generate(BINDING, max_new_tokens=8).to_html()
    yield Picture("explanation", one, "light", nothing, whole=True)
    yield Picture("explanation-dark", contrast, "dark", chosen("word"), whole=True)
    yield Picture("generation", many, "light", pinned(0))
    yield Picture("generation-span", many, "dark", pinned(2, 6))
    yield Picture("generation-reverse", many, "light", reversed_at("red"))
    yield Picture("generation-matrix", many, "light", chosen("matrix"))


def compared(folder: Path) -> Path:
    """Three methods in one figure."""
    results = [
        lxtlike.Explainer.from_pretrained("sentiment", composite=name).explain(
            JOKES, target="positive", contrast="negative"
        )
        for name in ("attnlrp", "cp-lrp", "input-x-gradient")
    ]
    target = folder / "comparison.png"
    lxtlike.compare(results).savefig(target, dpi=160)
    return target


def take(browser: Browser, picture: Picture, folder: Path) -> Path:
    """Open, act, and save what is seen."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "page.html"
        file.write_text(picture.page, encoding="utf-8")
        page = browser.new_page(
            viewport={"width": WIDTH, "height": 1400}, color_scheme=picture.scheme, device_scale_factor=1.5
        )
        page.goto(file.as_uri())
        picture.act(page)
        page.mouse.move(1, 1)
        page.wait_for_timeout(100)
        last = page.locator("footer" if picture.whole else ".bar").bounding_box()
        assert last is not None
        target = folder / f"{picture.name}.png"
        bottom = last["y"] + (0 if picture.whole else last["height"] + 16)
        page.screenshot(path=target, clip={"x": 0, "y": 0, "width": WIDTH, "height": bottom})
        page.close()
    return target


def main() -> None:
    """Write all pictures to the folder named on the command line, or to docs/pictures."""
    from playwright.sync_api import sync_playwright

    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        sys.exit("there is no chromium or chrome on PATH")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-quic"])
        for picture in pictures():
            target = take(browser, picture, folder)
            print(f"{target}  {target.stat().st_size / 1000:.0f} kB")
        browser.close()
    print(compared(folder))


if __name__ == "__main__":
    main()
