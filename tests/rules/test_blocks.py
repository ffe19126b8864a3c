"""Attention a block of queries at a time: what it is as a whole, and nothing of the size queries times keys."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pairing import Of, check, measure, normal
from test_attention import FORMS, K2, V2, C, K, Q, V, batched, fused
from test_temperature import softened
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from lxtlike.propagation import propagate
from lxtlike.rules import blocks, weighed

ONE, TWO, ALL = 6, 12, 2**22
"""Entries at a time of a mask [3, 6]: one query, two, all."""


@pytest.mark.parametrize("entries", [ONE, TWO])
@pytest.mark.parametrize("name", FORMS)
def test_blocks_follow_the_rules(name: str, entries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "ENTRIES", entries)
    for composite, rule in (("attnlrp", "attnlrp"), ("cp-lrp", "cp-lrp")):
        check(fused(FORMS[name]), batched(Q, K, V, C, rule, FORMS[name]), (Q, K, V), C, composite)
    check(fused(FORMS[name]), softened(Q, K, V, C, FORMS[name], 2.0), (Q, K, V), C, "attnlrp:temperature=2")


@pytest.mark.parametrize("composite", ["attnlrp", "attnlrp:temperature=2"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_blocks_agree_with_the_whole(composite: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that heads share, and some that are no input."""
    form = FORMS["bool mask"]
    keys = torch.tensor(K2)
    for spelling, inputs in (
        (fused(form, enable_gqa=True), (Q, K2, V2)),
        (lambda q, v: fused(form, enable_gqa=True)(q, keys.to(q.dtype), v), (Q, V2)),
    ):
        whole = measure(spelling, inputs, C, composite, dtype)
        monkeypatch.setattr(blocks, "ENTRIES", ONE)
        apart = measure(spelling, inputs, C, composite, dtype)
        monkeypatch.undo()
        tolerance = 1e-5 if dtype == torch.float32 else 0.03
        for one, other in zip(apart.coefficients, whole.coefficients, strict=True):
            torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


class Largest(TorchDispatchMode):
    """Remembers the largest tensor of numbers that an operation made."""

    numel = 0

    def __torch_dispatch__(self, func: Any, types: object, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for t in found if isinstance(found, (list, tuple)) else [found]:
            if isinstance(t, Tensor) and t.is_floating_point():
                self.numel = max(self.numel, t.numel())
        return found


@pytest.mark.parametrize("composite", ["attnlrp", "cp-lrp", "attnlrp:temperature=2"])
def test_keys_that_no_query_sees_are_left_out(composite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A window of 8 keys: a block of 16 queries needs 23."""
    length = 128
    x = torch.tensor(normal(1, 1, length, 4))
    place = torch.arange(length)
    mask = (place <= place[:, None]) & (place > place[:, None] - 8)
    attend = Of(lambda x: F.scaled_dot_product_attention(x, x, x, attn_mask=mask))
    monkeypatch.setattr(weighed, "_QUERIES", 16)
    sizes = {}
    for entries in (ALL, 16 * length):
        monkeypatch.setattr(blocks, "ENTRIES", entries)
        with Largest() as largest, propagate(attend, composite):
            leaf = x.clone().requires_grad_()
            torch.autograd.grad(attend(leaf).sum(), leaf)
        sizes[entries] = largest.numel
    assert sizes[ALL] == length * length
    assert sizes[16 * length] == x.numel()  # no block is larger
