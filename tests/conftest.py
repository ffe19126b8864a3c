"""One thread for each process, and a real browser for the tests of pages."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

# Two threads add up in another order than one, and tests run side by side; processes they start inherit it.
os.environ["OMP_NUM_THREADS"] = "1"

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
FLAGS = "--no-sandbox --disable-quic --no-first-run --disable-background-networking --disable-component-update"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless chromium; the tests that want it are skipped where there is none."""
    if CHROMIUM is None:
        pytest.skip("no chromium or chrome on PATH")
    playwright = pytest.importorskip("playwright.sync_api").sync_playwright().start()
    started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
    yield started
    started.close()
    playwright.stop()


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Callable[..., Page]]:
    """Opens a page from disk; at the end nothing may have been said on its console or asked of the network.

    What the page copies is found in its ``window.copied``.
    """
    heard: list[str] = []
    contexts = []

    def open_page(content: str, quiet: bool = True, **options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1000, "height": 800}} | options)
        contexts.append(context)
        context.add_init_script("navigator.clipboard.writeText = async text => { window.copied = text }")
        page = context.new_page()
        page.set_default_timeout(20_000)
        path = tmp_path / f"page{len(contexts)}.html"
        path.write_text(content, encoding="utf-8")
        own = (path.as_uri(), "data:")
        if quiet:
            page.on("console", lambda message: heard.append(message.text))
            page.on("pageerror", lambda error: heard.append(str(error)))
            page.on("request", lambda request: request.url.startswith(own) or heard.append(request.url))
        page.goto(path.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert heard == []
