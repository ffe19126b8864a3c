"""Snapshots: ``LXTLIKE_SNAPSHOTS=write pytest tests/render`` writes them anew. And pages in a real browser."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FOLDER = Path(__file__).parent / "snapshots"


@pytest.fixture
def snapshot() -> Callable[[str, str], None]:
    def compare(name: str, text: str) -> None:
        path = FOLDER / name
        if os.environ.get("LXTLIKE_SNAPSHOTS") == "write":
            path.write_bytes(text.encode())
        assert text == path.read_bytes().decode(), f"{name} differs from its snapshot; look at it, then write it anew"

    return compare


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
        if quiet:
            page.on("console", lambda message: heard.append(message.text))
            page.on("pageerror", lambda error: heard.append(str(error)))
            page.on("request", lambda request: request.url != path.as_uri() and heard.append(request.url))
        page.goto(path.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert heard == []
