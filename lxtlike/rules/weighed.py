"""Fused attention whose weights A are constants: ``c_V = A^T c``, two matrix products where the kernel's backward does five.

The weights are computed again from queries and keys, for some heads and queries at a time; the values need not be kept.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lxtlike.rules.blocks import attended, blocks
from lxtlike.rules.call import Call
from lxtlike.rules.primitives import wide

_QUERIES = 64
"""At a time: few, because keys that a causal mask hides from some of them are multiplied, too."""

_ENTRIES = 2**19
"""Of the weights at a time, by taking so many heads (one at least): about what a processor's cache holds."""

_SHORT = 128
"""Queries below which the kernel's own backward is no slower."""


def weighed(call: Call) -> Tensor:
    """The output of the kernel, with a coefficient for its values only."""
    query, key, value, mask = (call.get(name) for name in ("query", "key", "value", "attn_mask"))
    with torch.no_grad():
        given = attended(call.transform(Tensor.detach))
    bare = call.having(query=None, key=None, value=None, attn_mask=None)
    output: Tensor = _Weighed.apply(value, [given], query, key, mask, bare)  # type: ignore[no-untyped-call]
    return output


def gains(call: Call) -> bool:
    """Whether `weighed` is faster than the kernel's own backward; on accelerators it is not known to be."""
    query, key, value = (call.get(name) for name in ("query", "key", "value"))
    plain = all(type(t) is Tensor and t.dim() > 2 and t.device.type == "cpu" for t in (query, key, value))
    return call.fast and plain and value.requires_grad and query.shape[-2] >= _SHORT


class _Weighed(torch.autograd.Function):
    """Value given; keeps what the weights are made of."""

    @staticmethod
    def forward(
        ctx: Any, value: Tensor, given: list[Tensor], query: Tensor, key: Tensor, mask: Tensor | None, call: Call
    ) -> Tensor:
        ctx.save_for_backward(query, key, mask)
        ctx.call = call
        return given[0]

    @staticmethod
    def backward(ctx: Any, *coefficients: Tensor) -> tuple[Tensor | None, ...]:
        query, key, mask = ctx.saved_tensors
        key, c = wide(key), wide(coefficients[0])
        factor = ctx.call.get("scale")
        query = wide(query) * (query.shape[-1] ** -0.5 if factor is None else factor)
        shared = c.shape[-3] // key.shape[-3] if ctx.call.get("enable_gqa", False) else 1
        if shared > 1:
            key = key.repeat_interleave(shared, dim=-3)
        size = max(1, _ENTRIES // (c.shape[:-3].numel() * _QUERIES * key.shape[-2]))
        parts = []
        for start in range(0, c.shape[-3], size):
            own = slice(start, start + size)
            seen = None if mask is None else _heads(mask, own)
            parts.append(_coefficient(ctx.call, _heads(query, own), _heads(key, own), seen, _heads(c, own)))
        found = torch.cat(parts, -3)
        if shared > 1:
            found = found.reshape(*found.shape[:-3], -1, shared, *found.shape[-2:]).sum(-3)
        return found.to(coefficients[0].dtype), *[None] * 5


def _heads(t: Tensor, part: slice) -> Tensor:
    """Some heads of what may be the same for all."""
    return t if t.dim() < 3 or t.shape[-3] == 1 else t[..., part, :, :]


def _coefficient(call: Call, query: Tensor, key: Tensor, mask: Tensor | None, c: Tensor) -> Tensor:
    """``A^T c`` for scaled queries, [..., S, D]."""
    found = c.new_zeros(*c.shape[:-2], c.shape[-1], key.shape[-2])
    for block in blocks(call, query, key, mask, _QUERIES):
        scores = query[..., block.queries, :] @ key[..., block.keys, :].mT
        if block.mask is not None:  # a boolean one is the same for many heads, so numbers cost little and add fast
            scores += torch.where(block.mask, 0.0, -torch.inf) if block.mask.dtype == torch.bool else block.mask
        weights = scores.softmax(-1)
        if bool(weights[..., :1].isnan().any()):  # queries that see nothing: the kernel's output for them is 0
            weights = weights.masked_fill((scores == -torch.inf).all(-1, keepdim=True), 0.0)
        found[..., block.keys] += c[..., block.queries, :].mT @ weights
    return found.mT
