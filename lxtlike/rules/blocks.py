"""Fused attention on long texts: coefficients are computed again, some queries at a time.

Attention that is written out, and masks that the kernel turns into numbers to add, are tensors of queries times keys. Here
neither is kept, and none is made whole, so that memory grows with the text, not with its square. Keys that a mask
hides from all queries of a block (a sliding window's) are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lxtlike.rules.call import Call
from lxtlike.rules.primitives import substitute, wide

ENTRIES = 2**22
"""Pairs of query and key, times heads and items where each has its own: so many at a time (16 MiB in float32)."""

_WIDER = 16
"""Times as many on an accelerator, which such blocks would not fill."""

_NAMES = "query", "key", "value"

Attend = Callable[[Call], Tensor]


class Block(NamedTuple):
    """Some queries, the keys that they see, and their own part of the mask."""

    queries: slice
    keys: slice
    mask: Tensor | None

    def of(self, call: Call, query: Tensor, key: Tensor, value: Tensor) -> Call:
        """The call for these queries only."""
        own = query[..., self.queries, :], key[..., self.keys, :], value[..., self.keys, :]
        return call.having(**dict(zip(_NAMES, own, strict=True)), attn_mask=self.mask, is_causal=False)


def attended(call: Call, derivative: Attend | None = None) -> Tensor:
    """The output of the kernel, whose coefficients are those of `derivative` (None: its own gradient); in blocks if long."""
    query, key, value, mask = (call.get(name) for name in ("query", "key", "value", "attn_mask"))
    shape = torch.Size((query.shape[-2], key.shape[-2]))
    masked = isinstance(mask, Tensor) and mask.dtype == torch.bool and mask.shape[-2:] == shape
    made = query.shape[:-2] + shape if derivative is not None else mask.shape if masked else torch.Size((0,))
    entries = made.numel()
    most = ENTRIES * (1 if query.device.type == "cpu" else _WIDER)
    if entries <= most or (isinstance(mask, Tensor) and mask.requires_grad):
        return call.run() if derivative is None else substitute(call.quietly(), derivative(call))
    size = max(1, most * query.shape[-2] // entries)
    bare = call.having(query=None, key=None, value=None, attn_mask=None)
    output: Tensor = _Attention.apply(  # type: ignore[no-untyped-call]
        query, key, value, mask, bare, derivative or Call.run, size, masked
    )
    return output


class _Attention(torch.autograd.Function):
    """Keeps its inputs. The kernel gives the value, in blocks where it would make numbers of the whole mask."""

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None,
        call: Call,
        derivative: Attend,
        size: int,
        masked: bool,
    ) -> Tensor:
        ctx.save_for_backward(query, key, value, mask)
        ctx.call, ctx.derivative, ctx.size = call, derivative, size
        given: Tensor
        if masked:
            found = [block.of(call, query, key, value).run() for block in blocks(call, query, key, mask, size)]
            given = torch.cat(found, -2)
        else:
            given = call.having(query=query, key=key, value=value, attn_mask=mask).run()
        return given

    @staticmethod
    def backward(ctx: Any, *coefficients: Tensor) -> tuple[Tensor | None, ...]:
        *given, mask = ctx.saved_tensors
        tracked = [place for place in range(3) if ctx.needs_input_grad[place]]
        found = {place: torch.zeros_like(wide(given[place])) for place in tracked}
        for block in blocks(ctx.call, given[0], given[1], mask, ctx.size):
            leaves = [t.detach().requires_grad_(place in tracked) for place, t in enumerate(given)]
            with torch.enable_grad():
                own = block.of(ctx.call, *leaves)
                output = ctx.derivative(own)
            parts = [own.get(_NAMES[place]) for place in tracked]
            own_coefficients = torch.autograd.grad(output, parts, coefficients[0][..., block.queries, :])
            for place, c in zip(tracked, own_coefficients, strict=True):
                found[place][..., block.keys if place else block.queries, :] += c
        return *(found[p].to(given[p].dtype) if p in found else None for p in range(3)), *[None] * 5


def blocks(call: Call, query: Tensor, key: Tensor, mask: Tensor | None, size: int) -> Iterator[Block]:
    """All queries, `size` at a time."""
    length, keys = query.shape[-2], key.shape[-2]
    for start in range(0, length, size):
        queries = slice(start, min(start + size, length))
        if call.get("is_causal", False):
            seen = slice(0, min(queries.stop, keys))
            own = torch.ones(queries.stop - start, seen.stop, dtype=torch.bool, device=query.device).tril(start)
            yield Block(queries, seen, own)
            continue
        if mask is None or mask.shape[-2:] != (length, keys):
            yield Block(queries, slice(0, keys), mask)
        elif mask.dtype != torch.bool:
            yield Block(queries, slice(0, keys), mask[..., queries, :])
        else:
            own = mask[..., queries, :]
            (places,) = torch.where(own.flatten(0, -2).any(0))
            seen = slice(int(places[0]), int(places[-1]) + 1) if len(places) else slice(0, 1)
            yield Block(queries, seen, own[..., seen])
