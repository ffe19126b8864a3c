"""Relevance of attention heads: found on every architecture, right by hand, and what scaling a head does to the output."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from explaining import IDS, MASK, fresh, heads_of, untouched
from families import EAGER_ONLY, build
from torch import Tensor, nn

from lxtlike import propagate
from lxtlike.propagation.precision import Float64Casts

OUTPUTS = {
    "llama": "self_attn.o_proj",
    "gemma2": "self_attn.o_proj",
    "phi3": "self_attn.o_proj",
    "qwen3_moe": "self_attn.o_proj",
    "gpt2": "attn.c_proj",
    "gpt_neox": "attention.dense",
    "opt": "self_attn.out_proj",
    "bloom": "self_attention.dense",
    "falcon-alibi": "self_attention.dense",
    "bert": "attention.output.dense",
    "distilbert": "attention.out_lin",
    "deberta-v2": "attention.output.dense",
    "modernbert": "attn.Wo",
}
"""What the field calls the place of the heads: the input of the output projection."""


def projections(model: nn.Module, name: str) -> list[nn.Module]:
    return [module for path, module in model.named_modules() if path.endswith(OUTPUTS[name])]


@contextmanager
def seen(modules: list[nn.Module], change: Callable[[int, Tensor], Tensor] = lambda _, x: x) -> Any:
    """The inputs of modules as they run, each perhaps changed before."""
    inputs: list[Tensor] = []

    def note(number: int) -> Callable[[nn.Module, Any], Any]:
        def hook(_: nn.Module, args: Any) -> Any:
            inputs.append(change(number, args[0]))
            return (inputs[-1], *args[1:])

        return hook

    handles = [module.register_forward_pre_hook(note(number)) for number, module in enumerate(modules)]
    try:
        yield inputs
    finally:
        for handle in handles:
            handle.remove()


def score(model: Any, **inputs: Any) -> Tensor:
    """The second logit [B] that `heads_of` explains."""
    logits = model(**inputs, attention_mask=MASK).logits
    return logits[range(len(IDS)), MASK.sum(1) - 1, 1] if logits.dim() == 3 else logits[:, 1]


@pytest.mark.parametrize("composite", ["attnlrp", "cp-lrp"])
@pytest.mark.parametrize("name", OUTPUTS)
def test_heads_are_what_arrives_at_the_output_projection(name: str, composite: str) -> None:
    model, count = build(name, "eager", torch.float64), 4
    embedded = model.get_input_embeddings()(IDS).detach().requires_grad_()
    with Float64Casts():
        found = heads_of(model, composite)[0]
        with propagate(model, composite), seen(projections(model, name)) as inputs:
            coefficients = torch.autograd.grad(score(model, inputs_embeds=embedded).sum(), inputs)
    by_hand = []
    for x, c in zip(inputs, coefficients, strict=True):
        rows = (x.detach() * c).reshape(len(IDS), -1, x.shape[-1])
        by_hand.append(rows.unflatten(-1, (count, -1)).sum((1, 3)))
    torch.testing.assert_close(found, torch.stack(by_hand, 1), rtol=1e-10, atol=1e-13)
    assert found.shape == (2, 2, count)
    assert bool(found.all())


@pytest.mark.parametrize("name", ["llama", "gpt2", "bert"])
def test_under_plain_gradients_it_is_what_scaling_a_head_does(name: str) -> None:
    model, step = build(name, "eager", torch.float64), 1e-4
    modules = projections(model, name)
    with Float64Casts():
        found = heads_of(model, "input-x-gradient")[0]
        for layer, head in ((0, 1), (1, 3)):

            def scored(factor: float, layer: int = layer, head: int = head) -> Tensor:
                def scale(number: int, x: Tensor) -> Tensor:
                    factors = torch.ones(4, dtype=x.dtype)
                    factors[head] = factor if number == layer else 1.0
                    return x * factors.repeat_interleave(x.shape[-1] // 4)

                with torch.no_grad(), seen(modules, scale):
                    return score(model, input_ids=IDS)

            slope = (scored(1 + step) - scored(1 - step)) / (2 * step)
            torch.testing.assert_close(found[:, layer, head], slope, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", sorted(set(OUTPUTS) - EAGER_ONLY - {"falcon-alibi"}))  # its own outputs differ
def test_fused_attention_has_the_same_heads(name: str) -> None:
    with Float64Casts():
        eager, fused = (heads_of(build(name, kind, torch.float64))[0] for kind in ("eager", "sdpa"))
    torch.testing.assert_close(fused, eager, rtol=1e-6, atol=1e-9)  # some tables of positions are float32


@pytest.mark.parametrize("name", ["llama", "bert", "bloom"])
def test_a_batch_and_its_padding_change_nothing(name: str) -> None:
    model = build(name, "eager", torch.float64)
    with Float64Casts():
        together = heads_of(model)[0]
        alone = heads_of(model, ids=IDS[1:, :3], mask=MASK[1:, :3])[0]
    torch.testing.assert_close(together[1:], alone, rtol=1e-9, atol=1e-12)


def test_they_are_linear_in_the_target_and_the_same_when_layers_run_again() -> None:
    model = build("llama", "sdpa", torch.float64)
    targets = [lambda rows, _: rows[:, 1], lambda rows, _: rows[:, 2], lambda rows, _: rows[:, 1] - 3 * rows[:, 2]]
    one, two, both = heads_of(model, targets=targets)
    torch.testing.assert_close(both, one - 3 * two, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(heads_of(model, checkpointing=True)[0], one, rtol=1e-12, atol=0)


@pytest.mark.parametrize(("dtype", "part"), [(torch.float16, 0.01), (torch.bfloat16, 0.1)])
def test_half_precision_is_as_near_as_its_digits(dtype: torch.dtype, part: float) -> None:
    exact = heads_of(build("llama", "sdpa"))[0]
    found = heads_of(build("llama", "sdpa", dtype))[0]
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, exact, rtol=0, atol=part * float(exact.abs().max()))


@pytest.mark.parametrize("raised", [ZeroDivisionError, KeyboardInterrupt])
def test_nothing_of_it_stays_with_the_model_whatever_happens(raised: type[BaseException]) -> None:
    def refuse(*_: Any) -> None:
        raise raised

    model = fresh("llama")
    with untouched(model):
        heads_of(model)
        broken = model.model.layers[1].mlp.register_forward_pre_hook(refuse)
        with pytest.raises(raised):
            heads_of(model)
        broken.remove()
