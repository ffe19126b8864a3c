"""Snapshots: ``LXTLIKE_SNAPSHOTS=write pytest tests/render`` writes them anew."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "snapshots"


@pytest.fixture
def snapshot() -> Callable[[str, str], None]:
    def compare(name: str, text: str) -> None:
        path = FOLDER / name
        if os.environ.get("LXTLIKE_SNAPSHOTS") == "write":
            path.write_bytes(text.encode())
        assert text == path.read_bytes().decode(), f"{name} differs from its snapshot; look at it, then write it anew"

    return compare
