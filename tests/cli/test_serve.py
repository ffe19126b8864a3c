"""``lxtlike serve`` as a process: it says where it is, answers there, and ends when it is told to."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


def test_from_start_to_interrupt(models: Path) -> None:
    command = [sys.executable, "-m", "lxtlike", "serve", "--port", "0", "--model", str(models / "sentiment")]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        try:
            line = process.stderr.readline()
            found = re.search(r"http://127\.0\.0\.1:\d+", line)
            assert found, line
            with urllib.request.urlopen(f"{found[0]}/api/model", timeout=20) as answer:
                assert json.load(answer)["task"] == "sequence-classification"
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 130
            assert (process.stdout.read(), process.stderr.read()) == ("", "error: interrupted\n")
        finally:
            process.kill()


def test_a_port_in_use(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run("serve", "--port", str(port))
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"error: port {port} cannot be used")
    assert ended.err.count("\n") == 1


def test_without_the_extra(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastapi", None)
    ended = run("serve", "--port", "0")
    assert ended.code == 1
    assert ended.err == "error: serve needs fastapi and uvicorn, which are not here: pip install 'lxtlike[web]'\n"


def test_a_wrong_model_or_option(run: Run) -> None:
    assert run("serve", "--port", "0", "--model", "MODELS/empty").code == 2
    assert run("serve", "--port", "70000").code == 2
    ended = run("serve", "--host", "0.0.0.0")
    assert ended.code == 2
    assert "no option --host" in ended.err
