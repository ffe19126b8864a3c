"""The oracle checked against itself: conservation, finite differences and the papers' equations in relevance form."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import reference as ref
from reference import Array, Step

EPS = 1e-3


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def left_over(step: Step, c: Array, *inputs: Array) -> float:
    """Relevance at the output minus relevance at the inputs minus what was absorbed."""
    arriving = float((step.output * c).sum())
    passed = sum(float((t * c_t).sum()) for t, c_t in zip(inputs, step.coefficients, strict=True))
    return arriving - passed - sum(step.absorbed.values())


def slope(value: Callable[[Array], Array], x: Array, c: Array, h: float = 1e-6) -> Array:
    """``d sum(value(x) * c) / dx`` by central differences."""
    result = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[i] += h
        down[i] -= h
        result[i] = ((value(up) - value(down)) * c).sum() / (2 * h)
    return result


X, C = normal(3, 4), normal(3, 4, seed=1)
W, B = normal(4, 4, seed=2), normal(4, seed=3)
Q, K, V, D = normal(4, 3, 5), normal(2, 6, 5, seed=4), normal(2, 6, 3, seed=5), normal(4, 3, 3, seed=6)
MASK = np.arange(6)[None, None, :] != np.array([0, 3, 5])[None, :, None]
ALIBI = -0.3 * np.abs(np.arange(6)[None, None, :] - np.arange(3)[None, :, None]) * np.arange(1, 5)[:, None, None]

ATTENTION = {
    "plain": {},
    "scale": {"scale": 0.7},
    "mask": {"mask": MASK},
    "alibi": {"bias": ALIBI},
    "causal": {"causal": True},
    "cap": {"cap": 0.8},
    "all": {"scale": 1.3, "mask": MASK, "bias": ALIBI, "causal": True, "cap": 1.5},
    "nothing visible": {"mask": np.zeros((1, 3, 1), dtype=bool)},
}
NORMS: dict[str, Callable[[Array, Array], Step]] = {
    "layer": lambda x, c: ref.layer_norm(x, W[0], B, c, EPS),
    "layer without beta": lambda x, c: ref.layer_norm(x, W[0], None, c, EPS),
    "rms": lambda x, c: ref.rms_norm(x, W[0], c, EPS),
    "rms, 1 + w": lambda x, c: ref.rms_norm(x, W[0], c, EPS, offset=1.0),
    "l2": lambda x, c: ref.l2_norm(x, c, EPS),
}


class TestConservation:
    @pytest.mark.parametrize("epsilon", [0.0, 1e-6, 0.5])
    @pytest.mark.parametrize("bias", [None, B])
    def test_linear(self, epsilon: float, bias: Array | None) -> None:
        step = ref.linear(X, W, bias, C, epsilon)
        assert left_over(step, C, X) == pytest.approx(0, abs=1e-12)
        assert (step.absorbed["epsilon"] != 0) == (epsilon > 0)
        assert (step.absorbed["bias"] != 0) == (bias is not None)

    @pytest.mark.parametrize("name", [*ref.IDENTITY, *ref.GATES])
    def test_elementwise(self, name: str) -> None:
        activation = (ref.IDENTITY | ref.GATES)[name]
        x = np.array([[-40.0, -3.1, -1e-9, 0.0], [-0.0, 1e-9, 0.7, 40.0]])
        step = ref.elementwise(x, activation, C[:2])
        assert left_over(step, C[:2], x) == pytest.approx(0, abs=1e-12 * np.abs(step.output).max())
        assert (activation.f(0.0) == 0) == (name in ref.IDENTITY)

    @pytest.mark.parametrize("name", NORMS)
    def test_norms(self, name: str) -> None:
        assert left_over(NORMS[name](X, C), C, X) == pytest.approx(0, abs=1e-12)

    @pytest.mark.parametrize("groups", [1, 2, 6])
    def test_group_norm(self, groups: int) -> None:
        x, c, w, b = normal(2, 6, 3), normal(2, 6, 3, seed=1), normal(6), normal(6, seed=1)
        assert left_over(ref.group_norm(x, groups, w, b, c, EPS), c, x) == pytest.approx(0, abs=1e-12)

    def test_products_and_sums(self) -> None:
        column, row = normal(3, 1), normal(4, seed=8)
        for step, c, inputs in [
            (ref.add(X, row, C), C, (X, row)),
            (ref.add_constant(X, row, C), C, (X,)),
            (ref.divide(X, column, C), C, (X, column)),
            (ref.product(X, column, C), C, (X, column)),
            (ref.matrix_product(X, W, C), C, (X, W)),
            (ref.total(X, B[:3], mean=True), B[:3], (X,)),
            (ref.total(X, B[:3]), B[:3], (X,)),
            (ref.rotary(X, np.cos(W[:3, :2]), np.sin(W[:3, :2]), C), C, (X,)),
        ]:
            assert left_over(step, c, *inputs) == pytest.approx(0, abs=1e-12)

    @pytest.mark.parametrize("rule", ["attnlrp", "cp-lrp"])
    def test_gated_product(self, rule: str) -> None:
        step = ref.gated_product(X, W[:3], ref.IDENTITY["silu"], C, rule)
        assert left_over(step, C, X, W[:3]) == pytest.approx(0, abs=1e-12)

    @pytest.mark.parametrize("rule", ["attnlrp", "cp-lrp"])
    @pytest.mark.parametrize("options", ATTENTION.values(), ids=list(ATTENTION))
    def test_attention(self, rule: str, options: dict) -> None:
        step = ref.attention(Q, K, V, D, rule, **options)
        assert left_over(step, D, Q, K, V) == pytest.approx(0, abs=1e-12)
        if rule == "cp-lrp":
            assert step.absorbed == {"softmax": 0.0, "bias": 0.0}

    def test_softmax(self) -> None:
        x = X.copy()
        x[0, 1], x[1] = -np.inf, -np.inf
        step = ref.softmax(x, C)
        seen = np.isfinite(x)
        assert step.coefficients[0][~seen] == pytest.approx(0)
        finite = Step(step.output, (np.where(seen, step.coefficients[0], 0),), step.absorbed)
        assert left_over(finite, C, np.where(seen, x, 0)) == pytest.approx(0, abs=1e-12)


class TestFiniteDifferences:
    """Where a rule is the plain gradient of a function with parts of it held constant."""

    def test_linear(self) -> None:
        expected = slope(lambda x: ref.linear(x, W, B, C).output, X, C)
        assert ref.linear(X, W, B, C).coefficients[0] == pytest.approx(expected, abs=1e-8)

    @pytest.mark.parametrize("name", NORMS)
    def test_norms_with_the_deviation_held(self, name: str) -> None:
        centred = name.startswith("layer")
        middle = X - X.mean(1, keepdims=True) if centred else X
        length = np.sqrt((middle**2).mean(1, keepdims=True) + EPS)
        gain = 1 + W[0] if name == "rms, 1 + w" else W[0]
        if name == "l2":
            length, gain = np.sqrt((X**2).sum(1, keepdims=True)), np.ones(4)

        def held(x: Array) -> Array:
            return (x - x.mean(1, keepdims=True) if centred else x) / length * gain

        step = NORMS[name](X, C)
        shift = B if name == "layer" else 0
        assert step.output == pytest.approx(held(X) + shift, abs=1e-12)
        assert step.coefficients[0] == pytest.approx(slope(held, X, C), abs=1e-7)

    def test_a_live_norm_would_pass_nothing(self) -> None:
        gradient = slope(lambda x: ref.rms_norm(x, W[0], C, 0.0).output, X, C)
        assert (X * gradient).sum() == pytest.approx(0, abs=1e-8)
        assert abs((X * ref.rms_norm(X, W[0], C, 0.0).coefficients[0]).sum()) > 0.1

    def test_group_norm_of_single_positions_is_layer_norm_by_group(self) -> None:
        x, c, w, b = normal(2, 6, 1), normal(2, 6, 1, seed=1), normal(6), normal(6, seed=1)
        whole = ref.group_norm(x, 2, w, b, c, EPS)
        for g in range(2):
            part = slice(3 * g, 3 * g + 3)
            half = ref.layer_norm(x[:, part, 0], w[part], b[part], c[:, part, 0], EPS)
            assert whole.output[:, part, 0] == pytest.approx(half.output)
            assert whole.coefficients[0][:, part, 0] == pytest.approx(half.coefficients[0])

    def test_softmax(self) -> None:
        expected = slope(lambda x: ref.softmax(x, C).output, X, C)
        assert ref.softmax(X, C).coefficients[0] == pytest.approx(expected, abs=1e-8)

    def test_products_are_half_the_gradient(self) -> None:
        elementwise, matrix = ref.product(X, B, C), ref.matrix_product(X, W, C)
        for step, inputs, value in [
            (elementwise, (X, B), lambda a, b: a * b),
            (matrix, (X, W), lambda a, b: a @ b),
        ]:
            assert step.output == pytest.approx(value(*inputs))
            a, b = inputs
            assert 2 * step.coefficients[0] == pytest.approx(slope(lambda t: value(t, b), a, C), abs=1e-8)  # noqa: B023
            assert 2 * step.coefficients[1] == pytest.approx(slope(lambda t: value(a, t), b, C), abs=1e-8)  # noqa: B023

    @pytest.mark.parametrize("name", [n for n in ATTENTION if n not in ("cap", "all")])
    def test_attention(self, name: str) -> None:
        q, k, v, c = Q[:2, :, :2], K[:1, :4, :2], V[:1, :4, :2], D[:2, :, :2]
        options = {key: o[:2, :, :4] if isinstance(o, np.ndarray) else o for key, o in ATTENTION[name].items()}

        def value(q: Array, k: Array, v: Array) -> Array:
            return ref.attention(q, k, v, c, "cp-lrp", **options).output

        gradient = (
            slope(lambda t: value(t, k, v), q, c),
            slope(lambda t: value(q, t, v), k, c),
            slope(lambda t: value(q, k, t), v, c),
        )
        for rule, shares in [("attnlrp", (0.25, 0.25, 0.5)), ("cp-lrp", (0, 0, 1))]:
            step = ref.attention(q, k, v, c, rule, **options)
            for coefficient, expected, share in zip(step.coefficients, gradient, shares, strict=True):
                assert coefficient == pytest.approx(share * expected, abs=1e-8)


class TestEquations:
    def test_epsilon_rule_in_relevance_form(self) -> None:
        epsilon, z = 0.3, X @ W.T + B
        messages = X[:, :, None] * W.T[None] / (z + epsilon * np.where(z >= 0, 1, -1))[:, None, :] * (z * C)[:, None, :]
        assert X * ref.linear(X, W, B, C, epsilon).coefficients[0] == pytest.approx(messages.sum(2))

    def test_closed_forms(self) -> None:
        x = np.array([[-700.0, -9.0, -2.0, -1e-3, -0.0, 0.0, 1e-3, 2.0, 9.0, 700.0]])
        sigmoid = 0.5 * (1 + np.tanh(x / 2))
        u = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
        closed = {
            "silu": sigmoid,
            "gelu": 0.5 * np.array([[1 + math.erf(v / math.sqrt(2)) for v in x[0]]]),
            "gelu_tanh": 0.5 * (1 + np.tanh(u)),
            "quick_gelu": 0.5 * (1 + np.tanh(1.702 * x / 2)),
            "relu": (x > 0).astype(float),
            "relu_squared": np.maximum(x, 0),
            "square": x,
        }
        for name, expected in closed.items():
            actual = ref.elementwise(x, ref.IDENTITY[name], np.ones_like(x)).coefficients[0]
            assert actual == pytest.approx(expected, rel=1e-12, abs=1e-15), name

    @pytest.mark.parametrize("name", [n for n in ref.IDENTITY if n != "abs"])
    def test_the_value_at_zero_is_the_limit(self, name: str) -> None:
        f, at_zero = ref.IDENTITY[name]
        assert f(-1e-9) / -1e-9 == pytest.approx(at_zero, abs=1e-8)

    def test_attention_is_three_propositions_in_a_row(self) -> None:
        """3.3 (values), 3.1 (softmax), 3.3 (scores), with the divisions the papers write, one head without sharing."""
        q, k, v, c = Q[0], K[0], V[0], D[0]
        s = q @ k.T * 0.7
        a = np.exp(s) / np.exp(s).sum(1, keepdims=True)
        o = a @ v
        r_o = o * c
        r_a = np.einsum("ts,sd,td->ts", a, v, r_o / (2 * o))
        r_v = np.einsum("ts,sd,td->sd", a, v, r_o / (2 * o))
        r_s = s * (r_a - a * r_a.sum(1, keepdims=True))
        r_q = np.einsum("td,sd,ts->td", 0.7 * q, k, r_s / (2 * s))
        r_k = np.einsum("td,sd,ts->sd", 0.7 * q, k, r_s / (2 * s))
        step = ref.attention(q[None], k[None], v[None], c[None], "attnlrp", scale=0.7)
        for tensor, coefficient, relevance in zip((q, k, v), step.coefficients, (r_q, r_k, r_v), strict=True):
            assert tensor * coefficient[0] == pytest.approx(relevance)
        assert step.absorbed["softmax"] == pytest.approx(r_a.sum() - r_s.sum())

    @pytest.mark.parametrize("name", ["plain", "scale", "mask", "causal"])
    def test_a_head_passes_on_half_of_relevance_plus_covariance(self, name: str) -> None:
        """A head that receives R passes on ``(R + Cov_A(S, v . c)) / 2``; the rest is the softmax residual."""
        options = ATTENTION[name]
        step = ref.attention(Q, K, V, D, "attnlrp", **options)
        covariance = 0.0
        for h in range(4):
            scores = Q[h] @ K[h // 2].T * options.get("scale", 1 / math.sqrt(5))
            visible = np.broadcast_to(options.get("mask", True), (1, 3, 6))[0].copy()
            if options.get("causal"):
                visible &= np.tri(3, 6, dtype=bool)
            for t in range(3):
                seen = visible[t]
                a = np.exp(scores[t, seen]) / np.exp(scores[t, seen]).sum()
                worth = V[h // 2][seen] @ D[h, t]
                covariance += a @ (scores[t, seen] * worth) - (a @ scores[t, seen]) * (a @ worth)
        received = (step.output * D).sum()
        passed = sum((t * c).sum() for t, c in zip((Q, K, V), step.coefficients, strict=True))
        assert passed == pytest.approx((received + covariance) / 2)
        assert step.absorbed["softmax"] == pytest.approx((received - covariance) / 2)

    def test_masks_say_the_same(self) -> None:
        minus = np.where(MASK, 0, -np.inf)
        by_mask, by_bias = (ref.attention(Q, K, V, D, "attnlrp", **o) for o in ({"mask": MASK}, {"bias": minus}))
        by_order, by_tri = (
            ref.attention(Q, K, V, D, "attnlrp", **o) for o in ({"causal": True}, {"mask": np.tri(3, 6) > 0})
        )
        for one, other in [(by_mask, by_bias), (by_order, by_tri)]:
            assert one.output == pytest.approx(other.output)
            assert one.absorbed == pytest.approx(other.absorbed)
            for c_one, c_other in zip(one.coefficients, other.coefficients, strict=True):
                assert c_one == pytest.approx(c_other)
        assert by_order.coefficients[1][:, 3:] == pytest.approx(0)
        assert by_order.coefficients[2][:, 3:] == pytest.approx(0)

    def test_shared_keys_collect_from_their_heads(self) -> None:
        shared = ref.attention(Q, K, V, D, "attnlrp")
        alone = ref.attention(Q, K.repeat(2, 0), V.repeat(2, 0), D, "attnlrp")
        assert shared.output == pytest.approx(alone.output)
        for one, other in zip(shared.coefficients[1:], alone.coefficients[1:], strict=True):
            assert one == pytest.approx(other.reshape(2, 2, *other.shape[1:]).sum(1))

    def test_cap_is_the_identity_rule_on_scores(self) -> None:
        """The scores' relevance is unchanged by the cap, so queries get what their capped scores got."""
        step = ref.attention(Q, K, V, D, "attnlrp", cap=0.8)
        loose = ref.attention(Q, K, V, D, "attnlrp", cap=1e6)
        plain = ref.attention(Q, K, V, D, "attnlrp")
        assert loose.coefficients[0] == pytest.approx(plain.coefficients[0], abs=1e-9)
        q_share, k_share = (float((t * c).sum()) for t, c in zip((Q, K), step.coefficients[:2], strict=True))
        assert q_share == pytest.approx(k_share)
        assert step.coefficients[0] != pytest.approx(plain.coefficients[0], abs=1e-3)

    def test_cp_lrp_leaves_the_gate_alone(self) -> None:
        step = ref.gated_product(X, W[:3], ref.IDENTITY["gelu"], C, "cp-lrp")
        assert not step.coefficients[0].any()
        halves = ref.gated_product(X, W[:3], ref.IDENTITY["gelu"], C, "attnlrp")
        assert step.coefficients[1] == pytest.approx(2 * halves.coefficients[1])
        assert (X * halves.coefficients[0]) == pytest.approx(W[:3] * halves.coefficients[1])
