"""docs/performance.md from the raw numbers of scripts/benchmark.py.

python scripts/benchmark_page.py RAW.json [RAW.json ...] -o docs/performance.md
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmark_cases import CASES, NARROW, WHOLE, Case

DOCS = Path(__file__).parents[1] / "docs"
Raw = Mapping[str, Any]
Row = Mapping[str, Any]

COMMAND = "python scripts/benchmark.py -o build/benchmark-{device}.json --page docs/performance.md{more}"
PEERS_OF_ALL = ("lxt", "captum", "autolrp", "inseq")

MEANINGS = {
    ("lxtlike", "explain"): "`Explainer.explain(text)`: tokens, relevance, ledger and audit, under AttnLRP",
    ("lxtlike", "explain, first call"): "the first call for a model, which compares its outputs with the plain model's",
    ("lxtlike", "explain, checkpointing"): "with `checkpointing=True`",
    ("lxtlike", "explain, cp-lrp"): 'with `composite="cp-lrp"`',
    ("lxtlike", "explain, high"): 'with `quality="high"`, which is more than one pass',
    ("lxtlike", "explain, no rules"): 'with `composite="input-x-gradient"`, whose backward pass is the plain one',
    ("lxtlike", "propagate"): "relevance only: a loop of one's own in `with lxtlike.propagate(model)`",
    ("lxtlike", "propagate, by layer"): "the same with `by_layer=True`",
    ("lxtlike", "plain gradient"): "torch alone: the gradient of the embeddings, weights frozen",
    ("lxtlike", "every output"): "`Explainer.generate(text, completion=...)`: every token of a continuation on its own",
    ("lxtlike", "sum of outputs"): "`Explainer.explain(text, completion=...)`: the sum over its tokens",
    ("lxt", "lrp"): "`lxt.efficient`, as in its examples",
    ("lxt", "lrp, checkpointing"): "the same with `gradient_checkpointing_enable()`, as there",
    ("lxt", "every output"): "the same in a loop over the tokens of the continuation",
    ("autolrp", "lrp"): "`autolrp.tensor(...)`, `.lrp(config=LRPConfig.attnlrp())`",
    ("captum", "input x gradient"): "`InputXGradient` of the embeddings",
    ("captum", "integrated gradients"): "`LayerIntegratedGradients`, 32 steps one by one",
    ("inseq", "input x gradient"): "`input_x_gradient` of the next token",
    ("inseq", "integrated gradients"): "`integrated_gradients` of the next token, 32 steps one by one",
}
"""Tool and method -> what was called."""

PAGES = {
    "long-inputs.md": "time and memory over the length of the text",
    "large-models.md": "models that are larger than memory",
    "batch.md": "many texts, and their throughput",
    "several-devices.md": "models over several devices",
    "generations.md": "whole generations",
}

HEAD = """# Performance

This page is written by `scripts/benchmark.py`, from random models that it draws itself. Numbers are **ratios**: by how many plain
forward passes of the same model on the same text an explanation is paid (`logits_to_keep=1`, no gradient). Both take turns in one
process; given is the median of the rounds, with the smallest and the largest in brackets. What takes
many forward passes ran once.

An explanation cannot do with less than a forward pass and a backward pass, which costs a little more than the forward pass. Less
than the *plain gradient* is possible where only what the explained output reads is computed.

**Memory** is the most that torch's allocator has handed out during one explanation above what was there before, so without the
weights. It is counted from the allocator's own events, and the same in every run.
"""

ON_CPU = """## On one core

{rounds} rounds, CPU time of one core, {dtype}. {machine}.

```sh
{command}
```

How the peers' environments are made: `python scripts/benchmark.py --help`.
"""

ON_GPU = """## On a GPU

{rounds} rounds, {dtype}, times by the GPU's own events. {machine}.

```sh
{command}
```
"""

NO_GPU = """## On a GPU

Not measured: there was none at hand. What would be, in bfloat16: {cases}.

```sh
{command}
```
"""


def page(raws: Sequence[Raw]) -> str:
    """The page of raw numbers, one of them for each device."""
    found = {raw["device"]: raw for raw in raws}
    parts = [HEAD]
    if "cpu" in found:
        raw = found["cpu"]
        parts += [ON_CPU.format(**_facts(raw, "")), *_tables(raw), *_overhead(raw)]
    if "cuda" in found:
        parts += [ON_GPU.format(**_facts(found["cuda"], " --device cuda")), *_tables(found["cuda"])]
    else:
        shapes: dict[str, list[str]] = {}
        for case in CASES["cuda"]:
            shapes.setdefault(case.shape, []).append(case.name.removeprefix(f"{case.shape}, ").removesuffix(" tokens"))
        named = "; ".join(f"{shape} at {', '.join(lengths)} tokens" for shape, lengths in shapes.items())
        parts.append(NO_GPU.format(cases=named, command=_command("cuda", " --device cuda", PEERS_OF_ALL)))
    links = [f"- [{what}]({name})" for name, what in PAGES.items() if (DOCS / name).exists()]
    parts += ["## More\n", *links, ""]
    return "\n".join(parts)


def _facts(raw: Raw, more: str) -> dict[str, str]:
    """What the head of a device's section says."""
    ours = raw["environments"]["lxtlike"]
    versions = [
        f"{tool}: {', '.join(f'{k} {v}' for k, v in its.items() if k != 'processor')}" for tool, its in _others(raw)
    ]
    peers = f"; {'; '.join(versions)}" if versions else ""
    machine = f"{ours['processor']}; torch {ours['torch']}, transformers {ours['transformers']}{peers}"
    ran = [tool for tool in raw["environments"] if tool != "lxtlike"]
    command = _command(raw["device"], f"{more} --rounds {raw['rounds']}", ran)
    return {"rounds": str(raw["rounds"]), "dtype": raw["dtype"], "machine": machine, "command": command}


def _command(device: str, more: str, peers: Sequence[str]) -> str:
    """The command line of a run with these peers."""
    named = [f"--peer {peer}={'INSEQ' if peer == 'inseq' else 'PEERS'}/bin/python" for peer in peers]
    return " \\\n    ".join([COMMAND.format(device=device, more=more), *([" ".join(named)] if named else [])])


def _others(raw: Raw) -> list[tuple[str, Mapping[str, str]]]:
    ours = {key: value for key, value in raw["environments"]["lxtlike"].items() if key != "tool"}
    return [(tool, its) for tool, its in raw["environments"].items() if tool != "lxtlike" and its != ours]


def _tables(raw: Raw) -> list[str]:
    """A table for each case, and what the methods are."""
    cases = {case.name: case for case in CASES[raw["device"]]}
    rows = raw["rows"]
    named = [key for key in MEANINGS if any((row["tool"], row["method"]) == key for row in rows)]
    lines = ["| tool | method | what was called |", "|---|---|---|"]
    lines += [f"| {tool} | {method} | {MEANINGS[tool, method]} |" for tool, method in named]
    for name, case in cases.items():
        own = [row for row in rows if row["case"] == name]
        if own:
            forward = statistics.median(second for row in own for second in row.get("forward", [0.0]))
            lines += ["", f"### {name}", "", f"A forward pass took {forward:.3g} s.", "", *_table(case, own)]
    return [*lines, ""]


def _table(case: Case, rows: Sequence[Row]) -> list[str]:
    lines = ["| tool | method | x forward | MiB | goal |", "|---|---|---:|---:|---|"]
    for row in rows:
        goal = case.goals.get(row["method"]) if row["tool"] == "lxtlike" else None
        wanted = "" if goal is None else f"≤ {goal[0]:g}" + (f", ≤ {goal[1]:g} MiB" if goal[1] else "")
        cells = [row["tool"], row["method"]]
        if "error" in row:
            cells += [row["error"].replace("|", "\\|"), "", wanted]
        else:
            cells += [_times(case, row), f"{row['memory'] / 2**20:.0f}", wanted]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def ratios(row: Row) -> list[float]:
    """Of every round."""
    return [spent / forward for spent, forward in zip(row["seconds"], row["forward"], strict=True)]


def _times(case: Case, row: Row) -> str:
    found = ratios(row)
    middle = statistics.median(found)
    said = f"{middle:.2f}"
    if len(found) > 1:
        said += f" ({min(found):.2f} to {max(found):.2f})"
    if case.outputs and row["method"] == "every output":
        said += f", {middle / case.length()[1]:.2f} an output"
    return said


def _overhead(raw: Raw) -> list[str]:
    """What lxtlike itself costs beside torch."""
    lines = ["## The toolkit's own cost", ""]
    taken = {
        (row["case"], row["method"]): statistics.median(row["seconds"])
        for row in raw["rows"]
        if row["tool"] == "lxtlike" and "seconds" in row
    }
    narrow, wide = (f"{shape}, 1024 tokens" for shape in (NARROW, WHOLE))
    if {(narrow, "plain gradient"), (narrow, "explain"), (wide, "explain")} <= taken.keys():
        own = taken[narrow, "explain"] - taken[narrow, "plain gradient"]
        lines += [
            f"- {narrow}, so the same operations with next to no arithmetic: `explain` takes {1000 * own:.0f} ms more than the "
            f"plain gradient. That is {100 * own / taken[wide, 'explain']:.1f} % of `explain` for {wide} (goal: ≤ 3 %)."
        ]
    lines += ["- Imports, CPU time beyond what was imported before:", ""]
    lines += [
        "| | beyond | s | loads matplotlib | loads transformers | loads its models |",
        "|---|---|---:|---|---|---|",
    ]
    for name, found in raw["imports"].items():
        answers = ["yes" if what in found["loaded"] else "no" for what in ("matplotlib", "transformers")]
        models = str(len(found["models"])) if found["models"] else "no"
        lines.append(f"| {name} | {found['beyond']} | {found['seconds']:.2f} | {' | '.join([*answers, models])} |")
    return [*lines, ""]


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("raw", type=Path, nargs="+")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    options.output.write_text(
        page([json.loads(path.read_text(encoding="utf-8")) for path in options.raw]), encoding="utf-8"
    )


if __name__ == "__main__":
    main()
