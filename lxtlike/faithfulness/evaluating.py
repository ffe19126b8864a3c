"""Methods compared on a file of texts: from what is asked for to one result, text by text, with a journal on the way."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from lxtlike.attribution import EvaluatedText, Evaluation, Failure
from lxtlike.dataset.journal import Entry, kept
from lxtlike.dataset.rows import Row, read, taken
from lxtlike.errors import InputError, one_of, reason
from lxtlike.explainer import Explainer
from lxtlike.faithfulness import summary
from lxtlike.faithfulness.measures import MEASURES
from lxtlike.faithfulness.measuring import FORWARD, Plan, measured
from lxtlike.faithfulness.settings import SIGNS, Settings
from lxtlike.render.view import VALUES
from lxtlike.replacements import Replacement, usual
from lxtlike.targets import OBJECTIVES
from lxtlike.version import versions

METHODS = ("attnlrp", "input-x-gradient", "integrated-gradients", "occlusion", "random")
"""What is compared where nothing else is asked for."""

USUAL = ("abpc", "comprehensiveness", "sufficiency", "loo-spearman", "pointing-game@1", "mrr", "auroc")
"""The measures that are taken where nothing else is asked for; the last three where texts have evidence."""

EVERY = tuple(name for name in MEASURES if name != "randomisation")
"""All that can be asked for: the sanity check is of a model, not of texts; see `lxtlike.faithfulness.randomisation`."""

UNITS = ("token", "word", "sentence")

Progress = Callable[[int, int], None]


def evaluate(
    explainer: Explainer,
    rows: str | Path | Iterable[Row | str | Mapping[str, Any]],
    methods: Sequence[str] = METHODS,
    replacements: Sequence[str | int] | None = None,
    *,
    measures: Sequence[str] = USUAL,
    objective: str = "logit",
    by: str = "token",
    signs: str = "signed",
    steps: int = 20,
    seed: int = 0,
    limit: int | None = None,
    baseline: str | None = None,
    journal: str | Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Evaluation:
    """How faithful methods are to a model, on texts: the same numbers whenever it is run with the same seed.

    A text that fails is left out with its error and stops nothing.

    Args:
        rows: the path of a file (see `lxtlike.dataset.rows.read`), or texts, or mappings with the keys ``text`` and, if
            they are known, ``id``, ``target``, ``contrast``, ``completion``, ``context`` and ``evidence`` (character spans of
            what should be relevant). Without a target it is what the model puts first.
        methods: as `Explainer.explain` takes them; the first is what the others are compared with, unless `baseline` says.
        replacements: what stands where something is taken away: "delete", "random", "mask", "pad", "unk", "mean", "zero", a
            token's text or id. Without them three that differ in kind. No claim should rest on one.
        measures: names from `EVERY`, see `lxtlike.faithfulness.MEASURES`; ABPC is always there.
        objective: of the target, as for `Explainer.explain`.
        by: what is removed as a whole: "token", "word" or "sentence"; its relevance is the sum over its tokens.
        signs: "signed", or "absolute" to rank by |relevance|.
        steps: into how many parts the ranking is divided.
        limit: only so many rows, drawn at random.
        journal: keep every finished text in this file, which stays; with `resume` go on with what is there.
        progress: called with (finished, all) after each text; raising in it ends the work.

    Raises:
        InputError: an unknown method, replacement, measure or setting, a file that cannot be read, a journal of another run,
            or every text failed.
    """
    given = read(rows) if isinstance(rows, str | Path) else taken(rows)
    if limit is not None and limit < len(given):
        drawn = np.random.default_rng(seed).choice(len(given), limit, replace=False)
        given = [given[place] for place in sorted(drawn.tolist())]
    plan = planned(explainer, methods, replacements, measures, objective, by, signs, steps, seed)
    names = list(plan.methods)
    baseline = names[0] if baseline is None else explainer.method(baseline).name
    if baseline not in names:
        raise InputError(f"the baseline {baseline!r} is not among the methods: {one_of(baseline, tuple(names))}")
    head = {
        "model": explainer.name,
        "weights": explainer.fingerprint(),
        **plan.head(),
        "texts": _digest(given),
        "versions": versions(),
    }
    with kept(None if journal is None else Path(journal), head, resume) as finished:
        done = len(finished.entries)
        for number, row in enumerate(given[done:], start=done + 1):
            finished.add(_entry(explainer, row, plan))
            if progress is not None:
                progress(number, len(given))
        return assembled(explainer, plan, given, finished.entries, baseline)


def planned(
    explainer: Explainer,
    methods: Sequence[str],
    replacements: Sequence[str | int] | None,
    measures: Sequence[str],
    objective: str,
    by: str,
    signs: str,
    steps: int,
    seed: int,
) -> Plan:
    """A plan whose parts all exist; the arguments are those of `evaluate`.

    Raises:
        InputError: one of them does not, or something is there twice.
    """
    for what, value, known in (
        ("objective", objective, tuple(OBJECTIVES)),
        ("unit", by, UNITS),
        ("handling of signs", signs, tuple(SIGNS)),
        *(("measure", measure, EVERY) for measure in measures),
    ):
        if value not in known:
            raise InputError(f"the {what} {value!r} does not exist: {one_of(value, known)}")
    if steps < 1:
        raise InputError(f"a curve has at least 1 step, not {steps}")
    found = [explainer.method(method) for method in methods]
    size = explainer.model.config.get_text_config().vocab_size
    asked = usual(explainer.tokenizer) if replacements is None else replacements
    ways = tuple(Replacement.of(one, explainer.tokenizer, size) for one in asked)
    for what, names in (("method", [m.name for m in found]), ("replacement", [r.name for r in ways])):
        if not names:
            raise InputError(f"there is nothing to compare: name at least one {what}")
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise InputError(f"the {what} {twice!r} was given twice")
    return Plan(
        {method.name: method for method in found},
        ways,
        tuple(dict.fromkeys(("abpc", *measures))),
        objective,
        by,
        steps,
        seed,
        signs,
    )


def assembled(
    explainer: Explainer, plan: Plan, rows: Sequence[Row], entries: Sequence[Entry], baseline: str
) -> Evaluation:
    """The result of a finished run.

    Raises:
        InputError: every text failed.
    """
    done = [entry for entry in entries if "text" in entry]
    failures = tuple(Failure(**entry["failure"]) for entry in entries if "failure" in entry)
    if not done:
        raise InputError(f"none of the {len(entries)} texts could be evaluated; the first: {failures[0].error}")
    texts = tuple(EvaluatedText.read(entry["text"]) for entry in done)
    names = tuple(plan.methods)
    found = tuple(summary.scores(texts, names, plan.measures, baseline, plan.seed))
    value = VALUES[plan.objective]
    settings = Settings(_target(value, rows), tuple(r.name for r in plan.replacements), plan.by, signs=plan.signs)
    return Evaluation(
        model=explainer.name,
        task=explainer.task,
        settings={**asdict(settings), "steps": plan.steps, "seed": plan.seed},
        methods=names,
        baseline=baseline,
        measures={
            name: {**asdict(about), "unit": value if about.unit == "target" else about.unit}
            for name, about in ((name, MEASURES[name]) for name in plan.measures)
            if any(score.measure == name for score in found)
        },
        scores=found,
        curves=tuple(summary.curves([entry["curves"] for entry in done], plan.seed)),
        texts=texts,
        failures=failures,
        costs=summary.costs([entry["seconds"] for entry in done], names, FORWARD),
        versions=versions(),
    )


def _target(value: str, rows: Sequence[Row]) -> str:
    """What is explained and measured, in words."""
    own = [row.target is not None or row.completion is not None for row in rows]
    against = " minus that of its contrast, where it has one" if any(row.contrast is not None for row in rows) else ""
    first = "the model's first choice"
    whose = "each row's own target" if all(own) else f"a row's own target, or else {first}" if any(own) else first
    return f"{value} of {whose}{against}"


def _digest(rows: Sequence[Row]) -> str:
    return hashlib.sha256(json.dumps([asdict(row) for row in rows]).encode()).hexdigest()[:16]


def _entry(explainer: Explainer, row: Row, plan: Plan) -> Entry:
    """What a journal keeps of a text: its numbers, or why there are none."""
    try:
        if row.error is not None:
            raise InputError(row.error)
        return measured(explainer, row, plan)
    except Exception as error:  # noqa: BLE001 - one text of many, whatever is wrong with it
        return {"failure": {"id": row.id, "error": reason(error)}}
