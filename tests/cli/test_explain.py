"""``lxtlike explain``: formats, targets, where the output goes."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TEXT = "the box holds a red ball and the"
Run = Callable[..., Any]


def explained(run: Run, *words: str, **options: Any) -> Any:
    ended = run("explain", *words, "--format", "json", **options)
    assert (ended.code, ended.err) == (0, "")
    return json.loads(ended.out)


def test_json_is_one_object_with_the_account(run: Run) -> None:
    result = explained(run, TEXT)
    assert result["schema"] == "lxtlike/attribution/1"
    assert (result["model"], result["task"], result["composite"]) == ("bindings", "causal-lm", "attnlrp")
    assert [result["text"][t["start"] : t["end"]] for t in result["tokens"]] == TEXT.split()
    assert sum(t["relevance"] for t in result["tokens"]) == pytest.approx(result["ledger"]["tokens"], abs=1e-5)
    assert result["ledger"]["relative_error"] < 1e-3
    assert result["target"]["token"] == result["prediction"][0]["token"]


def test_views_are_there_where_they_are_asked_for(run: Run) -> None:
    result = explained(run, TEXT, "--layers", "--heads")
    assert [len(result["layers"]), len(result["layers"][0])] == [3, len(result["tokens"])]
    assert [len(row) for row in result["heads"]] == [2, 2]
    assert not {"layers", "heads"} & set(explained(run, TEXT))
    assert 'value="heads"' in run("explain", TEXT, "--heads", "--format", "html").out


def test_the_task_chooses_the_bundled_model(run: Run) -> None:
    result = explained(run, "not a bad film", "--task", "sequence-classification", "--target", "good")
    assert (result["model"], result["target"]["id"], result["target"]["position"]) == ("sentiment", 1, None)


def test_target_contrast_objective_and_position(run: Run) -> None:
    by_text = explained(run, TEXT, "--target", "hat", "--contrast", "ball", "--objective", "logprob", "--position", "4")
    by_id = explained(
        run, TEXT, "--target-id", "11", "--contrast-id", "10", "--objective", "logprob", "--position", "4"
    )
    assert by_text == by_id
    assert by_text["target"] | {"value": 0} == {
        "id": 11,
        "token": "hat",
        "position": 4,
        "objective": "logprob",
        "contrast": {"id": 10, "token": "ball"},
        "value": 0,
    }
    assert [t["relevance"] for t in by_text["tokens"][5:]] == [0.0] * 3  # what comes later has no say
    assert explained(run, TEXT, "--contrast", "mean")["target"]["contrast"] == "mean"


def test_composites_by_name_override_and_file(run: Run) -> None:
    Path("mine.yaml").write_text("base: cp-lrp\nname: mine\n")
    relevances = {}
    for composite in ("attnlrp", "cp-lrp", "mine.yaml", "epsilon:epsilon=0.5"):
        result = explained(run, TEXT, "--composite", composite)
        relevances[composite] = [t["relevance"] for t in result["tokens"]]
        assert result["composite"] == composite.removesuffix(".yaml")
    assert relevances["mine.yaml"] == relevances["cp-lrp"] != relevances["attnlrp"] != relevances["epsilon:epsilon=0.5"]


def test_stdin_is_the_text_without_the_last_newline(run: Run) -> None:
    piped = explained(run, "-", stdin=f"{TEXT}\r\n".encode())
    assert piped == explained(run, TEXT) == explained(run, stdin=TEXT.encode())


def test_tables(run: Run) -> None:
    commas = run("explain", TEXT, "--format", "csv")
    tabs = run("explain", TEXT)  # stdout is no terminal
    assert commas.code == tabs.code == 0
    rows = [list(csv.reader(io.StringIO(commas.out))), list(csv.reader(io.StringIO(tabs.out), delimiter="\t"))]
    assert rows[0] == rows[1]
    assert len(rows[0]) == 1 + len(TEXT.split())


def test_words_are_sums(run: Run) -> None:
    by_word = explained(run, "a ball .", "--by", "word")
    assert [unit["text"] for unit in by_word["units"]] == ["a", "ball", "."]
    assert sum(unit["relevance"] for unit in by_word["units"]) == pytest.approx(by_word["ledger"]["tokens"], abs=1e-5)


def test_colour_where_it_is_wanted(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "")
    plain, forced = (run("explain", TEXT, "--format", "text", "--color", color).out for color in ("auto", "always"))
    assert "\x1b" not in plain
    assert "\x1b[" in forced
    assert "\x1b" not in run("explain", TEXT, "--format", "json", "--color", "always").out

    from lxtlike.cli import output

    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert output.colours("auto", None) is True
    assert output.colours("auto", Path("a.txt")) is False
    monkeypatch.setenv("NO_COLOR", "1")
    assert output.colours("auto", None) is False
    assert output.colours("always", None) == "256"


def test_top_limits_the_ranking(run: Run) -> None:
    long, short = (run("explain", TEXT, "--format", "text", "--top", top).out for top in ("5", "0"))
    assert len(short.splitlines()) < len(long.splitlines())


def test_files_are_whole_and_called_by_their_suffix(run: Run) -> None:
    Path("kept.json").write_text("before")
    Path("link.json").symlink_to("kept.json")
    assert run("explain", TEXT, "-o", "page.html") == (0, "", "")
    assert run("explain", TEXT, "-o", "link.json") == (0, "", "")
    assert run("explain", TEXT, "--format", "csv", "-o", "table.txt") == (0, "", "")
    assert run("explain", TEXT, "-o", "plain.txt") == (0, "", "")
    assert Path("page.html").read_text().startswith("<!DOCTYPE html>")
    assert Path("link.json").is_symlink()
    assert json.loads(Path("kept.json").read_text())["text"] == TEXT
    assert Path("table.txt").read_text().startswith("index,")
    assert "Next token" in Path("plain.txt").read_text()
    assert sorted(path.name for path in Path().iterdir()) == [
        "kept.json",
        "link.json",
        "page.html",
        "plain.txt",
        "table.txt",
    ]


def test_a_device_is_written_to_not_replaced(run: Run) -> None:
    assert run("explain", TEXT, "-o", "/dev/null") == (0, "", "")
    assert Path("/dev/null").is_char_device()


def test_an_operation_without_a_rule_is_a_warning_or_the_end(
    run: Run, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from transformers.models.llama.modeling_llama import LlamaMLP

    plain = LlamaMLP.forward
    monkeypatch.setattr(LlamaMLP, "forward", lambda self, x: torch.logcumsumexp(plain(self, x), -1))
    ended = run("explain", TEXT, "--format", "json")
    assert ended.code == 0
    assert ended.err.startswith("warning: no rule covers ")
    uncovered = json.loads(ended.out)["audit"]["uncovered"]
    assert ended.err.count("\n") == len(uncovered) >= 1
    strict = run("explain", TEXT, "--strict", "-o", "a.json")
    assert strict.code == 3
    assert "no rule covers" in strict.err
    assert not Path("a.json").exists()


def test_a_question_is_answered_from_its_context(run: Run) -> None:
    words = ["explain", "the ball is", "--model", "MODELS/answers", "--context", "the box holds a red ball ."]
    found = json.loads(run(*words, "--target", "red ball", "--format", "json").out)
    assert (found["task"], found["target"]["token"], found["text"]) == (
        "question-answering",
        "red ball",
        "the ball is\nthe box holds a red ball .",
    )
    units = json.loads(run(*words, "--by", "message", "--format", "json").out)["units"]
    assert [unit["label"] for unit in units] == ["question", "context"]
