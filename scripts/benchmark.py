"""Time and memory of explanations as ratios to a plain forward pass, beside other tools: raw numbers and docs/performance.md.

    python scripts/benchmark.py -o build/benchmark-cpu.json --page docs/performance.md \\
        --peer lxt=PEERS/bin/python --peer captum=PEERS/bin/python --peer autolrp=PEERS/bin/python --peer inseq=INSEQ/bin/python

Tools clash in their versions, so each peer runs in an environment of its own. Both of these have the tools of
``pip install 'lxtlike[bench]'``; torch goes first, so that no other build of it is chosen:

    python -m venv PEERS && PEERS/bin/pip install torch && PEERS/bin/pip install 'transformers==4.52.4' lxt captum autolrp
    python -m venv INSEQ && INSEQ/bin/pip install torch && INSEQ/bin/pip install inseq

LXT 2.1 replaces BERT's code by that of transformers 4.52, so that version it must be. A peer that is not named is left out.
Models have random weights: nothing is downloaded. On a GPU (``--device cuda``) other, larger shapes are measured in bfloat16;
its raw numbers go into the same page: ``--page docs/performance.md --also build/benchmark-cuda.json``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmark_cases import CASES, DTYPES, Case, reduced
from benchmark_imports import imports
from benchmark_page import page

RUNNER = Path(__file__).with_name("benchmark_runner.py")
TOOLS = ("lxtlike", "lxt", "autolrp", "captum", "inseq")
QUIET = {**os.environ, "KINETO_LOG_LEVEL": "5"}
Row = dict[str, Any]


def main(arguments: list[str] | None = None) -> None:
    """Measure, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True, help="raw numbers, JSON")
    parser.add_argument("--page", type=Path, help="the page to write of them")
    parser.add_argument("--also", type=Path, nargs="*", default=[], help="raw numbers of other devices for the page")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON", help=f"of {', '.join(TOOLS[1:])}")
    parser.add_argument("--device", choices=CASES, default="cpu")
    parser.add_argument("--case", action="append", help="only this one, such as 'Llama 125M, 512 tokens'")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round, at most 512 tokens")
    parser.add_argument("--tiny", action="store_true", help="tiny models and texts: tries the benchmark itself")
    options = parser.parse_args(arguments)
    pythons = {"lxtlike": sys.executable, **dict(peer.split("=", 1) for peer in options.peer)}
    if unknown := set(pythons) - set(TOOLS):
        parser.error(f"no tool {', '.join(sorted(unknown))}: name {', '.join(TOOLS[1:])}")
    cases = [case for case in CASES[options.device] if not options.case or case.name in options.case]
    if options.quick:
        cases = [case for case in cases if case.tokens <= 512]
    if not cases:
        parser.error("no such case: " + "; ".join(case.name for case in CASES[options.device]))
    rounds = 1 if options.quick else options.rounds
    # The reduced model is drawn for the device that is here: shapes are what is tried.
    device = "cpu" if options.tiny else options.device
    found: dict[str, Any] = {"device": options.device, "dtype": DTYPES[options.device], "rounds": rounds}
    found["environments"], found["rows"] = {}, []
    for tool, python in pythons.items():
        runner = Runner(tool, python, device)
        for case in cases:
            if tool in case.methods:
                found["rows"] += runner.ask(reduced(case) if options.tiny else case, rounds, found["dtype"])
        found["environments"][tool] = runner.machine
        runner.close()
    found["imports"] = imports(sys.executable, rounds)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if options.page is not None:
        raw = [found, *(json.loads(path.read_text(encoding="utf-8")) for path in options.also)]
        options.page.write_text(page(raw), encoding="utf-8")


class Runner:
    """A process that measures one tool; a new one takes over when it dies."""

    def __init__(self, tool: str, python: str, device: str) -> None:
        self.tool, self.device, self.python = tool, device, python
        self.machine: dict[str, str] = {}
        self.process: subprocess.Popen[str] | None = None

    def ask(self, case: Case, rounds: int, dtype: str) -> list[Row]:
        """The rows of one case."""
        self.process = process = self.process or self._started()
        methods = list(case.methods[self.tool])
        told = {"case": dataclasses.asdict(case), "methods": methods, "rounds": rounds, "dtype": dtype}
        rows: list[Row] = []
        for row in answers(process, told | {"device": self.device}):
            if row is None:
                return rows
            print(json.dumps(row), file=sys.stderr, flush=True)
            rows.append(row)
        self.process = None
        done = {row["method"] for row in rows}
        failed = {"error": f"the process ended with exit code {process.wait()}"}
        left = [name for name in methods if name not in done]
        return rows + [{"case": case.name, "tool": self.tool, "method": name} | failed for name in left]

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.communicate()

    def _started(self) -> subprocess.Popen[str]:
        command = [self.python, str(RUNNER), self.tool, self.device]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=QUIET)
        self.machine = next(answers(process), {})
        if not self.machine:
            sys.exit(f"{self.tool} does not start with {self.python}: exit code {process.wait()}")
        return process


def answers(process: subprocess.Popen[str], told: Row | None = None) -> Iterator[Any]:
    """What a runner answers, line by line, until it ends."""
    if process.stdin is None or process.stdout is None:
        raise ValueError("the process has no pipes")
    if told is not None:
        with suppress(BrokenPipeError):
            process.stdin.write(json.dumps(told) + "\n")
            process.stdin.flush()
    yield from (json.loads(line) for line in iter(process.stdout.readline, ""))


if __name__ == "__main__":
    main()
