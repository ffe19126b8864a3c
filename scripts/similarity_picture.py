"""The numbers and the pictures of docs/similarity.md: ``python scripts/similarity_picture.py [--pictures FOLDER]``.

The bundled classifier's encoder stands in for a model of sentence embeddings, which none of the bundled ones is.
"""

from __future__ import annotations

import argparse
import time
from itertools import combinations
from pathlib import Path

import numpy as np

from lxtlike import PairAttribution, SimilarityExplainer

FOLDER = Path(__file__).parents[1] / "docs" / "pictures"
FIRST, SECOND = "a dull film with a moving ending .", "the ending is moving , the rest is dull ."
SENTENCES = [
    FIRST,
    SECOND,
    "the jokes are stale , but the acting is superb .",
    "superb performances save the stale jokes .",
    "the acting is superb , but the story is dull .",
    "a charming story with awful music .",
    "the music is awful , but the story is charming .",
    "not a bad film , and never boring .",
]
FORMS: dict[str, dict[str, object]] = {
    "tokens": {"form": "tokens"},
    "6 projections": {"projections": 6},
    "14 projections": {"projections": 14},
    "30 projections": {"projections": 30},
}


def correlation(one: PairAttribution, other: PairAttribution) -> float:
    """Pearson correlation of two matrices of the same pairs."""
    return float(np.corrcoef(one.matrix.ravel(), other.matrix.ravel())[0, 1])


def agreement(explainer: SimilarityExplainer) -> None:
    """A line for each cheaper form: directions, correlation with the full one, seconds."""
    began = time.perf_counter()
    full = {pair: explainer.explain(*pair) for pair in combinations(SENTENCES, 2)}
    seconds = (time.perf_counter() - began) / len(full)
    rest = max(result.ledger.relative_error for result in full.values())
    print(f"{len(full)} pairs of texts, largest relative error of a ledger {rest:.0e}")
    print(f"{'form':16}{'lowest':>9}{'median':>9}{'seconds':>9}")
    print(f"{'bilrp':16}{1:9.3f}{1:9.3f}{seconds:9.2f}")
    for name, options in FORMS.items():
        began = time.perf_counter()
        found = [correlation(explainer.explain(*pair, **options), result) for pair, result in full.items()]  # type: ignore[arg-type]
        seconds = (time.perf_counter() - began) / len(full)
        print(f"{name:16}{min(found):9.3f}{np.median(found):9.3f}{seconds:9.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, default=FOLDER, metavar="FOLDER")
    folder = parser.parse_args().pictures
    explainer = SimilarityExplainer.from_pretrained("sentiment")
    result = explainer.explain(FIRST, SECOND)
    result.plot().savefig(folder / "similarity.png", dpi=160)
    result.plot("matrix").savefig(folder / "similarity-matrix.png", dpi=130)
    agreement(explainer)


if __name__ == "__main__":
    main()
