"""A method by its name: LRP under a composite, read against a reference or not, or one of the baselines.

``attnlrp``, ``gamma:gamma=0.1``, ``attnlrp:reference=mask,path=4``, ``attnlrp:blend=attnlrp-warm``, ``my-rules.yaml``,
``occlusion:replacement=delete,by=word``
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from lxtlike.attribution import Attribution, AuditSummary
from lxtlike.baselines import BASELINES, Baseline, Scores
from lxtlike.cases import Case
from lxtlike.composites import COMPOSITES, Composite
from lxtlike.errors import InputError, one_of
from lxtlike.ledger import Ledger
from lxtlike.methods import ReadOut, Reference, Views, Way
from lxtlike.methods.views import NO_VIEWS
from lxtlike.setting import Setting

READ_OUT = ("reference", "path", "blend")
"""Options of LRP that are not parameters of rules; see `lxtlike.Explainer.explain`."""


@dataclass(frozen=True)
class Lrp:
    """LRP under a composite.

    Attributes:
        reference, path: as for `lxtlike.Explainer.explain`.
        blend: relevance is the mean of that under `composite` and that under this one (see `lxtlike.methods.blend`).
    """

    name: str
    composite: Composite
    reference: str | int | None = None
    path: int | None = None
    blend: Composite | None = None

    def readout(self, setting: Setting, views: Views = NO_VIEWS, positions: bool = False) -> ReadOut:
        """What is read of the backward passes of a setting's model, and against what.

        Raises:
            InputError: its tokenizer has no such reference, or views are read against one.
        """
        way = None
        if self.reference is not None:
            size = setting.model.config.get_text_config().vocab_size
            way = Way(Reference.of(self.reference, setting.tokenizer, size), self.path)
        return ReadOut(views, positions, way, self.blend)

    def scores(self, case: Case) -> Scores:
        """The relevance of a case's tokens, and the value that its ledger accounts for.

        Raises:
            InputError: there is no such reference for this text.
        """
        setting, readout = case.setting, self.readout(case.setting)
        readout.check(len(case.encoded.sequences))
        with torch.inference_mode(False):
            (explained,) = readout.explained(
                setting.model,
                case.inputs,
                case.read,
                [case.scalar],
                self.composite,
                checkpointing=setting.checkpointing,
            )
        relevance = explained.of(0, case.encoded).double().cpu().numpy()
        return Scores(relevance, explained.ledgers[0].explained)


@dataclass(frozen=True)
class Other:
    """A baseline with its options."""

    name: str
    function: Baseline
    options: Mapping[str, Any] = field(default_factory=dict)

    def readout(self, setting: Setting, views: Views = NO_VIEWS, positions: bool = False) -> None:
        """Nothing is read besides the relevance of the tokens; InputError if more is asked for."""
        if any(views) or positions:
            raise InputError(f"layers, heads and positions are read by LRP, not by {self.name}: leave them out")

    def scores(self, case: Case) -> Scores:
        """The relevance of a case's tokens.

        Raises:
            InputError: the method does not fit the model or the text.
        """
        with torch.inference_mode(False):
            return self.function(case, **self.options)


Method = Lrp | Other
"""What gives the tokens of a case their relevance: ``method.scores(case)``; `name` says what ran."""


def parse(text: str) -> Method:
    """The method of this name, with the options behind its colon.

    Raises:
        InputError: unknown name or option, or a value that is none.
    """
    name, _, given = text.partition(":")
    options = _options(text, given)
    if name in BASELINES:
        kinds = {key: type(default) for key, default in options_of(BASELINES[name]).items()}
        for key in options:
            if key not in kinds:
                known = f"its options are {', '.join(kinds)}" if kinds else "it has none"
                raise InputError(f"the method {name!r} has no option {key!r}; {known}")
        return Other(text, BASELINES[name], {key: _number(text, key, v, kinds[key]) for key, v in options.items()})
    if name != "default" and name not in COMPOSITES and not name.endswith((".yaml", ".yml")):
        known = one_of(name, (*COMPOSITES, *BASELINES, "the path of a .yaml file"))
        raise InputError(f"the method {name!r} does not exist: {known}")
    rules = ",".join(f"{key}={value}" for key, value in options.items() if key not in READ_OUT)
    reference, path, other = (options.get(key) for key in READ_OUT)
    if path is not None and reference is None:
        raise InputError(f"the method {text!r} has a path without a beginning: add a reference, such as reference=mask")
    points = None if path is None else _number(text, "path", path, int)
    composite = Composite.parse(f"{name}:{rules}" if rules else name)
    read = ",".join(f"{key}={options[key]}" for key in READ_OUT if key in options)
    stated = composite.name + (f"{',' if rules else ':'}{read}" if read else "")
    if other is None:
        return Lrp(stated, composite, reference, points)
    blended = replace(composite, name=f"{composite.name}{',' if rules else ':'}blend={other}")  # what results call it
    return Lrp(stated, blended, reference, points, Composite.parse(other))


def options_of(function: Baseline) -> dict[str, Any]:
    """The options of a baseline, with what they are if they are not given."""
    parameters = inspect.signature(function).parameters.values()
    return {one.name: one.default for one in parameters if one.kind is one.KEYWORD_ONLY}


def explained_case(case: Case, method: Method) -> Attribution:
    """A case explained by a method, as a result.

    Its ledger has tokens and what they leave over, `rest`: of a method without rules nothing is booked anywhere else. Where
    the method does not say what its numbers add up to, it is their sum.
    """
    scores = method.scores(case)
    relevance = torch.from_numpy(scores.relevance)
    tokens = float(relevance.sum())
    return case.setting.attribution(
        case.encoded,
        AuditSummary(None),
        relevance,
        Ledger(explained=tokens if scores.explained is None else scores.explained, tokens=tokens),
        method=method.name,
        prediction=case.predicted,
        target=case.target,
        errors=None if scores.error is None else torch.from_numpy(scores.error),
    )


def _options(text: str, given: str) -> dict[str, str]:
    found = {}
    for one in filter(None, given.split(",")):
        key, equals, value = one.partition("=")
        if not equals or not key or not value:
            raise InputError(f"the method {text!r} has {one!r} where an option should be: write option=value")
        found[key] = value
    return found


def _number(text: str, key: str, value: str, kind: type) -> Any:
    try:
        return kind(value)
    except ValueError:
        what = "a whole number" if kind is int else "a number"
        raise InputError(f"the option {key!r} of the method {text!r} must be {what}, not {value!r}") from None
