"""Attention in kernels, experts in their forms, kernels from the hub: what is computed is what rules can see."""

from __future__ import annotations

import copy
import threading
import types

import pytest
import torch
import transformers as hf
from explaining import close, explained, fresh, ledgered, untouched
from families import build, embeddings_of, run
from torch import nn

from lxtlike import InputError, propagate

KERNELS = [
    "flex_attention",
    "flash_attention_2",
    "flash_attention_3",
    "paged|sdpa",
    "paged|eager",
    "kernels-community/flash-attn",
]


@pytest.mark.parametrize("name", ["llama", "gpt2", "bert", "gemma3", "mistral"])
@pytest.mark.parametrize("implementation", KERNELS)
def test_attention_in_a_kernel_is_switched_and_restored(name: str, implementation: str) -> None:
    embeddings, plain = embeddings_of(fresh(name)), explained(fresh(name, "sdpa"))
    model = fresh(name)
    for module in model.modules():
        if hasattr(module, "config"):
            module.config._attn_implementation = implementation
        if "_attn_implementation" in vars(module):
            module._attn_implementation = implementation
    config = model.config
    with untouched(model):
        assert close(explained(model, embeddings=embeddings), plain)
    assert model.config is config
    assert config._attn_implementation == implementation


def test_a_model_without_sdpa_runs_eagerly() -> None:
    plain = explained(fresh("bloom"))
    model = fresh("bloom")
    model.config._attn_implementation = "flash_attention_2"
    seen: list[str] = []
    with untouched(model):
        found = explained(model, inside=lambda: seen.append(model.config._attn_implementation))
    assert seen == ["eager"]
    assert close(found, plain)


def test_another_model_with_the_same_config_keeps_its_attention() -> None:
    """Measured where the shared config was edited instead: relevance of the other model wrong by a quarter."""
    one = fresh("llama")
    other = type(one)(one.config)  # type: ignore[operator]
    other.config._attn_implementation = "flash_attention_2"
    assert one.config is other.config
    seen = []

    def beside() -> None:
        seen.append(other.config._attn_implementation)

    with propagate(one):
        beside()
        thread = threading.Thread(target=beside)
        thread.start()
        thread.join()
        assert one.config._attn_implementation == "sdpa"
        assert one.model.layers[0].self_attn.config is one.config
    assert seen == ["flash_attention_2"] * 2


def test_one_part_of_a_composite_model() -> None:
    vision = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {
        "vocab_size": 50,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    config = hf.LlavaConfig(
        vision_config={"model_type": "clip_vision_model", "image_size": 8, "patch_size": 4, **vision},
        text_config={"model_type": "llama", **text},
        image_token_index=49,
    )
    model = hf.LlavaForConditionalGeneration(config).eval()
    model.set_attn_implementation({"text_config": "sdpa", "vision_config": "eager"})
    embeddings = model.get_input_embeddings()(torch.tensor([[3, 4, 5]]))
    plain = explained(model, embeddings=embeddings)
    model.config.text_config._attn_implementation = "flex_attention"
    with untouched(model):
        seen: list[tuple[str, str]] = []
        found = explained(
            model,
            embeddings=embeddings,
            inside=lambda: seen.append(
                (model.config.text_config._attn_implementation, model.config.vision_config._attn_implementation)
            ),
        )
    assert seen == [("sdpa", "eager")]
    assert close(found, plain)


def test_a_class_written_for_a_kernel_is_refused() -> None:
    class OwnFlashAttention2(nn.Linear):
        pass

    model = nn.Sequential(OwnFlashAttention2(2, 2))
    with pytest.raises(InputError, match="attn_implementation='eager'"), propagate(model):
        pass


class Doubling(nn.Module):
    """A layer for which the hub has a kernel: `kernels` marks the class and puts a method on the instance."""

    kernel_layer_name = "Doubling"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + x


class Kernel(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: torch.Tensor) -> torch.Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: object, *gradients: torch.Tensor) -> torch.Tensor:
        return 2 * gradients[0]


def test_a_layer_from_the_hub_runs_by_its_own_code() -> None:
    model, x = nn.Sequential(Doubling(), nn.SiLU()), torch.randn(3, requires_grad=True)
    plain = copy.deepcopy(model)
    model[0].forward = types.MethodType(lambda self, x: Kernel.apply(x), model[0])
    with propagate(plain):
        (expected,) = torch.autograd.grad(plain(x).sum(), x)
    with untouched(model), propagate(model, strict=True):
        (found,) = torch.autograd.grad(model(x).sum(), x)
    assert torch.equal(found, expected)
    assert "Kernel" in model[0](x).grad_fn.name()


@pytest.mark.parametrize("name", ["mixtral", "qwen3_moe"])
@pytest.mark.parametrize("composite", ["attnlrp", "cp-lrp"])
def test_experts_in_all_their_forms(name: str, composite: str) -> None:
    plain, _ = ledgered(fresh(name), composite)
    for implementation in ("grouped_mm", "batched_mm"):
        model = fresh(name)
        model.config._experts_implementation = implementation
        operations: set[str] = set()
        with propagate(model, composite, trace=True) as audit:
            run(model, embeddings_of(model))
        for rules in audit.rules().values():
            operations |= rules.keys()
        assert operations & {"_grouped_mm", "grouped_mm", "bmm"}, operations
        with untouched(model):
            found, ledger = ledgered(model, composite)
        assert close(found, plain)
        assert ledger.relative_error < 1e-5
    assert build(name).config._experts_implementation == "eager"


def test_a_model_that_is_called_flash_is_no_kernel() -> None:
    class OwnV2FlashAttention(nn.Linear):  # MiMoV2Flash has a class of such a name
        pass

    model = nn.Sequential(OwnV2FlashAttention(2, 2))
    x = torch.ones(1, 2, requires_grad=True)
    with propagate(model):
        assert model(x).requires_grad
