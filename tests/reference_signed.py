"""The oracle of rules by sign, slow and plain, as `reference` has those of AttnLRP: loops over single contributions.

Sources:
    Bach et al. 2015 (PLOS ONE 10(7): e0130140): alpha-beta, equation 60.
    Montavon et al. 2019 (Layer-wise relevance propagation: an overview): gamma.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from reference import Array, Step


def signed(
    x: Array, weight: Array, bias: Array | None, c: Array, share: Callable[[float, float], float], epsilon: float = 1e-6
) -> Step:
    """Rules by sign: ``R_ij = share(z_ij, z_j) / sum_i share(z_ij, z_j) R_j`` for the contributions z_ij = x_i w_ji.

    `share` gives what a contribution counts, from it and the output; x [N, I], weight [O, I], bias [O], c [N, O].
    """
    samples, features = x.shape
    output, coefficient = np.zeros((samples, weight.shape[0])), np.zeros_like(x)
    absorbed = {"bias": 0.0, "epsilon": 0.0}
    for n in range(samples):
        for j in range(weight.shape[0]):
            own = [x[n, i] * weight[j, i] for i in range(features)]
            constant = 0.0 if bias is None else float(bias[j])
            output[n, j] = sum(own) + constant
            counts = [share(z, output[n, j]) for z in own]
            total = sum(counts) + share(constant, output[n, j])
            denominator = total + (epsilon if total >= 0 else -epsilon)
            relevance = output[n, j] * c[n, j]
            for i in range(features):
                coefficient[n, i] += 0.0 if x[n, i] == 0 else counts[i] / denominator * relevance / x[n, i]
            absorbed["bias"] += share(constant, output[n, j]) / denominator * relevance
            absorbed["epsilon"] += relevance * (1 - total / denominator)
    return Step(output, (coefficient,), absorbed)


def gamma(x: Array, weight: Array, bias: Array | None, c: Array, gamma: float = 0.25) -> Step:
    """Montavon et al. 2019: ``x_i (w_ij + gamma w_ij+)``; for inputs >= 0 a weight and its contribution have one sign."""
    if (x < 0).any():
        raise ValueError("the oracle knows gamma for inputs that are not negative")
    return signed(x, weight, bias, c, lambda z, _: z + gamma * max(z, 0.0))


def generalized_gamma(x: Array, weight: Array, bias: Array | None, c: Array, gamma: float = 0.25) -> Step:
    """Contributions that agree in sign with the output count ``1 + gamma`` times."""
    return signed(x, weight, bias, c, lambda z, y: z * (1 + gamma * ((z >= 0) == (y >= 0))))


def alpha_beta(x: Array, weight: Array, bias: Array | None, c: Array, alpha: float = 2.0) -> Step:
    """Bach et al. 2015, eq. 60: ``alpha`` times the rule over positive contributions, and ``1 - alpha`` over negative ones."""
    steps = [
        (alpha, signed(x, weight, bias, c, lambda z, _: max(z, 0.0))),
        (1.0 - alpha, signed(x, weight, bias, c, lambda z, _: min(z, 0.0))),
    ]
    return Step(
        steps[0][1].output,
        (sum(factor * step.coefficients[0] for factor, step in steps),),
        {name: sum(factor * step.absorbed[name] for factor, step in steps) for name in ("bias", "epsilon")},
    )
