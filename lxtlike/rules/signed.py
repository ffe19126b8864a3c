"""Rules for linear and convolution layers that treat contributions by their sign (Bach et al. 2015; Montavon et al. 2019).

With ``z_ij = x_i w_ij`` (a bias is one more input, of value 1), output ``y_j = sum_i z_ij`` and relevance ``R_j = y_j c_j``,
each rule shares ``R_j`` in the proportions of some ``z'_ij``, so ``c_i = sum_j (z'_ij / x_i) R_j / z'_j``: the plain gradient of
a layer that computes ``z'_j``, of the coefficient ``c_j y_j / z'_j``. Denominators are stabilised, ``z' + epsilon sign(z')``
with sign(0) = +1; what that takes is booked under *epsilon*, and so is the relevance of an output whose denominator is zero.

A layer is a product with one constant operand, its weight. Products with several constants pass the plain gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lxtlike.rules.call import Call, tensors
from lxtlike.rules.linear import absorb_addend, gradient
from lxtlike.rules.primitives import keep, stabilized, substitute, wide

Change = Callable[[Tensor], Tensor]


class _Parts(NamedTuple):
    """The sums over contributions above and below zero, [.., J]; tracked, each with its part of the bias."""

    positive: Tensor
    negative: Tensor


def gamma(call: Call, *, gamma: float = 0.25, epsilon: float = 1e-6) -> Any:
    """LRP-gamma, ``z'_ij = x_i (w_ij + gamma w_ij+)`` (Montavon et al. 2019, section 10.2), for inputs that are not negative."""
    if not is_layer(call):
        return gradient(call)

    def favour(w: Tensor) -> Tensor:
        return w + gamma * w.clamp(min=0)

    favoured = changed(call, lambda t: t if t.requires_grad else favour(t), favour)
    modified = favoured.run()
    absorb_addend(favoured, modified)
    value = call.quietly()
    return substitute(value, _share(call, value, modified, 1.0, epsilon))


def generalized_gamma(call: Call, *, gamma: float = 0.25, epsilon: float = 1e-6) -> Any:
    """LRP-gamma for inputs of any sign: contributions that agree in sign with ``y_j`` count ``1 + gamma`` times.

    Equal to `gamma` where inputs are not negative and the output is positive.
    """
    if not is_layer(call):
        return gradient(call)
    value, parts = call.quietly(), _parts(call)
    modified = parts.positive + parts.negative + gamma * torch.where(value >= 0, parts.positive, parts.negative)
    return substitute(value, _share(call, value, modified, 1.0, epsilon))


def alpha_beta(call: Call, *, alpha: float = 2.0, epsilon: float = 1e-6) -> Any:
    """LRP-alpha-beta (Bach et al. 2015, eq. 60), ``R_i = sum_j (alpha z_ij+ / z_j+ - beta z_ij- / z_j-) R_j``, beta = alpha - 1.

    ``z_ij+ = x_i+ w_ij+ + x_i- w_ij-``, so inputs may have any sign. With alpha = 1 it is the z+ rule.
    """
    if not is_layer(call):
        return gradient(call)
    value, parts = call.quietly(), _parts(call)
    shared = _share(call, value, parts.positive, alpha, epsilon)
    if alpha != 1.0:
        shared = shared + _share(call, value, parts.negative, 1.0 - alpha, epsilon)
    return substitute(value, shared)


def _share(call: Call, value: Tensor, modified: Tensor, factor: float, epsilon: float) -> Tensor:
    """``factor * value``, whose relevance goes on in the proportions of the contributions to `modified`."""
    y, z = wide(value), wide(modified.detach())
    ratio = factor * y / stabilized(z, epsilon)
    absorbed = keep(factor * y - z * ratio)
    shared = substitute((factor * y).to(value.dtype), modified, ratio.to(value.dtype))
    call.book.absorb("epsilon", shared, lambda c: wide(c) * absorbed())
    return shared


def _parts(call: Call) -> _Parts:
    """``z+ = x+ w+ + x- w- + b+`` and ``z- = x+ w- + x- w+ + b-``."""
    sums = []
    for side, opposite in ((above, below), (below, above)):
        same = changed(call, partial(_by_kind, above, side), side)
        other = changed(call, partial(_by_kind, below, opposite), torch.zeros_like)
        output = same.run()
        absorb_addend(same, output)
        sums.append(output + other.run())
    return _Parts(*sums)


def above(t: Tensor) -> Tensor:
    """What is above zero; 0 elsewhere."""
    return t.clamp(min=0)


def below(t: Tensor) -> Tensor:
    """What is below zero; 0 elsewhere."""
    return t.clamp(max=0)


def _by_kind(x: Change, w: Change, t: Tensor) -> Tensor:
    """One change for the input, another one for the weight."""
    return x(t) if t.requires_grad else w(t)


def changed(call: Call, operand: Change, bias: Change) -> Call:
    """The call with other operands and another bias; factors of both (`addmm`) are in them, for they may be negative."""
    alpha, beta = (call.kwargs.get(name, 1) for name in ("alpha", "beta"))
    other = call.transform_operands(lambda t: operand(t if t.requires_grad or alpha == 1 else t * alpha))
    changes: dict[str, Any] = {name: 1 for name in ("alpha", "beta") if name in call.kwargs}
    name = call.operation.addend
    if name and isinstance(addend := call.get(name), Tensor):
        changes[name] = bias(addend if beta == 1 else addend * beta)
    return other.having(**changes)


def is_layer(call: Call) -> bool:
    """Whether this is a product of one tracked tensor and one constant."""
    operands = [t for t in tensors(*call.operands()) if t.is_floating_point()]
    return len(operands) == 2 and sum(t.requires_grad for t in operands) == 1
