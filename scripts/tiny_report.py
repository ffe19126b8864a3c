"""The records of a sweep as the page docs/architectures.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import transformers
from tiny_architectures import LENGTH, MAPPINGS
from tiny_explanation import closed

Record = dict[str, Any]


def verdict(record: Record) -> str:
    """One word on a type."""
    if not record["built"]:
        return "not built"
    return "closed" if closed(record) else "open"


def remark(record: Record) -> str:
    """Why a type is not closed; empty for those that are."""
    if record.get("error"):
        return str(record["error"]).replace("\n", " ").replace("|", "\\|")[:200]
    found = []
    uncovered = sorted({u for run in record["runs"].values() for u in run["uncovered"]})
    if uncovered:
        found.append("no rule: " + ", ".join(uncovered[:3]))
    if not all(run["finite"] for run in record["runs"].values()):
        found.append("not finite")
    if not closed(record):
        for key, run in record["runs"].items():
            if run["error"] > 1e-8 and key.endswith("float64"):
                found.append(f"{key} error {run['error']:.0e}")
            if run["deviation"]:
                found.append(f"{key} forward {run['deviation']:.0e}")
            if run["tokens"] == 0.0:
                found.append(f"{key} no relevance")
    return "; ".join(found)


def summary_lines(records: list[Record]) -> list[str]:
    """One line per mapping: how many of all types are closed."""
    lines = []
    for mapping in MAPPINGS:
        rows = [record for record in records if record["mapping"] == mapping]
        if rows:
            built = sum(record["built"] for record in rows)
            lines.append(f"{mapping}: {sum(map(closed, rows))} closed of {len(rows)} types, {built} built")
    return lines


_ASSISTANT = (
    "all its layers read the keys and values of another model; its config refuses the tiny form, not tried further"
)
REASONS = {
    "dinat": "its code needs the natten library",
    "fast_vlm": "its vision tower needs timm",
    "perception_lm": "its vision tower needs timm",
    "gemma3n": "its vision tower needs timm; the text model gemma3n_text is closed",
    "gemma4_assistant": _ASSISTANT,
    "gemma4_unified_assistant": _ASSISTANT,
    "layoutlmv2": "its code needs the detectron2 library",
    "mra": "without its CUDA kernel the attention returns zeros that are made to require gradient inside the model: what the "
    "bias behind them absorbs lies on no way to the input and is not booked",
    "reformer": "a custom autograd Function spans all layers and refuses a backward pass outside training",
    "timm_wrapper": "its code needs timm",
    "yoso": "a custom autograd Function holds the attention; no rule can look inside, and the audit says so",
}
"""Model type -> why it stays open or could not be built."""

HEAD = """# Every architecture transformers ships

Written by `scripts/sweep_architectures.py` in {minutes:.0f} minutes with torch {torch} and transformers {transformers}. For every
model type of transformers' auto mappings, a tiny random model is built (all weights, biases and norms random; one layer of
every kind that its configuration lists) and explained under `attnlrp` and `cp-lrp`, in float64 and in float32, with eager
attention. One input of {length} tokens; explained is the largest logit of the last position, the largest class logit, or the
largest start logit.

A type counts as **closed** when the patched forward gives the plain model's numbers bit for bit, all relevance is finite, no
operation is without a rule, and |rest| is at most 1e-8 of the summed absolute accounts in float64 (transformers' own casts to
float32 go to float64 there). Relevance is read at the token embeddings; of an encoder-decoder language model at the encoder's
and at the decoder's; of an image classifier at the pixels. Models of text with images or sound are fed text alone (the few
that refuse it get a random picture beside it, which is not explained): that says nothing about their other inputs. A
ledger that closes shows that relevance was conserved, not that each rule was the right one: see [rules](rules.md#the-ledger).

"""
COLUMNS = (
    "type",
    "class",
    "forward identical",
    "attnlrp float64",
    "cp-lrp float64",
    "attnlrp float32",
    "cp-lrp float32",
    "finite",
    "tokens",
    "positions",
    "biases",
    "softmax",
    "remark",
)
RUNS = ("attnlrp/float64", "cp-lrp/float64", "attnlrp/float32", "cp-lrp/float32")
ACCOUNTS = ("tokens", "positions", "biases", "softmax")


def page(records: list[Record], seconds: float) -> str:
    """The whole page, Markdown."""
    text = HEAD.format(
        minutes=max(seconds / 60, 1), torch=torch.__version__, transformers=transformers.__version__, length=LENGTH
    )
    present = [mapping for mapping in MAPPINGS if any(record["mapping"] == mapping for record in records)]
    rows = []
    for mapping in present:
        of = [record for record in records if record["mapping"] == mapping]
        worst = max((run["error"] for r in of if closed(r) for k, run in r["runs"].items() if "32" in k), default=0.0)
        rows.append((mapping, len(of), sum(r["built"] for r in of), sum(map(closed, of)), f"{worst:.0e}"))
    text += _table(("mapping", "types", "built", "closed", "largest error in float32, of the closed"), rows)
    text += "\n## What is not closed\n\n"
    left = [record for record in records if not closed(record)]
    text += _table(
        ("mapping", "type", "verdict", "reason"),
        [(r["mapping"], r["type"], verdict(r), REASONS.get(r["type"]) or remark(r)) for r in left],
    )
    for mapping in present:
        text += (
            f"\n## {mapping}\n\nErrors are |rest| over the summed absolute accounts; accounts are those of `attnlrp`"
        )
        text += " in float64, in shares of their absolute sum.\n\n"
        text += _table(COLUMNS, [_row(record) for record in records if record["mapping"] == mapping])
    return text


def _row(record: Record) -> tuple[str, ...]:
    runs = record["runs"]
    if not all(key in runs for key in RUNS):
        return (record["type"], record["class"], *[""] * (len(COLUMNS) - 3), f"{verdict(record)}: see above")
    same = all(run["deviation"] == 0.0 for run in runs.values())
    finite = all(run["finite"] for run in runs.values())
    total = sum(abs(runs[RUNS[0]][name]) for name in ACCOUNTS) or 1.0
    return (
        record["type"],
        record["class"],
        "yes" if same else "no",
        *(f"{runs[key]['error']:.0e}" for key in RUNS),
        "yes" if finite else "no",
        *(f"{runs[RUNS[0]][name] / total:+.0%}" for name in ACCOUNTS),
        "" if closed(record) else "open: see above",
    )


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join("| " + " | ".join(str(cell) for cell in line) + " |\n" for line in lines)
