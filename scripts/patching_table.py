"""The table of docs/latent.md: how well patching is estimated by relevance and by gradients, on the bundled language model.

python scripts/patching_table.py [--corruption question ...] [--count N] [--model FOLDER --pairs FILE.jsonl]

For every pair of texts of equal length and every component at every token: the change of the logit difference of the two
answers when the component is given its value on the other text, measured, and estimated by two forward passes and one
backward pass. Printed is Pearson's correlation over all of them with its 95 % interval over resampled pairs, of noising (the
corrupt value into the clean text) and denoising (the clean one into the corrupt text).
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from demo_families import COLOURS, THINGS
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from lxtlike import Composite, Explainer, latent  # noqa: E402

KNOWN = ROOT / "lxtlike" / "assets" / "known_cause.jsonl"
COMPONENTS = [
    latent.inputs("model.layers.*"),
    latent.outputs("model.layers.*.self_attn"),
    latent.heads(),
    latent.outputs("model.layers.*.mlp"),
]
KINDS = {"residual": " input", "attention": ".self_attn", "heads": " heads", "MLP": ".mlp"}
"""What the names of their places end with."""

METHODS = {"AttnLRP": "attnlrp", "CP-LRP": "cp-lrp", "RelP": "relp", "AtP": "input-x-gradient"}


class Pair(NamedTuple):
    """Two texts that differ in one word, and the answer to each."""

    clean: str
    corrupt: str
    answer: str
    other: str


Row = NDArray[np.float64]
Effects = dict[str, dict[str, Row]]
"""Kind of component -> "measured" or a method -> all effects of one pair, always in the same order."""

Maker = Callable[[dict[str, Any], random.Random], str | None]


def answered(example: dict[str, Any], rng: random.Random) -> str | None:
    """Another colour where the answer comes from."""
    return _exchanged(example["text"], example["cause"][0], rng.choice(_unsaid(COLOURS, example["text"])))


def asked(example: dict[str, Any], rng: random.Random) -> str | None:
    """Another thing of the text in the question."""
    said = example["text"].split()
    own = _word(example["text"], example["cue"][-1])
    others = [word for word in said if word in THINGS and word != own]
    return _exchanged(example["text"], example["cue"][-1], rng.choice(others))


def numbered(example: dict[str, Any], rng: random.Random) -> str | None:
    """A subject in the other number."""
    subject = _word(example["text"], example["cause"][0])
    return _exchanged(example["text"], example["cause"][0], subject[:-1] if subject.endswith("s") else f"{subject}s")


def listed(example: dict[str, Any], rng: random.Random) -> str | None:
    """Another word of the list at its end."""
    rivals = [_word(example["text"], span) for span in example["rivals"][:-1]]
    return _exchanged(example["text"], example["cue"][-1], rng.choice(rivals)) if rivals else None


CORRUPTIONS: dict[str, tuple[str, Maker]] = {
    "answer": ("binding", answered),
    "question": ("binding", asked),
    "number": ("agreement", numbered),
    "list": ("induction", listed),
}
"""What is exchanged -> the task of the sentences, and how."""


def main() -> None:
    """Print a row for each corruption, direction and kind of component."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corruption", action="append", choices=list(CORRUPTIONS), help="all four without it")
    parser.add_argument(
        "--places", action="store_true", help="mean effects at two places of the residual stream instead"
    )
    parser.add_argument("--count", type=int, default=100, help="how many sentences of each")
    parser.add_argument("--model", help="a Llama of one's own, with --pairs")
    parser.add_argument("--pairs", type=Path, help="JSON lines with clean, corrupt, answer and other")
    options = parser.parse_args()

    explainer = Explainer.from_pretrained(options.model)
    methods = {n: Explainer(explainer.model, explainer.tokenizer, composite=c) for n, c in METHODS.items()}
    if options.pairs:
        lines = options.pairs.read_text(encoding="utf-8").splitlines()
        sets = {options.pairs.stem: [Pair(**json.loads(line)) for line in lines]}
    else:
        sets = {name: list(pairs(explainer, name, options.count)) for name in options.corruption or CORRUPTIONS}
    if options.places:
        print_places(methods, sets)
        return
    print("| exchanged | into | component | pairs |", " | ".join(METHODS), "|")
    print("|---|---|---|---|" + "---|" * len(METHODS))
    for name, found in sets.items():
        for direction in ("clean", "corrupt"):
            effects = [patched(methods, pair, direction) for pair in found]
            for kind in KINDS:
                cells = [correlation([pair[kind] for pair in effects], method) for method in METHODS]
                print("|", " | ".join([name, direction, kind, str(len(found)), *cells]), "|", flush=True)


def print_places(methods: dict[str, Explainer], sets: dict[str, list[Pair]]) -> None:
    """Mean effects of the residual stream where it comes in, at the exchanged word, and before the last layer, at the last one.

    The last column has plain gradients as well, but for norms, whose scale is held constant.
    """
    one = methods["AttnLRP"]
    frozen = Composite.parse("input-x-gradient") | {"norm": "constant"}
    methods = {**methods, "AtP, norms constant": Explainer(one.model, one.tokenizer, composite=frozen)}
    last = one.model.config.num_hidden_layers - 1
    print("| exchanged | place | measured |", " | ".join(methods), "|")
    print("|---|---|---|" + "---|" * len(methods))
    for name, found in sets.items():
        rows: dict[str, list[list[float]]] = {"before the first layer": [], "before the last layer": []}
        for pair in found:
            words = zip(pair.clean.split(), pair.corrupt.split(), strict=True)
            exchanged = next(place for place, (word, other) in enumerate(words) if word != other) + 1  # behind <bos>
            asked: dict[str, Any] = {"target": pair.answer, "contrast": pair.other}
            where = [latent.inputs(f"model.layers.{layer}") for layer in (0, last)]
            effects = [
                latent.activation_patching(one, pair.clean, pair.corrupt, where, **asked),
                *(
                    latent.relevance_patching(each, pair.clean, pair.corrupt, where, **asked)
                    for each in methods.values()
                ),
            ]
            for row, layer, place in zip(rows.values(), (0, last), (exchanged, -1), strict=True):
                row.append([float(each.effects[f"model.layers.{layer} input"].ravel()[place]) for each in effects])
        for place, values in rows.items():
            print("|", " | ".join([name, place, *(f"{mean:.1f}" for mean in np.mean(values, 0))]), "|", flush=True)


def pairs(explainer: Explainer, corruption: str, count: int) -> Iterator[Pair]:
    """Pairs of sentences that the model answers rightly, and differently."""
    task, make = CORRUPTIONS[corruption]
    rng = random.Random(corruption)
    lines = map(json.loads, KNOWN.read_text(encoding="utf-8").splitlines())
    examples = [line for line in lines if line["task"] == task][:count]
    made = [(example, corrupt) for example in examples if (corrupt := make(example, rng))]
    clean = explainer.explain([example["text"] for example, _ in made])
    corrupt = explainer.explain([text for _, text in made])
    for (example, text), one, other in zip(made, clean, corrupt, strict=True):
        said = one.target.token, other.target.token
        if said[0] == example["answer"] != said[1]:
            yield Pair(example["text"], text, *said)


def patched(methods: dict[str, Explainer], pair: Pair, into: str) -> Effects:
    """The effects of one pair, in one direction."""
    texts = (pair.clean, pair.corrupt) if into == "clean" else (pair.corrupt, pair.clean)
    target: dict[str, Any] = {"target": pair.answer, "contrast": pair.other}
    found = {n: latent.relevance_patching(one, *texts, COMPONENTS, **target) for n, one in methods.items()}
    one = methods["AttnLRP"]
    found["measured"] = latent.activation_patching(one, *texts, COMPONENTS, **target, batch_size=256)
    return {kind: {name: _of_kind(effects, end) for name, effects in found.items()} for kind, end in KINDS.items()}


def _of_kind(effects: latent.Effects, end: str) -> Row:
    rows = [values.ravel() for name, values in effects.effects.items() if name.endswith(end)]
    return np.concatenate(rows).astype(np.float64)


def correlation(effects: list[dict[str, Row]], method: str, resamples: int = 1000) -> str:
    """Pearson's correlation of estimates with measurements over all pairs, and its 95 % interval over resampled pairs."""
    sums = np.array([_sums(pair[method], pair["measured"]) for pair in effects])
    rng = np.random.default_rng(0)
    draws = sums[rng.integers(len(sums), size=(resamples, len(sums)))].sum(1)
    low, high = np.quantile(_pearson(draws), [0.025, 0.975])
    return f"{_pearson(sums.sum(0)[None])[0]:.3f} ({low:.3f} to {high:.3f})"


def _sums(x: Row, y: Row) -> list[float]:
    return [len(x), x.sum(), y.sum(), x @ x, y @ y, x @ y]


def _pearson(sums: Row) -> Row:
    n, x, y, xx, yy, xy = sums.T
    found: Row = (n * xy - x * y) / np.sqrt((n * xx - x * x) * (n * yy - y * y))
    return found


def _word(text: str, span: list[int]) -> str:
    return text[span[0] : span[1]]


def _exchanged(text: str, span: list[int], word: str) -> str:
    return text[: span[0]] + word + text[span[1] :]


def _unsaid(words: tuple[str, ...], text: str) -> list[str]:
    return [word for word in words if word not in text.split()]


if __name__ == "__main__":
    main()
