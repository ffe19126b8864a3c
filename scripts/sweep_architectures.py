"""Build a tiny random model of every type in transformers' auto mappings, explain it, and write docs/architectures.md.

python scripts/sweep_architectures.py [--mapping NAME ...] [--only TYPE ...] [--workers N] [--json FILE] [--timeout SECONDS]

The page is written when all mappings ran whole. Workers are processes that handle one type after another; one that
crashes or hangs is replaced.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT)]
MEMORY = 10 << 30
"""Bytes that a worker may allocate: a config that is not tiny fails instead of filling the machine."""

Job = tuple[str, str, str]


def main() -> None:
    """Run the sweep; exit code 0 whatever it finds, as the page tells."""
    from tiny_architectures import MAPPINGS, types
    from tiny_report import page, summary_lines

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--mapping", action="append", choices=sorted(MAPPINGS), help="only these mappings")
    parser.add_argument("--only", action="append", help="only these model types")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds per type")
    parser.add_argument("--json", type=Path, help="write the records to this file")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "architectures.md")
    options = parser.parse_args()

    mappings = options.mapping or list(MAPPINGS)
    jobs = [
        (mapping, model_type, class_name)
        for mapping in mappings
        for model_type, class_name in types(mapping).items()
        if not options.only or model_type in options.only
    ]
    records = []
    for record in sweep(jobs, options.workers, options.timeout):
        records.append(record)
        _say(f"[{len(records)}/{len(jobs)}] {_line(record)}")
        if options.json:
            options.json.write_text(json.dumps(records, indent=1), encoding="utf-8")
    order = {job: index for index, job in enumerate(jobs)}
    records.sort(key=lambda record: order[record["mapping"], record["type"], record["class"]])
    for line in summary_lines(records):
        _say(line)
    if not options.only and mappings == list(MAPPINGS):
        from lxtlike.files import write_whole

        write_whole(options.page, page(records))
        _say(f"written: {options.page}")


def sweep(jobs: list[Job], workers: int, timeout: float) -> Iterator[dict[str, Any]]:
    """Records of all jobs, as they are ready."""
    context = multiprocessing.get_context("spawn")
    waiting = list(reversed(jobs))
    busy: dict[Connection, tuple[Any, Job, float]] = {}
    idle: list[tuple[Connection, Any]] = []
    while waiting or busy:
        while waiting and len(busy) < workers:
            connection, process = idle.pop() if idle else _worker(context)
            job = waiting.pop()
            connection.send(job)
            busy[connection] = process, job, time.monotonic() + timeout
        ready = wait(list(busy), timeout=1.0)
        for connection in list(busy):
            process, job, deadline = busy[connection]
            if connection in ready:
                del busy[connection]
                try:
                    yield connection.recv()
                    idle.append((connection, process))
                except EOFError:
                    yield _failure(job, "the process crashed")
            elif time.monotonic() > deadline:
                del busy[connection]
                process.kill()
                yield _failure(job, f"no result within {timeout:g} s")
    for connection, _ in idle:
        connection.send(None)


def _worker(context: Any) -> tuple[Connection, Any]:
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    return ours, process


def _work(connection: Connection) -> None:
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch

    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    from tiny_explanation import record

    while (job := connection.recv()) is not None:
        connection.send(record(*job))


def _failure(job: Job, error: str) -> dict[str, Any]:
    mapping, model_type, class_name = job
    empty = {"built": False, "runs": {}, "fast": {}, "lanes": {}, "refused": []}
    return {"mapping": mapping, "type": model_type, "class": class_name, **empty, "error": error}


def _line(record: dict[str, Any]) -> str:
    from tiny_report import remark, verdict

    return f"{record['mapping']} {record['type']} {verdict(record)} {remark(record)} ({record.get('seconds', '')} s)"


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
