"""The benchmark measures tiny models by the same code as large ones, and its page says all that was found."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

import benchmark  # noqa: E402
import benchmark_imports  # noqa: E402
import benchmark_runner  # noqa: E402
from benchmark_cases import CASES, SHAPES, Case, made, reduced  # noqa: E402
from benchmark_page import MEANINGS, page, ratios  # noqa: E402


def told(case: Case, methods: list[str]) -> dict[str, Any]:
    return {"case": vars(case), "methods": methods, "rounds": 2, "dtype": "float32", "device": "cpu"}


def test_a_tiny_run_writes_raw_numbers_and_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "`import lxtlike`"
    monkeypatch.setattr(benchmark_imports, "STATEMENTS", {name: benchmark_imports.STATEMENTS[name]})
    raw, written = tmp_path / "new" / "raw.json", tmp_path / "page.md"
    case = "BERT-base, 128 tokens"
    benchmark.main(["--tiny", "--rounds", "1", "--case", case, "-o", str(raw), "--page", str(written)])
    found = json.loads(raw.read_text(encoding="utf-8"))
    assert [row["method"] for row in found["rows"]] == ["plain gradient", "explain"]
    assert all(len(ratios(row)) == 1 and ratios(row)[0] > 0 and row["memory"] > 0 for row in found["rows"])
    assert found["imports"][name]["loaded"] == []
    assert f"### {case}\n" in written.read_text(encoding="utf-8")


def test_everything_that_lxtlike_is_measured_by_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(benchmark_runner.PEAKS, "cpu", lambda run: run() or 0)
    every = sorted({method for tool, method in MEANINGS if tool == "lxtlike"})
    case = reduced(Case("Llama 125M", 8, {}, outputs=2))
    found = {row["method"]: row for row in benchmark_runner.measured("lxtlike", told(case, every))}
    assert sorted(found) == every
    for row in found.values():
        assert len(ratios(row)) == 2
        assert min(ratios(row)) > 0


def test_what_takes_many_passes_runs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark_runner, "LONG", 0.0)
    subject = made(reduced(Case("BERT-base", 8, {})), "cpu", "float32")
    times = iter([1.0, 9.0, 1.0, 8.5, 1.0, 7.0, 1.0, 2.0, 1.0, 2.0])  # the first of each under the profiler
    monkeypatch.setitem(benchmark_runner.CLOCKS, "cpu", lambda run: run() or next(times))
    found = [benchmark_runner.numbers(subject, lambda _: lambda: None, 2, "cpu") for _ in range(2)]
    assert [row["seconds"] for row in found] == [[8.5], [2.0, 2.0]]


def test_memory_is_counted_and_not_sampled() -> None:
    def run() -> None:
        first = torch.zeros(1000)
        second = first + torch.zeros(500).repeat(2)
        del first, second
        torch.zeros(100)

    assert benchmark_runner.cpu_peak(run) == benchmark_runner.cpu_peak(run) >= 4 * (1000 + 1000 + 1000)


def test_a_method_that_fails_is_a_row_that_says_why() -> None:
    (row,) = benchmark_runner.measured("autolrp", told(reduced(Case("BERT-base", 8, {})), ["no such method"]))
    assert row["error"] == "KeyError: 'no such method'"


def test_a_process_that_dies_leaves_rows_and_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dying = tmp_path / "dying.py"
    dying.write_text(
        """print('{"torch": "x"}', flush=True); input(); print('{"method": "lrp"}', flush=True); exit(3)"""
    )
    monkeypatch.setattr(benchmark, "RUNNER", dying)
    runner = benchmark.Runner("lxt", sys.executable, "cpu")
    for case in CASES["cpu"][:2]:
        first, second = runner.ask(case, 1, "float32")
        assert first == {"method": "lrp"}
        assert second["error"] == "the process ended with exit code 3"
        assert (second["case"], second["method"]) == (case.name, "lrp, checkpointing")


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_can_be_made(shape: str) -> None:
    subject = made(reduced(Case(shape, 8, {})), "cpu", "float32")
    subject.forward()
    assert subject.ids.shape == (1, 8)


@pytest.mark.parametrize("device", CASES)
def test_the_page_says_every_case(device: str) -> None:
    """And every method, with medians, failures, goals, and what has not been measured."""
    numbers = {"memory": 3 * 2**20, "forward": [1.0, 2.0, 1.0], "seconds": [2.0, 5.0, 4.0]}
    rows = [
        {"case": case.name, "tool": tool, "method": method, **numbers}
        for case in CASES[device]
        for tool, methods in case.methods.items()
        for method in methods
    ]
    rows[-1] = {key: rows[-1][key] for key in ("case", "tool", "method")} | {"error": "out of memory"}
    machine = {"processor": "P", "torch": "T", "transformers": "F"}
    raw = {"device": device, "dtype": "float32", "rounds": 3, "rows": rows, "imports": {}}
    text = page([raw | {"environments": {"lxtlike": machine}}])
    for case in CASES[device]:
        assert f"### {case.name}\n" in text
    for row in rows[:-1]:
        assert f"| {row['tool']} | {row['method']} | 2.50 (2.00 to 4.00)" in text
        assert f"| {row['tool']} | {row['method']} | {MEANINGS[row['tool'], row['method']]} |" in text
    assert "| out of memory |" in text
    assert ("Not measured" in text) == (device == "cpu")
    if device == "cpu":
        assert "| ≤ 2.05, ≤ 550 MiB |" in text
