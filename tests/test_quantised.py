"""Weight-only quantised models: the relevance of the same model with its weights dequantised; the ledger closes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from quantised import LIBRARIES, TEXTS, bundled, explained, twins, weights
from torch import Tensor, nn

import lxtlike
from lxtlike import Attribution, Composite, propagate

COMPOSITES = pytest.mark.parametrize("composite", ["attnlrp", "cp-lrp", "epsilon"])
BITS = pytest.mark.parametrize("bits", [8, 4])


def twins_or_skip(library: str, bits: int, name: str) -> tuple[Any, Any]:
    try:
        return twins(library, bits, name)
    except ImportError as error:
        pytest.skip(f"{library} is not to be had: {error}")


@COMPOSITES
@BITS
@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("library", LIBRARIES)
def test_relevance_is_that_of_the_dequantised_model(library: str, name: str, bits: int, composite: str) -> None:
    quantised, plain = twins_or_skip(library, bits, name)
    before = {path: parameter.requires_grad for path, parameter in quantised.named_parameters()}
    actual, expected = explained(quantised, name, composite), explained(plain, name, composite)
    assert {path: parameter.requires_grad for path, parameter in quantised.named_parameters()} == before
    assert actual.audit.uncovered == ()
    assert actual.audit.forward_deviation is not None
    assert actual.audit.forward_deviation < 1e-6
    assert actual.target.id == expected.target.id
    # LLM.int8 rounds what comes into a layer too.
    tolerance, open_ = (0.05, 0.01) if (library, bits) == ("bitsandbytes", 8) else (1e-5, 1e-5)
    assert actual.ledger.relative_error <= open_
    assert difference(actual, expected) <= tolerance
    for account, value in expected.ledger.accounts.items():
        assert actual.ledger.accounts[account] == pytest.approx(value, rel=10 * tolerance, abs=tolerance), account


def difference(one: Attribution, other: Attribution) -> float:
    return float(np.abs(one.relevance - other.relevance).max() / np.abs(other.relevance).max())


@BITS
def test_quantising_itself_moves_relevance(bits: int) -> None:
    """Little at 8 bits, more at 4. Without this the test above could compare a model with itself."""
    quantised, _ = twins_or_skip("optimum-quanto", bits, "sentiment")
    change = difference(*(explained(m, "sentiment", "attnlrp") for m in (quantised, bundled("sentiment").model)))
    assert (1e-5 < change < 0.01) if bits == 8 else (0.005 < change < 0.3)


@pytest.mark.parametrize("bits", ["int8", "int4"])
def test_quantised_by_transformers(bits: str) -> None:
    pytest.importorskip("optimum.quanto", reason="optimum-quanto is not installed")
    from transformers import AutoModelForSequenceClassification, QuantoConfig

    folder = Path(lxtlike.__file__).parent / "assets" / "models" / "sentiment"
    model = AutoModelForSequenceClassification.from_pretrained(folder, quantization_config=QuantoConfig(weights=bits))
    assert len(dict(weights(model))) >= 12
    attribution = explained(model, "sentiment", "attnlrp")
    assert attribution.audit.uncovered == ()
    assert attribution.ledger.relative_error < 1e-5


class _Signs(torch.autograd.Function):
    """``x @ (sign * size).T + bias`` by a kernel of its own; what it gives to x is `honesty` times what it should."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, sign: Tensor, size: Tensor, bias: Tensor, honesty: float) -> Tensor:
        ctx.save_for_backward(sign, size)
        ctx.honesty = honesty
        return x @ (sign * size).T + bias

    @staticmethod
    def backward(ctx: Any, *c: Tensor) -> tuple[Tensor | None, ...]:
        sign, size = ctx.saved_tensors
        return ctx.honesty * (c[0] @ (sign * size)), None, None, None, None


class OneBit(nn.Module):
    """A quantised linear layer that no library has."""

    def __init__(self, linear: nn.Linear, honesty: float) -> None:
        super().__init__()
        weight = linear.weight.detach()
        self.register_buffer("sign", weight.sign().to(torch.int8))
        self.register_buffer("size", weight.abs().mean(1, keepdim=True))
        self.bias = linear.bias
        self.honesty = honesty

    def forward(self, x: Tensor) -> Tensor:
        return _Signs.apply(x, self.sign, self.size, self.bias, self.honesty)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("kind", ["gradient", "epsilon"])
def test_a_layer_with_a_kernel_of_its_own_is_told_to_be_linear(kind: str) -> None:
    torch.manual_seed(0)
    first, last = nn.Linear(6, 8), nn.Linear(8, 3)
    packed = OneBit(first, honesty=1.0)
    first.weight.data = packed.sign * packed.size
    x, composite = torch.randn(2, 6), Composite.parse("attnlrp") | {"linear": kind}

    def run(layer: nn.Module, composite: Composite) -> tuple[Tensor, lxtlike.Audit, lxtlike.Ledger]:
        model = nn.Sequential(layer, nn.ReLU(), last)
        leaf = x.clone().requires_grad_()
        with propagate(model, composite) as audit:
            value = model(leaf).max(-1).values.sum()
            (c,) = torch.autograd.grad(value, leaf)
        return leaf.detach() * c, audit, audit.ledger(value, leaf.detach() * c)

    expected, _, ledger = run(first, composite)
    _, reported, _ = run(packed, composite)
    assert [finding.operation for finding in reported.uncovered] == ["torch.autograd.Function _Signs"]
    found, audit, own = run(packed, composite | {OneBit: "linear"})
    assert audit.uncovered == []
    torch.testing.assert_close(found, expected)
    assert own.biases == pytest.approx(ledger.biases)
    assert own.relative_error < 1e-6
    _, audit, own = run(OneBit(first, honesty=0.9), composite | {OneBit: "linear"})
    assert audit.uncovered == []
    assert own.relative_error > 1e-2, "the ledger tells a kernel whose derivative is wrong"
