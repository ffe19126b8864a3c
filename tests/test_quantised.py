"""Weight-only quantised models: the relevance of the same model with its weights dequantised; the ledger closes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import lxtlike
from lxtlike import Attribution, Composite, Explainer, propagate

TEXTS = {
    "bindings": "the box holds a red ball and the bag holds a blue hat . the hat is",
    "sentiment": "the jokes are stale , but the acting is superb and the ending is moving .",
}
MODELS = pytest.mark.parametrize("name", TEXTS)
COMPOSITES = pytest.mark.parametrize("composite", ["attnlrp", "cp-lrp", "epsilon"])
BITS = pytest.mark.parametrize("bits", [8, 4])


@cache
def bundled(name: str) -> Explainer:
    return Explainer.from_pretrained(name)


def quanto(model: nn.Module, bits: int) -> None:
    library = pytest.importorskip("optimum.quanto", reason="optimum-quanto is not installed")
    library.quantize(model, weights=getattr(library, f"qint{bits}"), exclude="lm_head")
    library.freeze(model)


def torchao(model: nn.Module, bits: int) -> None:
    # Not among the test extras: torchao writes to stderr whenever transformers is imported, where the command line
    # promises one line.
    library = pytest.importorskip("torchao.quantization", reason="torchao is not installed")
    grouped = library.IntxWeightOnlyConfig(weight_dtype=torch.int4, granularity=library.PerGroup(32))
    chosen = library.Int8WeightOnlyConfig() if bits == 8 else grouped
    library.quantize_(model, chosen, filter_fn=lambda module, path: type(module) is nn.Linear and path != "lm_head")


def weights(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The quantised linear layers of a model, each with its dequantised weight."""
    for path, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if isinstance(module, nn.Linear) and hasattr(weight, "dequantize") and type(weight) is not nn.Parameter:
            yield path, weight.dequantize().detach()


def twins(name: str, quantise: Callable[[nn.Module], None]) -> tuple[Any, Any]:
    """A quantised model, and the same with its weights dequantised, as plain linear layers."""
    quantised, plain = copy.deepcopy(bundled(name).model), copy.deepcopy(bundled(name).model)
    quantise(quantised)
    found = dict(weights(quantised))
    for path, weight in found.items():
        plain.get_submodule(path).weight = nn.Parameter(weight.clone())
    assert len(found) >= 14
    assert any((weight != bundled(name).model.get_submodule(path).weight).any() for path, weight in found.items())
    return quantised, plain


def explained(model: Any, name: str, composite: str | Composite) -> Attribution:
    return Explainer(model, bundled(name).tokenizer, composite=composite).explain(TEXTS[name])


def assert_same(actual: Attribution, expected: Attribution, tolerance: float) -> None:
    assert actual.audit.uncovered == ()
    assert actual.audit.forward_deviation == 0.0
    assert actual.ledger.relative_error < 1e-5
    assert actual.target.id == expected.target.id
    difference = np.abs(actual.relevance - expected.relevance).max() / np.abs(expected.relevance).max()
    assert difference <= tolerance
    for account, value in expected.ledger.accounts.items():
        assert actual.ledger.accounts[account] == pytest.approx(value, rel=1e-4, abs=1e-5), account


@COMPOSITES
@BITS
@MODELS
@pytest.mark.parametrize("quantise", [quanto, torchao])
def test_relevance_is_that_of_the_dequantised_model(
    name: str, quantise: Callable[[nn.Module, int], None], bits: int, composite: str
) -> None:
    quantised, plain = twins(name, lambda model: quantise(model, bits))
    before = {path: parameter.requires_grad for path, parameter in quantised.named_parameters()}
    assert_same(explained(quantised, name, composite), explained(plain, name, composite), 1e-5)
    assert {path: parameter.requires_grad for path, parameter in quantised.named_parameters()} == before


@BITS
def test_four_bits_move_more_than_eight(bits: int) -> None:
    """What quantising itself changes: little at 8 bits. Without this the tests above could compare equals."""
    quantised, _ = twins("sentiment", lambda model: quanto(model, bits))
    found, full = (
        explained(model, "sentiment", "attnlrp").relevance for model in (quantised, bundled("sentiment").model)
    )
    change = np.abs(found - full).max() / np.abs(full).max()
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


@pytest.mark.parametrize("composite", ["attnlrp", "cp-lrp"])
def test_bitsandbytes_4_bit(composite: str) -> None:
    library = pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    quantised, plain = copy.deepcopy(bundled("sentiment").model), copy.deepcopy(bundled("sentiment").model)
    for path, linear in [(p, m) for p, m in quantised.named_modules() if isinstance(m, nn.Linear)]:
        size = linear.in_features, linear.out_features
        module = library.nn.Linear4bit(*size, compute_dtype=torch.float32, quant_type="nf4")
        module.load_state_dict(linear.state_dict())
        quantised.set_submodule(path, module.to("cpu").eval())
        weight = library.functional.dequantize_4bit(module.weight.data, module.weight.quant_state)
        plain.get_submodule(path).weight = nn.Parameter(weight.reshape(linear.weight.shape))
    assert_same(explained(quantised, "sentiment", composite), explained(plain, "sentiment", composite), 1e-5)


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
