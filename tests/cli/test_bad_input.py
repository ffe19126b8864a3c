"""Bad input: one sentence on one line that says what is wrong and what is allowed; nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TEXT = "the box holds a red ball"
LONG = "red " * 40
INVALID = b"caf\xe9 in latin-1"

# words of the command line (MODELS: the folder of models), what the line must hold
WRONG_USAGE: list[tuple[list[str], list[str]]] = [
    ([], ["no command", "explain", "verify", "composites", "demo"]),
    (["explian"], ["no command 'explian'", "did you mean explain?"]),
    (["it's"], ["no command", "choose one of explain"]),
    (["explain", TEXT, "--taget", "red"], ["no option --taget", "did you mean --target?"]),
    (["explain", "-5 degrees"], ["no option", "goes after --"]),
    (["explain", "the", "box"], ["unexpected extra argument", "box", "quotes"]),
    (
        ["explain", TEXT, "--format", "jsn"],
        ["--format 'jsn'", "text, json, html, csv, png, latex", "did you mean json?"],
    ),
    (["explain", TEXT, "--task", "lm"], ["--task 'lm'", "auto, causal-lm, sequence-classification"]),
    (["explain", TEXT, "--by", "char"], ["--by 'char'", "token, word, sentence"]),
    (["explain", TEXT, "--objective", "logits"], ["--objective 'logits'", "centered", "did you mean logit?"]),
    (["explain", TEXT, "--top", "few"], ["--top", "integer"]),
    (["explain", TEXT, "--top", "-1"], ["--top", "0"]),
    (["explain", TEXT, "--target", "red", "--target-id", "7"], ["--target and --target-id", "choose one"]),
    (["explain", TEXT, "--contrast", "red", "--contrast-id", "7"], ["--contrast and --contrast-id", "choose one"]),
    (["explain", TEXT, "--model"], ["--model", "requires an argument"]),
    (["explain"], ["no text was given", "lxtlike explain -"]),
    (["verify"], ["missing argument", "MODEL"]),
    (["composites", "attnlpr"], ["'attnlpr'", "attnlrp", "cp-lrp", "did you mean 'attnlrp'?"]),
    (["verify", "MODELS/bindings", "--format", "html"], ["--format 'html'", "text, json"]),
]
WRONG_INPUT: list[tuple[list[str], list[str]]] = [
    (["explain", ""], ["empty"]),
    (["explain", LONG], ["40 tokens", "at most 32"]),
    (["explain", "caf\udce9"], ["not valid UTF-8"]),
    (["explain", TEXT, "--target", "red ball", "--position", "1"], ["a continuation follows", "leave the position out"]),
    (["explain", TEXT, "--target", "red", "--completion", "ball"], ["a target or a completion, not both"]),
    (["generate", TEXT, "--max-new-tokens", "0"], ["max-new-tokens"]),
    (["generate", TEXT, "--model", "sentiment"], ["only a language model continues a text"]),
    (["explain", TEXT, "--target-id", "999"], ["id 999 is out of range", "0 to 22"]),
    (["explain", TEXT, "--position", "6"], ["position 6 is out of range", "6 tokens"]),
    (["explain", TEXT, "--model", "sentiment", "--target", "goood"], ["no label 'goood'", "'bad', 'good'", "did you mean"]),
    (["explain", TEXT, "--model", "./nowhere"], ["./nowhere", "does not exist"]),
    (["explain", TEXT, "--model", "MODELS/empty"], ["not a model", "config.json"]),
    (["explain", TEXT, "--model", "MODELS/bindings/config.json"], ["is a file", "folder"]),
    (["explain", TEXT, "--model", "MODELS/mute"], ["has no tokenizer", "save_pretrained"]),
    (["explain", TEXT, "--model", "MODELS/pickled"], ["pickled weights", "pytorch_model.bin", "safetensors"]),
    (["explain", TEXT, "--model", "somebody/unheard-of"], ["somebody/unheard-of", "hub", "bindings, sentiment"]),
    (["explain", TEXT, "--model", "MODELS/encoder", "--task", "causal-lm"], ["encoder-only", "predicts no next token"]),
    (["explain", TEXT, "--model", "MODELS/encoder"], ["no mask", "[MASK]"]),
    (["explain", TEXT, "--task", "sequence-classification", "--model", "bindings"], ["causal-lm model", "choose task"]),
    (["explain", TEXT, "--composite", "attnlpr"], ["'attnlpr'", "did you mean 'attnlrp'?", ".yaml"]),
    (["explain", TEXT, "--composite", "epsilon:epsilom=1"], ["'epsilom'", "epsilon"]),
    (["explain", TEXT, "--composite", "wrong.yaml"], ["'ruls'", "did you mean 'rules'?"]),
    (["explain", TEXT, "--composite", "absent.yaml"], ["absent.yaml", "does not exist"]),
    (["explain", TEXT, "--dtype", "float61"], ["--dtype 'float61'", "bfloat16", "did you mean float64?"]),
    (["explain", TEXT, "--device", "cuda:97"], ["cuda:97", "not available", "cpu"]),
    (["explain", TEXT, "--device-map", "everywhere"], ["everywhere", "balanced"]),
    (["explain", TEXT, "-o", "nowhere/page.html"], ["output folder", "nowhere", "does not exist"]),
    (["explain", TEXT, "-o", "."], ["is a folder"]),
    (["explain", TEXT, "--context", TEXT], ["language model reads one text"]),
    (["explain", TEXT, "--model", "MODELS/answers"], ["needs a context", "--context"]),
    (["explain", TEXT, "--model", "MODELS/answers", "--context", TEXT, "-t", "x"], ["'x' does not stand in the context"]),
    (["verify", "MODELS/empty"], ["not a model"]),
]  # fmt: skip


def check(
    run: Callable[..., Any], words: list[str], says: list[str], *, code: int = 2, stdin: bytes | None = None
) -> None:
    Path("wrong.yaml").write_text("name: wrong\nruls: {}\n")
    before = sorted(Path().rglob("*"))
    ended = run(*words, stdin=stdin)
    assert ended.code == code
    assert ended.out == ""
    assert ended.err.startswith("error: ")
    assert ended.err.count("\n") == 1
    assert ended.err.endswith("\n")
    assert [part for part in says if part not in ended.err] == [], ended.err
    assert sorted(Path().rglob("*")) == before


@pytest.mark.parametrize(("words", "says"), WRONG_USAGE, ids=lambda value: " ".join(value)[:40])
def test_wrong_usage(words: list[str], says: list[str], run: Callable[..., Any]) -> None:
    check(run, words, says)


@pytest.mark.parametrize(("words", "says"), WRONG_INPUT, ids=lambda value: " ".join(value)[:40])
def test_wrong_input(words: list[str], says: list[str], run: Callable[..., Any]) -> None:
    check(run, words if "-o" in words or words[0] == "verify" else [*words, "-o", "result.json"], says)


def test_bytes_that_are_no_text(run: Callable[..., Any]) -> None:
    check(run, ["explain", "-", "-o", "result.json"], ["stdin is not valid UTF-8", "0xe9 at 3"], stdin=INVALID)


def test_nothing_in_the_pipe(run: Callable[..., Any]) -> None:
    check(run, ["explain", "-"], ["empty"], stdin=b"\n")


def test_nan_is_a_failure_of_the_run(run: Callable[..., Any]) -> None:
    check(run, ["explain", TEXT, "--model", "MODELS/nan", "-o", "result.json"], ["NaN"], code=1)
    check(run, ["verify", "MODELS/nan"], ["NaN"], code=1)


def test_debug_shows_where(run: Callable[..., Any]) -> None:
    ended = run("explain", "", "--debug")
    assert ended.code == 2
    assert "Traceback" in ended.err
    assert ended.err.splitlines()[-1].startswith("error: ")
