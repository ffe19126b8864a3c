"""The table of docs/options.md: how each option's relevance differs from AttnLRP's on the bundled models, and its ledger.

python scripts/options_table.py [--count N]
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

from lxtlike import Attribution, Explainer  # noqa: E402

KNOWN = ROOT / "lxtlike" / "assets" / "known_cause.jsonl"
REVIEWS = [
    f"{opening} {noun} is {degree} {word} {ending}"
    for opening in ("the", "this")
    for noun in ("film", "story", "music")
    for degree in ("very", "not", "never")
    for word in ("good", "bad", "dull", "warm")
    for ending in (".", "and the acting is fine .")
]
OPTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "softmax at temperature 2": ("attnlrp:temperature=2", {}),
    "the same, true activations (GIM)": ("gim", {}),
    "residual gamma 0.25": ("attnlrp-residual-gamma", {}),
    "residual gamma 10": ("attnlrp-residual-gamma:gamma=10", {}),
    "radial correction": ("attnlrp-radial", {}),
    "reference: mean": ("attnlrp", {"reference": "mean"}),
    "reference: unk": ("attnlrp", {"reference": "unk"}),
    "path of 4 points from the mean": ("attnlrp", {"reference": "mean", "path": 4}),
    "integrated gradients, 1 point": ("input-x-gradient", {"reference": "mean", "path": 1}),
    "integrated gradients, 16 points": ("input-x-gradient", {"reference": "mean", "path": 16}),
    "integrated gradients, 64 points": ("input-x-gradient", {"reference": "mean", "path": 64}),
}


def main() -> None:
    """Print a row for each model and option."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=48, help="how many texts for each model")
    count = parser.parse_args().count
    known = [json.loads(line)["text"] for line in KNOWN.read_text(encoding="utf-8").splitlines()]
    texts = {"bindings": known[:: len(known) // count][:count], "sentiment": REVIEWS[:: len(REVIEWS) // count][:count]}
    print("| model | option | largest rest | rank correlation | same first token |\n|---|---|---|---|---|")
    for name, own in texts.items():
        explainer = Explainer.from_pretrained(name)
        plain = explainer.explain(own)
        for option, (composite, readout) in OPTIONS.items():
            other = Explainer(explainer.model, explainer.tokenizer, composite=composite)
            print(f"| {name} | {option} | {' | '.join(compared(plain, other.explain(own, **readout)))} |")


def compared(plain: list[Attribution], found: list[Attribution]) -> tuple[str, str, str]:
    """Largest relative error of a ledger, mean rank correlation with the plain relevance, share of equal first tokens."""
    rest = max(a.ledger.relative_error for a in found)
    pairs = [(ranks(a.relevance), ranks(b.relevance)) for a, b in zip(plain, found, strict=True)]
    agreement = np.mean([np.corrcoef(one, other)[0, 1] for one, other in pairs])
    first = np.mean([one.argmax() == other.argmax() for one, other in pairs])
    return f"{rest:.0e}" if rest < 1e-3 else f"{rest:.1%}", f"{agreement:.2f}", f"{first:.0%}"


def ranks(values: Any) -> Any:
    """The place of each value in their order."""
    return np.argsort(np.argsort(values))


if __name__ == "__main__":
    main()
