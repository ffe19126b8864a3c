"""Rules with their parameters, and to which layers of a model they are assigned."""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from lxtlike.errors import InputError
from lxtlike.rules import RULES

Parameter = float | tuple[float, ...]
"""A number, or (bounds of the box rule) one for each channel."""

_BOUNDS = ("low", "high")


@dataclass(frozen=True)
class Rule:
    """The name of a rule with its parameters, as a composite's table holds it."""

    name: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name + "".join(f" {key}={_shown(value)}" for key, value in self.parameters.items())

    @classmethod
    def of(cls, family: Any, value: Any) -> Rule:
        """From a name, a mapping with the key 'rule', or itself.

        Raises:
            InputError: there is no such rule or parameter.
        """
        if isinstance(value, str):
            rule = cls(value)
        elif isinstance(value, Mapping) and isinstance(value.get("rule"), str):
            parameters = {key: tuple(v) if isinstance(v, list) else v for key, v in value.items() if key != "rule"}
            rule = cls(value["rule"], parameters)
        elif isinstance(value, cls):
            rule = value
        else:
            raise InputError(f"the rule for {family!r} must be a name or a mapping with the key 'rule', not {value!r}")
        rule.check(family)
        return rule

    def check(self, family: str) -> None:
        """Raise InputError unless it is a rule of this family, with parameters that it has."""
        check_choice("family of operations", family, RULES)
        check_choice(f"rule for {family!r}", self.name, RULES[family])
        for key, value in self.parameters.items():
            check_choice(f"parameter of rule {self.name!r}", key, parameters_of(family, self.name))
            numbers = value if isinstance(value, tuple) else (value,)
            fits = bool(numbers) and all(_is_number(n) and (n >= 0 or key in _BOUNDS) for n in numbers)
            if not fits or (isinstance(value, tuple) and key not in _BOUNDS):
                kind = "a number, or a list of one for each channel" if key in _BOUNDS else "a number >= 0"
                raise InputError(f"parameter {key!r} of rule {self.name!r} must be {kind}, not {value!r}")

    def to_yaml(self) -> Any:
        """As it stands in a YAML file."""
        plain = {key: list(value) if isinstance(value, tuple) else value for key, value in self.parameters.items()}
        return {"rule": self.name, **plain} if plain else self.name


@dataclass(frozen=True)
class Assignment:
    """Rules for some layers only: for those that meet all of the conditions given.

    Attributes:
        rules: family (a key of `lxtlike.rules.RULES`) -> rule.
        name: patterns of which one fits the layer's path in the model, as in ``layer4.*`` (`*` stands for anything).
        type: patterns of which one fits the layer's class, or one that it derives from, as in ``Conv2d``.
        depth: from where to where in the model, as fractions of its layers: 0 is the first one, 1 the last one; a layer at
            the upper end belongs to what comes next, except the last one.
        first: whether the layer reads the explained input itself, with nothing computed in between.

    Raises:
        InputError: no condition, or one that cannot be.
    """

    rules: Mapping[str, Rule]
    name: tuple[str, ...] = ()
    type: tuple[str, ...] = ()
    depth: tuple[float, float] | None = None
    first: bool = False

    def __post_init__(self) -> None:
        for family, rule in self.rules.items():
            rule.check(family)
        if not (self.name or self.type or self.depth or self.first):
            raise InputError("rules for some layers need a condition: name, type, depth or first")
        low, high = self.depth or (0.0, 1.0)
        if not 0 <= low < high <= 1:
            raise InputError(
                f"depth goes from a fraction of the layers to a larger one, as in [0, 0.5], not {self.depth}"
            )
        if self.first and not set(self.rules) <= {"linear", "convolution"}:
            raise InputError("only linear and convolution layers can be the first: give rules for these families")
        object.__setattr__(self, "rules", MappingProxyType(dict(self.rules)))

    @classmethod
    def of(cls, rules: Any, conditions: Mapping[str, Any]) -> Assignment:
        """From what stands in a YAML file or in a call.

        Raises:
            InputError: an unknown condition, or one with a value that it cannot have.
        """
        if not isinstance(rules, Mapping) or not rules:
            raise InputError("an entry of 'layers' needs 'rules', a mapping from families of operations to rules")
        for key in conditions:
            check_choice("condition for layers", key, CONDITIONS)
        return cls(
            {family: Rule.of(family, rule) for family, rule in rules.items()},
            _patterns("name", conditions.get("name")),
            _patterns("type", conditions.get("type")),
            _fractions(conditions.get("depth")),
            _truth(conditions.get("first")),
        )

    def to_yaml(self) -> dict[str, Any]:
        """As it stands in a YAML file."""
        given = {
            "name": list(self.name),
            "type": list(self.type),
            "depth": self.depth and list(self.depth),
            "first": self.first,
        }
        rules = {family: rule.to_yaml() for family, rule in self.rules.items()}
        return {**{key: value for key, value in given.items() if value}, "rules": rules}

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self.rules), self.name, self.type, self.depth, self.first)


CONDITIONS = ("name", "type", "depth", "first")


def parameters_of(family: str, rule: str) -> list[str]:
    """The names of a rule's parameters."""
    return [name for name in inspect.signature(RULES[family][rule]).parameters if name != "call"]


def check_choice(what: str, value: Any, allowed: Iterable[str], hint: str = "") -> None:
    """Raise InputError, with the nearest right one, unless `value` is allowed."""
    names = list(allowed)
    if value in names:
        return
    near = difflib.get_close_matches(str(value), names, 1)
    question = f" did you mean {near[0]!r}?" if near else ""
    choices = ", ".join([*names, hint] if hint else names) or "none"
    raise InputError(f"unknown {what} {value!r};{question} choose from: {choices}")


def _patterns(key: str, value: Any) -> tuple[str, ...]:
    found = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, (list, tuple)) else value
    if found is None:
        return ()
    if not isinstance(found, tuple) or not found or not all(isinstance(pattern, str) for pattern in found):
        raise InputError(f"{key!r} of layers is a pattern such as 'encoder.*', or a list of them, not {value!r}")
    return found


def _fractions(value: Any) -> tuple[float, float] | None:
    if value is None:
        return None
    if not isinstance(value, Sequence) or len(value) != 2 or not all(_is_number(n) for n in value):
        raise InputError(f"'depth' of layers is two fractions, as in [0, 0.5], not {value!r}")
    return float(value[0]), float(value[1])


def _truth(value: Any) -> bool:
    if value not in (None, True):
        raise InputError(f"'first' of layers is true or left out, not {value!r}")
    return value is True


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value)


def _shown(value: Parameter) -> str:
    return "[" + ", ".join(f"{n:g}" for n in value) + "]" if isinstance(value, tuple) else f"{value:g}"
