"""``lxtlike generate`` and ``explain --completion``: continuations on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TEXT = "the box holds a red ball and the"
Run = Callable[..., Any]


def test_generate_prints_the_matrix(run: Run) -> None:
    ended = run("generate", TEXT, "--max-new-tokens", "3", "--format", "json")
    assert (ended.code, ended.err) == (0, "")
    result = json.loads(ended.out)
    assert result["schema"] == "lxtlike/generation/1"
    assert result["text"].startswith(TEXT)
    tokens, outputs = result["tokens"], result["outputs"]
    assert 1 <= len(outputs) <= 3
    for index, output in enumerate(outputs):
        assert output["index"] == index
        assert tokens[output["position"]]["id"] == output["id"]
        assert len(output["relevance"]) == len(tokens)
        assert output["relevance"][output["position"] :] == [0.0] * (len(tokens) - output["position"])
        assert sum(output["relevance"]) == pytest.approx(output["ledger"]["tokens"], abs=1e-5)
        assert output["ledger"]["relative_error"] < 1e-3


def test_a_completion_is_one_explanation(run: Run) -> None:
    ended = run("explain", TEXT, "--completion", "red ball", "--objective", "logprob", "--format", "json")
    whole = json.loads(ended.out)
    rows = json.loads(
        run("generate", TEXT, "--completion", "red ball", "--objective", "logprob", "--format", "json").out
    )["outputs"]
    assert whole["target"]["id"] is None
    assert whole["target"]["ids"] == [row["id"] for row in rows]
    assert whole["target"]["positions"] == [row["position"] for row in rows]
    assert whole["target"]["value"] == pytest.approx(sum(row["value"] for row in rows), abs=1e-5)
    sums = [sum(column) for column in zip(*(row["relevance"] for row in rows), strict=True)]
    assert [token["relevance"] for token in whole["tokens"]] == pytest.approx(sums, abs=1e-5)


def test_a_contrast_of_completions(run: Run) -> None:
    words = ("explain", TEXT, "--completion", "red ball", "--contrast", "red box", "--format", "json")
    result = json.loads(run(*words).out)
    assert len(result["target"]["contrast"]["ids"]) == 2
    assert result["ledger"]["relative_error"] < 1e-3


def test_a_chat_needs_a_template_and_messages(run: Run) -> None:
    ended = run("explain", "hello", "--chat")
    assert ended.code == 2
    assert "no chat template" in ended.err
    ended = run("generate", '[{"role": "user", ', "--chat")
    assert ended.code == 2
    assert "JSON list" in ended.err
    assert ended.err.count("\n") == 1


def test_pictures_and_latex(run: Run) -> None:
    assert run("explain", TEXT, "-o", "a.png")[::2] == (0, "")
    assert Path("a.png").read_bytes().startswith(b"\x89PNG")
    assert run("generate", TEXT, "--max-new-tokens", "2", "-o", "g.tex")[::2] == (0, "")
    assert "\\colorbox" in Path("g.tex").read_text()
