"""A real browser, for the tests of pages."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

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
