"""The table of docs/rule-checks.md: every classic rule on every kind of layer against its slow oracle.

    python scripts/rule_table.py            # prints the table
    python scripts/rule_table.py --write    # writes it into docs/rule-checks.md

A layer is turned into the dense matrix that it is by feeding it unit vectors, and the oracle of the tests shares relevance over
its single entries, in loops. Inputs are positive or of both signs, layers have a bias or none, and some denominators are zero.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from lxtlike import Composite, propagate

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import reference as ref  # noqa: E402
import reference_first as first  # noqa: E402
import reference_signed as signed  # noqa: E402

DOCUMENT = ROOT / "docs" / "rule-checks.md"
LOW, HIGH = -3.5, 4.0

LAYERS: dict[str, tuple[Callable[[bool], nn.Module], tuple[int, ...]]] = {
    "Linear": (lambda bias: nn.Linear(4, 3, bias=bias), (4,)),
    "Conv1D of transformers": (lambda bias: Conv1D(3, 4), (4,)),
    "Conv1d": (lambda bias: nn.Conv1d(2, 3, 3, padding=1, dilation=2, bias=bias), (2, 6)),
    "Conv2d": (lambda bias: nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2, bias=bias), (2, 4, 4)),
    "Conv3d": (lambda bias: nn.Conv3d(1, 2, 2, bias=bias), (1, 3, 3, 3)),
    "ConvTranspose1d": (lambda bias: nn.ConvTranspose1d(2, 3, 3, stride=2, bias=bias), (2, 4)),
    "ConvTranspose2d": (lambda bias: nn.ConvTranspose2d(2, 2, 2, stride=2, groups=2, bias=bias), (2, 3, 3)),
    "ConvTranspose3d": (lambda bias: nn.ConvTranspose3d(1, 2, 2, bias=bias), (1, 2, 2, 2)),
}


class Expected(NamedTuple):
    """Relevance of the inputs [N, I], and what biases and epsilon took."""

    relevance: ref.Array
    biases: float
    epsilon: float


Oracle = Callable[[ref.Array, ref.Array, "ref.Array | None", ref.Array, ref.Array], Expected]
"""Inputs [N, I], weights [O, I], biases [O], coefficients [N, O], and which inputs an output is connected with [O, I]."""


def _coefficients(rule: Callable[..., ref.Step], **parameters: float) -> Oracle:
    def oracle(x: ref.Array, weight: ref.Array, bias: ref.Array | None, c: ref.Array, _: ref.Array) -> Expected:
        step = rule(x, weight, bias, c, **parameters)
        return Expected(x * step.coefficients[0], step.absorbed["bias"], step.absorbed["epsilon"])

    return oracle


def _deposits(rule: Callable[..., first.Shared]) -> Oracle:
    def oracle(x: ref.Array, weight: ref.Array, bias: ref.Array | None, c: ref.Array, connected: ref.Array) -> Expected:
        shared = rule(x, weight, bias, c, connected)
        return Expected(shared.relevance, shared.absorbed["bias"], shared.absorbed["epsilon"])

    return oracle


def _box(x: ref.Array, weight: ref.Array, bias: ref.Array | None, c: ref.Array, _: ref.Array) -> first.Shared:
    ends = (np.full(x.shape[1], end) for end in (LOW, HIGH))
    return first.box(x, weight, bias, c, *ends)


RULES: dict[str, tuple[dict[str, object], Oracle]] = {
    "LRP-0": ({"rule": "gradient"}, _coefficients(ref.linear)),
    "epsilon 0.1": ({"rule": "epsilon", "epsilon": 0.1}, _coefficients(ref.linear, epsilon=0.1)),
    "gamma 0.25": ({"rule": "gamma"}, _coefficients(signed.gamma)),
    "generalized-gamma 0.25": ({"rule": "generalized-gamma"}, _coefficients(signed.generalized_gamma)),
    "alpha-beta, alpha 1 (z+)": ({"rule": "alpha-beta", "alpha": 1.0}, _coefficients(signed.alpha_beta, alpha=1.0)),
    "alpha-beta, alpha 2": ({"rule": "alpha-beta"}, _coefficients(signed.alpha_beta, alpha=2.0)),
    "w-squared": ({"rule": "w-squared"}, _deposits(lambda x, w, b, c, _: first.w_squared(x, w, b, c))),
    "flat": ({"rule": "flat"}, _deposits(first.flat)),
    "box (z^B)": ({"rule": "box", "low": LOW, "high": HIGH}, _deposits(_box)),
}


class Checked(NamedTuple):
    """How far a rule is from its oracle, over the oracle's largest entry, and the ledger's relative error."""

    difference: float
    error: float


def cases(rule: str) -> Iterator[tuple[bool, bool, bool]]:
    """Inputs of both signs, a bias, denominators of zero: each or not; gamma is for inputs above zero only."""
    for mixed, bias, dead in itertools.product((False, True), repeat=3):
        if not (mixed and rule.startswith("gamma")):
            yield mixed, bias, dead


def compare(rule: str, kind: str, mixed: bool, bias: bool, dead: bool) -> Checked:
    """One rule on one layer against its oracle, in float64."""
    entry, oracle = RULES[rule]
    make, shape = LAYERS[kind]
    torch.manual_seed(len(rule) + 7 * len(kind))
    layer = make(bias).double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    if isinstance(layer, Conv1D) and not bias:
        nn.init.zeros_(layer.bias)
    x = torch.randn(2, *shape, dtype=torch.float64)
    x = x if mixed else x.abs()
    if dead:  # an output without weights, and a whole item of zeros
        for parameter in layer.parameters():
            parameter.data.select(-1 if isinstance(layer, Conv1D) else 0, 0).zero_()
        x[1] = 0.0
    weight, constant = dense(layer, shape)
    connected, _ = dense(_of_ones(layer), shape)
    c = torch.randn(2, *layer(x).shape[1:], dtype=torch.float64)
    expected = oracle(x.flatten(1).numpy(), weight, constant if bias else None, c.flatten(1).numpy(), connected)

    composite = Composite.parse("attnlrp") | {"linear": entry, "convolution": entry}
    leaf = x.requires_grad_()
    with propagate(layer, composite) as audit:
        top = (layer(leaf) * c).sum()
        (coefficient,) = torch.autograd.grad(top, leaf)
    found = audit.relevance(leaf, coefficient)
    ledger = audit.ledger(top, found)
    size = max(float(np.abs(expected.relevance).max()), 1.0)
    away = max(
        float(np.abs(found.flatten(1).numpy() - expected.relevance).max()),
        abs(ledger.biases - expected.biases),
        abs(ledger.epsilon - expected.epsilon),
    )
    return Checked(away / size, abs(ledger.rest) / max(size, sum(map(abs, ledger.accounts.values()))))


def dense(layer: nn.Module, shape: tuple[int, ...]) -> tuple[ref.Array, ref.Array]:
    """The matrix [O, I] and the constant [O] of a linear layer, found by feeding it unit vectors."""
    with torch.no_grad():
        constant = layer(torch.zeros(1, *shape, dtype=torch.float64)).flatten()
        units = torch.eye(int(np.prod(shape)), dtype=torch.float64).reshape(-1, *shape)
        return (layer(units).flatten(1) - constant).T.numpy(), constant.numpy()


def _of_ones(layer: nn.Module) -> nn.Module:
    """The same layer with weights of 1 and no bias."""
    other = copy.deepcopy(layer)
    for name, parameter in other.named_parameters():
        nn.init.constant_(parameter, float(name == "weight"))
    return other


def table() -> str:
    """Markdown: the largest difference of each rule on each kind of layer, and the largest error of a ledger."""
    lines = [
        "| rule | inputs | " + " | ".join(LAYERS) + " | ledger |",
        "|---" * (len(LAYERS) + 3) + "|",
    ]
    for rule in RULES:
        columns = [[compare(rule, kind, *case) for case in cases(rule)] for kind in LAYERS]
        worst = max(one.error for column in columns for one in column)
        inputs = "positive" if rule.startswith("gamma") else "positive, mixed"
        shown = " | ".join(f"{max(one.difference for one in column):.0e}" for column in columns)
        lines.append(f"| {rule} | {inputs} | {shown} | {worst:.0e} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="write the table into docs/rule-checks.md")
    text = table()
    if parser.parse_args().write:
        before, _, after = DOCUMENT.read_text(encoding="utf-8").partition("<!-- table -->")
        DOCUMENT.write_text(
            f"{before}<!-- table -->\n{text}\n<!-- end -->{after.partition('<!-- end -->')[2]}", encoding="utf-8"
        )
    else:
        print(text)


if __name__ == "__main__":
    main()
