"""The other commands, and what holds for all of them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from lxtlike.cli import demo, options
from lxtlike.cli.exits import one_line
from lxtlike.version import __version__

Run = Callable[..., Any]


def test_help_and_version(run: Run) -> None:
    top = run("--help")
    assert (top.code, top.err) == (0, "")
    assert [name for name in ("explain", "verify", "composites", "demo") if f"  {name} " not in top.out] == []
    assert run("explain", "-h").out.count("--contrast") == 2
    assert run("--version") == (0, f"lxtlike {__version__}\n", "")


def test_of_several_processes_the_first_one_works(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "launch")
    for rank, printed in (("0", True), ("1", False)):
        monkeypatch.setenv("RANK", rank)
        found = run("composites")
        assert (found.code, bool(found.out), found.err) == (0, printed, "")


def test_objectives_are_those_of_targets() -> None:
    from lxtlike.targets import OBJECTIVES

    assert tuple(OBJECTIVES) == options.OBJECTIVES


def test_composites_are_listed_and_printed(run: Run) -> None:
    listed = run("composites").out
    assert [name for name in ("attnlrp", "cp-lrp", "input-x-gradient") if f"{name} " not in listed] == []
    printed = yaml.safe_load(run("composites", "cp-lrp").out)
    assert (printed["name"], printed["rules"]["softmax"]) == ("cp-lrp", "constant")


def test_composites_say_what_runs_where(run: Run) -> None:
    shown = run("composites", "layerwise", "--model", "bindings").out
    assert "bindings · causal-lm · layerwise" in shown
    assert re.search(r"model.layers.0.mlp.up_proj +1 ×  linear → linear: generalized-gamma gamma=0.25", shown)
    assert re.search(r"lm_head +1 ×  linear → linear: gradient", shown)
    assert "softmax: constant" not in shown
    assert "attention: constant" in run("composites", "cp-lrp", "--model", "sentiment").out


class Pointing:
    """As much of an attribution as the pointing game looks at."""

    def __init__(self, *tokens: tuple[int, int, bool, float]) -> None:
        import numpy as np

        from lxtlike.text import Token

        self.tokens = [Token(i, i, "t", "", start, end, special) for i, (start, end, special, _) in enumerate(tokens)]
        self.token_relevance = np.array([relevance for *_, relevance in tokens])


def test_pointing_looks_at_the_strongest_content_token() -> None:
    tokens = [(0, 0, True, 9.0), (0, 3, False, 1.0), (4, 8, False, 2.0), (9, 12, False, -3.0)]
    assert demo.points_at(Pointing(*tokens), [[4, 8]])  # type: ignore[arg-type]
    assert demo.points_at(Pointing(*tokens), [[0, 1], [7, 9]])  # type: ignore[arg-type]
    assert not demo.points_at(Pointing(*tokens), [[0, 4], [8, 12]])  # type: ignore[arg-type]
    assert not demo.points_at(Pointing((0, 3, False, -1.0)), [[0, 3]])  # type: ignore[arg-type]


def test_known_causes_are_words_of_the_text() -> None:
    few, every = demo.known_causes(3), demo.known_causes(None)
    assert {row["task"] for row in few} == {row["task"] for row in every}
    assert len(few) == 3 * len({row["task"] for row in few}) < len(every)
    spans = [(row["text"], start, end) for row in every for start, end in row["cause"]]
    assert all(f" {text} "[start] == " " == f" {text} "[end + 1] for text, start, end in spans)


def test_demo_writes_its_page(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"task": "colour", "text": "the box holds a red ball .", "answer": "", "cause": [[16, 19]], "number": 1}
    answer = json.loads(run("explain", row["text"], "--format", "json").out)["target"]["token"]
    monkeypatch.setattr(demo, "known_causes", lambda count: [row | {"answer": answer}, row | {"answer": "wrong"}])
    ended = run("demo")
    assert (ended.code, ended.err) == (0, "both explanations on one page: build/demo.html\n")
    assert "2 held-out sentences, 1 of them answered rightly" in ended.out
    assert "Next token" in ended.out
    page = Path("build/demo.html").read_text()
    assert page.count('<div class="lxtlike">') == 2
    assert "input-x-gradient" in page
    assert page.count("<script>") == 2
    assert page.count("script-src 'sha256-") == 1
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_one_line_is_harmless() -> None:
    assert one_line("a\n b\t\x1b[31m\u202e\udce9é") == "a b \\x1b[31m\\u202e\\udce9é"


def test_interrupted_and_out_of_memory(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def end(error: BaseException) -> Any:
        def known_causes(count: int | None) -> Any:
            raise error

        monkeypatch.setattr(demo, "known_causes", known_causes)
        return run("demo", "-o", "demo.html")

    assert end(KeyboardInterrupt())[::2] == (130, "error: interrupted\n")
    assert end(MemoryError())[::2] == (1, "error: out of memory: use a shorter text or a smaller --dtype\n")
    failed = end(ZeroDivisionError("by\nzero"))
    assert failed[::2] == (1, "error: ZeroDivisionError: by zero (--debug shows where)\n")
    assert not Path("demo.html").exists()


def process(*words: str, code: str = "", **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *(("-c", code) if code else ("-m", "lxtlike")), *words]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    environment |= {name: options.pop(name) for name in list(options) if name.isupper()}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False, **options)


def test_help_and_wrong_usage_start_quickly() -> None:
    """Neither torch nor transformers is read before they are needed."""
    code = (
        "import sys; from lxtlike.cli import main\n"
        "codes = [main(['explain', '--help']), main(['explain', 'x', '--by', 'y']), main(['verify'])]\n"
        "assert codes == [0, 2, 2], codes\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)\n"
        "assert main(['composites']) == 0 and 'transformers' not in sys.modules"
    )
    ended = process(code=code)
    assert ended.returncode == 0, ended.stderr


def test_as_a_process(models: Path) -> None:
    """``python -m lxtlike`` on a model folder: one object on stdout, nothing else anywhere."""
    words = ["explain", "-", "--model", str(models / "bindings"), "--format", "json"]
    ended = process(*words, input="the réd ball\n", encoding="utf-8", PYTHONIOENCODING="ascii")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert json.loads(ended.stdout)["text"] == "the réd ball"


def test_a_reader_who_leaves_is_no_traceback() -> None:
    command = [sys.executable, "-m", "lxtlike", "composites"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        assert started.stderr is not None
        started.stdout.close()
        assert started.stderr.read() == ""
    assert started.returncode == 1
