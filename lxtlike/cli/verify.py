"""``lxtlike verify``: does the account close on this model, and which rule does each of its modules get?

The scalar explained is the largest output for a short input. Which scalar and which input do not matter here: an account
that closes shows that every operation between them is handled, in float64 up to rounding, then in the model's own dtype.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from lxtlike.cli import options, output
from lxtlike.cli.exits import AUDIT, one_line
from lxtlike.errors import NumericalError

if TYPE_CHECKING:
    from lxtlike.composites import Composite
    from lxtlike.ledger import Ledger, Uncovered
    from lxtlike.loading import Loaded

TEXT = "The film was not bad , but the book it is based on was better ."
TOKENS = 12  # random ids where there is no tokenizer, or where it knows none of the words
LIMITS = {"float64": 1e-8, "float32": 1e-3}
"""The largest relative error with which a ledger is taken to close. In half precision it is shown, not judged."""


@dataclass(frozen=True)
class Check:
    """One explanation in one dtype."""

    dtype: str
    ledger: Ledger
    deviation: float
    uncovered: tuple[Uncovered, ...]
    rules: Mapping[str, Mapping[str, str]]

    @property
    def closes(self) -> bool:
        limit = LIMITS.get(self.dtype, float("inf"))
        return self.ledger.relative_error <= limit and self.deviation <= limit

    def to_dict(self) -> dict[str, Any]:
        return {
            "dtype": self.dtype,
            "ledger": self.ledger.to_dict(),
            "forward_deviation": self.deviation,
            "limit": LIMITS.get(self.dtype),
            "closes": self.closes,
        }


def command(
    model: options.ModelArgument,
    task: options.Task = "auto",
    composite: options.Composite = "default",
    format: Annotated[str, options.choice("--format", ("text", "json"), "Of the report.")] = "text",
    file: options.Output = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    trust_remote_code: options.TrustRemoteCode = False,
    debug: options.Debug = False,
) -> int:
    """Load MODEL, say which rule each module gets, and check that relevance is conserved; exit 3 when it is not."""
    file = file and output.checked(file)

    from lxtlike.composites import Composite
    from lxtlike.loading import load, quiet

    rules = Composite.parse(composite)
    loaded = load(
        model, task=task, dtype=dtype, device=device, trust_remote_code=trust_remote_code, need_tokenizer=False
    )
    with quiet():
        checks = verified(loaded, rules)
    closes = all(check.closes for check in checks)
    for uncovered in checks[0].uncovered:
        sys.stderr.write(f"warning: {one_line(str(uncovered))}\n")
    if format == "json":
        report = {
            "schema": "lxtlike/verification/1",
            "model": loaded.name,
            "task": loaded.task,
            "composite": rules.name,
            "modules": checks[0].rules,
            "uncovered": [uncovered.to_dict() for uncovered in checks[0].uncovered],
            "checks": [check.to_dict() for check in checks],
            "closes": closes,
        }
        output.write(json.dumps(report, ensure_ascii=False), file)
    else:
        output.write("\n".join(_report(loaded, rules, checks)), file)
    return 0 if closes else AUDIT


def verified(loaded: Loaded, composite: Composite) -> tuple[Check, ...]:
    """The check as loaded and, where that is another dtype, in float64; the model ends up in float64.

    Raises:
        NumericalError: the model's output is NaN or infinite.
    """
    ids = _ids(loaded)
    checks = [_check(loaded, ids, composite)]
    if checks[0].dtype != "float64":
        loaded.model.set_experts_implementation("eager")  # the faster ones know no float64
        loaded.model.double()
        checks.append(_check(loaded, ids, composite))
    return tuple(checks)


def _ids(loaded: Loaded) -> list[int]:
    if loaded.tokenizer is not None:
        ids: list[int] = loaded.tokenizer(TEXT)["input_ids"]
        if len(set(ids)) >= TOKENS // 2:
            return ids
    rows = loaded.model.get_input_embeddings().weight.shape[0]
    return [(7919 * place + 11) % rows for place in range(TOKENS)]  # spread over the vocabulary, the same every time


def _check(loaded: Loaded, ids: list[int], composite: Composite) -> Check:
    import torch

    from lxtlike.methods.leaves import embedding_leaves
    from lxtlike.propagation import propagate
    from lxtlike.propagation.precision import Float64Casts

    model = loaded.model
    inputs = {"input_ids": torch.tensor([ids], device=model.device)}
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = inputs["input_ids"][:, :1]
    with Float64Casts() if model.dtype is torch.float64 else nullcontext():
        with torch.no_grad():
            plain = model(**inputs)[0]
        if not torch.isfinite(plain).all():
            raise NumericalError("the model's output is NaN or infinite: try another --dtype")
        with propagate(model, composite, trace=True) as audit, embedding_leaves(model) as leaves:
            patched = model(**inputs)[0]
            explained = patched[0].reshape(-1, patched[0].shape[-1])[-1].max()
            coefficients = torch.autograd.grad(explained, leaves)
    tokens = sum(float((t.double() * c.double()).sum()) for t, c in zip(leaves, coefficients, strict=True))
    name = str(model.dtype).removeprefix("torch.")
    deviation = audit.compare(plain, patched)
    return Check(name, audit.ledger(explained, tokens), deviation, tuple(audit.uncovered), audit.rules())


def _report(loaded: Loaded, composite: Composite, checks: tuple[Check, ...]) -> Iterator[str]:
    yield f"{one_line(loaded.name)} · {loaded.task} · {composite.name}"
    yield ""
    yield "rules (layers of one kind together; reshaping and the like left out)"
    groups = grouped(checks[0].rules)
    width = max((len(pattern) for pattern in groups), default=0)
    for pattern, (count, text) in groups.items():
        yield f"  {pattern:{width}}  {count:>3} ×  {text}"
    yield ""
    yield "ledger"
    rows = [("", *(check.dtype for check in checks))]
    for account in ("explained", "tokens", "positions", "biases", "softmax", "epsilon", "router", "rest"):
        rows.append((account, *(f"{check.ledger.to_dict()[account]:.6g}" for check in checks)))
    rows.append(("relative error", *(f"{check.ledger.relative_error:.1e}" for check in checks)))
    rows.append(("limit", *(f"{LIMITS[check.dtype]:.0e}" if check.dtype in LIMITS else "none" for check in checks)))
    rows.append(("forward deviation", *(f"{check.deviation:.1e}" for check in checks)))
    for name, *values in rows:
        yield f"  {name:17}" + "".join(f"{value:>15}" for value in values)
    yield ""
    missing = len(checks[0].uncovered)
    without = (
        f"; {missing} operation{'s' * (missing > 1)} without a rule" if missing else "; every operation has a rule"
    )
    if all(check.closes for check in checks):
        yield f"the ledger closes{without}"
    else:
        failed = ", ".join(check.dtype for check in checks if not check.closes)
        yield f"the ledger does NOT close in {failed}{without}: do not trust explanations of this model"


def grouped(rules: Mapping[str, Mapping[str, str]]) -> dict[str, tuple[int, str]]:
    """Modules that differ in numbers only, with the same rules, as one: pattern -> how many, and what they get."""
    groups: dict[str, tuple[int, str]] = {}
    for module, operations in rules.items():
        by_rule: dict[str, list[str]] = {}
        for operation, rule in operations.items():
            if not rule.startswith("structure"):
                by_rule.setdefault(rule, []).append(operation)
        text = "; ".join(f"{', '.join(names)} → {rule}" for rule, names in by_rule.items())
        pattern = re.sub(r"(?<=\.)\d+(?=\.|$)", "*", module) or "(model)"
        while text and pattern in groups and groups[pattern][1] != text:
            pattern += "'"  # the same place in another kind of layer
        if text:
            groups[pattern] = (groups.get(pattern, (0, ""))[0] + 1, text)
    return groups
