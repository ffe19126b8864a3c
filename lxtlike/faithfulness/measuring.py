"""One text: every method's relevance, and every number that says how true it is."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lxtlike.attribution import EvaluatedText
from lxtlike.cases import Case
from lxtlike.dataset.journal import Entry
from lxtlike.dataset.rows import Row
from lxtlike.errors import LxtlikeError, NumericalError
from lxtlike.explainer import Explainer
from lxtlike.faithfulness.evidence import evidence_scores
from lxtlike.faithfulness.perturbation import Perturbed, scored
from lxtlike.faithfulness.softly import softened
from lxtlike.faithfulness.stability import stability
from lxtlike.faithfulness.units import Units
from lxtlike.method import Method
from lxtlike.ranking import Floats
from lxtlike.replacements import DELETE, Replacement
from lxtlike.text import Encoded, cut, group

STABILITY = {"max-sensitivity", "stability-spearman"}
FORWARD = "forward"
"""Under which key an entry keeps the seconds of a plain forward pass."""


@dataclass(frozen=True)
class Plan:
    """What is done with every text.

    Attributes:
        methods: by their names.
        measures: the names of what is measured, ABPC always among them.
    """

    methods: Mapping[str, Method]
    replacements: tuple[Replacement, ...]
    measures: tuple[str, ...]
    objective: str
    by: str
    steps: int
    seed: int
    signs: str

    def head(self) -> dict[str, Any]:
        """All of it as JSON, for a journal."""
        return {
            "methods": list(self.methods),
            "replacements": [replacement.name for replacement in self.replacements],
            **{name: getattr(self, name) for name in ("objective", "by", "steps", "seed", "signs")},
            "measures": list(self.measures),
        }


def case_of(explainer: Explainer, row: Row, objective: str) -> Case:
    """The text of a row with its target settled; InputError as `Explainer.case`."""
    return explainer.case(
        row.text,
        row.target,
        completion=row.completion,
        contrast=row.contrast,
        objective=objective,
        context=row.context,
    )


def measured(explainer: Explainer, row: Row, plan: Plan) -> Entry:
    """All numbers of one text.

    Raises:
        LxtlikeError: the text, its target or a method does not fit the model, or the model's output is not finite.
    """
    case = case_of(explainer, row, plan.objective)
    units = _units(case.encoded, plan.by)
    parts = Units.of(units, case.removable)
    relevance, seconds = _explained(explainer, case, plan.methods)
    perturbed = scored(
        case,
        relevance,
        plan.replacements,
        units=units,
        steps=plan.steps,
        seed=plan.seed,
        signs=plan.signs,
        leave_one_out=any(name.startswith("loo-") for name in plan.measures),
    )
    others: dict[str, dict[str, float]] = {method: {} for method in relevance}
    if any("soft-" in name for name in plan.measures):
        others = softened(case, relevance, units=units, seed=plan.seed, signs=plan.signs)
    if not STABILITY.isdisjoint(plan.measures):
        for name in relevance:
            others[name] = {**others[name], **stability(explainer, case, plan.methods[name], seed=plan.seed)}
    if row.evidence is not None:
        gold = _gold(case.encoded, parts, row.evidence)
        for method, own in relevance.items():
            others[method] = {**others[method], **evidence_scores(parts.relevance(own, signs=plan.signs), gold)}
    ways = [replacement.name for replacement in plan.replacements]
    text = EvaluatedText(
        id=row.id,
        text=case.encoded.text,
        target=case.target,
        probability=case.probability,
        units=len(parts),
        scores={way: {m: _wanted(perturbed[m][way].measures(), plan) for m in relevance} for way in ways},
        others={method: _wanted(values, plan) for method, values in others.items()},
    )
    curves = {way: {m: _curves(perturbed[m][way]) for m in relevance} for way in ways}
    return {"text": text.to_dict(), "curves": curves, "seconds": seconds}


def _curves(perturbed: Perturbed) -> dict[str, list[float]]:
    if not np.isfinite([perturbed.morf, perturbed.lerf]).all():
        raise NumericalError("the model's output is NaN or infinite where the text is altered; try dtype float32")
    return {"morf": perturbed.morf.tolist(), "lerf": perturbed.lerf.tolist()}


def _explained(
    explainer: Explainer, case: Case, methods: Mapping[str, Method]
) -> tuple[dict[str, Floats], dict[str, float]]:
    """Method -> relevance [T] of the tokens, and -> seconds; with those of a plain forward pass."""
    relevance, seconds = {}, {}
    started = time.perf_counter()
    case.replaced(np.ones((1, len(case.removable)), bool), Replacement(DELETE))
    seconds[FORWARD] = time.perf_counter() - started
    for name, method in methods.items():
        started = time.perf_counter()
        try:
            relevance[name] = explainer.scores(case, method).relevance
        except LxtlikeError as error:
            raise type(error)(f"{name}: {error}") from error
        seconds[name] = time.perf_counter() - started
    return relevance, seconds


def _units(encoded: Encoded, by: str) -> list[Sequence[int]]:
    """What is removed as a whole, each as the indices of its tokens."""
    if by == "token":
        return [(token.index,) for token in encoded.tokens]
    spans = [(start, end) for _, start, end in cut(by, encoded.text, encoded.tokens)]
    return [indices for _, indices in group(encoded.tokens, spans) if indices]


def _gold(encoded: Encoded, parts: Units, evidence: Sequence[tuple[int, int]]) -> NDArray[np.bool_]:
    """Which units [U] share a character with the evidence."""
    touched = [any(t.start < end and start < t.end for start, end in evidence) for t in encoded.tokens]
    return np.array([any(touched[index] for index in members) for members in parts.members])


def _wanted(values: Mapping[str, float], plan: Plan) -> dict[str, float]:
    """The measures that were asked for and are defined for this text."""
    return {name: values[name] for name in plan.measures if math.isfinite(values.get(name, math.nan))}
