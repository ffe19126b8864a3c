"""``lxtlike generate`` and ``explain --completion``: continuations on the command line."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lxtlike.cli import progress

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


def test_a_span_is_one_explanation(run: Run) -> None:
    words = ("generate", TEXT, "--max-new-tokens", "4", "--format", "json")
    rows = [output["relevance"] for output in json.loads(run(*words).out)["outputs"]]
    for span, members in (("2", rows[2:3]), ("1:3", rows[1:3]), ("-1", rows[3:]), (":", rows), ("-3:", rows[1:])):
        result = json.loads(run(*words, "--span", span).out)
        assert result["schema"] == "lxtlike/attribution/1"
        sums = [sum(column) for column in zip(*members, strict=True)]
        assert [token["relevance"] for token in result["tokens"]] == pytest.approx(sums, abs=1e-5)
    assert result["target"]["id"] is None
    assert json.loads(run(*words, "--span", "-1").out)["target"]["id"] is not None


def test_hops_lead_relevance_on_to_the_text(run: Run) -> None:
    words = ("generate", TEXT, "--max-new-tokens", "4", "--format", "json", "--span", "-1")
    start = len(TEXT.split())

    def on_outputs(*more: str) -> tuple[float, dict[str, float]]:
        result = json.loads(run(*words, *more).out)
        return sum(abs(token["relevance"]) for token in result["tokens"][start:]), result["ledger"]

    before, ledger = on_outputs("--hops", "0")
    assert before > 0.0
    one, _ = on_outputs("--hops", "1")
    behind, traced = on_outputs("--hops", "all")
    assert one > 0.0
    assert behind == 0.0
    assert traced["explained"] == ledger["explained"]
    assert traced["relative_error"] < 1e-5
    units = json.loads(run(*words, "--hops", "all", "--by", "word").out)["units"]
    assert sum(unit["relevance"] for unit in units) == pytest.approx(traced["tokens"], abs=1e-5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--span", "x"), "write 7, -1 or 3:9"),
        (("--span", ""), "write 7, -1 or 3:9"),
        (("--span", "1:2:3"), "write 7, -1 or 3:9"),
        (("--span", "9"), "holds no output: there are 2, the first is 0"),
        (("--span", "2:1"), "holds no output"),
        (("--hops", "all"), "--hops is for one explanation: say which with --span"),
        (("--by", "word"), "--by is for one explanation: say which with --span"),
        (("--span", "1", "--hops", "-1"), "--hops must be"),
        (("--span", "1", "--hops", "many"), "--hops must be"),
        (("--span", "1", "--by", "line"), "--by"),
        (("--quality", "best"), "--quality"),
        (("--quality", "high", "--composite", "cp-lrp"), "chooses its composite itself"),
        (("--task", "masked-lm", "--model", "MODELS/encoder"), "only a language model"),
    ],
)
def test_what_makes_no_sense_is_one_line(run: Run, words: tuple[str, ...], message: str) -> None:
    ended = run("generate", TEXT, "--max-new-tokens", "2", *words)
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err
    assert ended.err.count("\n") == 1


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("delay", [0.0, 600.0])
def test_long_work_shows_a_bar_on_a_terminal(run: Run, monkeypatch: pytest.MonkeyPatch, delay: float) -> None:
    monkeypatch.setattr(progress, "DELAY", delay)
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert run("generate", TEXT, "--max-new-tokens", "3", "--format", "json").code == 0
    shown = terminal.getvalue()
    assert ("explaining" in shown) == (delay == 0.0)
    assert not shown.rpartition("\r")[2]


def test_an_interrupted_generation_ends_with_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lxtlike.continuations.prediction", interrupt)
    ended = run("generate", TEXT, "-o", "g.json")
    assert (ended.code, ended.out) == (130, "")
    assert not Path("g.json").exists()
