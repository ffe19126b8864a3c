"""The records of a sweep as the page docs/architectures.md."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import torch
import transformers
from tiny_architectures import LENGTH, MAPPINGS
from tiny_explanation import CLOSED, EQUAL, closed, wrong

Record = dict[str, Any]
SAME = 1e-6
"""A text's relevance is the same alone and in a batch when it differs by no more than this part of the largest one."""


def verdict(record: Record) -> str:
    """One word on a type."""
    if not record["built"]:
        return "not built"
    return "closed" if closed(record) else "open"


def remark(record: Record) -> str:
    """Why a type is not closed, or what is left out of it; empty for the others."""
    if record.get("error"):
        return str(record["error"]).replace("\n", " ").replace("|", "\\|")[:200]
    runs, found = record["runs"], []
    if record["mapping"] == "image-text-to-text" and record["type"] in ALONE:
        found.append(ALONE[record["type"]])
    if refused := record["refused"]:
        found.append("picture refused: " + refused[0].replace("\n", " ").replace("|", "\\|")[:120])
    if runs["cp-lrp/float64"]["silent"]:
        found.append("its picture comes by a softmax, which `cp-lrp` holds constant")
    if any(run["deviation from no_grad"] for run in runs.values()):
        found.append("identical to the plain model with gradients on, where torch takes other kernels")
    ways = record.get("explainer") or {}
    if isinstance(ways, str):
        found.append("`Explainer`: " + record["explainer"].replace("\n", " ").replace("|", "\\|")[:160])
    elif ways.get("batch", 0.0) > SAME:
        found.append(
            f"it computes short and long texts in different ways: in a batch relevance differs by {ways['batch']:.0e}"
        )
    if closed(record):
        return "; ".join(found)
    found += [f"`Explainer` {way} {error:.0e}" for way, error in wrong(record).items()]
    uncovered = sorted({u for run in runs.values() for u in run["uncovered"]})
    if uncovered:
        found.append("no rule: " + ", ".join(uncovered[:3]))
    if not all(run["finite"] for run in runs.values()):
        found.append("not finite")
    for key, run in runs.items():
        if run["error"] > CLOSED and not key.endswith("float32"):
            found.append(f"{key} error {run['error']:.0e}")
        if run["deviation"]:
            found.append(f"{key} forward {run['deviation']:.0e}")
        found += [f"{key} no relevance at the {kind}" for kind in run["silent"]]
    found += [f"{key} fast lane {value:.0e}" for key, value in record["fast"].items() if value > EQUAL]
    return "; ".join(found)


def pictured(record: Record) -> bool:
    """Whether relevance was read at a picture."""
    return any(run["picture"] is not None for run in record["runs"].values())


def summary_lines(records: list[Record]) -> list[str]:
    """One line per mapping: how many of all types are closed."""
    lines = []
    for mapping in MAPPINGS:
        rows = [record for record in records if record["mapping"] == mapping]
        if rows:
            built = sum(record["built"] for record in rows)
            line = f"{mapping}: {sum(map(closed, rows))} closed of {len(rows)} types, {built} built"
            if mapping == "image-text-to-text":
                line += f", {sum(closed(row) and pictured(row) for row in rows)} closed with a picture"
            lines.append(line)
    return lines


_ASSISTANT = (
    "transformers refuses every config of it: all layers must share keys and values, and those of an unshared layer of each "
    "kind must exist"
)
_TIMM = "needs timm, and timm a torchvision built for the same torch"
REASONS = {
    "dinat": "its attention is a kernel of the natten library, which has to be compiled; no rule could look inside",
    "fast_vlm": f"its vision tower {_TIMM}",
    "perception_lm": f"its vision tower {_TIMM}",
    "gemma3n": f"its vision tower {_TIMM}; the text model gemma3n_text is closed",
    "gemma4_assistant": _ASSISTANT,
    "gemma4_unified_assistant": _ASSISTANT,
    "hrm_text": "its ledger closes, and the audit reports a cut: early cycles run under `torch.no_grad`, and what they add "
    "has no way back to the input",
    "layoutlmv2": "its code needs the detectron2 library, which is not on the package index",
    "reformer": "a custom autograd Function spans all layers and refuses a backward pass outside training; the error says so",
    "timm_wrapper": f"its code {_TIMM}",
    "yoso": "a custom autograd Function holds the attention; no rule can look inside, and the audit says so",
}
ALONE = {
    "evolla": "its other input is a protein; it has no pictures",
    "mistral4": "the class in the mapping reads text alone",
}
"""Model type -> why it stays open or could not be built; `ALONE`: why it is closed with text alone."""

HEAD = """# Every architecture transformers ships

Written by `scripts/sweep_architectures.py` with torch {torch} and transformers {transformers}{timm}.
The types took {minutes:.0f} minutes, one after another. For every model type of transformers' auto mappings, a tiny random
model is built (all weights, biases and norms random; one layer of every kind that its configuration lists) and explained
under `attnlrp` and `cp-lrp`, in float64 and in float32, with eager attention. One input of {length} tokens; explained is the
largest logit of the last position, the largest class logit, or the largest start logit.

Relevance is read at the token embeddings (of an encoder-decoder, the encoder's and the decoder's), at the pixels, or at both
where a model reads text and pictures: the random picture fills as many placeholders as the model asks for, and `tokens` is
the sum of both. `chameleon` and `emu3` turn pictures into tokens of a codebook, which relevance cannot pass: their pictures
are read at the embeddings of those tokens. Image classifiers are explained twice: at the pixels, and at the output of the
first layer, the embeddings of the patches.

A type counts as **closed** when

- the patched forward gives the plain model's numbers bit for bit,
- all relevance is finite, and every input has some,
- no operation is without a rule,
- |rest| is at most 1e-8 of the summed absolute accounts in float64 (transformers' own casts to float32 go to float64 there),
  at each of the readings,
- without the fast lane no relevance changes by more than 1e-10 of the largest one, in float64,
- `Explainer` closes its ledgers just as well, in every way that the task has (a text, a question with its context, a
  continuation, a generation). Where it refuses, its sentence is among the remarks, and so is how far a text's relevance in a
  batch with a longer one is from its own alone, where that is more than 1e-6 of the largest.

A ledger that closes shows that relevance was conserved, not that each rule was the right one: see [rules](rules.md#the-ledger).

"""
NEED_TIMM = "The types fast_vlm, gemma3n, perception_lm and timm_wrapper"
RUNS = ("attnlrp/float64", "cp-lrp/float64", "attnlrp/float32", "cp-lrp/float32")
SUMMED = ("tokens", "positions", "biases", "softmax", "router")
PATCHES = {"attnlrp/patches": "attnlrp patches", "cp-lrp/patches": "cp-lrp patches"}


def page(records: list[Record]) -> str:
    """The whole page, Markdown."""
    text = HEAD.format(
        minutes=sum(record.get("seconds", 0.0) for record in records) / 60,
        torch=torch.__version__.partition("+")[0],
        transformers=transformers.__version__,
        timm=f".\n{NEED_TIMM} need timm: {version('timm')} here" if find_spec("timm") else "",
        length=LENGTH,
    )
    present = [mapping for mapping in MAPPINGS if any(record["mapping"] == mapping for record in records)]
    rows = []
    for mapping in present:
        of = [record for record in records if record["mapping"] == mapping]
        shut = [record for record in of if closed(record)]
        worst = max((run["error"] for r in shut for key, run in r["runs"].items() if "32" in key), default=0.0)
        lane = max((value for r in shut for value in r["fast"].values()), default=0.0)
        shown = sum(map(pictured, shut)) if mapping == "image-text-to-text" else ""
        rows.append((mapping, len(of), sum(r["built"] for r in of), len(shut), shown, f"{worst:.0e}", f"{lane:.0e}"))
    names = (
        "mapping",
        "types",
        "built",
        "closed",
        "with picture",
        "largest error in float32",
        "largest fast lane difference",
    )
    text += _table(names, rows)
    text += "\nThe two largest numbers are those of the closed types.\n\n## What is not closed\n\n"
    left = [record for record in records if not closed(record)]
    text += _table(
        ("mapping", "type", "verdict", "reason"),
        [(r["mapping"], r["type"], verdict(r), REASONS.get(r["type"]) or remark(r)) for r in left],
    )
    for mapping in present:
        text += f"\n## {mapping}\n\n{LEGEND}\n\n"
        cells = [_row(record, mapping) for record in records if record["mapping"] == mapping]
        text += _table(tuple(cells[0]), [tuple(row.values()) for row in cells])
    return text


LEGEND = """Errors are |rest| over the summed absolute accounts. Accounts are those of `attnlrp` in float64, in shares of their
absolute sum. `fast lane`: largest relative difference without it, and how many modules take it."""


def _row(record: Record, mapping: str) -> dict[str, str]:
    """Column -> cell."""
    runs = record["runs"]
    whole = all(key in runs for key in RUNS)
    main = runs[RUNS[0]] if whole else {}
    total = sum(abs(main[name]) for name in SUMMED) or 1.0 if whole else 1.0
    row = {"type": record["type"], "class": record["class"]}
    if mapping == "image-text-to-text":
        row["read at"] = _read_at(record) if whole else ""
    row["identical"] = ("no" if any(run["deviation"] for run in runs.values()) else "yes") if whole else ""
    columns = dict(zip(RUNS, ("attnlrp 64", "cp-lrp 64", "attnlrp 32", "cp-lrp 32"), strict=True))
    if mapping == "image-classification":
        columns |= PATCHES
    row |= {name: f"{runs[key]['error']:.0e}" if whole and key in runs else "" for key, name in columns.items()}
    row["finite"] = ("yes" if all(run["finite"] for run in runs.values()) else "no") if whole else ""
    row |= {name: f"{main[name] / total:+.0%}" if whole else "" for name in SUMMED}
    if mapping == "image-text-to-text":
        row["of it picture"] = f"{main['picture'] / total:+.0%}" if whole and main["picture"] is not None else ""
    lanes = record["lanes"].get("attnlrp", 0)
    row["fast lane"] = f"{max(record['fast'].values()):.0e}, {lanes}" if record["fast"] else ""
    row["remark"] = (
        (REASONS.get(record["type"]) or remark(record)) if closed(record) else f"{verdict(record)}: see above"
    )
    return row


def _read_at(record: Record) -> str:
    run = record["runs"][RUNS[0]]
    if run["codes"]:
        return "text, codes of the picture"
    if record["mapping"] == "image-text-to-text" and not pictured(record):
        return "text only"
    return "text, picture"


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join("| " + " | ".join(str(cell) for cell in line) + " |\n" for line in lines)
