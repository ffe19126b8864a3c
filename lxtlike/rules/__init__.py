"""The mathematics: rules as plain functions of one intercepted operation. Knows torch, and no transformers.

`RULES` lists, for each family of operations, the rules a composite may choose; the first is what a composite gets that
names none. `OPERATIONS` (in `operations.py`) says which torch function belongs to which family.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from lxtlike.rules import attention, batch_norm, first, linear, nonlinear, norm, product, radial, residual, signed
from lxtlike.rules.call import Operation
from lxtlike.rules.operations import OPERATIONS

RuleFunction = Callable[..., Any]

_LAYERS: Mapping[str, RuleFunction] = {
    "gradient": linear.gradient,
    "epsilon": linear.epsilon,
    "gamma": signed.gamma,
    "generalized-gamma": signed.generalized_gamma,
    "alpha-beta": signed.alpha_beta,
    "w-squared": first.w_squared,
    "flat": first.flat,
    "box": first.box,
}

RULES: Mapping[str, Mapping[str, RuleFunction]] = MappingProxyType(
    {
        "structure": {"gradient": linear.structure},
        "dropout": {"off": linear.dropped},
        "additive": {"gradient": linear.additive, "residual-gamma": residual.residual_gamma},
        "linear": _LAYERS,
        "convolution": _LAYERS,
        "activation": {"identity": nonlinear.identity, "gradient": linear.expanded, "radial": radial.radial},
        "gate": {"constant": nonlinear.constant, "gradient": linear.expanded},
        "norm": {"constant": norm.constant_scale, "gradient": linear.expanded},
        "batch-norm": {
            "constant": norm.constant_scale,
            "merged": batch_norm.merged,
            "pass": batch_norm.passed,
            "gradient": linear.expanded,
        },
        "product": {"uniform": product.uniform, "gradient": linear.expanded},
        "gated-product": {"uniform": product.gated_uniform, "constant": product.gated_constant},
        "division": {"constant": product.constant_denominator, "gradient": linear.expanded},
        "scan": {"constant": product.scan_constant, "uniform": linear.structure},
        "softmax": {"taylor": attention.taylor, "constant": nonlinear.constant},
        "router": {"uniform": attention.router_uniform, "constant": nonlinear.constant},
        "log-softmax": {"taylor": attention.log_taylor, "constant": nonlinear.constant},
        "attention": {
            "uniform": attention.fused_uniform,
            "constant": attention.fused_constant,
            "gradient": linear.expanded,
        },
    }
)
"""Family of operations -> name of a rule -> the function."""

__all__ = ["OPERATIONS", "RULES", "Operation", "RuleFunction"]
