"""How many short texts a second are explained: one by one, and in batches.

python scripts/measure_throughput.py [--texts N] [--rounds N] [--tokens FROM TO] [--shape NAME] [--batch-tokens N ...]

The bundled `bindings` and a random model, on texts of random words; CPU time of one core, both ways in turn, the median of the
rounds. How far relevance differs between them is relative to the largest of a text.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmark_cases import SHAPES, Case, made

from lxtlike import Attribution, Explainer, explain_rows
from lxtlike.loading import load


def main() -> None:
    """Print one line for each model and budget of tokens."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--texts", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, nargs=2, default=[8, 32])
    parser.add_argument("--shape", default="Llama 125M", choices=SHAPES)
    parser.add_argument("--batch-tokens", type=int, nargs="+", default=[256, 1024])
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name, explainer in explainers(options.shape):
        texts = drawn(explainer, options.texts, *options.tokens)
        for budget in options.batch_tokens:
            one, many, difference = throughput(explainer, texts, budget, options.rounds)
            print(
                f"{name}, {len(texts)} texts: {one:.1f} a CPU second one by one, {many:.1f} in batches of up to {budget} tokens: "
                f"{many / one:.2f} x; relevance within {difference:.0e}",
                flush=True,
            )


def throughput(explainer: Explainer, texts: Sequence[str], budget: int, rounds: int) -> tuple[float, float, float]:
    """Texts a CPU second one by one and in batches, and the largest difference of relevance, relative to the largest."""

    def one_by_one() -> list[Attribution]:
        return [explainer.explain(text) for text in texts]

    def together() -> list[Attribution]:
        rows = explain_rows(explainer, texts, batch_tokens=budget)
        return [row.attribution for row in rows if row.attribution is not None]

    single, batch = one_by_one(), together()  # to warm up, and to compare
    difference = max(
        float(np.abs(a.relevance - b.relevance).max() / np.abs(a.relevance).max())
        for a, b in zip(single, batch, strict=True)
    )
    seconds = [(spent(one_by_one), spent(together)) for _ in range(rounds)]
    first, second = (len(texts) / statistics.median(column) for column in zip(*seconds, strict=True))
    return first, second, difference


def explainers(shape: str) -> Iterator[tuple[str, Explainer]]:
    """Those of the bundled language model and of a random one."""
    loaded = load("bindings")
    yield loaded.name, Explainer(loaded.model, loaded.tokenizer)
    subject = made(Case(shape, 1, {}), "cpu", "float32")
    yield f"random {shape}", Explainer(subject.model, subject.tokenizer)


def drawn(explainer: Explainer, count: int, shortest: int, longest: int) -> list[str]:
    """Texts of random words, of lengths between the two."""
    dice = random.Random(0)
    words = sorted(word for word in explainer.tokenizer.get_vocab() if word.isalnum())
    return [" ".join(dice.choices(words, k=dice.randint(shortest, longest))) for _ in range(count)]


def spent(run: Callable[[], Any]) -> float:
    """CPU seconds."""
    begun = time.process_time()
    run()
    return time.process_time() - begun


if __name__ == "__main__":
    main()
