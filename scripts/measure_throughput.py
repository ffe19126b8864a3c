"""How many short texts a second are explained: one by one, and in batches.

python scripts/measure_throughput.py [--texts N] [--rounds N] [--tokens FROM TO] [--shape NAME] [--batch-tokens N ...]
                                      [--profile]

The bundled `bindings` and a random model, on texts of random words; CPU time of one core, both ways in turn, the median of the
rounds. How far relevance differs between them is relative to the largest of a text. `--profile` adds what plain forward passes
with their gradient take of the same texts, alone and in the same batches, and how much arithmetic that is.
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
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmark_cases import SHAPES, Case, made

from lxtlike import Attribution, Explainer, explain_rows
from lxtlike.dataset.batches import Item, batches
from lxtlike.dataset.explaining import BATCH
from lxtlike.feeding import model_inputs, rows_at
from lxtlike.loading import load
from lxtlike.targets import Asked
from lxtlike.text import Encoded


def main() -> None:
    """Print one line for each model and budget of tokens."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--texts", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, nargs=2, default=[8, 32])
    parser.add_argument("--shape", default="Llama 125M", choices=SHAPES)
    parser.add_argument("--batch-tokens", type=int, nargs="+", default=[256, 1024])
    parser.add_argument("--profile", action="store_true")
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
            for line in profile(explainer, texts, budget) if options.profile else ():
                print(line, flush=True)


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


def profile(explainer: Explainer, texts: Sequence[str], budget: int) -> Iterator[str]:
    """What plain gradients of the last token's largest logit take, one by one and in batches: time, arithmetic, padding."""
    questions = [explainer.prepared(text, Asked()) for text in texts]
    items = [Item(number, number, question) for number, question in enumerate(questions)]
    together = batches(items, BATCH, budget, mixed=True)
    for name, groups in (("one by one", [[item] for item in items]), (f"in {len(together)} batches", together)):

        def run(groups: list[list[Item]] = groups) -> None:
            for group in groups:
                gradient(explainer, [item.question.encoded for item in group if item.question is not None])

        with FlopCounterMode(display=False) as counter:
            run()
        seconds, work = spent(run), counter.get_total_flops()
        tokens = sum(len(group) * group[-1].length for group in groups)
        yield (
            f"  plain forward and gradient {name}: {len(texts) / seconds:.1f} a CPU second, "
            f"{work / len(texts) / 1e9:.1f} GFLOP a text at {work / seconds / 1e9:.0f} GFLOP/s, "
            f"padding {1 - sum(item.length for item in items) / tokens:.0%}"
        )


def gradient(explainer: Explainer, batch: Sequence[Encoded]) -> None:
    """A plain forward and backward pass to the embeddings."""
    model, last = explainer.model.requires_grad_(False), [len(encoded.tokens) - 1 for encoded in batch]
    kept = sorted(set(last))
    inputs = model_inputs(batch, model, explainer.tokenizer, kept)
    leaf = model.get_input_embeddings()(inputs.pop("input_ids")).requires_grad_()
    rows = rows_at(model(inputs_embeds=leaf, **inputs).logits, range(len(batch)), last, kept)
    rows.amax(-1).sum().backward()


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
