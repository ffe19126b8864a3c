"""Attention against the oracle: fused and eager, in all argument forms, under both composites; then a whole block."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import reference as ref
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from pairing import Of, assert_same, check, measure, normal
from reference import Array, Step
from torch import Tensor, nn

from lxtlike.propagation import propagate

BOTH = pytest.mark.parametrize("composite", ["attnlrp", "cp-lrp"])
Q, K, V, C = normal(2, 4, 3, 5), normal(2, 4, 6, 5, seed=1), normal(2, 4, 6, 3, seed=2), normal(2, 4, 3, 3, seed=3)
K2, V2 = K[:, :2], V[:, :2]
VISIBLE = np.arange(6)[None, :] != np.array([0, 3, 5])[:, None]
PADDING = np.stack([np.arange(6) < 6, np.arange(6) >= 2])[:, None, None, :]
ALIBI = -0.3 * np.abs(np.arange(6)[None, :] - np.arange(3)[:, None]) * np.arange(1, 5)[:, None, None]
HIDDEN = np.where(VISIBLE, 0.0, -np.inf)
LOWEST = np.where(VISIBLE, 0.0, np.finfo(np.float32).min)
NOTHING = VISIBLE & (np.arange(3) != 1)[:, None]  # Query 1 sees no key at all.

FORMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "scale": {"scale": 0.7},
    "is_causal": {"is_causal": True},
    "bool mask": {"attn_mask": VISIBLE},
    "bool mask by item": {"attn_mask": PADDING},
    "-inf mask": {"attn_mask": HIDDEN},
    "lowest mask": {"attn_mask": LOWEST},
    "additive bias": {"attn_mask": ALIBI},
    "bias, mask and scale": {"attn_mask": ALIBI + HIDDEN, "scale": 1.3},
    "bool mask, a row sees nothing": {"attn_mask": NOTHING},
    "-inf mask, a row sees nothing": {"attn_mask": np.where(NOTHING, 0.0, -np.inf)},
}


def batched(q: Array, k: Array, v: Array, c: Array, rule: str, form: dict[str, Any]) -> Step:
    """The oracle over a batch: arrays [N, H, T, D], the arguments of `scaled_dot_product_attention`."""
    mask = form.get("attn_mask")
    steps = []
    for n in range(len(q)):
        item = mask[n] if mask is not None and mask.ndim == 4 else mask
        key = {} if item is None else {"mask" if item.dtype == bool else "bias": item}
        causal = form.get("is_causal", False)
        steps.append(ref.attention(q[n], k[n], v[n], c[n], rule, scale=form.get("scale"), causal=causal, **key))
    absorbed = {name: sum(s.absorbed[name] for s in steps) for name in steps[0].absorbed}
    coefficients = tuple(np.stack(parts) for parts in zip(*(s.coefficients for s in steps), strict=True))
    return Step(np.stack([s.output for s in steps]), coefficients, absorbed)


def fused(form: dict[str, Any], **more: Any) -> Callable[..., Tensor]:
    options = {key: torch.tensor(o) if isinstance(o, np.ndarray) else o for key, o in form.items()} | more
    return lambda q, k, v: F.scaled_dot_product_attention(q, k, v, **options)


def eager(form: dict[str, Any]) -> Callable[..., Tensor]:
    """Attention as models write it: repeated keys, a matmul, a mask, a softmax, a matmul."""

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        k, v = (t.repeat_interleave(q.shape[1] // t.shape[1], dim=1) for t in (k, v))
        scores = torch.matmul(q, k.transpose(-2, -1)) * form.get("scale", 1 / math.sqrt(q.shape[-1]))
        mask = form.get("attn_mask")
        if form.get("is_causal"):
            mask = np.tri(*scores.shape[-2:]) > 0
        if mask is not None and mask.dtype == bool:
            scores = scores.masked_fill(~torch.tensor(mask), torch.finfo(scores.dtype).min)
        elif mask is not None:
            scores = scores + torch.tensor(mask).to(scores.dtype)
        return torch.matmul(F.softmax(scores, dim=-1), v)

    return attend


class TestFused:
    @BOTH
    @pytest.mark.parametrize("name", FORMS)
    def test_forms(self, name: str, composite: str) -> None:
        check(fused(FORMS[name]), batched(Q, K, V, C, composite, FORMS[name]), (Q, K, V), C, composite)

    @BOTH
    @pytest.mark.parametrize("name", ["plain", "is_causal", "bool mask", "additive bias", "scale"])
    def test_shared_keys(self, name: str, composite: str) -> None:
        step = batched(Q, K2, V2, C, composite, FORMS[name])
        check(fused(FORMS[name], enable_gqa=True), step, (Q, K2, V2), C, composite)

    @BOTH
    def test_arguments_by_position_and_by_name(self, composite: str) -> None:
        mask = torch.tensor(VISIBLE)
        step = batched(Q, K, V, C, composite, FORMS["bool mask"])
        check(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, mask, 0.0, False), step, (Q, K, V), C, composite)
        check(
            lambda q, k, v: F.scaled_dot_product_attention(attn_mask=mask, value=v, key=k, query=q, dropout_p=0.0),
            step,
            (Q, K, V),
            C,
            composite,
        )

    @BOTH
    def test_without_heads_and_batch(self, composite: str) -> None:
        q, k, v, c = Q[0, :1], K[0, :1], V[0, :1], C[0, :1]
        check(F.scaled_dot_product_attention, ref.attention(q, k, v, c, composite), (q, k, v), c, composite)

    def test_half_goes_nowhere_when_only_values_are_tracked(self) -> None:
        """With queries and keys from elsewhere the product has one input-dependent factor: the plain gradient."""
        q, k = torch.tensor(Q), torch.tensor(K)
        step = batched(Q, K, V, C, "cp-lrp", {})
        one = Step(step.output, (step.coefficients[2],), {})
        check(lambda v: F.scaled_dot_product_attention(q, k, v), one, (V,), C)
        check(lambda v: torch.softmax(q @ k.mT / math.sqrt(5), -1) @ v, one, (V,), C)

    @pytest.mark.parametrize("tracked", ["q", "k", "qk", "kv", "qv"])
    def test_factors_from_elsewhere_take_no_share(self, tracked: str) -> None:
        """Each product is halved only where both its factors come from the input (q k and then A v)."""
        everything = {"q": Q[0], "k": K[0], "v": V[0]}
        steps = ref.attention(Q[0], K[0], V[0], C[0], "attnlrp")
        scores = 4.0 * (0.5 if "v" in tracked else 1) * (0.5 if {"q", "k"} <= set(tracked) else 1)
        shares = {"q": scores, "k": scores, "v": 2.0 * 0.5}
        coefficients = {name: shares[name] * c for name, c in zip("qkv", steps.coefficients, strict=True)}
        inputs = tuple(everything[name] for name in tracked)
        kept = sum(float((everything[n] * coefficients[n]).sum()) for n in tracked)
        absorbed = {"softmax": float((steps.output * C[0]).sum()) - kept}
        step = Step(steps.output, tuple(coefficients[name] for name in tracked), absorbed)
        for spelling in (fused({}), lambda q, k, v: torch.softmax(q @ k.mT / math.sqrt(5), -1) @ v):

            def partial(*given: Tensor, spelling: Callable[..., Tensor] = spelling) -> Tensor:
                held = {name: torch.tensor(value) for name, value in everything.items()}
                return spelling(*(held | dict(zip(tracked, given, strict=True))).values())

            check(partial, step, inputs, C[0])

    @BOTH
    def test_accounts_of_each_item(self, composite: str) -> None:
        """With items in the leading dimension, every item's ledger closes by itself."""
        weight, shift = torch.tensor(normal(3, 3)), torch.tensor(normal(3))
        with_bias = fused(FORMS["bias, mask and scale"])
        module = Of(lambda q, k, v: F.linear(with_bias(q, k, v), weight, shift))
        leaves = [torch.tensor(t, requires_grad=True) for t in (Q, K, V)]
        with propagate(module, composite) as audit:
            explained = (module(*leaves) * torch.tensor(C)).flatten(1).sum(1)
            found = torch.autograd.grad(explained.sum(), leaves, allow_unused=True)
        tokens = sum((t * g).flatten(1).sum(1) for t, g in zip(leaves, found, strict=True) if g is not None)
        for item in range(2):
            ledger = audit.ledger(explained[item], tokens[item], item=item)
            assert ledger.relative_error < 1e-12
            assert ledger.biases == pytest.approx(float((shift * torch.tensor(C[item])).sum()))
            assert (ledger.softmax == 0) == (composite == "cp-lrp")


class TestEager:
    @BOTH
    @pytest.mark.parametrize("name", [n for n in FORMS if "nothing" not in n])
    def test_forms(self, name: str, composite: str) -> None:
        check(eager(FORMS[name]), batched(Q, K, V, C, composite, FORMS[name]), (Q, K, V), C, composite)

    @BOTH
    def test_shared_keys(self, composite: str) -> None:
        check(eager({}), batched(Q, K2, V2, C, composite, {}), (Q, K2, V2), C, composite)

    @BOTH
    def test_in_other_words(self, composite: str) -> None:
        """Scores by `einsum` and by `baddbmm` with the mask as addend (BLOOM), scaled queries, softmax in place."""
        flat = (lambda t: t.reshape(8, *t.shape[2:])) if composite else None
        bias = torch.tensor(np.broadcast_to(ALIBI, (2, 4, 3, 6)).reshape(8, 3, 6).copy())
        step = batched(Q, K, V, C, composite, FORMS["additive bias"])
        step = Step(flat(step.output), tuple(flat(c) for c in step.coefficients), step.absorbed)
        inputs, c = (flat(Q), flat(K), flat(V)), flat(C)

        def bloom(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            scores = bias.baddbmm(batch1=q, batch2=k.mT, beta=1.0, alpha=1 / math.sqrt(5))
            return torch.bmm(F.softmax(scores, dim=-1, dtype=torch.float64), v)

        def einsum(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            scores = torch.einsum("htd,hsd->hts", q / math.sqrt(5), k)
            scores += bias
            return torch.einsum("hts,hsd->htd", scores.softmax(-1), v)

        for spelling in (bloom, einsum):
            check(spelling, step, inputs, c, composite)

    @BOTH
    @pytest.mark.parametrize("hidden", [None, HIDDEN])
    def test_soft_capping(self, hidden: Array | None, composite: str) -> None:
        step = ref.attention(Q[0], K[0], V[0], C[0], composite, cap=0.8, bias=hidden)

        def capped(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            scores = q @ k.mT * (1 / math.sqrt(5))
            scores = torch.tanh(scores / 0.8) * 0.8
            return F.softmax(scores if hidden is None else scores + torch.tensor(hidden), -1) @ v

        check(capped, step, (Q[0], K[0], V[0]), C[0], composite)

    @settings(max_examples=10, deadline=None)
    @given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.booleans(), st.data())
    def test_fused_is_eager_is_the_oracle(self, groups: int, t: int, s: int, d: int, causal: bool, data: Any) -> None:
        heads = groups * data.draw(st.integers(1, 2))
        composite = data.draw(st.sampled_from(["attnlrp", "cp-lrp"]))
        q, k, v, c = normal(1, heads, t, d), normal(1, groups, s, d), normal(1, groups, s, 2), normal(1, heads, t, 2)
        form = {"is_causal": causal}
        step = batched(q, k, v, c, composite, form)
        for spelling in (fused(form, enable_gqa=True), eager(form)):
            measured = measure(spelling, (q, k, v), c, composite)
            for actual, expected in zip(measured.coefficients, step.coefficients, strict=True):
                assert np.abs(actual.numpy() - expected).max() <= 1e-12 * max(1, np.abs(expected).max())


def test_multihead_attention_of_torch_is_right_or_reported() -> None:
    module = nn.MultiheadAttention(4, 2, batch_first=True).double().eval()
    for number, parameter in enumerate(module.parameters()):
        parameter.data = torch.tensor(normal(*parameter.shape, seed=20 + number))
    w, b = module.in_proj_weight.detach().numpy(), module.in_proj_bias.detach().numpy()
    w_out, b_out = module.out_proj.weight.detach().numpy(), module.out_proj.bias.detach().numpy()
    x, c = normal(3, 4), normal(3, 4, seed=1)

    def split(t: Array) -> Array:
        return t.reshape(3, 2, 2).transpose(1, 0, 2)

    def join(t: Array) -> Array:
        return t.transpose(1, 0, 2).reshape(3, 4)

    q, k, v = (split(x @ w[i : i + 4].T + b[i : i + 4]) for i in (0, 4, 8))
    c_heads = split(c @ w_out)
    heads = ref.attention(q, k, v, c_heads, "attnlrp")
    c_x = sum(join(c_t) @ w[i : i + 4] for c_t, i in zip(heads.coefficients, (0, 4, 8), strict=True))
    measured = measure(Of(lambda x: module(x, x, x, need_weights=False)[0], module=module), (x[None],), c[None])
    assert_same(measured.output, (join(heads.output) @ w_out.T + b_out)[None], "output")
    if measured.audit.uncovered:
        assert measured.audit.uncovered[0].operation.endswith("multi_head_attention_forward")
    else:
        assert_same(measured.coefficients[0], c_x[None], "coefficient")


def llama_block(rule: str) -> tuple[Callable[[Tensor], Tensor], Array, Array, Callable[[Array, Array], Step]]:
    """A Llama-like block (RMSNorm, shared keys, RoPE, gated MLP, bias on q) in torch and, backwards, in oracles."""
    t, d, hidden, eps = 3, 4, 6, 1e-4
    cos, sin = np.cos(np.outer(np.arange(t), [1.0])), np.sin(np.outer(np.arange(t), [1.0]))
    g1, g2, b = 1 + 0.1 * normal(d), 1 + 0.1 * normal(d, seed=1), normal(4, seed=2)
    wq, wk, wv, wo = normal(4, d), normal(2, d), normal(2, d, seed=1), normal(d, 4, seed=5)
    wg, wu, wd = normal(hidden, d), normal(hidden, d, seed=1), normal(d, hidden)
    tensors = [torch.tensor(a) for a in (g1, g2, b, wq, wk, wv, wo, wg, wu, wd)]

    def forward(x: Tensor) -> Tensor:
        g1, g2, b, wq, wk, wv, wo, wg, wu, wd = tensors
        tc, ts = (torch.tensor(np.concatenate([a, a], 1)) for a in (cos, sin))

        def norm(x: Tensor, g: Tensor) -> Tensor:
            return g * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps))

        def rotate(x: Tensor) -> Tensor:
            return x * tc + torch.cat((-x[..., 1:], x[..., :1]), -1) * ts

        h = norm(x, g1)
        q, k, v = (F.linear(h, w, bias).view(t, -1, 2).transpose(0, 1) for w, bias in ((wq, b), (wk, None), (wv, None)))
        o = F.scaled_dot_product_attention(rotate(q)[None], rotate(k)[None], v[None], is_causal=True, enable_gqa=True)
        x = x + F.linear(o[0].transpose(0, 1).reshape(t, -1), wo)
        h = norm(x, g2)
        return x + F.linear(F.silu(F.linear(h, wg)) * F.linear(h, wu), wd)

    def split(a: Array) -> Array:
        return a.reshape(t, -1, 2).transpose(1, 0, 2)

    def join(a: Array) -> Array:
        return a.transpose(1, 0, 2).reshape(t, -1)

    def rotary(heads: Array, c: Array) -> tuple[Array, Array]:
        steps = [ref.rotary(a, cos, sin, c_a) for a, c_a in zip(heads, c, strict=True)]
        return np.stack([s.output for s in steps]), np.stack([s.coefficients[0] for s in steps])

    def backward(x: Array, c: Array) -> Step:
        none: Array = np.zeros((t, d))
        h1 = ref.rms_norm(x, g1, none, eps).output
        q, k, v = split(h1 @ wq.T + b), split(h1 @ wk.T), split(h1 @ wv.T)
        rq, rk = rotary(q, q)[0], rotary(k, k)[0]
        heads = ref.attention(rq, rk, v, np.zeros_like(q), rule, causal=True).output
        middle = x + join(heads) @ wo.T
        h2 = ref.rms_norm(middle, g2, none, eps).output
        gate, up = h2 @ wg.T, h2 @ wu.T
        mlp = ref.gated_product(gate, up, ref.IDENTITY["silu"], c @ wd, rule)
        c_gate, c_up = mlp.coefficients
        c_middle = c + ref.rms_norm(middle, g2, c_gate @ wg + c_up @ wu, eps).coefficients[0]
        attended = ref.attention(rq, rk, v, split(c_middle @ wo), rule, causal=True)
        c_q, c_k = rotary(q, attended.coefficients[0])[1], rotary(k, attended.coefficients[1])[1]
        projected = ref.linear(h1, wq, b, join(c_q))
        c_h = projected.coefficients[0] + join(c_k) @ wk + join(attended.coefficients[2]) @ wv
        c_x = c_middle + ref.rms_norm(x, g1, c_h, eps).coefficients[0]
        absorbed = {"bias": projected.absorbed["bias"], "softmax": attended.absorbed["softmax"]}
        return Step(middle + mlp.output @ wd.T, (c_x,), absorbed)

    return forward, normal(t, d, seed=7), normal(t, d, seed=8), backward


@BOTH
@pytest.mark.parametrize("fast", [True, False])
def test_a_whole_block(fast: bool, composite: str) -> None:
    forward, x, c, backward = llama_block(composite)
    step = backward(x, c)
    kept = (step.output * c).sum() - (x * step.coefficients[0]).sum()
    assert kept == pytest.approx(sum(step.absorbed.values()), abs=1e-10)
    measured = check(forward, step, (x,), c, composite, fast=fast)
    assert measured.ledger.biases == pytest.approx(step.absorbed["bias"], abs=1e-10)
    assert measured.ledger.softmax == pytest.approx(step.absorbed["softmax"], abs=1e-10)


def test_the_empty_composite_is_the_gradient() -> None:
    forward, x, c, _ = llama_block("attnlrp")
    leaf = torch.tensor(x, requires_grad=True)
    (expected,) = torch.autograd.grad((forward(leaf) * torch.tensor(c)).sum(), leaf)
    measured = measure(forward, (x,), c, "input-x-gradient")
    assert_same(measured.coefficients[0], expected.numpy(), "gradient", 1e-14)
