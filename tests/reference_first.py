"""The oracle of rules for layers that read the input, slow and plain: loops over single contributions, numpy float64.

Sources:
    Montavon et al. 2017 (Explaining nonlinear classification decisions with deep Taylor decomposition): w^2 and z^B.
    Lapuschkin et al. 2019 (Unmasking Clever Hans predictors): flat.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from reference import Array


class Shared(NamedTuple):
    """Output, relevance of the inputs [N, I], and what was absorbed."""

    output: Array
    relevance: Array
    absorbed: dict[str, float]


def first(
    x: Array,
    weight: Array,
    bias: Array | None,
    c: Array,
    count: Callable[[float, float, int, int], float],
    constant: Callable[[float], float],
    epsilon: float = 1e-6,
) -> Shared:
    """``R_i = sum_j count(x_i, w_ji, j, i) / z'_j R_j``; x [N, I], weight [O, I], bias [O], c [N, O]."""
    samples, features = x.shape
    output, relevance = np.zeros((samples, weight.shape[0])), np.zeros_like(x)
    absorbed = {"bias": 0.0, "epsilon": 0.0}
    for n in range(samples):
        for j in range(weight.shape[0]):
            own = 0.0 if bias is None else float(bias[j])
            output[n, j] = sum(x[n, i] * weight[j, i] for i in range(features)) + own
            counts = [count(x[n, i], weight[j, i], j, i) for i in range(features)]
            total = sum(counts) + constant(own)
            denominator = total + (epsilon if total >= 0 else -epsilon)
            arrives = output[n, j] * c[n, j]
            for i in range(features):
                relevance[n, i] += counts[i] / denominator * arrives
            absorbed["bias"] += constant(own) / denominator * arrives
            absorbed["epsilon"] += arrives * (1 - total / denominator)
    return Shared(output, relevance, absorbed)


def w_squared(x: Array, weight: Array, bias: Array | None, c: Array) -> Shared:
    """Montavon et al. 2017; a bias is one more input of value 1."""
    return first(x, weight, bias, c, lambda _x, w, _j, _i: w * w, lambda b: b * b)


def flat(x: Array, weight: Array, bias: Array | None, c: Array, connected: Array | None = None) -> Shared:
    """Lapuschkin et al. 2019: every input that is `connected` [O, I] with an output (default: all) counts the same."""
    joined = np.ones_like(weight) if connected is None else connected
    return first(x, weight, bias, c, lambda _x, _w, j, i: float(joined[j, i]), lambda _b: 0.0)


def box(x: Array, weight: Array, bias: Array | None, c: Array, low: Array, high: Array) -> Shared:
    """Montavon et al. 2017, with a low and a high end for each input [I]; a bias cancels out."""

    def count(value: float, w: float, _j: int, i: int) -> float:
        return float(value * w - low[i] * max(w, 0.0) - high[i] * min(w, 0.0))

    return first(x, weight, bias, c, count, lambda _b: 0.0)
