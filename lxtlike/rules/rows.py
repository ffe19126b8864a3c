"""A linear layer with a vocabulary of outputs, where most rows of coefficients are zero.

Many targets share one forward pass, and each reads one row of logits. Its backward pass multiplies that row with the layer's
weights, not all of them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lxtlike.rules.call import Call

_MANY = 4
"""How many times more outputs than inputs: then looking for zero rows costs nothing beside the product it may save."""


class _Rows(torch.autograd.Function):
    """Value given; coefficient ``c_x = c W``, computed for the rows of `c` that are not zero."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, value: list[Tensor], weight: Tensor) -> Tensor:
        ctx.save_for_backward(weight)
        return value[0]

    @staticmethod
    def backward(ctx: Any, *coefficients: Tensor) -> tuple[Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        rows = coefficients[0].flatten(0, -2)
        low, high = rows.aminmax(dim=-1)
        (used,) = torch.where((low != 0) | (high != 0))
        found = rows.new_zeros(len(rows), weight.shape[1]).index_copy(0, used, rows[used] @ weight)
        return found.reshape(*coefficients[0].shape[:-1], -1), None, None


def by_rows(call: Call) -> Tensor | None:
    """Run a linear layer so; None where it would gain nothing: on an accelerator one row costs as much as a few."""
    if call.operation.name != "linear" or not call.fast:
        return None
    x, weight = call.get("input"), call.get("weight")
    if type(x) is not Tensor or type(weight) not in (Tensor, torch.nn.Parameter) or weight.requires_grad:
        return None
    if x.device.type != "cpu" or x.dim() < 2 or x.shape[:-1].numel() < 2 or len(weight) <= _MANY * weight.shape[-1]:
        return None
    output: Tensor = _Rows.apply(x, [call.quietly()], weight.detach())  # type: ignore[no-untyped-call]
    return output
