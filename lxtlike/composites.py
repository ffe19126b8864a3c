"""Composites: immutable tables that say which rule each family of operations gets.

A composite is data. `Composite.parse("epsilon:epsilon=0.01")` reads a name with overrides, a path to a YAML file, or passes a
`Composite` through; `composite | {"softmax": "constant"}` makes another one. The built-in ones are the YAML files in `configs/`.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from lxtlike.errors import InputError
from lxtlike.rules import RULES, RuleFunction

_PACKAGE = Path(__file__).parent
CONFIGS = next(p for p in (_PACKAGE / "configs", _PACKAGE.parent / "configs") if p.is_dir())
"""Folder of the built-in composites: inside an installed package, beside it in a checkout."""


@dataclass(frozen=True)
class Rule:
    """The name of a rule with its parameters, as a composite's table holds it."""

    name: str
    parameters: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name + "".join(f" {key}={value:g}" for key, value in self.parameters.items())


@dataclass(frozen=True)
class Composite:
    """A table family of operations -> rule; a family that is not in it keeps the plain gradient.

    Attributes:
        name: what results call it.
        summary: one line on what it is and where it was published.
        rules: family (a key of `lxtlike.rules.RULES`) -> rule.
        operations: functions that this composite knows beside the built-in ones -> their family.
        atoms: module classes whose inside is not looked at -> their family: "activation" or "gate" for an elementwise
            function, "linear" for a layer with a kernel of its own (its `bias`, if any, is what it adds).

    Raises:
        InputError: for a family, rule or parameter that does not exist; the message names the nearest right one.
    """

    name: str
    summary: str = ""
    rules: Mapping[str, Rule] = field(default_factory=dict)
    operations: Mapping[Callable[..., Any], str] = field(default_factory=dict)
    atoms: Mapping[type, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for family, rule in self.rules.items():
            _check_choice("family of operations", family, RULES)
            _check_choice(f"rule for {family!r}", rule.name, RULES[family])
            allowed = [p for p in inspect.signature(RULES[family][rule.name]).parameters if p != "call"]
            for key, value in rule.parameters.items():
                _check_choice(f"parameter of rule {rule.name!r}", key, allowed)
                if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
                    raise InputError(f"parameter {key!r} of rule {rule.name!r} must be a number >= 0, not {value!r}")
        for family in {*self.operations.values(), *self.atoms.values()}:
            _check_choice("family of operations", family, RULES)
        for name in ("rules", "operations", "atoms"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    @cached_property
    def functions(self) -> Mapping[str, RuleFunction]:
        """Family -> the rule's function with its parameters bound."""
        return {
            family: partial(RULES[family][rule.name], **rule.parameters)
            if rule.parameters
            else RULES[family][rule.name]
            for family, rule in self.rules.items()
        }

    def __or__(self, changes: Mapping[Any, Any]) -> Composite:
        """The composite with other entries.

        Keys: a family (value: a rule's name or `Rule`), a torch function (value: its family) or a module class that is
        one operation (value: its family).
        """
        rules, operations, atoms = dict(self.rules), dict(self.operations), dict(self.atoms)
        for key, value in changes.items():
            if isinstance(key, str):
                rules[key] = value if isinstance(value, Rule) else _rule(key, value)
            elif isinstance(key, type):
                atoms[key] = value
            elif callable(key):
                operations[key] = value
            else:
                raise InputError(f"{key!r} is neither a family of operations, nor a function, nor a module class")
        return replace(self, rules=rules, operations=operations, atoms=atoms)

    def __reduce__(self) -> tuple[Any, ...]:
        fields = (self.name, self.summary, dict(self.rules), dict(self.operations), dict(self.atoms))
        return Composite, fields

    def to_yaml(self) -> str:
        """The table as YAML that `Composite.parse` reads (functions and classes added in Python are not in it)."""
        rules = {
            family: {"rule": rule.name, **rule.parameters} if rule.parameters else rule.name
            for family, rule in self.rules.items()
        }
        text: str = yaml.safe_dump({"name": self.name, "summary": self.summary, "rules": rules}, sort_keys=False)
        return text

    @classmethod
    def parse(cls, composite: str | Path | Composite) -> Composite:
        """A composite from a name, ``name:parameter=value,...``, a path to a YAML file, or itself.

        Raises:
            InputError: for an unknown name, parameter or file, or a file with a wrong key.
        """
        if isinstance(composite, Composite):
            return composite
        text = str(composite)
        if text.endswith((".yaml", ".yml")):
            return _read(Path(text))
        name, _, overrides = text.partition(":")
        if name == "default":
            name = "attnlrp"
        _check_choice("composite", name, COMPOSITES, hint="or the path of a .yaml file")
        return _overridden(COMPOSITES[name], overrides)


def _overridden(composite: Composite, overrides: str) -> Composite:
    """`composite` with ``key=value,...`` set on every rule that has a parameter of this name."""
    for assignment in filter(None, overrides.split(",")):
        key, _, value = assignment.partition("=")
        takers = {
            family: rule
            for family, rule in composite.rules.items()
            if key in inspect.signature(RULES[family][rule.name]).parameters and key != "call"
        }
        if not takers:
            has = sorted({p for rule in composite.rules.values() for p in rule.parameters})
            known = f"its parameters are {', '.join(has)}" if has else "it has none"
            raise InputError(f"composite {composite.name!r} has no parameter {key!r}; {known}")
        try:
            number = float(value)
        except ValueError:
            raise InputError(f"parameter {key!r} needs a number, as in {composite.name}:{key}=0.1") from None
        composite |= {f: Rule(r.name, {**r.parameters, key: number}) for f, r in takers.items()}
        composite = replace(composite, name=f"{composite.name}:{key}={number:g}")
    return composite


def _read(path: Path) -> Composite:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(
            f"the composite file {str(path)!r} does not exist; `composites` lists the built-in ones"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise InputError(f"the composite file {str(path)!r} cannot be read: {reason}") from error
    except yaml.YAMLError as error:
        reason = str(error).replace("\n", " ")
        raise InputError(f"the composite file {str(path)!r} is not valid YAML: {reason}") from error
    if not isinstance(content, dict):
        raise InputError(
            f"the composite file {str(path)!r} must be a mapping with the keys name, summary, base, rules."
        )
    for key in content:
        _check_choice(f"key in {path.name!r}", key, ("name", "summary", "base", "rules"))
    rules = content.get("rules") or {}
    if not isinstance(rules, dict):
        raise InputError(f"'rules' in {path.name!r} must be a mapping from families of operations to rules")
    base = content.get("base")
    start = _read(CONFIGS / f"{base}.yaml") if base in _built_in() else Composite("")
    if base is not None and base not in _built_in():
        _check_choice(f"base in {path.name!r}", base, _built_in())
    composite = start | {family: _rule(family, rule) for family, rule in rules.items()}
    return replace(composite, name=str(content.get("name") or path.stem), summary=str(content.get("summary") or ""))


def _rule(family: Any, value: Any) -> Rule:
    if isinstance(value, str):
        return Rule(value)
    if isinstance(value, dict) and isinstance(value.get("rule"), str):
        return Rule(value["rule"], {key: v for key, v in value.items() if key != "rule"})
    raise InputError(f"the rule for {family!r} must be a name or a mapping with the key 'rule', not {value!r}")


def _check_choice(what: str, value: Any, allowed: Iterable[str], hint: str = "") -> None:
    names = list(allowed)
    if value in names:
        return
    near = difflib.get_close_matches(str(value), names, 1)
    question = f" did you mean {near[0]!r}?" if near else ""
    choices = ", ".join([*names, hint] if hint else names) or "none"
    raise InputError(f"unknown {what} {value!r};{question} choose from: {choices}")


def _built_in() -> list[str]:
    return sorted(path.stem for path in CONFIGS.glob("*.yaml"))


class _BuiltIn(Mapping[str, Composite]):
    """The composites in `configs/`, read when first asked for."""

    def __getitem__(self, name: str) -> Composite:
        if name not in self._read:
            if name not in _built_in():
                raise KeyError(name)
            self._read[name] = _read(CONFIGS / f"{name}.yaml")
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_built_in())

    def __len__(self) -> int:
        return len(_built_in())

    def __init__(self) -> None:
        self._read: dict[str, Composite] = {}


COMPOSITES: Mapping[str, Composite] = _BuiltIn()
"""Name -> built-in composite."""
