"""Which rule an operation gets: that of its family, or what the composite assigns to the layer in which it runs."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import NamedTuple

from torch import nn

from lxtlike.assignment import Assignment
from lxtlike.composites import Composite, bound
from lxtlike.rules import RuleFunction
from lxtlike.rules.call import Call
from lxtlike.rules.first import read_from
from lxtlike.rules.linear import structure

_logger = logging.getLogger(__name__)


class Chosen(NamedTuple):
    """A rule's function, and what reports call it."""

    function: RuleFunction
    label: str


class AssignedRules:
    """The rules of a composite on one model.

    Args:
        running: gives the module of the model whose forward is running.

    Attributes:
        merges: whether a batch norm may be merged in the layer before it.
        untouched: families whose operations keep their plain gradient everywhere and absorb nothing.
    """

    def __init__(self, model: nn.Module, composite: Composite, running: Callable[[], nn.Module | None]) -> None:
        self._running = running
        self._table = {f: Chosen(bound(f, rule), str(rule)) for f, rule in composite.rules.items()}
        tables = [composite.rules, *(assignment.rules for assignment in composite.layers)]
        self.merges = any(rules["batch-norm"].name == "merged" for rules in tables if "batch-norm" in rules)
        self._layers: dict[str, list[tuple[Assignment, Chosen]]] = {}
        for assignment in reversed(composite.layers):
            for family, rule in assignment.rules.items():
                found = (assignment, Chosen(bound(family, rule), str(rule)))
                self._layers.setdefault(family, []).append(found)
        self.untouched = tuple(
            family
            for family, chosen in self._table.items()
            if chosen.function is structure and family not in self._layers
        )
        self._names = {id(module): name for name, module in model.named_modules()} if composite.layers else {}
        self._depths = depths(model) if composite.layers else {}
        for assignment in composite.layers:
            _warn_of_no_match(assignment, self._names.values())
        self._without_first = any(assignment.first for assignment in composite.layers)

    def rule(self, family: str, call: Call) -> Chosen | None:
        """What an operation gets; None where the composite leaves its family alone."""
        assignments = self._layers.get(family)
        if assignments:
            module = self._running()
            for assignment, chosen in assignments:
                if self._holds(assignment, module, call):
                    self._without_first &= not assignment.first
                    return chosen
        return self._table.get(family)

    def warn_of_no_first(self) -> None:
        """Say so when rules for layers that read the input were never used: in most models of text none does."""
        if self._without_first:
            _logger.warning(
                "no layer of this model reads the input itself: the composite's rules for such layers did not run"
            )

    def _holds(self, assignment: Assignment, module: nn.Module | None, call: Call) -> bool:
        name = self._names.get(id(module), "")
        classes = [cls.__name__ for cls in type(module).__mro__]
        low, high = assignment.depth or (0.0, 1.0)
        depth = self._depths.get(id(module), 0.0)
        return (
            (not assignment.name or any(fnmatchcase(name, pattern) for pattern in assignment.name))
            and (not assignment.type or any(fnmatchcase(c, pattern) for c in classes for pattern in assignment.type))
            and (low <= depth < high or high == depth == 1.0)
            and (not assignment.first or read_from(call.tracked()[0]) is not None)
        )


def depths(model: nn.Module) -> Mapping[int, float]:
    """Id of every module -> how many of the model's layers come before it, as a fraction of all but one: from 0 to 1.

    Layers are the modules that multiply with weights of their own, in the order in which the model has them.
    """
    before, count = {}, 0
    for module in model.modules():
        before[id(module)] = count
        count += _has_weights(module)
    return {number: min(place / max(count - 1, 1), 1.0) for number, place in before.items()}


def _has_weights(module: nn.Module) -> bool:
    own = module.named_parameters(recurse=False)
    return not isinstance(module, nn.Embedding) and any(
        p.dim() > 1 and (name.endswith("weight") or "proj" in name) for name, p in own
    )


def _warn_of_no_match(assignment: Assignment, names: Iterable[str]) -> None:
    """Say so when a name in a composite fits no module: mostly it is a typing error."""
    known = [name for name in names if name]
    for pattern in assignment.name:
        if not any(fnmatchcase(name, pattern) for name in known):
            near = difflib.get_close_matches(pattern, known, 1)
            _logger.warning(
                "no module of this model is called %r%s", pattern, f"; the nearest is {near[0]!r}" if near else ""
            )
