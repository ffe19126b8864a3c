"""Constant attention weights in blocks: the kernel's value, its own gradient for the values, and nothing kept beside."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pairing import Measured, Of, check, measure, normal
from test_attention import FORMS, K2, V2, C, K, Q, V, batched, fused
from torch import Tensor

from lxtlike.propagation import propagate
from lxtlike.rules import weighed

LENGTH, KEYS = 150, 170
"""Three blocks of queries, the last one not full."""

WINDOW = torch.ones(LENGTH, LENGTH, dtype=torch.bool).tril().triu(-20)
PADDED = torch.stack([WINDOW.tril(), torch.ones_like(WINDOW).tril()])[:, None]
PADDED[1, ..., :70] = False  # padding comes first, and sees nothing
LONG: dict[str, tuple[int, dict[str, Any]]] = {
    "none": (LENGTH, {}),
    "causal": (LENGTH, {"is_causal": True}),
    "window": (LENGTH, {"attn_mask": WINDOW}),
    "padded batch": (LENGTH, {"attn_mask": PADDED, "scale": 0.7}),
    "padded numbers": (LENGTH, {"attn_mask": torch.where(PADDED, 0.0, -torch.inf)}),
    "bias by head": (LENGTH, {"attn_mask": torch.tensor(normal(1, 6, LENGTH, LENGTH))}),
    "other keys": (KEYS, {}),
    "other keys, causal": (KEYS, {"is_causal": True}),
    "padded keys": (KEYS, {"attn_mask": torch.tensor(normal(2, 1, 1, KEYS)) > -1}),
}


@pytest.mark.parametrize("heads", [1, 3, 4])
@pytest.mark.parametrize("name", FORMS)
def test_blocks_follow_the_rule(name: str, heads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two queries at a time of three, and so many heads."""
    monkeypatch.setattr(weighed, "_SHORT", 0)
    monkeypatch.setattr(weighed, "_QUERIES", 2)
    monkeypatch.setattr(weighed, "_ENTRIES", heads * len(Q) * 2 * K.shape[2])
    check(fused(FORMS[name]), batched(Q, K, V, C, "cp-lrp", FORMS[name]), (Q, K, V), C, "cp-lrp")
    shared = batched(Q, K2, V2, C, "cp-lrp", FORMS[name])
    check(fused(FORMS[name], enable_gqa=True), shared, (Q, K2, V2), C, "cp-lrp")


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float64, 1e-12), (torch.float32, 5e-7), (torch.bfloat16, 4e-3), (torch.float16, 5e-4)],
)
@pytest.mark.parametrize("name", LONG)
def test_it_is_the_kernels_own_gradient(name: str, dtype: torch.dtype, tolerance: float) -> None:
    """That of the kernel in double precision: in lower ones the kernel's own backward is less exact than blocks are."""
    keys, options = LONG[name]
    shapes = (2, 6, LENGTH, 8), (2, 2, keys, 8), (2, 2, keys, 8), (2, 6, LENGTH, 8)
    *inputs, c = (torch.tensor(normal(*shape, seed=seed)).to(dtype) for seed, shape in enumerate(shapes))

    def measured(dtype: torch.dtype, fast: bool) -> Measured:
        mask = options.get("attn_mask")
        biased = mask is not None and mask.dtype != torch.bool
        attend = fused(options | ({"attn_mask": mask.to(dtype)} if biased else {}), enable_gqa=True)
        return measure(attend, tuple(inputs), c, "cp-lrp", dtype, fast)

    blocks, kernel = (measured(dtype, fast) for fast in (True, False))
    assert torch.equal(blocks.output, kernel.output)
    assert not blocks.coefficients[0].any()
    assert not blocks.coefficients[1].any()
    found, expected = blocks.coefficients[2], measured(torch.float64, fast=False).coefficients[2]
    assert found.dtype == dtype
    assert (found - expected).abs().max() <= tolerance * expected.abs().max()


def test_only_queries_and_keys_are_kept() -> None:
    query, key, value = (torch.tensor(normal(1, n, LENGTH, 8), requires_grad=True) for n in (4, 2, 2))
    attend = Of(fused({"is_causal": True}, enable_gqa=True))
    shapes: list[torch.Size] = []

    def pack(t: Tensor) -> Tensor:
        shapes.append(t.shape)
        return t

    with propagate(attend, "cp-lrp"), torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        attend(query, key, value)
    assert shapes == [query.shape, key.shape]


def test_a_learned_bias_is_a_constant() -> None:
    bias = torch.tensor(normal(1, 4, LENGTH, LENGTH), requires_grad=True)
    inputs = tuple(normal(1, 4, LENGTH, 8, seed=seed) for seed in range(3))
    measured = measure(
        lambda q, k, v, b: F.scaled_dot_product_attention(q, k, v, attn_mask=b),
        (*inputs, bias.detach()),
        inputs[0],
        "cp-lrp",
    )
    assert not measured.coefficients[3].any()
    assert measured.ledger.relative_error < 1e-12


def test_heads_and_items_that_share_a_factor() -> None:
    """By broadcasting: keys and values, queries, queries and keys."""
    several, single, c = normal(2, 4, LENGTH, 8), normal(1, 1, LENGTH, 8), normal(2, 4, LENGTH, 8, seed=2)
    for inputs in ((several, single, single), (single, several, several), (single, single, several)):
        blocks = measure(fused({"is_causal": True}), inputs, c, "cp-lrp")
        kernel = measure(fused({"is_causal": True}), inputs, c, "cp-lrp", fast=False)
        torch.testing.assert_close(blocks.coefficients[2], kernel.coefficients[2], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("length", "fast", "own"), [(127, True, False), (128, True, True), (128, False, False)])
def test_short_texts_leave_it_to_the_kernel(length: int, fast: bool, own: bool) -> None:
    attend = Of(fused({}))
    x = torch.tensor(normal(1, 2, length, 4), requires_grad=True)
    with propagate(attend, "cp-lrp", fast=fast):
        node = attend(x, x, x).grad_fn
    assert node is not None
    assert (node.name() == "_WeighedBackward") == own
