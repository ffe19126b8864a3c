"""``-o FILE``: what a file's name asks for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lxtlike import load

TEXT = "the box holds a red ball and the"
Run = Callable[..., Any]


@pytest.mark.parametrize("command", ["explain", "generate"])
def test_safetensors(run: Run, command: str) -> None:
    assert run(command, TEXT, "-o", "a.safetensors") == (0, "", "")
    assert run(command, TEXT, "-o", "a.json") == (0, "", "")
    assert load("a.safetensors") == load("a.json")
    assert Path("a.safetensors").read_bytes()[8:9] == b"{"
    assert run(command, TEXT, "--format", "json", "-o", "a.safetensors") == (0, "", "")
    assert json.loads(Path("a.safetensors").read_text()) == load("a.json").to_dict()


@pytest.mark.parametrize(
    ("name", "begins"), [("a.SVG", b"<?xml"), ("a.pdf", b"%PDF"), ("a.png", b"\x89PNG"), ("a.tsv", b"index\tid\t")]
)
def test_figures_and_tables(run: Run, name: str, begins: bytes) -> None:
    assert run("explain", TEXT, "-o", name) == (0, "", "")
    assert Path(name).read_bytes().startswith(begins)
