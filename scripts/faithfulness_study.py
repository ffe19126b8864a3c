"""Are explanations faithful? Every method on seven benches, under three replacements: the numbers of docs/faithfulness.md.

    python scripts/train_study_models.py --sst2 SST2 --out CLASSIFIERS     # once, about 30 minutes of one core
    python scripts/faithfulness_study.py --sst2 SST2 --stories STORIES --classifiers CLASSIFIERS --out STUDY
    python scripts/faithfulness_study.py ... --bench bert --methods lrp --texts 20       # a part of it
    python scripts/faithfulness_report.py STUDY                                          # the tables and pictures

SST2 is the folder with train.tsv and dev.tsv, STORIES that of the model stories260K. STUDY gets a file for each bench and
set of methods, BENCH-SET.jsonl, a line for each text with the relevance of every token and every curve; an interrupted run
goes on where it was.
The set `peers` reads what scripts/peer_relevance.py wrote, for the token ids that `--export` writes.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from train_demo_models import read_sst2

import lxtlike
from lxtlike.cases import Case
from lxtlike.dataset.journal import kept
from lxtlike.faithfulness import Perturbed, scored
from lxtlike.replacements import Replacement

SEED, STEPS, TEXTS = 0, 10, 300
KNOWN_CAUSE = Path(lxtlike.__file__).parent / "assets" / "known_cause.jsonl"

# R stands for the bench's own token that says nothing: [MASK] of classifiers, <unk> of language models.
METHODS = {
    "lrp": (
        "attnlrp",
        "cp-lrp",
        "gim",
        "relp",
        "attnlrp-residual-gamma",
        "attnlrp-radial",
        "input-x-gradient",
    ),
    "paths": ("attnlrp:reference=R,path=1", "attnlrp:reference=R,path=4"),
    "high": (
        "attnlrp:blend=attnlrp-warm",
        "attnlrp-warm",
        "attnlrp:reference=mean,path=1",
        "attnlrp:reference=mean,path=3",
    ),
    "baselines": (
        "integrated-gradients:reference=R,points=16",
        "integrated-gradients:reference=R,points=32",
        "occlusion:replacement=delete",
        "gradient-norm",
        "random",
    ),
    "further": (
        "attnlrp-gamma",
        "smoothgrad:samples=20",
        "occlusion:replacement=R",
        "attention-rollout",
        "gradient-rollout",
        "ifr",
        "lime:samples=256",
        "kernel-shap:samples=256",
        "shapley:samples=256",
    ),
    "peers": (),
}
FEWER = {"further": 60, "peers": 60, "stories-completion": 100}  # texts of what is expensive

Row = dict[str, Any]
"""A text with its id, and what is asked about it: arguments of `Explainer.case`."""


@dataclass(frozen=True)
class Bench:
    """A model and the texts that it is measured on."""

    model: str
    rows: Callable[[lxtlike.Explainer, int], list[Row]]
    silent: str  # the token that says nothing
    known: Mapping[str, Any] = field(default_factory=dict)

    @property
    def replacements(self) -> tuple[str, ...]:
        return self.silent, "delete", "mean"


def benches(sst2: Path | None, stories: Path | None, classifiers: Path | None) -> dict[str, Bench]:
    """Those whose data are there."""
    found = {"bindings": Bench("bindings", lambda _, count: known_causes(count), "unk")}
    if stories:
        found["stories"] = Bench(str(stories), told, "unk")
        found["stories-completion"] = Bench(str(stories), lambda e, count: told(e, count, completed=True), "unk")
    if sst2:
        reviews = Bench("sentiment", lambda _, count: sentences(sst2, count), "mask")
        found["sentiment"] = reviews
        for name in ("bert", "llama", "gpt2") if classifiers else ():
            found[name] = Bench(str(classifiers / name), reviews.rows, "mask")
    return found


def known_causes(count: int) -> list[Row]:
    """As many of each task."""
    rows = [json.loads(line) for line in KNOWN_CAUSE.read_text(encoding="utf-8").splitlines()]
    tasks = dict.fromkeys(row["task"] for row in rows)
    each = [[row["text"] for row in rows if row["task"] == task][: -(-count // len(tasks))] for task in tasks]
    mixed = [text for texts in zip(*each, strict=True) for text in texts]
    return [{"id": number, "text": text} for number, text in enumerate(mixed[:count])]


def sentences(sst2: Path, count: int) -> list[Row]:
    """Of SST-2's development file, five words at least: shorter ones have no curve of ten steps."""
    rows = [(n, text) for n, (text, _) in enumerate(read_sst2(sst2 / "dev.tsv")) if text.count(" ") >= 4]
    random.Random(SEED).shuffle(rows)  # so that fewer texts are the first of more
    return [{"id": n, "text": text} for n, text in rows[:count]]


def told(explainer: lxtlike.Explainer, count: int, completed: bool = False) -> list[Row]:
    """Beginnings, of 24 to 36 tokens, of stories that the model writes itself; completed: four words more are explained."""
    tokenizer, drawn = explainer.tokenizer, random.Random(SEED)
    start = torch.full((TEXTS, 1), tokenizer.bos_token_id)
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        written = explainer.model.generate(
            start, attention_mask=torch.ones_like(start), do_sample=True, max_new_tokens=64
        )
    rows = []
    for number, ids in enumerate(written[:count]):
        words = tokenizer.decode(ids[1 : drawn.randint(24, 36)], skip_special_tokens=True)
        if not completed:
            rows.append({"id": number, "text": words})
            continue
        begun = words[: words.rstrip().rfind(" ")]  # whole words
        rest = tokenizer.decode(ids[1:], skip_special_tokens=True)[len(begun) :].split()[:4]
        rows.append({"id": number, "text": begun, "completion": " " + " ".join(rest)})
    return rows


def measured(
    explainer: lxtlike.Explainer, bench: Bench, row: Row, methods: Sequence[str], given: Mapping[str, Any]
) -> dict[str, Any]:
    """One text: the relevance that methods, or `given` ones, find; and per method and replacement what it is worth."""
    case = asked(explainer, row)
    name = str(row["id"])
    relevance = {method: np.array(own[name]) for method, own in given.items() if name in own}
    seconds = {}
    for method in methods:
        worked = time.process_time()
        relevance[method] = explainer.scores(case, method.replace("=R", f"={bench.silent}")).relevance
        seconds[method] = time.process_time() - worked
    size = explainer.model.config.vocab_size
    found = scored(
        case,
        relevance,
        [Replacement.of(name, explainer.tokenizer, size) for name in bench.replacements],
        units=[[index] for index in range(len(case.removable))],
        steps=STEPS,
        seed=SEED,
    )
    return {
        "id": row["id"],
        "value": case.value,
        "removable": np.flatnonzero(case.removable).tolist(),
        "relevance": {method: shortened(own) for method, own in relevance.items()},
        "seconds": seconds,
        "scores": {m: {name: numbers(one) for name, one in per.items()} for m, per in found.items()},
    }


def asked(explainer: lxtlike.Explainer, row: Row) -> Case:
    """The model's own choice, minus the mean of all logits: of two classes that is half the difference of the two."""
    return explainer.case(row["text"], completion=row.get("completion"), objective="centered")


def numbers(one: Perturbed) -> dict[str, Any]:
    known = {name: value for name, value in one.measures().items() if not np.isnan(value)}
    return known | {"morf": shortened(one.morf), "lerf": shortened(one.lerf)}


def shortened(values: Iterable[float]) -> list[float]:
    return [float(f"{value:.6g}") for value in values]


def exported(explainer: lxtlike.Explainer, rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """What another program needs to explain the same: the token ids, and which logits at which places are summed."""
    for row in rows:
        case = asked(explainer, row)
        ids = case.inputs["input_ids"][0].tolist()
        yield {"id": row["id"], "ids": ids, "chosen": [one.id for one in case.chosen], "places": case.places}


def run(name: str, bench: Bench, kind: str, out: Path, count: int, methods: Sequence[str]) -> None:
    """Measure a set of methods on a bench, text by text; what earlier runs finished is kept, and gone on with."""
    peers = out / f"peers-{name}.json"
    if kind == "peers" and not peers.exists():
        return
    given = json.loads(peers.read_text(encoding="utf-8")) if kind == "peers" else {}
    explainer = lxtlike.Explainer.from_pretrained(bench.model)
    rows = bench.rows(explainer, min(count, FEWER.get(kind, count), FEWER.get(name, count)))
    head = {"bench": name, "methods": list(methods), "replacements": bench.replacements, "steps": STEPS, "seed": SEED}
    begun = time.monotonic()
    with kept(out / f"{name}-{kind}.jsonl", head, resume=True) as journal:
        for row in rows[(done := len(journal.entries)) :]:
            journal.add(measured(explainer, bench, row, methods, given))
    print(f"{name}, {kind}: {len(rows) - done} texts, {time.monotonic() - begun:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sst2", type=Path)
    parser.add_argument("--stories", type=Path)
    parser.add_argument("--classifiers", type=Path)
    parser.add_argument("--bench", action="append", help="one of the benches; repeatable")
    parser.add_argument("--methods", action="append", help=f"one of the sets {', '.join(METHODS)}; repeatable")
    parser.add_argument("--method", action="append", help="a method of your own, instead of those of the set")
    parser.add_argument("--texts", type=int, default=TEXTS)
    parser.add_argument("--export", action="store_true", help="write the token ids of the texts, and measure nothing")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    for name, bench in benches(options.sst2, options.stories, options.classifiers).items():
        if options.bench and name not in options.bench:
            continue
        if options.export:
            explainer = lxtlike.Explainer.from_pretrained(bench.model)
            texts = list(exported(explainer, bench.rows(explainer, min(options.texts, FEWER.get(name, options.texts)))))
            told_to = {"model": explainer.model.name_or_path, "silent": bench.silent, "texts": texts}
            told_to["token"] = getattr(explainer.tokenizer, f"{bench.silent}_token_id")
            (options.out / f"texts-{name}.json").write_text(json.dumps(told_to), encoding="utf-8")
            continue
        for kind in options.methods or METHODS:
            run(name, bench, kind, options.out, options.texts, options.method or METHODS.get(kind, ()))


if __name__ == "__main__":
    main()
