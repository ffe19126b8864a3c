"""The process in which one tool is measured, in the tool's own environment; scripts/benchmark.py starts it.

It reads lines ``{"case": ..., "methods": [...], "rounds": N, ...}`` and answers each method with a line of numbers.

- Time: a plain forward pass and the method take turns; every round gives the ratio of the two. On the CPU it is the CPU time of
  one core, on a GPU what its events say.
- Memory: the most that torch's allocator has handed out above what was there before, weights left out. On the CPU that is the
  sum of what the profiler saw come and go, so it is the same in every run.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch
import transformers
from benchmark_cases import Case, Subject, made
from benchmark_methods import TOOLS, Run, prepared
from torch.profiler import ProfilerActivity, profile

MANY, LONG = 8, 1.0
"""What takes more than so many forward passes and seconds runs once: its ratio is large and its time steady."""


def measured(tool: str, told: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What one case gives: a dictionary for each method, of its numbers or of why there are none."""
    device, case = told["device"], Case(**told["case"])
    try:
        subject = made(case, device, told["dtype"])
        subject.forward()
    except torch.OutOfMemoryError:
        for name in told["methods"]:
            yield {"case": case.name, "tool": tool, "method": name, "error": "the model does not fit into memory"}
        return
    for name in told["methods"]:
        row: dict[str, Any] = {"case": case.name, "tool": tool, "method": name}
        try:
            yield row | numbers(subject, TOOLS[tool][name], told["rounds"], device)
        except torch.OutOfMemoryError:
            yield row | {"error": "out of memory"}
        except Exception as error:  # noqa: BLE001 - a peer's failure is a result
            yield row | {"error": f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"[:200]}
        freed()


def numbers(subject: Subject, method: Callable[[Subject], Run], rounds: int, device: str) -> dict[str, Any]:
    """Peak memory in bytes, and seconds of the forward pass and of the method in every round."""
    run, clock = method(subject), CLOCKS[device]
    if device == "cuda":
        run()  # kernels are chosen
    forward, spent = [clock(subject.forward)], []
    memory = PEAKS[device](lambda: spent.append(clock(run)))
    if spent[0] >= max(MANY * forward[0], LONG):
        rounds = 1
    forward, spent = [], []  # a profiler that watches many passes takes time of its own
    for _ in range(rounds):
        forward.append(clock(subject.forward))
        spent.append(clock(run))
    return {"memory": memory, "forward": forward, "seconds": spent}


def cpu_seconds(run: Run) -> float:
    """CPU time of this process."""
    begun = time.process_time()
    run()
    return time.process_time() - begun


def gpu_seconds(run: Run) -> float:
    """Between two events of the GPU's stream."""
    begun, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    begun.record()
    run()
    ended.record()
    torch.cuda.synchronize()
    return float(begun.elapsed_time(ended)) / 1000


def cpu_peak(run: Run) -> int:
    """Bytes; see above."""
    freed()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        run()
    changes = [event for event in found.profiler.kineto_results.events() if event.name() == "[memory]"]
    now = peak = 0
    for change in sorted(changes, key=lambda event: event.start_ns()):
        now += change.nbytes()
        peak = max(peak, now)
    return peak


def gpu_peak(run: Run) -> int:
    """Bytes; see above."""
    freed()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


CLOCKS = {"cpu": cpu_seconds, "cuda": gpu_seconds}
PEAKS = {"cpu": cpu_peak, "cuda": gpu_peak}


def freed() -> None:
    """Give back what nobody holds."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def machine(device: str) -> dict[str, str]:
    """What runs here."""
    if device == "cuda":
        name = torch.cuda.get_device_name()
    else:
        lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
        name = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "unknown processor")
    return {"processor": name, "torch": torch.__version__, "transformers": transformers.__version__}


def main() -> None:
    """Answer every line of stdin on stdout; nothing else gets there."""
    tool, device = sys.argv[1:]
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    answers = sys.stdout
    with redirect_stdout(sys.stderr):
        prepared(tool)
        print(json.dumps(machine(device)), file=answers, flush=True)
        for line in sys.stdin:
            for row in measured(tool, json.loads(line)):
                print(json.dumps(row), file=answers, flush=True)
            print(json.dumps(None), file=answers, flush=True)
            freed()


if __name__ == "__main__":
    main()
