"""Composites: immutable tables that say which rule each family of operations gets, and which some layers get instead.

A composite is data. `Composite.parse("epsilon:epsilon=0.01")` reads a name with overrides, a path to a YAML file, or passes a
`Composite` through; `composite | {"softmax": "constant"}` makes another one. The built-in ones are the YAML files in `configs/`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from lxtlike.assignment import CONDITIONS, Assignment, Parameter, Rule, check_choice, parameters_of
from lxtlike.errors import InputError
from lxtlike.rules import RULES, RuleFunction

_PACKAGE = Path(__file__).parent
CONFIGS = next(p for p in (_PACKAGE / "configs", _PACKAGE.parent / "configs") if p.is_dir())
"""Folder of the built-in composites: inside an installed package, beside it in a checkout."""


@dataclass(frozen=True)
class Composite:
    """A table family of operations -> rule; a family that is not in it keeps the plain gradient.

    Attributes:
        name: what results call it.
        summary: one line on what it is and where it was published.
        rules: family (a key of `lxtlike.rules.RULES`) -> rule.
        layers: rules for some layers only; where several apply, the last one does.
        operations: functions that this composite knows beside the built-in ones -> their family.
        atoms: module classes whose inside is not looked at -> their family: "activation" or "gate" for an elementwise
            function, "linear" for a layer with a kernel of its own (its `bias`, if any, is what it adds). Files name classes
            by patterns, such as "*MLP".

    Raises:
        InputError: for a family, rule or parameter that does not exist; the message names the nearest right one.
    """

    name: str
    summary: str = ""
    rules: Mapping[str, Rule] = field(default_factory=dict)
    layers: tuple[Assignment, ...] = ()
    operations: Mapping[Callable[..., Any], str] = field(default_factory=dict)
    atoms: Mapping[type | str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for family, rule in self.rules.items():
            rule.check(family)
        for family in {*self.operations.values(), *self.atoms.values()}:
            check_choice("family of operations", family, RULES)
        for name in ("rules", "operations", "atoms"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def __or__(self, changes: Mapping[Any, Any]) -> Composite:
        """The composite with other entries.

        Keys: a family (value: a rule's name or `Rule`), a torch function (value: its family) or a module class that is
        one operation (value: its family).
        """
        rules, operations, atoms = dict(self.rules), dict(self.operations), dict(self.atoms)
        for key, value in changes.items():
            if isinstance(key, str):
                rules[key] = Rule.of(key, value)
            elif isinstance(key, type):
                atoms[key] = value
            elif callable(key):
                operations[key] = value
            else:
                raise InputError(f"{key!r} is neither a family of operations, nor a function, nor a module class")
        return replace(self, rules=rules, operations=operations, atoms=atoms)

    def where(self, rules: Mapping[str, Any], **conditions: Any) -> Composite:
        """The composite with other rules for some layers: ``composite.where({"linear": "flat"}, first=True)``.

        Args:
            rules: family -> rule's name, mapping with the key 'rule', or `Rule`.
            conditions: those of `Assignment`: name, type, depth, first.
        """
        return replace(self, layers=(*self.layers, Assignment.of(rules, conditions)))

    def bounded(self, low: Parameter, high: Parameter) -> Composite:
        """The composite with these bounds in every box rule that has none: numbers, or one for each channel."""

        def set_in(rules: Mapping[str, Rule]) -> dict[str, Rule]:
            bounds = {"low": low, "high": high}
            return {
                family: replace(rule, parameters={**bounds, **rule.parameters}) if rule.name == "box" else rule
                for family, rule in rules.items()
            }

        layers = tuple(replace(one, rules=set_in(one.rules)) for one in self.layers)
        return replace(self, rules=set_in(self.rules), layers=layers)

    def __reduce__(self) -> tuple[Any, ...]:
        fields = (self.name, self.summary, dict(self.rules), self.layers, dict(self.operations), dict(self.atoms))
        return Composite, fields

    def to_yaml(self) -> str:
        """The table as YAML that `Composite.parse` reads (functions and classes added in Python are not in it)."""
        table: dict[str, Any] = {"name": self.name, "summary": self.summary}
        table["rules"] = {family: rule.to_yaml() for family, rule in self.rules.items()}
        if self.layers:
            table["layers"] = [assignment.to_yaml() for assignment in self.layers]
        if named := {pattern: family for pattern, family in self.atoms.items() if isinstance(pattern, str)}:
            table["atoms"] = named
        text: str = yaml.safe_dump(table, sort_keys=False)
        return text

    @classmethod
    def parse(cls, composite: str | Path | Composite) -> Composite:
        """A composite from a name, ``name:parameter=value,...``, a path to a YAML file, or itself.

        A parameter is set on every rule that has it, or on those of one family: ``gamma:convolution.gamma=0.5``.

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
        check_choice("composite", name, COMPOSITES, hint="or the path of a .yaml file")
        return _overridden(COMPOSITES[name], overrides)


def bound(family: str, rule: Rule) -> RuleFunction:
    """A rule's function with its parameters bound."""
    found = RULES[family][rule.name]
    return partial(found, **rule.parameters) if rule.parameters else found


def _overridden(composite: Composite, overrides: str) -> Composite:
    """`composite` with ``key=value,...`` set on every rule that has a parameter of this name."""
    for assignment in filter(None, overrides.split(",")):
        given, _, value = assignment.partition("=")
        family, _, key = given.rpartition(".")
        if family:
            check_choice("family of operations", family, RULES)
        tables = [composite.rules, *(layer.rules for layer in composite.layers)]
        if not any(_takes(other, rule, family, key) for rules in tables for other, rule in rules.items()):
            has = sorted(
                {p for rules in tables for other, rule in rules.items() for p in parameters_of(other, rule.name)}
            )
            known = f"its parameters are {', '.join(has)}" if has else "it has none"
            raise InputError(f"composite {composite.name!r} has no parameter {given!r}; {known}")
        try:
            number = float(value)
        except ValueError:
            raise InputError(f"parameter {given!r} needs a number, as in {composite.name}:{given}=0.1") from None

        def overridden(
            rules: Mapping[str, Rule], family: str = family, key: str = key, n: float = number
        ) -> dict[str, Rule]:
            return {
                other: Rule(rule.name, {**rule.parameters, key: n}) if _takes(other, rule, family, key) else rule
                for other, rule in rules.items()
            }

        composite = replace(
            composite,
            name=f"{composite.name}{',' if ':' in composite.name else ':'}{given}={number:g}",
            rules=overridden(composite.rules),
            layers=tuple(replace(layer, rules=overridden(layer.rules)) for layer in composite.layers),
        )
    return composite


def _takes(other: str, rule: Rule, family: str, key: str) -> bool:
    return family in ("", other) and key in parameters_of(other, rule.name)


_KEYS = ("name", "summary", "base", "rules", "layers", "atoms")


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
        raise InputError(f"the composite file {str(path)!r} must be a mapping with the keys {', '.join(_KEYS)}.")
    for key in content:
        check_choice(f"key in {path.name!r}", key, _KEYS)
    rules, atoms = content.get("rules") or {}, content.get("atoms") or {}
    if not isinstance(rules, dict):
        raise InputError(f"'rules' in {path.name!r} must be a mapping from families of operations to rules")
    if not isinstance(atoms, dict) or not all(isinstance(pattern, str) for pattern in atoms):
        raise InputError(f"'atoms' in {path.name!r} must be a mapping from names of module classes to families")
    base = content.get("base")
    start = _read(CONFIGS / f"{base}.yaml") if base in _built_in() else Composite("")
    if base is not None and base not in _built_in():
        check_choice(f"base in {path.name!r}", base, _built_in())
    composite = replace(start | rules, atoms={**start.atoms, **atoms})
    for entry in _entries(content.get("layers"), path):
        composite = composite.where(entry.pop("rules", None), **entry)
    return replace(composite, name=str(content.get("name") or path.stem), summary=str(content.get("summary") or ""))


def _entries(layers: Any, path: Path) -> list[dict[str, Any]]:
    if layers is None:
        return []
    if not isinstance(layers, list) or not all(isinstance(entry, dict) for entry in layers):
        raise InputError(
            f"'layers' in {path.name!r} must be a list of mappings with 'rules' and name, type, depth or first"
        )
    for entry in layers:
        for key in entry:
            check_choice(f"key of 'layers' in {path.name!r}", key, ("rules", *CONDITIONS))
    return [dict(entry) for entry in layers]


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
