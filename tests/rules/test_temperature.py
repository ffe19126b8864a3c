"""The softmax's Jacobian at a temperature (GIM), eager and fused, against the oracle; what it conserves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import reference as ref
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from pairing import check, measure, normal
from reference import Array, Step
from test_attention import FORMS, K2, V2, C, K, Q, V, eager, fused
from torch import Tensor

from lxtlike import Composite, InputError

GIM = Composite.parse("gim")


def softened(q: Array, k: Array, v: Array, c: Array, form: dict[str, Any], temperature: float) -> Step:
    """The oracle over a batch."""
    mask = form.get("attn_mask")
    steps = []
    for n in range(len(q)):
        item = mask[n] if mask is not None and mask.ndim == 4 else mask
        key = {} if item is None else {"mask" if item.dtype == bool else "bias": item}
        options = {"scale": form.get("scale"), "causal": form.get("is_causal", False), "temperature": temperature}
        steps.append(ref.attention(q[n], k[n], v[n], c[n], "attnlrp", **options, **key))
    absorbed = {name: sum(s.absorbed[name] for s in steps) for name in steps[0].absorbed}
    coefficients = tuple(np.stack(parts) for parts in zip(*(s.coefficients for s in steps), strict=True))
    return Step(np.stack([s.output for s in steps]), coefficients, absorbed)


@pytest.mark.parametrize("name", FORMS)
def test_fused(name: str) -> None:
    step = softened(Q, K, V, C, FORMS[name], 2.0)
    check(fused(FORMS[name]), step, (Q, K, V), C, "attnlrp:temperature=2")


@pytest.mark.parametrize("name", ["plain", "is_causal", "bool mask", "additive bias", "scale"])
def test_fused_with_shared_keys(name: str) -> None:
    step = softened(Q, K2, V2, C, FORMS[name], 3.0)
    check(fused(FORMS[name], enable_gqa=True), step, (Q, K2, V2), C, "attnlrp:temperature=3")


@pytest.mark.parametrize("name", [name for name in FORMS if "nothing" not in name])
def test_eager(name: str) -> None:
    step = softened(Q, K, V, C, FORMS[name], 0.5)
    check(eager(FORMS[name]), step, (Q, K, V), C, "attnlrp:temperature=0.5")


@settings(max_examples=15, deadline=None)
@given(st.floats(0.2, 20.0), st.integers(1, 4), st.integers(1, 5), st.booleans())
def test_any_temperature_closes_the_ledger(temperature: float, t: int, s: int, causal: bool) -> None:
    q, k, v, c = normal(1, 2, t, 3), normal(1, 1, s, 3), normal(1, 1, s, 2), normal(1, 2, t, 2)
    form = {"is_causal": causal}
    step = softened(q, k, v, c, form, temperature)
    for spelling in (fused(form, enable_gqa=True), eager(form)):
        measured = check(spelling, step, (q, k, v), c, f"attnlrp:temperature={temperature!r}", tolerance=1e-9)
        assert abs(measured.ledger.rest) < 1e-9


def test_one_is_attnlrp() -> None:
    for spelling in (fused({}), eager({})):
        one, plain = (measure(spelling, (Q, K, V), C, name) for name in ("attnlrp:temperature=1", "attnlrp"))
        assert all(torch.equal(a, b) for a, b in zip(one.coefficients, plain.coefficients, strict=True))


def test_it_is_softer_than_the_softmax() -> None:
    """Where the softmax is sure, its own Jacobian is almost zero, and that of a higher temperature is not."""
    x, c = np.array([[12.0, 0.0, -1.0]]), np.array([[1.0, -1.0, 0.5]])
    sizes = []
    for temperature in (1, 4):
        step = ref.softmax(x, c, temperature)
        measured = check(lambda x: F.softmax(x, -1), step, (x,), c, f"attnlrp:temperature={temperature}")
        sizes.append(float(measured.coefficients[0].abs().max()))
    assert sizes[1] > 1000 * sizes[0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype: torch.dtype) -> None:
    exact = softened(Q, K, V, C, FORMS["bool mask"], 2.0)
    for spelling in (fused(FORMS["bool mask"]), eager(FORMS["bool mask"])):
        measured = measure(spelling, (Q, K, V), C, "attnlrp:temperature=2", dtype)
        for actual, expected in zip(measured.coefficients, exact.coefficients, strict=True):
            assert np.abs(actual.double().numpy() - expected).max() < 0.05 * np.abs(expected).max()


def test_only_values_tracked_keeps_the_gradient() -> None:
    q, k = torch.tensor(Q), torch.tensor(K)

    def attend(v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v)

    warm, cold = (measure(attend, (V,), C, name).coefficients[0] for name in ("attnlrp:temperature=2", "attnlrp"))
    torch.testing.assert_close(warm, cold)


@pytest.mark.parametrize("spelling", [fused({}), eager({})])
def test_zero_is_refused(spelling: Any) -> None:
    with pytest.raises(InputError, match="temperature of a softmax must be above 0"):
        measure(spelling, (Q, K, V), C, "attnlrp:temperature=0")


def test_gim_is_what_its_authors_have() -> None:
    """Norms frozen, softmax at 2, queries and keys 1/4, values 1/2, both factors of a gated product 1/2, true activations."""
    w = [torch.tensor(normal(4, 4, seed=number)) for number in range(7)]

    def block(x: Tensor, half: Any, softmax: Any, frozen: Any) -> Tensor:
        h = x * frozen(torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5))
        q, k, v = half(h @ w[0], 0.25), half(h @ w[1], 0.25), half(h @ w[2], 0.5)
        x = x + softmax(q @ k.mT / 2) @ v
        h = x * frozen(torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5))
        return x + (F.silu(half(h @ w[3], 0.5)) * half(h @ w[4], 0.5)) @ w[5]

    class Warm(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, scores: Tensor) -> Tensor:
            ctx.save_for_backward(scores)
            return scores.softmax(-1)

        @staticmethod
        def backward(ctx: Any, *c: Tensor) -> Tensor:
            s = (ctx.saved_tensors[0] / 2).softmax(-1)
            return s * (c[0] - (s * c[0]).sum(-1, keepdim=True))

    x, c = torch.tensor(normal(1, 3, 4), requires_grad=True), torch.tensor(normal(1, 3, 4, seed=1))
    by_hand = block(x, lambda t, f: f * t + (1 - f) * t.detach(), Warm.apply, Tensor.detach)
    (expected,) = torch.autograd.grad((by_hand * c).sum(), x)
    measured = measure(lambda x: block(x, lambda t, _: t, lambda s: s.softmax(-1), lambda t: t), (x.detach(),), c, GIM)
    torch.testing.assert_close(measured.coefficients[0], expected)
    assert abs(measured.ledger.rest) < 1e-12
