"""What the tests do with a page in a browser, and what they read there."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import FrameLocator, Locator, Page

Opened = Callable[..., "Page"]


def choose(page: Page | FrameLocator, value: str) -> None:
    """Click the words of a radio button, whose circle is not shown, as soon as they are."""
    page.locator(f"label:has(input[type=radio][value='{value}'])").click()


def ratios(page: Page, tag: str = "") -> dict[str, float]:
    """The ratio of everything coloured in the text, by its words."""
    found = page.eval_on_selector_all(
        f"#text>{tag}[style^='--r']", "all => all.map(e => [e.textContent, e.style.getPropertyValue('--r')])"
    )
    return {text.strip(): float(ratio) for text, ratio in reversed(found)}  # the first of equal ones stays


def outputs(page: Page) -> Locator:
    return page.locator("#text [role]")


def pressed(page: Page) -> list[str]:
    return [text.strip() for text in page.locator("#text [role][aria-pressed=true]").all_inner_texts()]


def told(page: Page) -> str:
    return re.sub(r"\s+", " ", page.locator("#now").inner_text())


def painted(page: Page) -> None:
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def rgb(code: str) -> list[int]:
    return [int(code[i : i + 2], 16) for i in (1, 3, 5)]


def background(page: Page, selector: str) -> list[float]:
    said = page.eval_on_selector(selector, "e => getComputedStyle(e).backgroundColor")
    numbers = [float(x) for x in re.findall(r"[\d.]+", said)]
    return [x * 255 for x in numbers[:3]] if said.startswith("color(") else numbers[:3]
