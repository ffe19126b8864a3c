"""The table of docs/layers-and-heads.md: relevance of the bundled model's heads, and how often it is right without each.

python scripts/heads_table.py [--task binding ...] [--count N]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from lxtlike import Explainer, latent  # noqa: E402

KNOWN = ROOT / "lxtlike" / "assets" / "known_cause.jsonl"


def main() -> None:
    """Print a row for each head that has at least 2 % of the relevance."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", action="append", help="a task of known_cause.jsonl; binding and induction without it")
    parser.add_argument("--count", type=int, default=100, help="how many sentences of each")
    options = parser.parse_args()

    explainer = Explainer.from_pretrained()
    lines = [json.loads(line) for line in KNOWN.read_text(encoding="utf-8").splitlines()]
    for task in options.task or ["binding", "induction"]:
        examples = [line for line in lines if line["task"] == task][: options.count]
        texts = [example["text"] for example in examples]
        found = explainer.explain(texts, contrast="mean", heads=True)
        heads = np.stack([a.heads for a in found if a.heads is not None])
        shares = (heads / np.abs(heads).sum((1, 2), keepdims=True)).mean(0)
        print(f"{task}: right in {right(explainer, examples)} of {len(examples)} sentences")
        for layer, head in sorted(np.ndindex(*shares.shape), key=lambda place: -shares[place]):
            if round(abs(shares[layer, head]), 2) < 0.02:
                continue
            first = int((heads.reshape(len(heads), -1).argmax(1) == layer * heads.shape[2] + head).sum())
            with latent.ablated(explainer.model, latent.heads(int(layer), int(head))):
                left = right(explainer, examples)
            name = f"layer {layer + 1}, head {head + 1}"
            print(f"| {task} | {name} | {shares[layer, head]:+.0%} | {first} | {left} |")


def right(explainer: Explainer, examples: list[dict[str, Any]]) -> int:
    """How many of the sentences the model answers rightly."""
    found = explainer.explain([example["text"] for example in examples])
    return sum(a.target.token.strip() == example["answer"] for a, example in zip(found, examples, strict=True))


if __name__ == "__main__":
    main()
