"""Attention: the softmax and the fused kernel.

AttnLRP (2402.05602, prop. 3.1 and 3.3): the softmax keeps its plain Jacobian (Taylor expansion; its bias term absorbs
relevance), the two products halve: ``c_Q`` and ``c_K`` are the plain gradient times 1/4, ``c_V`` times 1/2. CP-LRP (2202.07304,
AH rule): the attention matrix is a constant. At a temperature T other than 1 (GIM: 2505.17630) the Jacobian is that of a softer
softmax: ``c_S = s_T (c_A - <s_T, c_A>)`` with ``s_T = softmax(S / T)``; the value stays what it was.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from lxtlike.errors import InputError
from lxtlike.rules.blocks import attended
from lxtlike.rules.call import Call
from lxtlike.rules.primitives import keep, scale, substitute, times, wide
from lxtlike.rules.weighed import gains, weighed


def softmax_or_router(call: Call) -> str:
    """Family of a softmax: a router's when its scores are one linear function of one tracked tensor, W h + b."""
    return "router" if is_router(call.get("input")) else "softmax"


def is_router(scores: Tensor) -> bool:
    """Whether scores are one linear function of one tracked tensor.

    Scores of attention are products of two tracked tensors, or of a tracked tensor and a learned query for each head. The
    graph tells: between the scores and the matrix product of a linear layer lie operations of one tracked input only
    (casts, masks, top-k, added constants).
    """
    node = scores.grad_fn
    while node is not None:
        parents = [parent for parent, _ in node.next_functions if parent is not None]
        if len(parents) != 1:
            return False
        if node.name() in ("AddmmBackward0", "MmBackward0", "_RowsBackward"):
            return True
        if node.name() == "BmmBackward0":
            return False
        node = parents[0]
    return False


def taylor(call: Call, *, temperature: float = 1.0) -> Any:
    """Softmax with the Jacobian of its `temperature`; absorbs ``sum(A c_A) - sum(S c_S)``."""
    return _taylor(call, "softmax", temperature)


def router_uniform(call: Call) -> Any:
    """The softmax of a router keeps its Jacobian; its weight and the expert's output share evenly (the product's rule)."""
    return _taylor(call, "router", 1.0)


def _taylor(call: Call, account: str, temperature: float) -> Any:
    dim = call.get("dim", -1)
    if temperature == 1:
        output = softer = call.run()
    else:
        softer = call.having(input=call.get("input") / _positive(temperature)).run()
        output = substitute(call.quietly(), scale(softer, temperature))
    weights, softened = keep(output), keep(softer)

    def residual(c: Tensor) -> Tensor:
        a, s, c = wide(weights()), wide(softened()), wide(c)
        centred = c - (s * c).sum(dim, keepdim=True)
        # S = T log s_T up to a constant per row, and the c_S of a row add up to zero: S itself need not be kept.
        return a * c - temperature * torch.xlogy(s, s) * centred

    call.book.absorb(account, output, residual)
    return output


def _positive(temperature: float) -> float:
    if temperature <= 0:
        raise InputError(f"the temperature of a softmax must be above 0, not {temperature:g}")
    return temperature


def log_taylor(call: Call) -> Any:
    """Log-softmax with its plain Jacobian; absorbs what its input does not receive."""
    output = call.run()
    dim = call.get("dim", -1)
    logs = keep(output)

    def residual(c: Tensor) -> Tensor:
        # S = log p + a constant per row, and the c_S of a row add up to zero.
        log = wide(logs())
        return log * log.exp() * wide(c).sum(dim, keepdim=True)

    call.book.absorb("softmax", output, residual)
    return output


def fused_uniform(call: Call, *, temperature: float = 1.0) -> Any:
    """`scaled_dot_product_attention` under AttnLRP: plain gradients times 1/4, 1/4 and 1/2.

    A factor that does not come from the input takes no share. Only q, k and v are touched, so any kernel will do. At a
    `temperature` other than 1 the kernel gives the value, and attention that is written out the derivative.
    """
    query, key, value, mask = (call.get(name) for name in ("query", "key", "value", "attn_mask"))
    biased = isinstance(mask, Tensor) and mask.requires_grad
    scores = query.requires_grad or key.requires_grad or biased
    for_scores = 0.5 if value.requires_grad else 1.0
    for_keys = for_scores * (0.5 if query.requires_grad and key.requires_grad else 1.0)
    shares = {"query": for_keys, "key": for_keys, "value": 0.5 if scores else 1.0}
    if biased:
        shares["attn_mask"] = for_scores
    tracked = {name: share for name, share in shares.items() if call.get(name).requires_grad}
    aliases = {name: scale(call.get(name), share) for name, share in tracked.items()}
    attending = call.having(**aliases, dropout_p=0.0)
    softened = None if temperature == 1 else partial(_written_out, temperature=_positive(temperature))
    output = attended(attending, softened)
    if shares == _BOTH and set(tracked) == set(shares):
        # The kernel is linear in the values, and its scores are a product of queries and keys: what arrives in all is the
        # values' relevance, too, and the keys' is that of the queries. Two measurements instead of four.
        call.book.absorb("softmax", output, times(output, 1 - shares["value"]))
        call.book.absorb("softmax", aliases["key"], times(call.get("key"), -2 * shares["key"]))
        return output
    call.book.absorb("softmax", output, times(output))
    for name, share in tracked.items():
        call.book.absorb("softmax", aliases[name], times(call.get(name), -share))
    return output


_BOTH = {"query": 0.25, "key": 0.25, "value": 0.5}
"""The shares where all three come from the input, and no bias does."""


def _written_out(call: Call, temperature: float) -> Tensor:
    """The fused kernel in plain operations, its softmax with the Jacobian of a temperature."""
    query, key, value, mask = (call.get(name) for name in ("query", "key", "value", "attn_mask"))
    if call.get("enable_gqa", False):
        key, value = (t.repeat_interleave(query.shape[-3] // t.shape[-3], dim=-3) for t in (key, value))
    scores, blind = fused_scores(query, key, mask, call.get("is_causal", False), call.get("scale"))
    softer = (scores / temperature).softmax(-1)
    weights = substitute(scores.detach().softmax(-1), scale(softer, temperature))
    output: Tensor = weights.masked_fill(blind, 0.0).to(value.dtype) @ value
    return output


def fused_scores(
    query: Tensor, key: Tensor, mask: Tensor | None, causal: bool, factor: float | None
) -> tuple[Tensor, Tensor]:
    """What the fused kernel takes the softmax of, [..., T, S] in float32 or wider, and its rows [..., T, 1] that see nothing.

    Their scores are 0 here, and the kernel's output for them is 0.
    """
    scores = wide((query * (query.shape[-1] ** -0.5 if factor is None else factor)) @ key.mT)
    if causal:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    blind = (scores.detach() == -torch.inf).all(-1, keepdim=True)
    return scores.masked_fill(blind, 0.0), blind


def fused_constant(call: Call) -> Any:
    """`scaled_dot_product_attention` under CP-LRP: all relevance goes through the values."""
    mask = call.get("attn_mask")
    constants = {name: call.get(name).detach() for name in ("query", "key")}
    if isinstance(mask, Tensor):
        constants["attn_mask"] = mask.detach()
    attending = call.having(**constants, dropout_p=0.0)
    return weighed(attending) if gains(attending) else attended(attending)
