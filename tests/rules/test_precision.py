"""Half precision and extreme values: exact at zero, finite everywhere, as accurate as the type allows."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import reference as ref
import torch
import torch.nn.functional as F
from pairing import Measured, Of, layer, measure, normal
from reference import Array
from test_elementwise import ACTIVATIONS
from torch import Tensor, nn

HALVES = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["float16", "bfloat16"])
BOTH = pytest.mark.parametrize("composite", ["attnlrp", "cp-lrp"])


def rounded(x: Array, dtype: torch.dtype) -> Array:
    """What `x` is in `dtype`, in float64."""
    return torch.tensor(x).to(dtype).double().numpy()


def close(actual: Tensor, expected: Array, ulps: float = 4) -> None:
    """Within a few units in the last place of each entry, or of the smallest normal number."""
    info = torch.finfo(actual.dtype)
    assert torch.isfinite(actual).all()
    error = np.abs(actual.double().numpy() - expected)
    allowed = ulps * info.eps * np.maximum(np.abs(expected), info.smallest_normal)
    assert (error <= allowed).all(), f"{actual.flatten().tolist()} should be {expected.ravel().tolist()}"


def extremes(dtype: torch.dtype) -> Array:
    info = torch.finfo(dtype)
    tiny = info.smallest_normal * info.eps
    ends = [tiny, info.smallest_normal, 0.01, 1.0, 3.3, 6.5, 11.0, 200.0, info.max]
    return rounded(np.array([[-v for v in reversed(ends)] + ends]), dtype)


class TestElementwise:
    @HALVES
    @pytest.mark.parametrize("name", ACTIVATIONS)
    def test_zero_is_exact(self, name: str, dtype: torch.dtype) -> None:
        x, expected = np.array([[0.0, -0.0]]), ref.IDENTITY[name].at_zero
        for form, function in ACTIVATIONS[name].items():
            (coefficient,) = measure(function, (x,), np.ones((1, 2)), dtype=dtype).coefficients
            if name == "mish" and form == "product":  # The model itself rounds tanh(softplus(0)) on the way.
                close(coefficient, np.full((1, 2), expected))
            else:
                assert coefficient.tolist() == torch.full((1, 2), expected, dtype=dtype).tolist(), form

    @HALVES
    @pytest.mark.parametrize("name", [n for n in ACTIVATIONS if n != "cube"])  # Its ratio overflows with its value.
    def test_tiny_and_huge_values(self, name: str, dtype: torch.dtype) -> None:
        x = extremes(dtype)
        function = next(iter(ACTIVATIONS[name].values()))
        (coefficient,) = measure(function, (x,), np.ones_like(x), dtype=dtype).coefficients
        close(coefficient, ref.elementwise(x, ref.IDENTITY[name], np.ones_like(x)).coefficients[0])

    @HALVES
    @BOTH
    def test_gated_product(self, dtype: torch.dtype, composite: str) -> None:
        gate = rounded(np.array([[0.0, -0.0, 0.0, -200.0, 200.0, 1e-7, -3.0, 2.0]]), dtype)
        up = rounded(np.array([[0.0, 2.0, -200.0, 200.0, 200.0, 0.0, -0.0, 1e-7]]), dtype)
        c = np.ones_like(up)
        for name, act in [("silu", F.silu), ("gelu", F.gelu), ("relu", F.relu)]:
            step = ref.gated_product(gate, up, ref.IDENTITY[name], c, composite)
            measured = measure(lambda g, u: act(g) * u, (gate, up), c, composite, dtype)  # noqa: B023
            for actual, expected in zip(measured.coefficients, step.coefficients, strict=True):
                close(actual, expected, ulps=8)


@HALVES
@BOTH
def test_softmax_of_extreme_scores(dtype: torch.dtype, composite: str) -> None:
    x = rounded(np.array([[6e4, -6e4, 0.0], [6e4, 6e4, -np.inf], [-6e4, -6e4, -6e4], [0.0, -0.0, 1e-7]]), dtype)
    c, y = np.array([[1.0, -2.0, 3.0]] * 4), np.ones((4, 3))
    measured = measure(lambda x, y: F.softmax(x, -1) + y, (x, y), c, composite, dtype)
    expected = ref.softmax(x, c).coefficients[0] if composite == "attnlrp" else np.zeros_like(x)
    # An entry is a difference of two numbers of the size of c.
    assert torch.isfinite(measured.coefficients[0]).all()
    assert np.abs(measured.coefficients[0].double().numpy() - expected).max() <= 4 * torch.finfo(dtype).eps * 3
    assert math.isfinite(measured.ledger.softmax)


@HALVES
class TestNorms:
    def test_rows_of_zeros_and_huge_rows(self, dtype: torch.dtype) -> None:
        x = rounded(np.stack([np.zeros(4), np.full(4, 6e4), 6e4 * normal(4) / 3, 1e-6 * normal(4), normal(4)]), dtype)
        gain, beta, c = (rounded(normal(*shape), dtype) for shape in ((4,), (1, 4), (5, 4)))
        tg, tb = torch.tensor(gain).to(dtype), torch.tensor(beta[0]).to(dtype)
        oracle = ref.layer_norm(x, gain, beta[0], c, 1e-5).coefficients[0]
        (actual,) = measure(lambda x: F.layer_norm(x, (4,), tg, tb, 1e-5), (x,), c, dtype=dtype).coefficients
        # The mean over the row is taken off the coefficient: rounding is that of the row's largest entry.
        assert torch.isfinite(actual).all()
        assert np.abs(actual.double().numpy() - oracle).max(1) == pytest.approx(
            0, abs=8 * torch.finfo(dtype).eps * np.abs(oracle).max()
        )
        oracle = ref.rms_norm(x, gain, c, 1e-5).coefficients[0]
        for norm in (lambda x: F.rms_norm(x, (4,), tg, 1e-5), self.upcast(tg)):
            close(measure(norm, (x,), c, dtype=dtype).coefficients[0], oracle)

    def upcast(self, weight: Tensor) -> Callable[[Tensor], Tensor]:
        def norm(x: Tensor) -> Tensor:
            wide = x.to(torch.float32)
            return (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-5)).to(x.dtype) * weight

        return norm

    def test_modules_of_transformers(self, dtype: torch.dtype) -> None:
        from transformers.models.gemma2.modeling_gemma2 import Gemma2RMSNorm
        from transformers.models.llama.modeling_llama import LlamaRMSNorm

        x = rounded(np.stack([np.zeros(4), np.full(4, 6e4), normal(4)]), dtype)
        c = rounded(normal(3, 4), dtype)
        for kind, offset in [(LlamaRMSNorm, 0.0), (Gemma2RMSNorm, 1.0)]:
            module = layer(kind, 4, eps=1e-6).to(dtype)
            step = ref.rms_norm(x, module.weight.detach().double().numpy(), c, 1e-6, offset)
            for fast in (True, False):
                close(measure(module, (x,), c, dtype=dtype, fast=fast).coefficients[0], step.coefficients[0])

    @pytest.mark.parametrize("composite", ["attnlrp", "cp-lrp"])
    @pytest.mark.parametrize("norm", ["llama", "rms_norm", "layer_norm"])
    def test_a_row_of_zeros_does_not_overflow(self, norm: str, composite: str, dtype: torch.dtype) -> None:
        """Each norm multiplies its coefficient by 1000; its relevance is 0, and the other rows must not see any of it."""
        from transformers.models.llama.modeling_llama import LlamaRMSNorm

        norms: dict[str, Callable[[], nn.Module]] = {
            "llama": lambda: LlamaRMSNorm(4, eps=1e-6),
            "rms_norm": lambda: nn.RMSNorm(4, eps=1e-6),
            "layer_norm": lambda: nn.LayerNorm(4, eps=1e-6, bias=False),
        }
        steps = nn.ModuleList(nn.ModuleList([norms[norm](), layer(nn.Linear, 4, 4, bias=False)]) for _ in range(16))

        def run(x: Tensor) -> Tensor:
            for own, mix in steps:
                v = mix(own(x))
                x = x + F.scaled_dot_product_attention(v, v, v, is_causal=True)
            return x

        x, c = rounded(normal(1, 3, 4), dtype), np.ones((1, 3, 4))
        x[:, 0] = 0
        measured = measure(Of(run, steps=steps), (x,), c, composite, dtype)
        exact = measure(Of(run, steps=steps), (x,), c, composite)
        assert float(exact.coefficients[0][0, 0].abs().max()) > torch.finfo(dtype).max
        assert torch.isfinite(measured.coefficients[0]).all()
        relevance, expected = ((x * m.coefficients[0].double().numpy()).sum(-1) for m in (measured, exact))
        assert relevance[0, 0] == expected[0, 0] == 0
        assert relevance == pytest.approx(expected, abs=50 * torch.finfo(dtype).eps * np.abs(expected).max())


class TestEpsilonRule:
    @HALVES
    @pytest.mark.parametrize("epsilon", [0.0, 1e-12, 1e-6, 0.25])
    def test_outputs_of_zero(self, dtype: torch.dtype, epsilon: float) -> None:
        """An output of exactly 0 passes nothing on; an epsilon below the type's range must not make that 0 / 0."""
        x = np.array([[1.0, -1.0], [0.0, -0.0], [2.0, 1.0]])
        weight = np.array([[0.5, 0.5], [1.0, -1.0]])
        c = np.ones((3, 2))
        module = nn.Linear(2, 2, bias=False)
        module.weight.data = torch.tensor(weight)
        step = ref.linear(x, weight, None, c, epsilon)
        close(measure(module, (x,), c, f"epsilon:epsilon={epsilon}", dtype).coefficients[0], step.coefficients[0])


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32], ids=["float16", "bfloat16", "float32"]
)
@BOTH
class TestMaskedRows:
    """Query 1 may see nothing; the others see some keys."""

    SEEN = np.array([[1, 1, 0], [0, 0, 0], [1, 0, 1]], dtype=bool)

    def inputs(self, dtype: torch.dtype) -> tuple[tuple[Array, Array, Array], Array]:
        q, k, v, c = (rounded(normal(1, 3, 4, seed=n), dtype) for n in range(4))
        return (q, k, v), c

    def agrees(self, measured: Measured, inputs: tuple[Array, ...], c: Array, composite: str, seen: Array) -> None:
        step = ref.attention(*inputs, c, composite, mask=seen)
        for actual, expected in zip(measured.coefficients, step.coefficients, strict=True):
            assert torch.isfinite(actual).all()
            error = np.abs(actual.double().numpy() - expected).max()
            assert error <= 8 * torch.finfo(actual.dtype).eps * max(1, np.abs(expected).max())
        assert math.isfinite(measured.ledger.rest)

    def test_fused(self, dtype: torch.dtype, composite: str) -> None:
        inputs, c = self.inputs(dtype)
        hidden = torch.tensor(np.where(self.SEEN, 0.0, -np.inf)).to(dtype)
        for mask in (torch.tensor(self.SEEN), hidden):
            measured = measure(
                lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=mask),  # noqa: B023
                inputs,
                c,
                composite,
                dtype,
            )
            self.agrees(measured, inputs, c, composite, self.SEEN)
            assert not measured.coefficients[0][0, 1].any()

    def test_eager_with_the_lowest_number(self, dtype: torch.dtype, composite: str) -> None:
        """Models add or fill in the lowest finite number; a row without a visible key then attends evenly."""
        inputs, c = self.inputs(dtype)
        seen, lowest = torch.tensor(self.SEEN), torch.finfo(dtype).min

        def filled(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return F.softmax((q @ k.mT / 2).masked_fill(~seen, lowest), -1, dtype=torch.float32).to(q.dtype) @ v

        def added(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return F.softmax(q @ k.mT / 2 + torch.where(seen, 0.0, lowest).to(q.dtype), -1) @ v

        c[:, 1] = 0  # Nothing arrives at rows of padding.
        for spelling in (filled, added):
            self.agrees(measure(spelling, inputs, c, composite, dtype), inputs, c, composite, self.SEEN)

    def test_a_row_that_sees_nothing_and_is_read(self, dtype: torch.dtype, composite: str) -> None:
        """Its scores are hidden by the lowest number, which must not get into the accounts."""
        inputs, c = self.inputs(dtype)
        seen, lowest = torch.tensor(self.SEEN), torch.finfo(dtype).min

        def filled(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return F.softmax((q @ k.mT / 2).masked_fill(~seen, lowest), -1) @ v

        def added(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return F.softmax(q @ k.mT / 2 + torch.where(seen, 0.0, lowest).to(q.dtype), -1) @ v

        for spelling in (filled, added):
            ledger = measure(spelling, inputs, c, composite, dtype).ledger
            assert abs(ledger.biases) + abs(ledger.positions) <= 1e-6
        rest = measure(filled, inputs, c, composite, dtype).ledger.rest
        assert abs(rest) <= 16 * torch.finfo(dtype).eps * np.abs(c).sum()

    def test_eager_with_minus_infinity(self, dtype: torch.dtype, composite: str) -> None:
        inputs, c = self.inputs(dtype)
        seen = self.SEEN.copy()
        seen[1, 0] = True  # A row of nothing but -inf is NaN in the model itself.

        def filled(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return (q @ k.mT / 2).masked_fill(~torch.tensor(seen), -torch.inf).softmax(-1) @ v

        self.agrees(measure(filled, inputs, c, composite, dtype), inputs, c, composite, seen)
