"""The radial correction against its oracle: activations, blocks, live norms; what it conserves and what it leaves alone."""

from __future__ import annotations

import numpy as np
import pytest
import reference as ref
import reference_options as options
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from pairing import check, measure, normal
from reference import Array
from torch import Tensor, nn

from lxtlike import Composite, propagate

RADIAL = Composite.parse("attnlrp") | {"activation": "radial"}
H, C, W, U, D, B = (normal(3, 4, seed=n) if n < 2 else normal(4, 4, seed=n) for n in range(6))
BIAS = normal(4, seed=9)


class Block(nn.Module):
    """A gated MLP with a bias, which a composite takes for one function."""

    def forward(self, h: Tensor) -> Tensor:
        gate, up, down = (torch.tensor(w, dtype=h.dtype) for w in (W, U, D))
        return F.linear(F.silu(h @ gate) * (h @ up), down, torch.tensor(BIAS, dtype=h.dtype))


class Norm(nn.Module):
    """An RMS norm, its statistic alive."""

    def forward(self, h: Tensor) -> Tensor:
        return h * torch.rsqrt(h.pow(2).mean(-1, keepdim=True)) * torch.tensor(BIAS, dtype=h.dtype)


BLOCK = RADIAL | {Block: "activation", Norm: "activation"}


def value(h: Array) -> Array:
    found: Array = Block()(torch.tensor(h)).numpy()
    return found


def test_activation() -> None:
    for name, function in {"silu": F.silu, "tanh": torch.tanh}.items():
        f = np.vectorize(ref.IDENTITY[name].f)
        check(function, options.radial(H, f, C), (H,), C, RADIAL, tolerance=1e-8)


def test_block() -> None:
    """The whole gated MLP is one function: nothing of it is booked, its bias included."""
    found = check(Block(), options.radial(H, value, C), (H,), C, BLOCK, tolerance=1e-8)
    assert found.ledger.biases == 0


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4), (2, 2, 3, 4)])
def test_every_token_keeps_what_arrives_at_it(shape: tuple[int, ...]) -> None:
    h, c = normal(*shape), normal(*shape, seed=1)
    found = measure(Block(), (h,), c, BLOCK)
    torch.testing.assert_close(
        (torch.tensor(h) * found.coefficients[0]).sum(-1), (found.output * torch.tensor(c)).sum(-1)
    )


def test_all_but_the_length_is_the_derivative() -> None:
    """Along every direction that is no multiple of h, the coefficient is the plain gradient."""
    found = measure(Block(), (H,), C, BLOCK).coefficients[0].numpy()
    plain = measure(Block(), (H,), C, "input-x-gradient").coefficients[0].numpy()
    difference = found - plain
    along = (difference * H).sum(1, keepdims=True) * H / (H * H).sum(1, keepdims=True)
    assert difference == pytest.approx(along)
    assert np.abs(difference).max() > 0.01


def test_of_a_live_norm_it_is_the_rule_of_norms() -> None:
    """Its derivative is blind along h, so all that arrives goes there: exactly what a constant statistic gives."""
    step = ref.rms_norm(H, BIAS, C, 0.0)
    check(Norm(), step, (H,), C, BLOCK)


def test_zeros_give_nothing_and_are_booked() -> None:
    h = H.copy()
    h[1] = 0
    found = check(Block(), options.radial(h, value, C), (h,), C, BLOCK, tolerance=1e-8)
    assert found.ledger.biases == pytest.approx(float((BIAS * C[1]).sum()))


def test_two_inputs_share_a_row() -> None:
    class Product(nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return a * b

    found = measure(Product(), (H, W[:3]), C, RADIAL | {Product: "activation"})
    rows = sum((torch.tensor(t) * g).sum(-1) for t, g in zip((H, W[:3]), found.coefficients, strict=True))
    torch.testing.assert_close(rows, (found.output * torch.tensor(C)).sum(-1))
    assert abs(found.ledger.rest) < 1e-12


def test_without_common_rows_the_rest_is_a_bias() -> None:
    found = measure(lambda h: torch.tanh(h.flatten()), (H,), C.flatten(), RADIAL)
    plain = measure(lambda h: torch.tanh(h.flatten()), (H,), C.flatten(), RADIAL | {"activation": "gradient"})
    assert torch.equal(found.coefficients[0], plain.coefficients[0])
    assert found.ledger.biases == pytest.approx(plain.ledger.biases) != 0


def test_a_sum_in_place_behind_it() -> None:
    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = Block()

        def forward(self, h: Tensor) -> Tensor:
            out = self.block(h)
            out += h
            return out

    found = measure(Layer(), (H,), C, BLOCK)
    step = options.radial(H, value, C)
    assert found.coefficients[0].numpy() == pytest.approx(step.coefficients[0] + C, abs=1e-7)
    assert abs(found.ledger.rest) < 1e-12


def test_two_targets_of_one_forward() -> None:
    model, leaf = Block(), torch.tensor(H, requires_grad=True)
    with propagate(model, BLOCK):
        output = model(leaf)
        twice = [torch.autograd.grad((output * torch.tensor(c)).sum(), leaf, retain_graph=True)[0] for c in (C, 3 * C)]
    torch.testing.assert_close(3 * twice[0], twice[1])


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 4), st.integers(0, 1000), st.sampled_from([torch.float64, torch.float32, torch.bfloat16]))
def test_the_ledger_closes(rows: int, seed: int, dtype: torch.dtype) -> None:
    h, c = normal(rows, 4, seed=seed), normal(rows, 4, seed=seed + 1)
    found = measure(Block(), (h,), c, BLOCK, dtype)
    size = float((found.output * torch.tensor(c)).abs().sum()) + float(
        np.abs(h * found.coefficients[0].double().numpy()).sum()
    )
    assert abs(found.ledger.rest) <= 8 * torch.finfo(dtype).eps * size
