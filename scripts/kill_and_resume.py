"""Kill `lxtlike batch` at random moments, go on with --resume, and compare the output with that of an undisturbed run.

python scripts/kill_and_resume.py [--kills N] [--rows N] [--processes N ...] [--seed N] [--to parquet]

A run is ended by SIGKILL at a moment drawn from the time that an undisturbed one takes; one that is finished before is compared
to the last byte with the undisturbed run of one process, nothing else may lie beside it, and the next begins anew. A run is a
process, or several that share the rows, forked from one in which libraries are loaded.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

import lxtlike.dataset.keeping  # noqa: F401
from lxtlike.cli import main as command_line
from lxtlike.loading import load

SENTENCES = Path(__file__).parents[1] / "lxtlike" / "assets" / "known_cause.jsonl"


def main() -> None:
    """Print how many runs were killed and how many finished; exit 1 if an output differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--processes", type=int, nargs="+", default=[1])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--to", choices=("jsonl", "parquet"), default="jsonl")
    options = parser.parse_args()
    load("bindings")  # what processes that are forked need not import
    for processes in options.processes:
        with tempfile.TemporaryDirectory() as folder:
            said = killed(Path(folder), options.kills, options.rows, processes, options.seed, options.to)
            print(f"{processes} process{'es' * (processes > 1)}: {said}", flush=True)


def killed(folder: Path, kills: int, rows: int, processes: int = 1, seed: int = 0, kind: str = "jsonl") -> str:
    """Kill runs in an empty folder, and say what came of it.

    Raises:
        AssertionError: an output differs, or something is left over.
    """
    source, whole, output = folder / "in.jsonl", folder / f"whole.{kind}", folder / f"out.{kind}"
    source.write_text("".join(json.dumps(row) + "\n" for row in drawn(rows, seed)), encoding="utf-8")
    words = ["batch", str(source), "--model", "bindings", "--batch-size", "4"]
    begun = time.monotonic()
    assert ended(forked([*words, "-o", str(whole)], 1)) == [0], "the undisturbed run failed"
    took = time.monotonic() - begun
    moments, dead, finished, resumed = random.Random(seed), 0, 0, 0
    while dead < kills or not finished:
        started = forked([*words, "-o", str(output), "--resume"], processes)
        codes = ended(started, moments.uniform(0, took) if dead < kills else None)
        if codes is None:
            dead += 1
            resumed += any(folder.glob("out.*.journal*"))
            assert not output.exists() or output.read_bytes() == whole.read_bytes(), "a torn output"
            continue
        assert not any(codes), f"a run ended with {codes}"
        assert output.read_bytes() == whole.read_bytes(), "the output differs from that of the undisturbed run"
        assert not list(folder.glob("out.*.*")), "something is left beside the output"
        output.unlink()
        finished += 1
    return (
        f"{dead} runs over {rows} rows killed ({resumed} left something to go on with), {finished} finished: "
        f"each equal to the undisturbed one ({took:.1f} s), nothing left over"
    )


def drawn(count: int, seed: int) -> list[dict[str, object]]:
    """Rows of different lengths: beginnings of the bundled sentences, some with a target, some that must fail."""
    sentences = [json.loads(line)["text"].split() for line in SENTENCES.read_text(encoding="utf-8").splitlines()]
    dice = random.Random(seed)
    rows: list[dict[str, object]] = []
    for number in range(count):
        words = sentences[number % len(sentences)]
        row: dict[str, object] = {"text": " ".join(words[: dice.randint(1, len(words))])}
        rows.append(
            row | dice.choice([{}, {}, {"target": "red"}, {"id": f"row {number}"}, {"target": "nothing"}, {"text": ""}])
        )
    return rows


def forked(words: Sequence[str], processes: int) -> list[int]:
    """Start a command line in one process, or in several as torchrun does; their ids."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    found = []
    for number in range(processes):
        if process := os.fork():
            found.append(process)
            continue
        if processes > 1:
            os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true"}
            os.environ |= {f"{scope}RANK": str(number) for scope in ("", "LOCAL_")}
            os.environ |= {f"{scope}WORLD_SIZE": str(processes) for scope in ("", "LOCAL_")}
        torch.set_num_threads(1)  # several would add up in another order than one
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stderr.fileno())
        os._exit(command_line(words))
    return found


def ended(processes: Sequence[int], after: float | None = None) -> list[int] | None:
    """The exit codes of processes; None if one was still running after so many seconds, and all were killed."""
    last = None if after is None else time.monotonic() + after
    running, codes = list(processes), []
    while running and (last is None or time.monotonic() < last):
        for process in tuple(running):
            found, status = os.waitpid(process, os.WNOHANG)
            if found:
                running.remove(process)
                codes.append(os.waitstatus_to_exitcode(status))
        time.sleep(0.002)
    for process in running:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
    return None if running else codes


if __name__ == "__main__":
    main()
