"""Sums of a residual stream: what cancels there takes no relevance with it.

ResLRP (2609.17152): where ``y = a + b`` and the terms differ in sign, the plain gradient gives one more than all of ``y c`` and
the other less than nothing. Terms of the sign of `y` count ``1 + gamma`` times instead: with ``w(z) = 1 + gamma 1[z y > 0]``,
``c_a = c w(a) y / (w(a) a + w(b) b)``. All of ``y c`` arrives; no ratio lies outside 0 to 1, for the denominator is never smaller
than y.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import get_gradient_edge

from lxtlike.rules.call import Call
from lxtlike.rules.linear import additive
from lxtlike.rules.primitives import substitute, wide


def residual_gamma(call: Call, *, gamma: float = 0.25) -> Any:
    """Residual adds by the sign of their terms; every other additive operation keeps the plain gradient."""
    terms = call.get("input"), call.get("other")
    if gamma == 0 or not _is_residual(call, *terms):
        return additive(call)
    with torch.no_grad():
        a, b = (wide(t.detach()) for t in terms)
        y = a + b
        weights = [1 + gamma * (t * y > 0).to(t.dtype) for t in (a, b)]
        share = y / (weights[0] * a + weights[1] * b)
        share = torch.where(y == 0, 0.0, share)  # nothing arrives there, and nothing goes on
    first, second = (substitute(t.detach(), t, (w * share).to(t.dtype)) for t, w in zip(terms, weights, strict=True))
    return call.having(input=first, other=second).run()


def _is_residual(call: Call, a: Any, b: Any) -> bool:
    """Whether this adds two tracked tensors of equal shape, of which one was computed from the other."""
    if call.operation.name != "add" or call.kwargs.get("alpha", 1) != 1 or len(call.args) > 2:
        return False
    if not all(isinstance(t, Tensor) and t.requires_grad for t in (a, b)) or a.shape != b.shape:
        return False
    one, other = _maker(a), _maker(b)
    return one is not other and (_leads(one, other) or _leads(other, one))


_ALIASES = frozenset(
    f"{name}Backward0"
    for name in ("Alias", "Clone", "ToCopy", "View", "UnsafeView", "ReshapeAlias", "Unsqueeze", "Squeeze")
)
"""What gives the same numbers in another tensor, as in-place sums and casts do."""


def _maker(t: Tensor) -> Any:
    """The node of the graph that computed a tensor, or its leaf."""
    node: Any = get_gradient_edge(t).node
    while node.name() in _ALIASES:
        node = node.next_functions[0][0]
    return node


def _leads(start: Any, end: Any) -> bool:
    """Whether the graph leads from `start` to `end`; nodes that are older than `start` need no look."""
    born = _born(start)
    waiting, seen = [end], {end}
    while waiting:
        for node, _ in waiting.pop().next_functions:
            if node is start:
                return True
            if node is not None and node not in seen and _born(node) > born:
                seen.add(node)
                waiting.append(node)
    return False


def _born(node: Any) -> int:
    """The place of a node in the order of the forward pass; a leaf comes before all."""
    return -1 if hasattr(node, "variable") else node._sequence_nr()
