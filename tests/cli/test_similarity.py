"""``lxtlike similarity``: two texts in, pairs out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
TEXTS = ("a red ball is in the box", "the box holds a ball")


def test_json_is_the_result(run: Run) -> None:
    ended = run("similarity", *TEXTS, "--format", "json", "--form", "tokens", "--by", "word")
    assert (ended.code, ended.err) == (0, "")
    result = json.loads(ended.out)
    assert (result["schema"], result["model"], result["form"]) == ("lxtlike/similarity/1", "sentiment", "tokens")
    assert [len(result["matrix"]), len(result["matrix"][0])] == [7, 5]
    assert result["ledger"]["relative_error"] < 1e-5
    assert len(result["second"]["units"]) == 5


def test_formats_and_options(run: Run, tmp_path: Path) -> None:
    shown = run("similarity", *TEXTS, "--format", "text", "--similarity", "dot", "--pooling", "last", "--top", "1").out
    assert "dot product" in shown
    assert "pooling last" in shown
    assert shown.count(" ~ ") <= 2
    assert run("similarity", *TEXTS, "--projections", "2").out.startswith("first\tfirst_text\t")
    for name, begins in {"a.png": b"\x89PNG", "a.html": b"<!DOCTYPE", "a.csv": b"first,first_text"}.items():
        assert run("similarity", *TEXTS, "-o", name).code == 0
        assert (tmp_path / name).read_bytes().startswith(begins)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([TEXTS[0]], "TEXT_B"),
        ([TEXTS[0], ""], "empty"),
        ([TEXTS[0], "-"], "stdin"),
        ([*TEXTS, "--pooling", "max"], "mean, cls, last"),
        ([*TEXTS, "--form", "tokens", "--projections", "3"], "for form 'bilrp'"),
        ([*TEXTS, "--format", "latex"], "no LaTeX"),
        ([*TEXTS, "--model", "MODELS/none"], "does not exist"),
    ],
)
def test_bad_input_is_one_line(run: Run, words: list[str], says: str) -> None:
    ended = run("similarity", *words)
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    assert says in ended.err
