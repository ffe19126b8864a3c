"""Which method suits a model: candidates ranked on some texts, and the best one tested against the default on others."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lxtlike.attribution import Evaluation
from lxtlike.cases import Case
from lxtlike.dataset.rows import Row, read, taken
from lxtlike.errors import InputError, LxtlikeError
from lxtlike.explainer import Explainer
from lxtlike.faithfulness.evaluating import Progress, evaluate
from lxtlike.faithfulness.measuring import case_of
from lxtlike.faithfulness.statistics import Paired, paired
from lxtlike.method import Lrp
from lxtlike.quality import DEFAULT, HIGH
from lxtlike.render.evaluation import tuned
from lxtlike.version import TUNING_SCHEMA, versions

CANDIDATES = (
    *("attnlrp", "cp-lrp", "gim", "relp", "input-x-gradient", "attnlrp-radial"),
    *("attnlrp-warm", "attnlrp:blend=attnlrp-warm", HIGH),
    *(f"attnlrp-residual-gamma:gamma={gamma}" for gamma in (0.1, 0.25, 1)),
    *(f"attnlrp-gamma:gamma={gamma}" for gamma in (0.05, 0.25)),
)
READ_OUTS = ("", ",path=1", ",path=4")
"""How relevance against a reference is read: at the text, in the middle of the way to it, averaged over four points."""

FEWEST = 20
TUNED_ON = 50


@dataclass(frozen=True)
class Tuning:
    """What was found. As text, what to do with it.

    Attributes:
        default: the method that is used where nothing else is asked for.
        best: the method of the highest score on the texts of `selection`, which the candidates were ranked on.
        scores: method -> how much higher its ABPC is than the default's, in standard deviations of ABPC under each replacement:
            the mean over texts, and over all replacements but that which is the method's own reference.
        left_out: candidate -> why it does not fit this model.
        test: best and default on held-out texts; None where the default is the best.
        gain: the score of the best there.
    """

    default: str
    best: str
    scores: Mapping[str, float]
    left_out: Mapping[str, str]
    selection: Evaluation
    test: Evaluation | None
    gain: Paired | None

    @property
    def sure(self) -> bool:
        """Whether the best is better than the default on held-out texts, beyond chance."""
        return self.gain is not None and self.gain.low > 0 and self.gain.p < 0.05

    @property
    def use(self) -> str:
        """The method to use: the best one if that is sure, else the default."""
        return self.best if self.sure else self.default

    def to_dict(self) -> dict[str, Any]:
        """The JSON object ``lxtlike/tuning/1``."""
        return {
            "schema": TUNING_SCHEMA,
            "model": self.selection.model,
            "use": self.use,
            "default": self.default,
            "best": self.best,
            "sure": self.sure,
            "gain": None if self.gain is None else asdict(self.gain),
            "scores": dict(self.scores),
            "left_out": dict(self.left_out),
            "selection": self.selection.to_dict(),
            "test": None if self.test is None else self.test.to_dict(),
            "versions": versions(),
        }

    def to_text(self, *, width: int = 80) -> str:
        """What to use, how sure that is, and the table behind it."""
        return tuned.terminal(self.to_dict(), width=width)

    def __str__(self) -> str:
        return self.to_text()


def tune(
    explainer: Explainer,
    rows: str | Path | Iterable[Row | str | Mapping[str, Any]],
    candidates: Sequence[str] | None = None,
    replacements: Sequence[str | int] | None = None,
    *,
    texts: int = TUNED_ON,
    seed: int = 0,
    progress: Progress | None = None,
    **settings: Any,
) -> Tuning:
    """Pick among methods by ABPC under several replacements, and say whether the best one beats the default on other texts.

    The texts are divided at random under the seed: the candidates are ranked on `texts` of them (at most half), the best one is
    tested on as many others as there are, at most twice as many.

    Args:
        rows: as for `evaluate`.
        candidates: methods by name; without them composites, and AttnLRP against every reference that the tokenizer has.
        replacements: as for `evaluate`; at least two, and of them that which is a method's own reference does not count for it.
        progress: called with (finished, all) texts of the two parts.
        settings: `objective`, `by`, `signs` and `steps`, as for `evaluate`.

    Raises:
        InputError: fewer than 20 usable texts, fewer than two replacements, or as `evaluate`.
    """
    given = [row for row in (read(rows) if isinstance(rows, str | Path) else taken(rows)) if row.error is None]
    if len(given) < FEWEST:
        raise InputError(f"{len(given)} usable texts are too few to choose by and to test on: give at least {FEWEST}")
    if replacements is not None and len(replacements) < 2:
        raise InputError("one replacement proves nothing: name at least two, one of them delete or random")
    order = [given[place] for place in np.random.default_rng(seed).permutation(len(given))]
    size = min(texts, len(order) // 2)
    chosen, held_out = order[:size], order[size : 3 * size]
    default = explainer.method(DEFAULT).name
    methods, left_out = fitting(explainer, [default, *(candidates or usual(explainer))], chosen, settings)
    shared: dict[str, Any] = {"measures": ("abpc",), "baseline": default, "seed": seed, **settings}
    total = len(chosen) + len(held_out)
    told = None if progress is None else lambda done, _: progress(done, total)
    selection = evaluate(explainer, chosen, methods, replacements, **shared, progress=told)
    spreads = {name: float(selection.values("abpc", name).std()) or 1.0 for name in selection.replacements}
    scores = {method: float(_gains(explainer, selection, method, spreads).mean()) for method in methods}
    best = max(methods, key=lambda method: scores[method])
    test, gain = None, None
    if best != default:
        told = None if progress is None else lambda done, _: progress(size + done, total)
        test = evaluate(explainer, held_out, (default, best), replacements, **shared, progress=told)
        gains = _gains(explainer, test, best, spreads)
        gain = paired(gains, np.zeros_like(gains), seed)
    return Tuning(default, best, scores, left_out, selection, test, gain)


def usual(explainer: Explainer) -> list[str]:
    """The candidates where none are named: composites, and AttnLRP against every reference that the tokenizer has."""
    roles = ("mask", "unk", "pad")
    there = [role for role in roles if getattr(explainer.tokenizer, f"{role}_token_id", None) is not None]
    references = [f"attnlrp:reference={name}{end}" for name in (*there, "mean") for end in READ_OUTS]
    return [*CANDIDATES, *references]


def fitting(
    explainer: Explainer, candidates: Sequence[str], rows: Sequence[Row], settings: Mapping[str, Any]
) -> tuple[list[str], dict[str, str]]:
    """The names of the candidates that can explain the first of these texts that can be explained at all, each once.

    And of each other candidate, why it cannot.

    Raises:
        InputError: none can.
    """
    methods = {method.name: method for method in map(explainer.method, candidates)}
    left_out: dict[str, str] = {}
    case = _first(explainer, rows, settings.get("objective", "logit"))
    for name, method in methods.items():
        try:
            explainer.scores(case, method)
        except LxtlikeError as error:
            left_out[name] = str(error)
    fit = [name for name in methods if name not in left_out]
    if len(fit) < 2:
        raise InputError(f"there is nothing to choose from: {'; '.join(left_out.values()) or 'give more candidates'}")
    return fit, left_out


def _first(explainer: Explainer, rows: Sequence[Row], objective: str) -> Case:
    errors = []
    for row in rows:
        try:
            return case_of(explainer, row, objective)
        except LxtlikeError as error:
            errors.append(str(error))
    raise InputError(f"none of the {len(rows)} texts can be explained; the first: {errors[0]}")


def _gains(
    explainer: Explainer, evaluation: Evaluation, method: str, spreads: Mapping[str, float]
) -> NDArray[np.float64]:
    """By how many standard deviations the method's ABPC of each text is higher than the baseline's [texts].

    The mean over replacements, but for the one that is the method's own reference: there it would be measured by what it was
    made with.
    """
    own = _reference(explainer, method)
    places = [evaluation.methods.index(name) for name in (evaluation.baseline, method)]
    found = []
    for name in evaluation.replacements:
        if name != own:
            before, after = evaluation.values("abpc", name)[places]
            found.append((after - before) / spreads[name])
    mean: NDArray[np.float64] = np.mean(found, axis=0)
    return mean


def _reference(explainer: Explainer, name: str) -> str | None:
    """What a method compares texts with, or puts in place of what it takes away."""
    method = explainer.method(name)
    if isinstance(method, Lrp):
        return None if method.reference is None else str(method.reference)
    defaults = {key: parameter.default for key, parameter in inspect.signature(method.function).parameters.items()}
    options = {**defaults, **method.options}
    return next((str(options[key]) for key in ("reference", "replacement") if options.get(key) is not None), None)
