"""The oracle: every rule of AttnLRP and CP-LRP once more, slow and plain, in numpy float64.

Written from the papers' equations with loops, independent of torch and of the package, so that the two can be compared.
Every function takes the inputs of one operation and the *coefficient* ``c`` at its output (the relevance of a tensor
``t`` is ``t * c``, elementwise) and returns a `Step`: output, coefficients at the inputs, and what was absorbed. Each
keeps the promise ``sum(output * c) == sum over inputs of sum(input * coefficient) + sum(absorbed.values())``.

Sources:
    Bach et al. 2015 (PLOS ONE 10(7): e0130140): the epsilon rule for linear layers.
    2402.05602 (AttnLRP): proposition 3.1 (softmax), 3.2 (products: uniform rule), 3.3 (matrix products in attention),
        3.4 (normalisation); the identity rule for elementwise functions.
    2202.07304 (CP-LRP): the AH rule (attention weights are constants) and the LN rule (the deviation is a constant).
    2502.15886: the same rules as a modified gradient times input.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Function = Callable[[float], float]


class Step(NamedTuple):
    """What one operation does: its value, the coefficients at its inputs (in order) and the accounts that absorbed."""

    output: Array
    coefficients: tuple[Array, ...]
    absorbed: dict[str, float]


# --- linear: the plain gradient --------------------------------------------------------------------------------------


def linear(x: Array, weight: Array, bias: Array | None, c: Array, epsilon: float = 0.0) -> Step:
    """Epsilon rule ``R_ij = x_i w_ji / (z_j + epsilon sign(z_j)) R_j`` for x [N, I], weight [O, I], bias [O], c [N, O].

    The bias is one more input, of value 1; what neither gets is the epsilon's. With epsilon = 0 this is the gradient.
    """
    samples, features = x.shape
    outputs = weight.shape[0]
    output, coefficient = np.zeros((samples, outputs)), np.zeros_like(x)
    absorbed = {"bias": 0.0, "epsilon": 0.0}
    for n in range(samples):
        for j in range(outputs):
            z = 0.0 if bias is None else float(bias[j])
            for i in range(features):
                z += x[n, i] * weight[j, i]
            output[n, j] = z
            sign = 1.0 if z >= 0 else -1.0
            share = c[n, j] if epsilon == 0 else z * c[n, j] / (z + epsilon * sign)
            for i in range(features):
                coefficient[n, i] += weight[j, i] * share
            absorbed["bias"] += 0.0 if bias is None else bias[j] * share
            absorbed["epsilon"] += epsilon * sign * share
    return Step(output, (coefficient,), absorbed)


def unbroadcast(c: Array, shape: tuple[int, ...]) -> Array:
    """Sum a coefficient of a broadcast tensor over all the places one element was used in."""
    result = np.zeros(shape)
    for index in np.ndindex(c.shape):
        own = index[len(index) - len(shape) :]
        result[tuple(0 if size == 1 else i for i, size in zip(own, shape, strict=True))] += c[index]
    return result


def add(a: Array, b: Array, c: Array) -> Step:
    """``a + b``, both input-dependent (a residual stream): each gets the coefficient, so R_a = a c, R_b = b c."""
    return Step(a + b, (unbroadcast(c, a.shape), unbroadcast(c, b.shape)), {})


def add_constant(x: Array, constant: Array, c: Array) -> Step:
    """``x + constant``: the constant keeps ``constant * c``, as a bias does."""
    output = x + constant
    held = np.broadcast_to(constant, output.shape)
    return Step(output, (unbroadcast(c, x.shape),), {"bias": float((held * c).sum())})


def divide(a: Array, b: Array, c: Array) -> Step:
    """``a / b``: the denominator is a constant, as in every normalisation; it gets nothing even if tracked."""
    return Step(a / b, (unbroadcast(c / b, a.shape), np.zeros_like(b)), {})


def total(x: Array, c: Array, mean: bool = False) -> Step:
    """Sum (or mean) over the last axis; x [N, K], c [N]."""
    count = x.shape[1] if mean else 1
    output, coefficient = np.zeros(x.shape[0]), np.zeros_like(x)
    for n in range(x.shape[0]):
        for k in range(x.shape[1]):
            output[n] += x[n, k] / count
            coefficient[n, k] = c[n] / count
    return Step(output, (coefficient,), {})


def rotary(x: Array, cos: Array, sin: Array, c: Array) -> Step:
    """RoPE in the rotate-half layout with constant cos, sin [T, D / 2]: a rotation, x [T, D], c [T, D]."""
    half = x.shape[1] // 2
    output, coefficient = np.zeros_like(x), np.zeros_like(x)
    for t in range(x.shape[0]):
        for i in range(half):
            cs, sn = cos[t, i], sin[t, i]
            output[t, i] = x[t, i] * cs - x[t, i + half] * sn
            output[t, i + half] = x[t, i + half] * cs + x[t, i] * sn
            coefficient[t, i] = c[t, i] * cs + c[t, i + half] * sn
            coefficient[t, i + half] = c[t, i + half] * cs - c[t, i] * sn
    return Step(output, (coefficient,), {})


# --- elementwise: identity rule and gates ----------------------------------------------------------------------------


class Activation(NamedTuple):
    """``f`` and the limit of ``f(x) / x`` at 0 (None: f(0) != 0, so there is no identity rule and f is a gate)."""

    f: Function
    at_zero: float | None


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def _softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def _gelu(x: float) -> float:
    return x * 0.5 * math.erfc(-x / math.sqrt(2))


def _gelu_tanh(x: float) -> float:
    # (1 + tanh u) / 2 = sigmoid(2 u), which does not cancel for large negative u.
    return x * _sigmoid(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))


def softcap(cap: float) -> Activation:
    """``cap * tanh(x / cap)``, the bound Gemma 2 puts on logits."""
    return Activation(lambda x: cap * math.tanh(x / cap), 1.0)


def leaky_relu(slope: float) -> Activation:
    """``x`` above 0, ``slope * x`` below and, by convention, at 0."""
    return Activation(lambda x: x if x > 0 else slope * x, slope)


def elu(alpha: float) -> Activation:
    """``x`` above 0, ``alpha (exp(x) - 1)`` below."""
    return Activation(lambda x: x if x > 0 else alpha * math.expm1(x), alpha)


IDENTITY: dict[str, Activation] = {
    "silu": Activation(lambda x: x * _sigmoid(x), 0.5),
    "gelu": Activation(_gelu, 0.5),
    "gelu_tanh": Activation(_gelu_tanh, 0.5),
    "quick_gelu": Activation(lambda x: x * _sigmoid(1.702 * x), 0.5),
    "relu": Activation(lambda x: max(x, 0.0), 0.0),
    "relu_squared": Activation(lambda x: max(x, 0.0) ** 2, 0.0),
    "relu6": Activation(lambda x: min(max(x, 0.0), 6.0), 0.0),
    "hardtanh": Activation(lambda x: min(max(x, -1.0), 1.0), 1.0),
    "leaky_relu": leaky_relu(0.01),
    "elu": elu(1.0),
    "tanh": Activation(math.tanh, 1.0),
    "softcap": softcap(30.0),
    "mish": Activation(lambda x: x * math.tanh(_softplus(x)), math.tanh(math.log(2))),
    "hardswish": Activation(lambda x: x * min(max(x + 3, 0.0), 6.0) / 6, 0.5),
    "softsign": Activation(lambda x: x / (1 + abs(x)), 1.0),
    "square": Activation(lambda x: x * x, 0.0),
    "cube": Activation(lambda x: x**3, 0.0),
    "abs": Activation(abs, 0.0),  # -1 from the left, 1 from the right: by convention the mean.
    "sin": Activation(math.sin, 1.0),
    "erf": Activation(math.erf, 2 / math.sqrt(math.pi)),
}

GATES: dict[str, Activation] = {
    "sigmoid": Activation(_sigmoid, None),
    "softplus": Activation(_softplus, None),
    "exp": Activation(math.exp, None),
    "cos": Activation(math.cos, None),
    "sinc": Activation(lambda x: math.sin(math.pi * x) / (math.pi * x) if x else 1.0, None),
    "hardsigmoid": Activation(lambda x: min(max(x + 3, 0.0), 6.0) / 6, None),
}


def elementwise(x: Array, activation: Activation, c: Array) -> Step:
    """Identity rule ``R_x = R_y``, so ``c_x = c_y f(x) / x``; a gate (f(0) != 0) is a constant and keeps ``f(x) c``."""
    output, coefficient, held = np.zeros_like(x), np.zeros_like(x), 0.0
    for i in np.ndindex(x.shape):
        point, arriving = float(x[i]), float(c[i])
        output[i] = value = activation.f(point)
        if activation.at_zero is None:
            held += value * arriving
        elif point == 0:
            coefficient[i] = activation.at_zero * arriving
        else:
            coefficient[i] = value * arriving / point
    return Step(output, (coefficient,), {"constant": held})


# --- norms: the deviation is a constant ------------------------------------------------------------------------------


def group_norm(x: Array, groups: int, weight: Array, bias: Array | None, c: Array, eps: float) -> Step:
    """GroupNorm of x [N, C, L] with weight, bias [C] (LN rule): the mean is subtracted, the deviation is a constant.

    ``y = (x - mean(x)) r weight + bias`` is then linear in x, and its gradient takes the mean off the coefficient.
    """
    samples, channels, length = x.shape
    width = channels // groups
    output, coefficient, held = np.zeros_like(x), np.zeros_like(x), 0.0
    for n in range(samples):
        for g in range(groups):
            members = [(n, ch, t) for ch in range(g * width, (g + 1) * width) for t in range(length)]
            mean = sum(x[m] for m in members) / len(members)
            r = 1 / math.sqrt(sum((x[m] - mean) ** 2 for m in members) / len(members) + eps)
            inner = {m: c[m] * weight[m[1]] * r for m in members}
            inner_mean = sum(inner.values()) / len(members)
            for m in members:
                shift = 0.0 if bias is None else float(bias[m[1]])
                output[m] = (x[m] - mean) * r * weight[m[1]] + shift
                coefficient[m] = inner[m] - inner_mean
                held += shift * c[m]
    return Step(output, (coefficient,), {"bias": held})


def layer_norm(x: Array, weight: Array, bias: Array | None, c: Array, eps: float) -> Step:
    """LayerNorm over the last axis of x [N, D]: a GroupNorm of one group, without positions (2202.07304, LN rule)."""
    step = group_norm(x[:, :, None], 1, weight, bias, c[:, :, None], eps)
    return Step(step.output[:, :, 0], (step.coefficients[0][:, :, 0],), step.absorbed)


def rms_norm(x: Array, weight: Array, c: Array, eps: float, offset: float = 0.0) -> Step:
    """RMSNorm of x [N, D], gain ``offset + weight`` (offset 1 in Gemma): ``c_x = gain c / rms`` (proposition 3.4)."""
    output, coefficient = np.zeros_like(x), np.zeros_like(x)
    for n in range(x.shape[0]):
        r = 1 / math.sqrt(sum(v * v for v in x[n]) / x.shape[1] + eps)
        for i in range(x.shape[1]):
            output[n, i] = x[n, i] * r * (offset + weight[i])
            coefficient[n, i] = c[n, i] * r * (offset + weight[i])
    return Step(output, (coefficient,), {})


def l2_norm(x: Array, c: Array, eps: float) -> Step:
    """``x / max(|x|, eps)`` over the last axis of x [N, D]: the length is a constant."""
    output, coefficient = np.zeros_like(x), np.zeros_like(x)
    for n in range(x.shape[0]):
        length = max(math.sqrt(sum(v * v for v in x[n])), eps)
        for i in range(x.shape[1]):
            output[n, i], coefficient[n, i] = x[n, i] / length, c[n, i] / length
    return Step(output, (coefficient,), {})


# --- products --------------------------------------------------------------------------------------------------------


def product(a: Array, b: Array, c: Array) -> Step:
    """Uniform rule for ``a * b``, both input-dependent: ``R_a = R_b = R / 2`` (proposition 3.2)."""
    return Step(a * b, (unbroadcast(b * c / 2, a.shape), unbroadcast(a * c / 2, b.shape)), {})


def matrix_product(a: Array, b: Array, c: Array) -> Step:
    """``a [N, K] @ b [K, M]``, both input-dependent: ``R_nk = sum_m a_nk b_km R_nm / (2 o_nm)`` (proposition 3.3)."""
    output, c_a, c_b = np.zeros((a.shape[0], b.shape[1])), np.zeros_like(a), np.zeros_like(b)
    for n, k, m in np.ndindex(a.shape[0], a.shape[1], b.shape[1]):
        output[n, m] += a[n, k] * b[k, m]
        c_a[n, k] += b[k, m] * c[n, m] / 2
        c_b[k, m] += a[n, k] * c[n, m] / 2
    return Step(output, (c_a, c_b), {})


def gated_product(gate: Array, up: Array, activation: Activation, c: Array, rule: str) -> Step:
    """``act(gate) * up``. AttnLRP: uniform rule, identity rule on the activation. CP-LRP: the gate is a constant."""
    opened = elementwise(gate, activation, np.zeros_like(gate)).output
    if rule == "cp-lrp":
        return Step(opened * up, (np.zeros_like(gate), opened * c), {})
    step = product(opened, up, c)
    inner = elementwise(gate, activation, step.coefficients[0])
    return Step(step.output, (inner.coefficients[0], step.coefficients[1]), inner.absorbed)


# --- attention -------------------------------------------------------------------------------------------------------


def _softmax(row: Array) -> Array:
    """Softmax of one row; a row that is masked throughout attends to nothing."""
    if np.all(np.isneginf(row)):
        return np.zeros_like(row)
    powers = [math.exp(v - row.max()) for v in row]
    return np.array([p / sum(powers) for p in powers])


def softmax(x: Array, c: Array, temperature: float = 1.0) -> Step:
    """Softmax over the last axis of x [N, K]: ``R_i = x_i (R_i - s_i sum_j R_j)``, R = s c (proposition 3.1, Taylor).

    The bias of the expansion keeps what the inputs do not get. A masked entry (-inf) has s = 0; it gets nothing. With a
    temperature the coefficient is ``s_T (c - <s_T, c>)``, s_T = softmax(x / T) (GIM, 2505.17630); the value is as before.
    """
    output, coefficient, held = np.zeros_like(x), np.zeros_like(x), 0.0
    for n in range(x.shape[0]):
        output[n] = _softmax(x[n])
        softer = _softmax(x[n] / temperature)
        mean = sum(softer * c[n])
        for k in range(x.shape[1]):
            coefficient[n, k] = softer[k] * (c[n, k] - mean)
            held += output[n, k] * c[n, k]
            held -= x[n, k] * coefficient[n, k] if softer[k] > 0 else 0.0
    return Step(output, (coefficient,), {"softmax": held})


def attention(
    q: Array,
    k: Array,
    v: Array,
    c: Array,
    rule: str,
    *,
    scale: float | None = None,
    mask: NDArray[np.bool_] | None = None,
    bias: Array | None = None,
    causal: bool = False,
    cap: float | None = None,
    temperature: float = 1.0,
) -> Step:
    """``softmax(cap(q k^T scale) + bias) v``, head by head and query by query; coefficients of (q, k, v).

    q, c [H, T, D], k, v [G, S, D] with G dividing H (query head h reads key head h G // H); mask (True: may attend)
    and bias (-inf: may not) broadcast to [H, T, S]; causal: query t sees keys up to t. AttnLRP: uniform rule at both
    products (3.3), Taylor at the softmax (3.1), identity rule at the cap. CP-LRP: the attention weights are constants
    (2202.07304, AH rule).
    """
    heads, queries, width = q.shape
    groups, keys, _ = k.shape
    scale = 1 / math.sqrt(width) if scale is None else scale
    extra = np.zeros((heads, queries, keys)) if bias is None else np.broadcast_to(bias, (heads, queries, keys)).copy()
    if mask is not None:
        extra[~np.broadcast_to(mask, extra.shape)] = -np.inf
    bound = softcap(cap) if cap is not None else Activation(lambda x: x, 1.0)
    output, c_q, c_k, c_v = np.zeros(c.shape), np.zeros_like(q), np.zeros_like(k), np.zeros_like(v)
    absorbed: dict[str, Any] = {"softmax": 0.0, "bias": 0.0}
    half = 0.5 if rule == "attnlrp" else 1.0
    for h in range(heads):
        g = h * groups // heads
        for t in range(queries):
            raw = np.array([scale * sum(q[h, t] * k[g, s]) for s in range(keys)])
            added = np.array([-np.inf if causal and s > t else extra[h, t, s] for s in range(keys)])
            capped = elementwise(raw, bound, np.ones(keys))
            logits = capped.output + added
            weights = _softmax(logits)
            for s in range(keys):
                output[h, t] += weights[s] * v[g, s]
                c_v[g, s] += half * weights[s] * c[h, t]
            if rule == "cp-lrp":
                continue
            c_weights = np.array([half * sum(v[g, s] * c[h, t]) for s in range(keys)])
            taylor = softmax(logits[None], c_weights[None], temperature)
            absorbed["softmax"] += taylor.absorbed["softmax"]
            for s in range(keys):
                if weights[s] == 0:
                    continue
                c_logit = taylor.coefficients[0][0, s]
                absorbed["bias"] += added[s] * c_logit
                c_raw = c_logit * capped.coefficients[0][s]
                c_q[h, t] += half * c_raw * scale * k[g, s]
                c_k[g, s] += half * c_raw * scale * q[h, t]
    return Step(output, (c_q, c_k, c_v), absorbed)
