"""The pictures of README and docs, made anew from the bundled models: ``python scripts/make_pictures.py [FOLDER]``.

Needs a chromium or chrome on PATH, pdftoppm for the picture of a print, and ``pip install '.[test]'``.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

import lxtlike

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FOLDER = Path(__file__).parents[1] / "docs" / "pictures"
WIDTH = 860

BINDING = "the box holds a red ball and the bag holds a blue hat . the hat is"
JOKES = "the jokes are stale , but the acting is superb and the ending is moving ."
KEYS = "anna has the red key and kim has the blue key . the red key opens the box . anna can open the"
TEMPLATE = (
    "{{ bos_token }} {% for d in documents %}{{ d['text'] }} . {% endfor %}"
    "{% for m in messages %}{{ m['content'] }} {% endfor %}"
)
DOCUMENTS = [{"text": "the box holds a red ball"}, {"text": "the bag holds a blue hat"}, {"text": "anna lives in rome"}]


@dataclass(frozen=True)
class Picture:
    """A page, what is done on it, in which colours and how wide it is taken; the drawer is left out unless `whole`."""

    name: str
    page: str
    scheme: str
    act: Callable[[Page], object]
    whole: bool = False
    width: int = WIDTH


def nothing(page: Page) -> None:
    """Leave the page as it opens."""


def pinned(*places: int) -> Callable[[Page], None]:
    """Click the first of these outputs and shift-click the others."""

    def act(page: Page) -> None:
        for number, place in enumerate(places):
            page.locator("#text [role]").nth(place).click(modifiers=["Shift"] if number else [])
        page.mouse.move(1, 1)

    return act


def reversed_at(word: str) -> Callable[[Page], None]:
    """Click an input."""
    return lambda page: page.locator("#text a", has_text=word).first.click()


def chosen(value: str) -> Callable[[Page], None]:
    """Choose a granularity or a view."""
    return lambda page: page.locator(f"input[value={value}]").check(force=True)


def over(view: str, across: float, down: float) -> Callable[[Page], None]:
    """Choose a heat map and point at it, these shares of its size from its corner."""

    def act(page: Page) -> None:
        chosen(view)(page)
        box = page.locator("#heat").bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + across * box["width"], box["y"] + down * box["height"])

    return act


def pictures() -> Iterator[Picture]:
    """Every picture of a page, in the order of the docs."""
    language = lxtlike.Explainer.from_pretrained("bindings")
    sentiment = lxtlike.Explainer.from_pretrained("sentiment")
    one = language.explain(BINDING).to_html()
    contrast = sentiment.explain(JOKES, target="positive", contrast="negative").to_html()
    many = language.generate(BINDING, max_new_tokens=8).to_html()
    inside = language.explain(KEYS, layers=True, heads=True).to_html()
    yield Picture("explanation", one, "light", nothing, whole=True)
    yield Picture("explanation-dark", contrast, "dark", chosen("word"), whole=True)
    yield Picture("generation", many, "light", pinned(0))
    yield Picture("generation-span", many, "dark", pinned(2, 6))
    yield Picture("generation-reverse", many, "light", reversed_at("red"))
    yield Picture("generation-matrix", many, "light", chosen("matrix"))
    yield Picture("layers", inside, "light", over("layers", 0.77, 0.5))
    yield Picture("heads", inside, "dark", over("heads", 0.1, 0.6))
    yield Picture("narrow", contrast, "light", nothing, whole=True, width=360)
    language.tokenizer.chat_template = TEMPLATE
    asked = [{"role": "user", "content": "the hat is"}]
    chat = language.generate(asked, chat={"documents": DOCUMENTS}, max_new_tokens=6)
    yield Picture("chat", chat.to_html(), "light", pinned(0))
    nine = Path(lxtlike.__file__).parent / "assets" / "images" / "digits-vit-misreads-9.png"
    seen = lxtlike.ImageExplainer.from_pretrained("digits-vit").explain(nine, contrast="9")
    yield Picture("image", seen.to_html(), "light", chosen("patch"), whole=True)


def take(browser: Browser, picture: Picture) -> bytes:
    """Open, act, and what is seen as PNG."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "page.html"
        file.write_text(picture.page, encoding="utf-8")
        size = {"width": picture.width, "height": 1600}
        page = browser.new_page(viewport=size, color_scheme=picture.scheme, device_scale_factor=1.5)
        page.goto(file.as_uri())
        picture.act(page)
        page.wait_for_timeout(300)
        last = page.locator("footer" if picture.whole else ".bar").bounding_box()
        assert last is not None
        bottom = last["y"] + (0 if picture.whole else last["height"] + 16)
        png = page.screenshot(clip={"x": 0, "y": 0, "width": picture.width, "height": bottom})
        page.close()
    return bytes(png)


def printed(browser: Browser, content: str) -> bytes:
    """The first sheet of a page as PNG, from a browser in dark colours that leaves backgrounds out."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "page.html"
        file.write_text(content, encoding="utf-8")
        page = browser.new_page(color_scheme="dark")
        page.goto(file.as_uri())
        margin = {"top": "12mm", "left": "12mm", "right": "12mm"}
        page.pdf(path=Path(place) / "sheet.pdf", format="A5", margin=margin)
        page.close()
        command = ["pdftoppm", "-png", "-r", "110", "-f", "1", "-singlefile", f"{place}/sheet.pdf", f"{place}/sheet"]
        subprocess.run(command, check=True)
        return (Path(place) / "sheet.png").read_bytes()


def served(browser: Browser) -> bytes:
    """The live page after a text was explained, as PNG."""
    command = [sys.executable, "-m", "lxtlike", "serve", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        address = next(filter(None, (re.search(r"http://\S+", line) for line in server.stderr)))
        page = browser.new_page(viewport={"width": 1280, "height": 760}, color_scheme="light")
        page.goto(address.group())
        page.fill("#text", BINDING)
        page.locator("#text").press("Control+Enter")
        page.frame_locator("#report").locator("h1").wait_for()
        page.wait_for_timeout(1000)
        png = page.screenshot()
        page.close()
        server.terminate()
    return bytes(png)


def compared() -> bytes:
    """Three methods in one figure."""
    results = [
        lxtlike.Explainer.from_pretrained("sentiment", composite=name).explain(
            JOKES, target="positive", contrast="negative"
        )
        for name in ("attnlrp", "cp-lrp", "input-x-gradient")
    ]
    file = io.BytesIO()
    lxtlike.compare(results).savefig(file, format="png", dpi=160)
    return file.getvalue()


def keep(png: bytes, file: Path) -> None:
    """Write a picture with 256 colours, none of which is seen to differ: it is a third as large."""
    all_of_them = Image.open(io.BytesIO(png)).convert("RGB")
    colours = all_of_them.quantize(method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    colours.save(file, optimize=True)
    print(f"{file}  {file.stat().st_size / 1000:.0f} kB")


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
            keep(take(browser, picture), folder / f"{picture.name}.png")
            if picture.name == "generation":
                keep(printed(browser, picture.page), folder / "print.png")
        keep(served(browser), folder / "served.png")
        browser.close()
    keep(compared(), folder / "comparison.png")


if __name__ == "__main__":
    main()
