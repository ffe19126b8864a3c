"""Relevance of attention heads: found on every architecture, right by hand, and what scaling a head does to the output."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import transformers as hf
from explaining import fresh, state
from families import EAGER_ONLY, VOCABULARY, build
from torch import Tensor, nn
from torch.overrides import _get_current_function_mode_stack as function_modes

from lxtlike import InputError, propagate
from lxtlike.composites import Composite
from lxtlike.methods import Views, lrp
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

IDS = torch.tensor([[5, 17, 33, 8, 60, 7], [12, 9, 40, 0, 0, 0]])
MASK = (IDS != 0).long()


def heads_of(
    model: Any, composite: str = "attnlrp", ids: Tensor = IDS, mask: Tensor = MASK, targets: Any = None, **options: Any
) -> list[Tensor]:
    """Relevance [B, L, H] of the heads, for each target; by default the one target is the fourth logit."""

    def read(outputs: Any) -> Tensor:
        last = outputs.logits.dim() == 3
        return outputs.logits[range(len(ids)), mask.sum(1) - 1] if last else outputs.logits

    inputs = {"input_ids": ids, "attention_mask": mask}
    targets = targets or [lambda rows, _: rows[:, 1]]
    found = lrp(model, inputs, read, targets, Composite.parse(composite), views=Views(heads=True), **options)
    return [explained.heads for explained in found]  # type: ignore[misc]


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


def test_nothing_of_it_stays_with_the_model_whatever_happens() -> None:
    model = fresh("llama")
    before = state(model)
    heads_of(model)
    broken = model.model.layers[1].mlp.register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        heads_of(model)
    broken.remove()
    assert state(model) == before
    assert function_modes() == []


def sparse(attention: Tensor) -> Tensor:
    """A head that is switched off, dropout, a cast, and a sink that is cut off again."""
    masked = attention * torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1)
    return F.pad(F.dropout(masked, 0.1, training=False).to(attention.dtype), (1, 0))[..., 1:]


WAYS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "matmul": lambda a, v: a @ v,
    "changed weights": lambda a, v: sparse(a) @ v,
    "heads in the batch": lambda a, v: torch.bmm(a.flatten(0, 1), v.flatten(0, 1)).unflatten(0, a.shape[:2]),
    "values first": lambda a, v: (v.transpose(2, 3) @ a.transpose(2, 3)).transpose(2, 3),
    "einsum": lambda a, v: torch.einsum("bhts, bhsd -> bhtd", a, v),
    "positions first": lambda a, v: torch.einsum("sbhd,bhts->tbhd", v.permute(2, 0, 1, 3), a).permute(1, 2, 0, 3),
}


class Layer(nn.Module):
    """Attention of two heads of four features, the product with the values written in one of many ways."""

    def __init__(self, way: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.qkv, self.out, self.way = nn.Linear(8, 24), nn.Linear(8, 8), way

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        mixed = self.way((q @ k.transpose(2, 3)).softmax(-1), v)
        return x + self.out(mixed.transpose(1, 2).flatten(2))


class Whole(nn.MultiheadAttention):
    """PyTorch's own attention as a layer."""

    def __init__(self, need_weights: bool) -> None:
        super().__init__(8, 2, batch_first=True)
        self.need_weights = need_weights

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return x + super().forward(x, x, x, need_weights=self.need_weights)[0]


class Model(nn.Module):
    """Layers of one's own between an embedding and the logits."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.embedding, self.layers, self.top = nn.Embedding(VOCABULARY, 8), nn.ModuleList(layers), nn.Linear(8, 5)

    def get_input_embeddings(self) -> nn.Module:
        return self.embedding

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
        x = self.embedding(input_ids)
        for layer in self.layers:
            x = layer(x)
        return hf.modeling_outputs.CausalLMOutput(logits=self.top(x))


def custom(*layers: nn.Module) -> Model:
    torch.manual_seed(0)
    model = Model(*layers).double().eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    return model


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("composite", ["attnlrp", "cp-lrp"])
def test_the_product_with_the_values_may_be_written_in_any_way(way: str, composite: str) -> None:
    model = custom(Layer(WAYS[way]))
    found = heads_of(model, composite)[0]
    if way == "changed weights":
        assert not found[:, 0, 1].any()
        assert found[:, 0, 0].all()
    else:
        torch.testing.assert_close(found, heads_of(custom(Layer(WAYS["matmul"])), composite)[0])


@pytest.mark.parametrize("need_weights", [True, False])
def test_pytorchs_own_attention_is_looked_into(need_weights: bool) -> None:
    model = custom(Whole(need_weights))
    inside = model.layers[0]
    found = heads_of(model)[0]
    same = custom(Layer(lambda a, v: a @ v))
    with torch.no_grad():
        scale = torch.ones(24, 1, dtype=torch.float64)
        scale[:8] = 0.5  # 1 / sqrt(4), which this layer of ours leaves out
        same.load_state_dict(
            {
                **{k: v for k, v in model.state_dict().items() if not k.startswith("layers")},
                "layers.0.qkv.weight": inside.in_proj_weight * scale,
                "layers.0.qkv.bias": inside.in_proj_bias * scale[:, 0],
                "layers.0.out.weight": inside.out_proj.weight,
                "layers.0.out.bias": inside.out_proj.bias,
            }
        )
    torch.testing.assert_close(found, heads_of(same)[0], rtol=1e-9, atol=1e-12)


def test_layers_without_attention_have_heads_of_no_relevance() -> None:
    model = custom(nn.Linear(8, 8), Layer(WAYS["matmul"]), nn.Linear(8, 8))
    found = heads_of(model)[0]
    assert found.shape == (2, 3, 2)
    assert found[:, 1].all()
    assert not found[:, [0, 2]].any()


def test_models_without_heads_say_so() -> None:
    with pytest.raises(InputError, match="no attention heads were found in Model"):
        heads_of(custom(nn.Linear(8, 8)))
    for pieces in (chunked, lambda a, v: a @ v + chunked(a, v)):
        with pytest.raises(InputError, match="computes attention in pieces"):
            heads_of(custom(Layer(pieces)))


def chunked(a: Tensor, v: Tensor) -> Tensor:
    """The product for some positions after the others."""
    return torch.cat([part @ v for part in a.split(3, dim=2)], 2)


def test_attention_within_a_position_is_none_over_the_text() -> None:
    def mixed(a: Tensor, v: Tensor) -> Tensor:
        streams = (a @ v).transpose(1, 2)  # [B, T, H, D]
        within = (streams @ streams.transpose(2, 3)).softmax(-1) @ streams
        return within.transpose(1, 2)

    model = custom(Layer(mixed))
    found = heads_of(model)[0]
    assert found.shape == (2, 1, 2)
    assert found.all()
