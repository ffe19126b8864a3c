"""Each rule against its oracle, through the public road: forward under `propagate`, then `torch.autograd.grad`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import reference as ref
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from pairing import Of, check, layer, measure, normal
from reference import Array
from torch import Tensor, nn

X, C = normal(3, 4), normal(3, 4, seed=1)
Y = normal(3, 4, seed=2)
W, B = normal(5, 4, seed=3), normal(5, seed=4)
C5 = normal(3, 5, seed=5)
TW, TB = torch.tensor(W), torch.tensor(B)
POINTS = np.array([[-700.0, -6.5, -3.0, -1.5, -1e-4, -1e-20, -0.0], [0.0, 1e-20, 1e-4, 0.5, 1.5, 6.5, 700.0]])
C_POINTS = normal(2, 7)
BOTH = pytest.mark.parametrize("composite", ["attnlrp", "cp-lrp"])


def numpy(parameter: Tensor) -> Array:
    return parameter.detach().double().numpy()


LINEAR: dict[str, Callable[[Tensor], Tensor]] = {
    "F.linear": lambda x: F.linear(x, TW, TB),
    "F.linear, keywords": lambda x: F.linear(bias=TB, weight=TW, input=x),
    "matmul": lambda x: x @ TW.T + TB,
    "matmul, reflected": lambda x: (TW @ x.T).T + TB,
    "addmm": lambda x: torch.addmm(TB, x, TW.T),
    "addmm, keywords": lambda x: torch.addmm(input=2 * TB, mat1=x, mat2=4 * TW.T, beta=0.5, alpha=0.25),
    "tensor.addmm": lambda x: TB.expand(3, 5).addmm(x, TW.T),
    "baddbmm": lambda x: torch.baddbmm(4 * TB, x[None], 0.5 * TW.T[None], beta=0.25, alpha=2)[0],
    "bmm": lambda x: torch.bmm(x[None], TW.T[None])[0] + TB,
    "einsum": lambda x: torch.einsum("nd,od->no", x, TW) + TB,
    "einsum, reflected, list": lambda x: torch.einsum("od,nd->no", [TW, x]).add(TB),
    "conv1d": lambda x: F.conv1d(x.T[None], TW[:, :, None], TB)[0].T,
    "in place": lambda x: torch.empty(3, 5, dtype=x.dtype).zero_().addmm_(x, TW.T).add_(TB),
}


class TestLinear:
    @BOTH
    @pytest.mark.parametrize("spelling", LINEAR.values(), ids=list(LINEAR))
    def test_spellings(self, spelling: Callable[[Tensor], Tensor], composite: str) -> None:
        check(spelling, ref.linear(X, W, B, C5), (X,), C5, composite)

    def test_module(self) -> None:
        module = layer(nn.Linear, 4, 5)
        check(module, ref.linear(X, numpy(module.weight), numpy(module.bias), C5), (X,), C5)

    @pytest.mark.parametrize("epsilon", [1e-6, 0.5])
    def test_epsilon(self, epsilon: float) -> None:
        step = ref.linear(X, W, B, C5, epsilon)
        for name in ("F.linear", "addmm, keywords", "conv1d"):
            check(LINEAR[name], step, (X,), C5, f"epsilon:epsilon={epsilon}")

    def test_additive(self) -> None:
        check(lambda x: x + TB[:4], ref.add_constant(X, B[:4], C), (X,), C)
        check(lambda x: TB[:4] - (-x), ref.add_constant(X, B[:4], C), (X,), C)
        check(lambda x: torch.add(x, TB[:4], alpha=2), ref.add_constant(X, 2 * B[:4], C), (X,), C)
        check(torch.add, ref.add(X, Y, C), (X, Y), C)
        check(lambda x, y: x.clone().add_(y), ref.add(X, Y[:1], C), (X, Y[:1]), C)
        check(lambda x, y: torch.stack([x, y]).sum(0), ref.add(X, Y, C), (X, Y), C)

    def test_reductions(self) -> None:
        c = C[:, 0]
        check(lambda x: x.sum(-1), ref.total(X, c), (X,), c)
        check(lambda x: torch.mean(x, dim=1), ref.total(X, c, mean=True), (X,), c)

    def test_rotary(self) -> None:
        cos, sin = np.cos(W[:3, :2]), np.sin(W[:3, :2])
        tc, ts = (torch.tensor(np.concatenate([t, t], 1)) for t in (cos, sin))

        def rotate(x: Tensor) -> Tensor:
            return x * tc + torch.cat([-x[:, 2:], x[:, :2]], -1) * ts

        check(rotate, ref.rotary(X, cos, sin, C), (X,), C)


ACTIVATIONS: dict[str, dict[str, Callable[[Tensor], Tensor]]] = {
    "silu": {
        "F": F.silu,
        "module": nn.SiLU(),
        "in place": lambda x: F.silu(x.clone(), inplace=True),
        "product": lambda x: x * torch.sigmoid(x),
        "product, reflected": lambda x: x.sigmoid().mul(x),
        "product, in place": lambda x: x.clone().mul_(x.sigmoid()),
    },
    "gelu": {"F": F.gelu, "module": nn.GELU()},
    "gelu_tanh": {
        "F": lambda x: F.gelu(x, approximate="tanh"),
        "module": nn.GELU(approximate="tanh"),
    },
    "quick_gelu": {"product": lambda x: x * torch.sigmoid(1.702 * x)},
    "relu": {
        "F": F.relu,
        "torch": torch.relu,
        "method": lambda x: x.relu(),
        "module, in place": Of(lambda x: nn.ReLU(inplace=True)(x.clone())),
        "relu_": lambda x: torch.relu_(x.clone()),
        "clamp": lambda x: x.clamp(min=0),
        "clamp_min": lambda x: torch.clamp_min(x, 0.0),
        "clamp_": lambda x: x.clone().clamp_(min=0),
    },
    "relu_squared": {
        "square": lambda x: torch.square(F.relu(x)),
        "pow": lambda x: F.relu(x).pow(2),
        "operator": lambda x: F.relu(x) ** 2,
    },
    "relu6": {"F": F.relu6, "clamp": lambda x: x.clamp(0, 6), "hardtanh": lambda x: F.hardtanh(x, 0.0, 6.0)},
    "leaky_relu": {"F": F.leaky_relu, "keyword": lambda x: F.leaky_relu(input=x, negative_slope=0.01)},
    "elu": {"F": F.elu, "in place": lambda x: F.elu_(x.clone())},
    "tanh": {"torch": torch.tanh, "F": F.tanh, "method": lambda x: x.tanh(), "in place": lambda x: x.clone().tanh_()},
    "softcap": {"divided": lambda x: torch.tanh(x / 30) * 30, "multiplied": lambda x: 30 * torch.tanh(x * (1 / 30))},
    "mish": {"F": F.mish, "product": lambda x: x * torch.tanh(F.softplus(x))},
    "hardswish": {"F": F.hardswish},
    "softsign": {"F": F.softsign},
    "square": {
        "operator": lambda x: x**2,
        "pow": lambda x: torch.pow(x, 2),
        "product": lambda x: x * x,
        "in place": lambda x: x.clone().square_(),
    },
    "sin": {"torch": torch.sin},
    "erf": {"torch": torch.erf},
}
GATES: dict[str, dict[str, Callable[[Tensor], Tensor]]] = {
    "sigmoid": {
        "torch": torch.sigmoid,
        "F": F.sigmoid,
        "module": nn.Sigmoid(),
        "in place": lambda x: x.clone().sigmoid_(),
    },
    "softplus": {"F": F.softplus, "module": nn.Softplus()},
    "exp": {"torch": torch.exp, "in place": lambda x: x.clone().exp_()},
    "cos": {"torch": torch.cos},
    "hardsigmoid": {"F": F.hardsigmoid},
}


def spellings(table: dict[str, dict[str, Any]]) -> Any:
    pairs = [(name, f) for name, forms in table.items() for f in forms.values()]
    ids = [f"{name}: {form}" for name, forms in table.items() for form in forms]
    return pytest.mark.parametrize(("name", "function"), pairs, ids=ids)


class TestElementwise:
    @spellings(ACTIVATIONS)
    def test_identity_rule(self, name: str, function: Callable[[Tensor], Tensor]) -> None:
        for number, point in np.ndenumerate(POINTS):  # One by one: 700^2 must not hide an error at 1e-4.
            x, c = np.array([[point]]), C_POINTS[number].reshape(1, 1)
            check(function, ref.elementwise(x, ref.IDENTITY[name], c), (x,), c)

    def test_identity_rule_is_the_same_in_cp_lrp(self) -> None:
        for name, forms in ACTIVATIONS.items():
            form = next(iter(forms.values()))
            check(form, ref.elementwise(X, ref.IDENTITY[name], C), (X,), C, "cp-lrp")

    @BOTH
    @spellings(GATES)
    def test_gates_are_constants(self, name: str, function: Callable[[Tensor], Tensor], composite: str) -> None:
        opened = ref.elementwise(X, ref.GATES[name], C).output
        step = ref.Step(opened * Y, (np.zeros_like(X), opened * C), {})
        check(lambda x, y: y * function(x), step, (X, Y), C, composite)
        kept = ref.Step(opened + Y, (np.zeros_like(X), C), {"constant": float((opened * C).sum())})
        check(lambda x, y: function(x) + y, kept, (X, Y), C, composite)

    @BOTH
    def test_every_spelling_of_silu_says_the_same(self, composite: str) -> None:
        """`x * sigmoid(x)` is a tensor times a constant gate, which is what the identity rule gives in closed form."""
        first, *others = (measure(f, (POINTS,), C_POINTS, composite) for f in ACTIVATIONS["silu"].values())
        for other in others:
            torch.testing.assert_close(other.coefficients, first.coefficients, rtol=1e-14, atol=0)

    @pytest.mark.parametrize(
        ("name", "oracle"),
        [
            ("gelu_new", "gelu_tanh"),
            ("gelu_fast", "gelu_tanh"),
            ("gelu_pytorch_tanh", "gelu_tanh"),
            ("gelu_python", "gelu"),
            ("gelu", "gelu"),
            ("quick_gelu", "quick_gelu"),
            ("relu2", "relu_squared"),
            ("relu6", "relu6"),
            ("silu", "silu"),
            ("mish", "mish"),
            ("tanh", "tanh"),
        ],
    )
    def test_activation_modules_of_transformers(self, name: str, oracle: str) -> None:
        """Some are written as products, which would conserve relevance and be wrong if one looked inside."""
        from transformers.activations import ACT2FN

        module = Of(lambda x: act(x), act=(act := ACT2FN[name]))
        check(module, ref.elementwise(X, ref.IDENTITY[oracle], C), (X,), C)


EPS = 1e-3
GAIN, BETA = normal(4, seed=8), normal(4, seed=9)
TG, TE = torch.tensor(GAIN), torch.tensor(BETA)


def rms_by_hand(x: Tensor) -> Tensor:
    return TG * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + EPS))


def layer_norm_by_hand(x: Tensor) -> Tensor:
    middle = x - x.mean(-1, keepdim=True)
    return middle / torch.sqrt(middle.square().mean(-1, keepdim=True) + EPS) * TG + TE


LAYER_NORM: dict[str, Callable[[Tensor], Tensor]] = {
    "F": lambda x: F.layer_norm(x, (4,), TG, TE, EPS),
    "F, keywords": lambda x: F.layer_norm(x, normalized_shape=[4], eps=EPS, bias=TE, weight=TG),
    "torch": lambda x: torch.layer_norm(x, (4,), TG, TE, EPS),
    "by hand": layer_norm_by_hand,
    "by hand, var": lambda x: (x - x.mean(1, True)) / (x.var(1, unbiased=False, keepdim=True) + EPS).sqrt() * TG + TE,
    "by hand, rsqrt": lambda x: (
        (x - x.mean(1, True)) * torch.rsqrt(torch.var(x, 1, correction=0, keepdim=True) + EPS) * TG + TE
    ),
}
RMS_NORM: dict[str, Callable[[Tensor], Tensor]] = {
    "F": lambda x: F.rms_norm(x, (4,), TG, EPS),
    "F, keywords": lambda x: F.rms_norm(input=x, normalized_shape=(4,), weight=TG, eps=EPS),
    "by hand": rms_by_hand,
    "by hand, divided": lambda x: x / (x.square().mean(-1, keepdim=True) + EPS).sqrt() * TG,
    "by hand, power": lambda x: x * (x.pow(2).mean(-1, True) + EPS) ** -0.5 * TG,
}
L2_NORM: dict[str, Callable[[Tensor], Tensor]] = {
    "F": lambda x: F.normalize(x, dim=-1),
    "norm": lambda x: x / x.norm(dim=-1, keepdim=True),
    "vector_norm": lambda x: x / torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp(min=1e-12),
    "rsqrt": lambda x: x * torch.rsqrt((x * x).sum(-1, keepdim=True)),
}


class TestNorms:
    @BOTH
    @pytest.mark.parametrize("spelling", LAYER_NORM.values(), ids=list(LAYER_NORM))
    def test_layer_norm(self, spelling: Callable[[Tensor], Tensor], composite: str) -> None:
        check(spelling, ref.layer_norm(X, GAIN, BETA, C, EPS), (X,), C, composite)

    @BOTH
    @pytest.mark.parametrize("spelling", RMS_NORM.values(), ids=list(RMS_NORM))
    def test_rms_norm(self, spelling: Callable[[Tensor], Tensor], composite: str) -> None:
        check(spelling, ref.rms_norm(X, GAIN, C, EPS), (X,), C, composite)

    @BOTH
    @pytest.mark.parametrize("spelling", L2_NORM.values(), ids=list(L2_NORM))
    def test_l2_norm(self, spelling: Callable[[Tensor], Tensor], composite: str) -> None:
        check(spelling, ref.l2_norm(X, C, 1e-12), (X,), C, composite)

    def test_modules(self) -> None:
        from transformers.models.gemma2.modeling_gemma2 import Gemma2RMSNorm
        from transformers.models.llama.modeling_llama import LlamaRMSNorm
        from transformers.models.t5.modeling_t5 import T5LayerNorm

        for kind, offset in [(nn.RMSNorm, 0.0), (LlamaRMSNorm, 0.0), (T5LayerNorm, 0.0), (Gemma2RMSNorm, 1.0)]:
            norm = layer(kind, 4, eps=EPS)
            step = ref.rms_norm(X, numpy(norm.weight), C, EPS, offset)
            for fast in (True, False):
                # Those of transformers compute in float32 whatever they are given.
                check(Of(norm, norm=norm), step, (X,), C, fast=fast, tolerance=1e-10 if kind is nn.RMSNorm else 1e-6)
        norm = layer(nn.LayerNorm, 4, eps=EPS)
        check(norm, ref.layer_norm(X, numpy(norm.weight), numpy(norm.bias), C, EPS), (X,), C)

    @pytest.mark.parametrize("groups", [1, 2, 6])
    def test_group_norm(self, groups: int) -> None:
        x, c, module = normal(2, 6, 3), normal(2, 6, 3, seed=1), layer(nn.GroupNorm, groups, 6, eps=EPS)
        check(module, ref.group_norm(x, groups, numpy(module.weight), numpy(module.bias), c, EPS), (x,), c)

    def test_batch_norm_is_affine(self) -> None:
        module = layer(nn.BatchNorm1d, 4).eval()
        module.running_mean, module.running_var = torch.tensor(normal(4)), torch.tensor(normal(4) ** 2 + 0.1)
        gain = numpy(module.weight) / np.sqrt(numpy(module.running_var) + module.eps)
        shift = numpy(module.bias) - numpy(module.running_mean) * gain
        check(module, ref.linear(X, np.diag(gain), shift, C), (X,), C)


PRODUCTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "operator": lambda x, y: x * y,
    "mul": torch.mul,
    "multiply": torch.multiply,
    "method": lambda x, y: x.mul(y),
    "keyword": lambda x, y: torch.mul(x, other=y),
    "in place": lambda x, y: x.clone().mul_(y),
    "augmented": lambda x, y: x.clone().__imul__(y),
    "einsum": lambda x, y: torch.einsum("nd,nd->nd", x, y),
    "addcmul": lambda x, y: torch.addcmul(torch.zeros((), dtype=x.dtype), x, 2 * y, value=0.5),
}
MATRIX_PRODUCTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "operator": lambda x, y: x @ y,
    "matmul": torch.matmul,
    "mm": torch.mm,
    "bmm": lambda x, y: torch.bmm(x[None], y[None])[0],
    "einsum": lambda x, y: torch.einsum("nk,km->nm", x, y),
    "baddbmm": lambda x, y: torch.baddbmm(torch.ones(1, 3, 5, dtype=x.dtype), x[None], y[None], beta=0, alpha=1)[0],
    "baddbmm, alpha": lambda x, y: torch.baddbmm(
        input=torch.zeros(1, 3, 5, dtype=x.dtype), batch1=x[None], batch2=y[None], beta=1.0, alpha=0.5
    )[0] * 2,
    "addmm": lambda x, y: torch.zeros(3, 5, dtype=x.dtype).addmm(x, y, beta=0.3, alpha=2.0) / 2,
    "linear": lambda x, y: F.linear(x, y.T),
}  # fmt: skip


class TestProducts:
    @BOTH
    @pytest.mark.parametrize("spelling", PRODUCTS.values(), ids=list(PRODUCTS))
    def test_uniform(self, spelling: Callable[[Tensor, Tensor], Tensor], composite: str) -> None:
        check(spelling, ref.product(X, Y, C), (X, Y), C, composite)

    @BOTH
    @pytest.mark.parametrize("spelling", MATRIX_PRODUCTS.values(), ids=list(MATRIX_PRODUCTS))
    def test_uniform_matrices(self, spelling: Callable[[Tensor, Tensor], Tensor], composite: str) -> None:
        check(spelling, ref.matrix_product(X, W.T, C5), (X, W.T), C5, composite)

    def test_a_tracked_addend_is_no_factor(self) -> None:
        """`alpha x y + beta b` with all three from the input: halves for x and y, the plain gradient for b."""
        step = ref.matrix_product(X, W.T, 0.5 * C5)
        expected = ref.Step(0.5 * step.output + 2 * C5, (2 * C5, *step.coefficients), {})
        check(lambda b, x, y: torch.addmm(b, x, y, beta=2, alpha=0.5), expected, (C5, X, W.T), C5)

    @settings(max_examples=12, deadline=None)
    @given(st.lists(st.sampled_from([1, 2, 3]), min_size=2, max_size=3), st.integers(0, 2), st.integers(0, 2))
    def test_broadcasting(self, shape: list[int], lowered: int, dropped: int) -> None:
        small = [1 if i == lowered else size for i, size in enumerate(shape)][min(dropped, len(shape) - 1) :]
        a, b, c = normal(*shape), normal(*small, seed=1), normal(*shape, seed=2)
        check(torch.mul, ref.product(a, b, c), (a, b), c)

    @BOTH
    def test_division_holds_the_denominator(self, composite: str) -> None:
        below = np.abs(Y) + 0.5
        for spelling in (torch.div, torch.true_divide, lambda x, y: x / y, lambda x, y: x.clone().div_(y)):
            check(spelling, ref.divide(X, below, C), (X, below), C, composite)
        check(lambda x, y: x * y.reciprocal(), ref.divide(X, below, C), (X, below), C, composite)
        check(lambda x: x / 3, ref.divide(X, np.full((1,), 3.0), C)._replace(coefficients=(C / 3,)), (X,), C, composite)

    @BOTH
    @pytest.mark.parametrize(
        ("name", "act"), [("silu", F.silu), ("gelu", F.gelu), ("gelu_tanh", nn.GELU("tanh")), ("relu", F.relu)]
    )
    def test_gated_product(self, name: str, act: Callable[[Tensor], Tensor], composite: str) -> None:
        step = ref.gated_product(X, Y, ref.IDENTITY[name], C, composite)
        check(lambda g, u: act(g) * u, step, (X, Y), C, composite)
        check(lambda g, u: act(g) * u, step, (X, Y), C, composite, fast=False)
        check(lambda g, u: u * act(g), step, (X, Y), C, composite)
        check(lambda g, u: u.clone().mul_(act(g)), step, (X, Y), C, composite)
        joined, both = np.concatenate([X, Y], 1), np.concatenate(step.coefficients, 1)

        def chunked(h: Tensor) -> Tensor:
            g, u = h.chunk(2, dim=-1)
            return act(g) * u

        check(chunked, step._replace(coefficients=(both,)), (joined,), C, composite)

    @BOTH
    def test_gated_product_written_over_the_gate(self, composite: str) -> None:
        step = ref.gated_product(X, Y, ref.IDENTITY["silu"], C, composite)
        check(lambda g, u: F.silu(g).mul_(u), step, (X, Y), C, composite)

    def test_a_gate_that_opens_by_sigmoid_times_itself(self) -> None:
        """`g * sigmoid(g)` is no activation one can see, so CP-LRP takes its product with `up` for any other product."""
        step = ref.gated_product(X, Y, ref.IDENTITY["silu"], C, "attnlrp")
        for composite in ("attnlrp", "cp-lrp"):
            check(lambda g, u: g * torch.sigmoid(g) * u, step, (X, Y), C, composite)

    @BOTH
    @pytest.mark.parametrize("fast", [True, False])
    def test_an_activation_that_was_changed_is_no_gate(self, composite: str, fast: bool) -> None:
        """`h = act(x); h += y; h * u`: what was added gets its share, whether it was added in place or not."""
        u = normal(3, 4, seed=11)
        inner = ref.elementwise(X, ref.IDENTITY["tanh"], C)
        step = ref.product(inner.output + Y, u, C)
        c_h, c_u = step.coefficients
        inner = ref.elementwise(X, ref.IDENTITY["tanh"], c_h)
        step = ref.Step(step.output, (inner.coefficients[0], c_h, c_u), {})

        def added(x: Tensor, y: Tensor, u: Tensor) -> Tensor:
            return (torch.tanh(x) + y) * u

        def added_in_place(x: Tensor, y: Tensor, u: Tensor) -> Tensor:
            h = torch.tanh(x)
            h += y
            return h * u

        for spelling in (added, added_in_place):
            check(spelling, step, (X, Y, u), C, composite, fast=fast)

    @BOTH
    def test_glu_has_a_constant_gate(self, composite: str) -> None:
        opened = ref.elementwise(Y, ref.GATES["sigmoid"], C).output
        step = ref.Step(X * opened, (np.concatenate([opened * C, np.zeros_like(C)], 1),), {})
        check(lambda h: F.glu(h, dim=-1), step, (np.concatenate([X, Y], 1),), C, composite)

    @BOTH
    def test_softmax(self, composite: str) -> None:
        step = ref.softmax(X, C)
        absorbed = step.absorbed
        if composite == "cp-lrp":  # The weights are constants, wherever they go.
            absorbed = {"constant": float((step.output * C).sum())}
            step = step._replace(coefficients=(np.zeros_like(X),))
        for spelling in (
            lambda x: torch.softmax(x, -1),
            lambda x: F.softmax(x, dim=1),
            lambda x: x.softmax(dim=-1),
            lambda x: F.softmax(x, dim=-1, dtype=torch.float64),
            nn.Softmax(dim=-1),
        ):
            flow = ref.Step(step.output + Y, (*step.coefficients, C), absorbed)
            check(lambda x, y: spelling(x) + y, flow, (X, Y), C, composite)  # noqa: B023
