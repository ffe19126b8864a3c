"""The report of an audit as plain text: rules by module, what no rule covers, the ledger, the layers, and a verdict."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from lxtlike.ledger import ACCOUNTS, LayerLedger, Ledger, Uncovered

LIMITS = {"float64": 1e-8, "float32": 1e-3}
"""The largest relative error with which a ledger is taken to close. In half precision it is shown, not judged."""

AND = " + "
"""Between the rules of one operation that ran by several."""


@dataclass(frozen=True)
class Check:
    """One explanation in one dtype; the deviation of the forward is None where nobody has compared it."""

    dtype: str
    ledger: Ledger
    deviation: float | None

    @property
    def closes(self) -> bool:
        """Whether the ledger adds up and the forward is the plain one, within the dtype's limit."""
        limit = LIMITS.get(self.dtype, float("inf"))
        return self.ledger.relative_error <= limit and (self.deviation or 0.0) <= limit

    def to_dict(self) -> dict[str, Any]:
        """The fields, as written to JSON."""
        return {
            "dtype": self.dtype,
            "ledger": self.ledger.to_dict(),
            "forward_deviation": self.deviation,
            "limit": LIMITS.get(self.dtype),
            "closes": self.closes,
        }


def report(
    rules: Mapping[str, Mapping[str, str]],
    uncovered: Sequence[Uncovered],
    checks: Sequence[Check],
    layers: LayerLedger | None = None,
) -> str:
    """The whole report.

    Args:
        rules: module -> operation -> rule with its lane, as `Audit.rules` gives it; empty where nobody traced.
        checks: the explanations whose ledgers are shown, side by side.
    """
    parts = [
        rules_by_module(rules),
        _uncovered(uncovered),
        _ledgers(checks),
        _layers(layers),
        [verdict(uncovered, checks)],
    ]
    return "\n\n".join("\n".join(lines) for lines in map(list, parts) if lines)


def verdict(uncovered: Sequence[Uncovered], checks: Sequence[Check]) -> str:
    """What to think of explanations of this model, in one sentence."""
    missing = len(uncovered)
    without = f"{missing} operation{'s' * (missing > 1)} without a rule" if missing else "every operation has a rule"
    if not checks:
        return f"no ledger was asked for yet; {without}"
    failed = ", ".join(check.dtype for check in checks if not check.closes)
    if failed:
        return f"the ledger does NOT close in {failed}; {without}: do not trust explanations of this model"
    return f"the ledger closes; {without}"


def grouped(rules: Mapping[str, Mapping[str, str]]) -> dict[str, tuple[int, str]]:
    """Modules that differ in numbers only, with the same rules, as one: pattern -> how many, and what they get.

    A pattern has ``*`` in place of a number; where layers of one kind have different rules, it says which: ``0-3``.
    """
    groups: dict[tuple[str, str], list[str]] = {}
    for module, operations in rules.items():
        by_rule: dict[str, list[str]] = {}
        for operation, rule in ((name, rule) for name, rules in operations.items() for rule in rules.split(AND)):
            if not rule.startswith("structure"):
                by_rule.setdefault(rule, []).append(operation)
        text = "; ".join(f"{', '.join(names)} → {rule}" for rule, names in by_rule.items())
        if text:
            groups.setdefault((_NUMBER.sub("*", module), text), []).append(module)
    kinds = Counter(pattern for pattern, _ in groups)
    found = {}
    for (pattern, text), modules in groups.items():
        for name, members in [(pattern, modules)] if kinds[pattern] == 1 else _ranges(modules):
            found[name or "(model)"] = (len(members), text)
    return found


_NUMBER = re.compile(r"(?<=\.)\d+(?=\.|$)")


def _ranges(modules: Sequence[str]) -> Iterator[tuple[str, Sequence[str]]]:
    """Modules that differ in one number as one, with its range; otherwise each for itself."""
    numbers = [[int(n) for n in _NUMBER.findall(module)] for module in modules]
    columns = [sorted(set(column)) for column in zip(*numbers, strict=True)]
    if sum(len(column) > 1 for column in columns) > 1:
        yield from ((module, [module]) for module in modules)
        return
    shown = iter([",".join(_runs(column)) for column in columns])
    yield _NUMBER.sub(lambda _: next(shown), modules[0]), modules


def _runs(numbers: Sequence[int]) -> Iterator[str]:
    """``[0, 1, 2, 5]`` as ``0-2`` and ``5``."""
    for _, run in groupby(enumerate(numbers), key=lambda item: item[1] - item[0]):
        first, *others = [number for _, number in run]
        yield f"{first}-{others[-1]}" if others else str(first)


def rules_by_module(rules: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """The lines of a table: modules, how many there are of a kind, and what each of their operations gets."""
    yield "rules (layers of one kind together; reshaping and the like left out)"
    groups = grouped(rules)
    if not groups:
        yield "  not traced: enter the block with `propagate(..., trace=True)`"
    width = max((len(pattern) for pattern in groups), default=0)
    for pattern, (count, text) in groups.items():
        yield f"  {pattern:{width}}  {count:>3} ×  {text}"


def _uncovered(uncovered: Sequence[Uncovered]) -> Iterator[str]:
    if uncovered:
        yield "without a rule"
    for found in uncovered:
        yield f"  {found.operation} in {found.module or 'the model'}"
        if found.source:
            yield f"    {found.source}"
        yield f"    {found.remedy}"


def _ledgers(checks: Sequence[Check]) -> Iterator[str]:
    if not checks:
        return
    yield "ledger"
    rows = [("", *(check.dtype for check in checks))]
    kinds = dict.fromkeys(kind for check in checks for kind in sorted(check.ledger.bias_kinds))
    numbers = [check.ledger.to_dict() for check in checks]
    for name in ("explained", *ACCOUNTS, "rest"):
        if any(name in one for one in numbers):
            rows.append((name, *(f"{one.get(name, 0.0):.6g}" for one in numbers)))
        for kind in kinds if name == "biases" else ():
            rows.append((f"  {kind}", *(f"{check.ledger.bias_kinds.get(kind, 0.0):.6g}" for check in checks)))
    rows.append(("relative error", *(f"{check.ledger.relative_error:.1e}" for check in checks)))
    rows.append(("limit", *(f"{LIMITS[check.dtype]:.0e}" if check.dtype in LIMITS else "none" for check in checks)))
    deviations = ["not measured" if check.deviation is None else f"{check.deviation:.1e}" for check in checks]
    rows.append(("forward deviation", *deviations))
    for name, *values in rows:
        yield f"  {name:17}" + "".join(f"{value:>15}" for value in values)


def _layers(layers: LayerLedger | None) -> Iterator[str]:
    if layers is not None:
        yield "layers"
        yield from (f"  {line}" for line in str(layers).splitlines())
