"""Batch norm with the statistics of training: a linear layer of its own, or part of the layer before it.

``y = x k + (beta - mean k)`` with ``k = gamma / sqrt(var + eps)``. To rules that are not linear in the weights it matters
where k stands: merged, it scales the weights of the convolution before it, and the two are one layer, as Montavon et al.
(2019) and zennit's canonizers have it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lxtlike.rules.call import Call, Layered
from lxtlike.rules.norm import constant_scale
from lxtlike.rules.primitives import keep, substitute, wide


def merged(call: Call) -> Any:
    """One layer with the convolution or linear layer before it, under that layer's rule; elsewhere a constant scale."""
    layer = call.layers.get(call.get("input"))
    if layer is None or not _merges(call, layer):
        return constant_scale(call)
    scale, shift = _affine(call)
    weight, bias = layer.call.get("weight"), layer.call.get("bias")
    one = layer.call.having(
        weight=_scaled(layer.call, weight, scale), bias=shift if bias is None else bias * scale + shift
    )
    return substitute(call.quietly(), layer.rule(one))


def passed(call: Call) -> Any:
    """Pass: relevance goes on as it came, ``c_x = c_y y / x``; at x = 0, where no coefficient can carry it, it is booked."""
    (x,), value = call.tracked(), call.quietly()
    near = x.detach() == 0
    ratio = torch.where(near, 0.0, wide(value) / torch.where(near, 1.0, wide(x.detach())))
    output = substitute(value, x, ratio.to(value.dtype))
    lost = keep(torch.where(near, wide(value), 0.0))
    call.book.absorb("epsilon", output, lambda c: wide(c) * lost())
    return output


def _merges(call: Call, layer: Layered) -> bool:
    x, operation = call.get("input"), layer.call.operation
    follows = operation.name.startswith("conv") or (operation.name == "linear" and x.dim() == 2)
    fixed = not call.get("training", False) and call.get("running_mean") is not None
    return follows and fixed and x._version == layer.version


def _affine(call: Call) -> tuple[Tensor, Tensor]:
    """``k`` and ``beta - mean k``, one number for each channel."""
    names = ("input", "weight", "bias", "running_mean", "running_var")
    x, weight, bias, mean, variance = (call.get(name) for name in names)
    scale = torch.rsqrt(wide(variance) + call.get("eps", 1e-5))
    scale = scale if weight is None else scale * weight
    shift = -mean * scale if bias is None else bias - mean * scale
    return scale.to(x.dtype), shift.to(x.dtype)


def _scaled(layer: Call, weight: Tensor, scale: Tensor) -> Tensor:
    """The weights, those of each output channel times its scale."""
    if "transpose" not in layer.operation.name:  # [out, in / groups, ...]
        return weight * scale.reshape(-1, *[1] * (weight.dim() - 1))
    groups = scale.numel() // weight.shape[1]  # [in, out / groups, ...]
    by_group = weight.reshape(groups, -1, *weight.shape[1:]) * scale.reshape(groups, 1, -1, *[1] * (weight.dim() - 2))
    return by_group.reshape(weight.shape)
