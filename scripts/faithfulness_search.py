"""What is more faithful than AttnLRP? Candidates on texts to choose by, and the chosen on others: docs/faithfulness-search.md.

    python scripts/faithfulness_search.py --out SEARCH --stories STORIES --sst2 SST2 --classifiers CLASSIFIERS
    python scripts/faithfulness_search.py --out SEARCH ... --part held-out --texts 60        # only what was chosen
    python scripts/faithfulness_search.py --out SEARCH --table                              # the tables

Models and texts are those of scripts/faithfulness_study.py. Of each bench, texts with even numbers are there to choose by, those
with odd numbers to check what was chosen. SEARCH gets a file for each bench and part; a run goes on where it was.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from faithfulness_study import KNOWN_CAUSE, SEED, Bench, Row, benches
from numpy.typing import NDArray
from torch import Tensor

import lxtlike
from lxtlike import Composite
from lxtlike.cases import Case
from lxtlike.dataset.journal import kept
from lxtlike.faithfulness import evidence_scores, scored
from lxtlike.methods import Reference, lrp
from lxtlike.methods.reference import Point
from lxtlike.replacements import Replacement

STEPS, BASE = 8, "attnlrp"
EVIDENCE = ("mrr", "pointing-game@1", "auroc")
Floats = NDArray[np.float64]
Search = Callable[[lxtlike.Explainer, Case, str], Floats]
"""Explainer, case and the token that says nothing -> relevance of the tokens [T]."""


@dataclass(frozen=True)
class Altered(Point):
    """The text with other embeddings, `change` [T, D] -> [T, D]; relevance is of the way from `reference`."""

    change: Callable[[Tensor], Tensor] = lambda embedded: embedded

    def place(self, embedded: Tensor) -> Tensor:
        """The embeddings [1, T, D] that the model goes on with."""
        self.steps.append(embedded - self.reference)
        return self.change(embedded[0])[None]


def under(composite: Composite | str, point: Point | None = None) -> Search:
    """LRP under any composite, at any point."""

    def search(explainer: lxtlike.Explainer, case: Case, _: str) -> Floats:
        run = (explainer.model, case.inputs, case.read, [case.scalar])
        (explained,) = lrp(*run, Composite.parse(composite), at=point)
        return explained.of(0, case.encoded).double().numpy()

    return search


def method(name: str) -> Search:
    """A method by its name; R stands for the token that says nothing."""
    return lambda explainer, case, silent: explainer.scores(case, name.replace("=R", f"={silent}")).relevance


def mean(*searches: Search) -> Search:
    """Several maps, each counting the same."""

    def search(*asked: Any) -> Floats:
        found = [one(*asked) for one in searches]
        return np.sum([own / (np.abs(own).sum() or 1) for own in found], axis=0)

    return search


def at(share: float, reference: str, read: str | None = None) -> Search:
    """At a point of the way from a reference, 1 the text, beyond it above 1; relevance is of the whole way from `read`."""

    def search(explainer: lxtlike.Explainer, case: Case, silent: str) -> Floats:
        start, origin = (
            vectors(explainer, case, silent if name == "R" else name) for name in (reference, read or reference)
        )
        return under(BASE, Altered(origin, 1.0, change=lambda e: start + share * (e - start)))(explainer, case, silent)

    return search


def altered(change: Callable[[Tensor, np.random.Generator], list[Tensor]]) -> Search:
    """The mean over several altered texts, each the embeddings [T, D] with a token's own where it is kept."""

    def search(explainer: lxtlike.Explainer, case: Case, silent: str) -> Floats:
        embedded = vectors(explainer, case, "text")
        texts = change(embedded, np.random.default_rng(SEED))
        origin = torch.zeros_like(embedded)
        found = [under(BASE, Altered(origin, 1.0, change=lambda _, e=e: e))(explainer, case, silent) for e in texts]
        stays = np.array([(e == embedded).all(-1).numpy() for e in texts])
        counted = stays if stays.any() else np.ones_like(stays)
        return (np.array(found) * counted).sum(0) / np.maximum(counted.sum(0), 1)

    return search


def in_quarters(vector: str) -> Search:
    """Four texts, in each a quarter of the tokens replaced; what a token has in those that keep it."""

    def search(explainer: lxtlike.Explainer, case: Case, silent: str) -> Floats:
        other = vectors(explainer, case, vector)

        def change(embedded: Tensor, random: np.random.Generator) -> list[Tensor]:
            quarter = torch.from_numpy(random.permutation(len(embedded)) % 4)
            away = [(quarter == q) & torch.from_numpy(case.removable) for q in range(4)]
            return [torch.where(gone[:, None], other, embedded) for gone in away]

        return altered(change)(explainer, case, silent)

    return search


def noisy(sigma: float) -> Search:
    """Four texts with noise, in units of how far embeddings are spread."""

    def change(embedded: Tensor, random: np.random.Generator) -> list[Tensor]:
        size = sigma * float(embedded.std())
        return [embedded + size * torch.from_numpy(random.standard_normal(embedded.shape)).float() for _ in range(4)]

    return altered(change)


def vectors(explainer: lxtlike.Explainer, case: Case, name: str) -> Tensor:
    """References that stand for single tokens, [T, D], or for all, [D]."""
    table = explainer.model.get_input_embeddings()
    with torch.no_grad():
        own: Tensor = table(case.inputs["input_ids"])[0]
        if name == "text":
            return own
        if name == "own mean":
            return own[torch.from_numpy(case.removable)].mean(0)
        if name == "token before":
            return own.roll(1, 0)
        reference = Reference.of(name, explainer.tokenizer, explainer.model.config.vocab_size)
        return reference.embedding(explainer.model, torch.device("cpu"))


def target(**asked: Any) -> Search:
    """Another scalar of the same choice; contrast "second" is the model's second choice."""

    def search(explainer: lxtlike.Explainer, case: Case, _: str) -> Floats:
        options = {**asked}
        if options.get("contrast") == "second":
            options["contrast"] = next(one.id for one in case.predicted if one.id != case.target.id)
        other = explainer.case(case.encoded.text, case.target.id, **options)
        return explainer.scores(other, BASE).relevance

    return search


def warm_below(share: float, temperature: float, gamma: float) -> Search:
    """A softer softmax in the lower layers only."""

    def search(explainer: lxtlike.Explainer, case: Case, silent: str) -> Floats:
        layers = [name for name, _ in explainer.model.named_modules() if name.rpartition(".")[2].isdigit()]
        low = layers[: round(share * len(layers))]
        rules = {
            "attention": {"rule": "uniform", "temperature": temperature},
            "softmax": {"rule": "taylor", "temperature": temperature},
        }
        composite = Composite.parse(f"attnlrp-residual-gamma:gamma={gamma:g}")
        return under(composite.where(rules, name=[p for name in low for p in (name, f"{name}.*")]))(
            explainer, case, silent
        )

    return search


METHODS = (
    *(BASE, "cp-lrp", "gim", "relp", "attnlrp-radial", "input-x-gradient", "attnlrp-warm"),
    *(f"attnlrp:temperature={t}" for t in (0.5, 1.5, 2, 4)),
    *(f"attnlrp-residual-gamma:gamma={g}" for g in (0.25, 1, 10)),
    *("epsilon:epsilon=0.1", "gamma:gamma=0.05", "gamma:gamma=0.25"),
    *(f"attnlrp:reference={r}" for r in ("R", "mean")),
    *(f"attnlrp:reference={r},path={n}" for r in ("R", "mean", "zero") for n in (1, 3)),
    *(f"attnlrp:blend={other}" for other in ("cp-lrp", "gim", "attnlrp-residual-gamma", "attnlrp-warm")),
    "attnlrp:reference=R,path=3,blend=attnlrp-warm",
    *("integrated-gradients:points=32,reference=R", "integrated-gradients:points=32,reference=mean"),
    *("occlusion:replacement=mean", "random"),
)
CANDIDATES: Mapping[str, Search] = {
    **{name: method(name) for name in METHODS},
    **{f"half-way from {name}, unchecked": at(0.5, name) for name in ("R", "mean", "token before")},
    **{f"reference: {name}": at(1.0, name) for name in ("own mean", "token before")},
    **{f"at 1.25 of the way from {name}, e c": at(1.25, name, "zero") for name in ("mean", "zero")},
    **{
        f"3 points at {low:g} to {low + 0.4:g} from R": mean(*(at(low + s, "R") for s in (0, 0.2, 0.4)))
        for low in (0.3, 0.5)
    },
    "half-way from R, mean and zero": mean(*(at(0.5, name) for name in ("R", "mean", "zero"))),
    "quarters replaced by mean": in_quarters("mean"),
    **{f"noise of {sigma}": noisy(sigma) for sigma in (0.1, 0.5)},
    "product: plain gradients in attention": under(Composite.parse(BASE) | {"attention": "gradient"}),
    "gate constant": under(Composite.parse(BASE) | {"gated-product": "constant"}),
    "attention constant": under(Composite.parse(BASE) | {"attention": "constant"}),
    "activations: derivatives": under(Composite.parse(BASE) | {"activation": "gradient"}),
    "temperature 2 below, gamma 0": warm_below(0.5, 2.0, 0.0),
    "temperature 2 below, gamma 1": warm_below(0.5, 2.0, 1.0),
    "target: logit": target(objective="logit"),
    "target: log-probability": target(objective="logprob"),
    "target: minus second choice": target(contrast="second"),
    "occlusion and attnlrp": mean(method("occlusion:replacement=mean"), method(BASE)),
    "|attnlrp|": lambda *asked: np.abs(method(BASE)(*asked)),
}
CHOSEN = (
    *(BASE, "cp-lrp", "gim", "attnlrp-warm", "attnlrp-residual-gamma:gamma=0.25", "attnlrp:blend=attnlrp-warm"),
    *("attnlrp:reference=R,path=1", "attnlrp:reference=R,path=3", "attnlrp:reference=mean,path=3"),
    *("attnlrp:reference=zero,path=3", "half-way from R, unchecked", "integrated-gradients:points=32,reference=R"),
)


def measured(explainer: lxtlike.Explainer, silent: str, row: Row, names: tuple[str, ...]) -> dict[str, Any]:
    """One text: ABPC of every candidate under every replacement, and where the cause is known how well it is found."""
    case = explainer.case(row["text"], objective="centered")
    relevance = {name: CANDIDATES[name](explainer, case, silent) for name in names}
    size = explainer.model.config.vocab_size
    kinds = [Replacement.of(name, explainer.tokenizer, size) for name in (silent, "random", "delete")]
    single = [[index] for index in range(len(case.removable))]
    found = scored(case, relevance, kinds, units=single, steps=STEPS, seed=SEED, leave_one_out=False)
    scores = {name: {key: one.abpc for key, one in per.items()} for name, per in found.items()}
    if row["known"] and case.target.token.strip() == row["known"][0]:
        cause = row["known"][1]
        tokens = [token for token, free in zip(case.encoded.tokens, case.removable, strict=True) if free]
        inside = np.array([any(t.start < end and t.end > start for start, end in cause) for t in tokens])
        for name, own in relevance.items():
            known = evidence_scores(own[case.removable], inside)
            scores[name] |= {key: known[key] for key in EVIDENCE}
    return {"id": row["id"], "scores": scores}


def run(name: str, bench: Bench, part: str, count: int, file: Path) -> None:
    """Measure every candidate, or those chosen, on `count` texts of a bench."""
    explainer = lxtlike.Explainer.from_pretrained(bench.model)
    known = {row["text"]: (row["answer"], row["cause"]) for row in map(json.loads, KNOWN_CAUSE.open(encoding="utf-8"))}
    rows = bench.rows(explainer, 2 * count + 1)[part == "held-out" :: 2][:count]
    names = tuple(CANDIDATES) if part == "tuning" else CHOSEN
    with kept(file, {"bench": name, "part": part, "candidates": names, "steps": STEPS}, resume=True) as journal:
        done = len(journal.entries)
        for number, row in enumerate(rows[done:], start=done + 1):
            journal.add(measured(explainer, _silent(bench, explainer), {**row, "known": known.get(row["text"])}, names))
            print(f"{name}, {part}: {number} of {len(rows)}", flush=True)


def _silent(bench: Bench, explainer: lxtlike.Explainer) -> str:
    return bench.silent if getattr(explainer.tokenizer, f"{bench.silent}_token_id", None) is not None else "unk"


def tables(folder: Path) -> Iterator[str]:
    """A table for each part: the gain over AttnLRP in percent, mean over the replacements, with its interval over texts."""
    for part in ("tuning", "held-out"):
        files = {file.stem.removesuffix(f"-{part}"): file for file in sorted(folder.glob(f"*-{part}.jsonl"))}
        lines = {name: file.read_text(encoding="utf-8").splitlines()[1:] for name, file in files.items()}
        columns = {name: [json.loads(line)["scores"] for line in own] for name, own in lines.items()}
        gains = {name: gained(rows, False) for name, rows in columns.items() if rows}
        if "bindings" in gains and (evidence := [row for row in columns["bindings"] if EVIDENCE[0] in row[BASE]]):
            gains["bindings: cause"] = gained(evidence, True)
        if not gains:
            continue
        yield f"| {part} | " + " | ".join(f"{n} ({len(columns.get(n, columns.get('bindings')))})" for n in gains) + " |"
        yield "|---|" + "---|" * len(gains)
        order = sorted(next(iter(gains.values())), key=lambda c: -np.mean([own[c][0] for own in gains.values()]))
        for candidate in order:
            cells = (
                f"{m:+.1f} [{low:+.1f}, {high:+.1f}]" for m, low, high in (own[candidate] for own in gains.values())
            )
            yield f"| {candidate} | " + " | ".join(cells) + " |"
        yield ""


def gained(rows: list[dict[str, dict[str, float]]], evidence: bool) -> dict[str, tuple[float, float, float]]:
    """Candidate -> ratio of means to that of AttnLRP less 1, in percent, mean over measures; and where 95 % of resamples lie."""
    keys = [key for key in rows[0][BASE] if (key in EVIDENCE) == evidence]
    values = {name: np.array([[row[name][key] for key in keys] for row in rows]) for name in rows[0]}
    drawn = np.random.default_rng(SEED).integers(len(rows), size=(2000, len(rows)))
    found = {}
    for name, own in values.items():
        ratio = (own[drawn].mean(1) / values[BASE][drawn].mean(1) - 1).mean(1)
        low, high = np.quantile(ratio, [0.025, 0.975])
        found[name] = tuple(100 * x for x in ((own.mean(0) / values[BASE].mean(0) - 1).mean(), low, high))
    return found


def main() -> None:
    """Run a part, or print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("out", "sst2", "stories", "classifiers"):
        parser.add_argument(f"--{name}", type=Path, required=name == "out")
    parser.add_argument("--bench", action="append", help="only this one; may be given more than once")
    parser.add_argument("--part", choices=("tuning", "held-out"), default="tuning")
    parser.add_argument("--texts", type=int, default=30)
    parser.add_argument("--table", action="store_true", help="print what was measured")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    if given.table:
        print("\n".join(tables(given.out)))
        return
    for name, bench in benches(given.sst2, given.stories, given.classifiers).items():
        if name in (given.bench or (name,)) and name != "stories-completion":
            run(name, bench, given.part, given.texts, given.out / f"{name}-{given.part}.jsonl")


if __name__ == "__main__":
    main()
