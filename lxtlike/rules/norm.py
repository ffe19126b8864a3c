"""Normalisation layers: the statistic that divides is a constant (identity / LN rule).

2202.07304 (LN rule) and 2402.05602 (prop. 3.4): ``c_x`` is the plain gradient with the reciprocal standard
deviation (or RMS) held constant. Mean subtraction stays linear; the shift beta absorbs ``beta * c``. With a live RMS the
relevance that arrives would be exactly zero (a norm is homogeneous of degree 0).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lxtlike.rules.call import Call
from lxtlike.rules.linear import absorb_addend
from lxtlike.rules.primitives import wide


class _Norm(torch.autograd.Function):
    """Value given; coefficient ``g = c * weight * scale``, less its mean over `dims` where the norm subtracts the mean.

    A group of zeros has no relevance whatever its coefficient is, and each norm on its way multiplies that by the largest
    scale there is, `ceiling`. There it is held within the range of the dtype: inf would become NaN, and that would spread to
    all tokens through attention.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        value: list[Tensor],
        scale: Tensor,
        weight: Tensor | None,
        dims: tuple[int, ...],
        shape: Any,
        ceiling: float,
    ) -> Tensor:
        ctx.save_for_backward(scale, weight)
        ctx.dims, ctx.shape, ctx.dtype, ctx.ceiling = dims, shape, x.dtype, ceiling
        # Asking an accelerator would mean to wait for it.
        ctx.holds = scale.device.type != "cpu" or bool((scale >= ceiling).any())
        return value[0]

    @staticmethod
    def backward(ctx: Any, *coefficients: Tensor) -> tuple[Tensor | None, ...]:
        scale, weight = ctx.saved_tensors
        g = coefficients[0].reshape(ctx.shape) * scale
        if weight is not None:
            g = g.mul_(weight) if torch.promote_types(g.dtype, weight.dtype) == g.dtype else g * weight
        if ctx.holds:
            limit = torch.full_like(scale, torch.finfo(ctx.dtype).max / _ROOM)
            limit = limit.masked_fill_(scale < ctx.ceiling, torch.inf)
            g = g.clamp_(-limit, limit)
        if ctx.dims:
            g = g.sub_(g.mean(ctx.dims, keepdim=True))
        return g.reshape(coefficients[0].shape).to(ctx.dtype), *[None] * 6


_ROOM = 64
"""How much a coefficient that was held may still grow on its way down."""


def frozen_norm(
    value: Tensor,
    x: Tensor,
    scale: Tensor,
    weight: Tensor | None = None,
    centred: tuple[int, ...] = (),
    shape: Sequence[int] | None = None,
    ceiling: float = math.inf,
) -> Tensor:
    """The value of a norm with the coefficient ``c_x = (1 - mean) (c * weight * scale)``.

    Args:
        value: output of the norm, a fresh tensor without gradient history, shape of `x`.
        x: input of the norm.
        scale: reciprocal standard deviation or RMS, broadcastable to `shape`; all that is kept beside the weight.
        weight: broadcastable to `shape`; None means 1.
        centred: dimensions of `shape` over which the norm subtracts the mean; empty for RMS norms.
        shape: the shape in which the norm groups its input (default: that of `x`).
        ceiling: the scale of a group of zeros (of equal numbers, where the norm subtracts the mean).
    """
    output: Tensor = _Norm.apply(  # type: ignore[no-untyped-call]
        x, [value], scale, weight, centred, tuple(shape or x.shape), ceiling * (1 - 1e-6)
    )
    return output


def constant_scale(call: Call) -> Any:
    """The rule for `F.layer_norm`, `F.rms_norm`, `F.group_norm`, `F.instance_norm`, `F.batch_norm` and `F.normalize`."""
    output = _NORMS[call.operation.name](call)
    absorb_addend(call, output)
    return output


def _layer_norm(call: Call) -> Tensor:
    x, weight, bias = (call.get(name) for name in ("input", "weight", "bias"))
    dims, eps = _last(call), call.get("eps", 1e-5)
    if type(x) is not Tensor or wide(x) is not x:
        return _centred(call, x.shape, dims, weight, eps)
    with torch.no_grad():  # the kernel of `F.layer_norm`, which hands out the statistic too
        value, _, scale = torch.native_layer_norm(x, x.shape[dims[0] :], weight, bias, eps)
    return frozen_norm(value, x, scale, weight, dims, x.shape, ceiling(eps))


def _group_norm(call: Call) -> Tensor:
    x, groups, weight = call.get("input"), call.get("num_groups"), call.get("weight")
    shape = (x.shape[0], groups, x.shape[1] // groups, *x.shape[2:])
    if weight is not None:
        weight = weight.reshape(1, groups, -1, *[1] * (x.dim() - 2))
    return _centred(call, shape, tuple(range(2, len(shape))), weight, call.get("eps", 1e-5))


def _instance_norm(call: Call) -> Tensor:
    x, weight = call.get("input"), call.get("weight")
    if weight is not None:
        weight = weight.reshape(1, -1, *[1] * (x.dim() - 2))
    return _centred(call, x.shape, tuple(range(2, x.dim())), weight, call.get("eps", 1e-5))


def _centred(call: Call, shape: Sequence[int], dims: tuple[int, ...], weight: Tensor | None, eps: float) -> Tensor:
    x = call.get("input")
    with torch.no_grad():
        scale = torch.rsqrt(wide(x.detach().reshape(shape)).var(dims, correction=0, keepdim=True) + eps)
    return frozen_norm(call.quietly(), x, scale, weight, dims, shape, ceiling(eps))


def _batch_norm(call: Call) -> Tensor:
    """With the statistics of training, a linear layer: ``x * k + (bias - mean * k)`` with ``k = weight / sqrt(var + eps)``.

    The coefficient is not left to torch, whose CPU kernel mixes up channels for a permuted gradient of one image (2.13).
    """
    x, weight, mean, var = (call.get(name) for name in ("input", "weight", "running_mean", "running_var"))
    shape = (1, -1, *[1] * (x.dim() - 2))
    weight = None if weight is None else weight.reshape(shape)
    if call.get("training", False) or mean is None:
        return _centred(call, x.shape, (0, *range(2, x.dim())), weight, call.get("eps", 1e-5))
    scale = torch.rsqrt(wide(var) + call.get("eps", 1e-5)).reshape(shape)
    output = frozen_norm(call.quietly(), x, scale, weight)
    shift = wide(mean).reshape(shape) * scale * (1 if weight is None else weight)
    call.book.absorb("biases.norm", output, lambda c: wide(c) * -shift)
    return output


def _rms_norm(call: Call) -> Tensor:
    x, eps = call.get("input"), call.get("eps")
    eps = torch.finfo(x.dtype).eps if eps is None else eps
    with torch.no_grad():
        scale = torch.rsqrt(wide(x.detach()).square().mean(_last(call), keepdim=True) + eps)
    return frozen_norm(call.quietly(), x, scale, call.get("weight"), ceiling=ceiling(eps))


def _normalize(call: Call) -> Tensor:
    x, p, dim, eps = call.get("input"), call.get("p", 2.0), call.get("dim", 1), call.get("eps", 1e-12)
    with torch.no_grad():
        scale = 1 / wide(x.detach()).norm(p, dim, keepdim=True).clamp_min(eps)
    return frozen_norm(call.quietly(), x, scale, ceiling=1 / eps if eps else math.inf)


def ceiling(eps: float) -> float:
    """The largest reciprocal standard deviation or RMS a norm can have."""
    return eps**-0.5 if eps > 0 else math.inf


def _last(call: Call) -> tuple[int, ...]:
    shape = call.get("normalized_shape")
    return tuple(range(-(1 if isinstance(shape, int) else len(shape)), 0))


_NORMS = {
    "layer_norm": _layer_norm,
    "group_norm": _group_norm,
    "instance_norm": _instance_norm,
    "batch_norm": _batch_norm,
    "rms_norm": _rms_norm,
    "normalize": _normalize,
}
