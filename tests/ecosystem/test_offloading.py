"""Weights that accelerate keeps in memory or on disk and loads for the time of one module's forward."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_models
import torch
import transformers
from accelerate import cpu_offload, disk_offload, dispatch_model, init_empty_weights, load_checkpoint_and_dispatch
from accelerate.hooks import remove_hook_from_module
from explaining import close, explained, fresh, untouched
from families import embeddings_of
from torch import nn
from transformers import AutoModelForCausalLM

from lxtlike import Explainer, propagate

MAPS = {
    "llama": {"model.embed_tokens": "cpu", "model.layers.0": "cpu", "model.layers.1": "disk", "model.norm": "disk"},
    "gpt2": {"transformer.wte": "cpu", "transformer.wpe": "cpu", "transformer.h": "disk", "transformer.ln_f": "disk"},
    "bert": {"bert.embeddings": "cpu", "bert.encoder": "disk", "bert.pooler": "disk", "classifier": "cpu"},
}


def dispatched(model: nn.Module, folder: Path) -> nn.Module:
    name = type(model).__name__.lower()
    places = next(places for kind, places in MAPS.items() if name.startswith(kind))
    rest = {name: "cpu" for name, _ in model.named_children() if not any(place.startswith(name) for place in places)}
    if hasattr(model, "model"):
        rest |= {"model.rotary_emb": "cpu"}
    return dispatch_model(model, places | rest, main_device="cpu", offload_dir=folder)


WAYS: dict[str, Callable[[nn.Module, Path], nn.Module]] = {
    "cpu_offload": lambda model, _: cpu_offload(model, "cpu"),
    "cpu_offload with buffers": lambda model, _: cpu_offload(model, "cpu", offload_buffers=True),
    "disk_offload": lambda model, folder: disk_offload(model, folder, "cpu"),
    "dispatch_model": dispatched,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("checkpointing", [False, True])
def test_offloaded_before_the_block(way: str, name: str, checkpointing: bool, tmp_path: Path) -> None:
    embeddings, plain = embeddings_of(fresh(name)), explained(fresh(name))
    model = WAYS[way](fresh(name), tmp_path)
    assert any(parameter.is_meta for parameter in model.parameters())
    with untouched(model):
        found = explained(model, embeddings=embeddings, checkpointing=checkpointing)
    assert close(found, plain)
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", MAPS)
def test_offloaded_inside_the_block(way: str, name: str, tmp_path: Path) -> None:
    embeddings, plain = embeddings_of(fresh(name)), explained(fresh(name))
    model = fresh(name)
    found = explained(model, embeddings=embeddings, inside=lambda: WAYS[way](model, tmp_path))
    assert close(found, plain)
    assert all(parameter.requires_grad for parameter in model.parameters())
    # The hooks stay, as their owner wants it; nothing of ours stays under them.
    remove_hook_from_module(model, recurse=True)
    assert close(explained(model, embeddings=embeddings), plain)
    with torch.no_grad():
        one, other = (m(inputs_embeds=embeddings).logits for m in (model, fresh(name)))
    assert torch.equal(one, other)


def test_a_model_that_was_explained_before_it_was_offloaded() -> None:
    """What the fast lane knows of a norm must not be used while its weight is away."""
    model = fresh("llama")
    plain, embeddings = explained(model), embeddings_of(model)
    assert close(explained(cpu_offload(model, "cpu"), embeddings=embeddings), plain)


def test_with_checkpointing_the_graph_holds_no_weights() -> None:
    """Without it, the graph keeps every weight from its forward to its backward, and offloading saves nothing."""
    held: dict[bool, int] = {}
    for checkpointing in (False, True):
        model, embeddings = cpu_offload(fresh("llama"), "cpu"), embeddings_of(fresh("llama"))
        weights = {parameter.shape for layer in model.model.layers for parameter in layer.parameters()}
        kept: list[torch.Size] = []

        def pack(
            tensor: torch.Tensor, weights: set[torch.Size] = weights, kept: list[torch.Size] = kept
        ) -> torch.Tensor:
            kept.extend({tensor.shape, tensor.mT.shape if tensor.dim() == 2 else tensor.shape} & weights)
            return tensor

        with propagate(model, checkpointing=checkpointing):
            with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
                logits = model(inputs_embeds=embeddings, use_cache=False).logits
            logits[0, -1].max().backward()
        held[checkpointing] = len(kept)
    assert held[False] >= 2 * 7  # seven linear layers in each of two layers
    assert held[True] <= 1  # the last norm, which is in no layer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_models.save("causal-lm", tmp_path / "model")


def test_load_checkpoint_and_dispatch(folder: Path, tmp_path: Path) -> None:
    plain = tiny_models.model("causal-lm")
    with init_empty_weights():
        empty = AutoModelForCausalLM.from_config(plain.config)
    empty.tie_weights()
    places = {"model.embed_tokens": "cpu", "lm_head": "cpu", "model.norm": "cpu", "model.rotary_emb": "cpu"}
    model = load_checkpoint_and_dispatch(
        empty, folder, places | {"model.layers": "disk"}, offload_folder=tmp_path / "weights"
    ).eval()
    assert close(explained(model, embeddings=embeddings(plain)), explained(plain, embeddings=embeddings(plain)))


def embeddings(model: nn.Module) -> torch.Tensor:
    lookup: Callable[[torch.Tensor], torch.Tensor] = model.get_input_embeddings()  # type: ignore[operator]
    return lookup(torch.tensor([[6, 7, 10, 15, 16, 6, 9]]))


@pytest.mark.parametrize("everything", [False, True])
def test_an_explainer_of_a_model_on_disk(folder: Path, tmp_path: Path, everything: bool) -> None:
    expected = Explainer.from_pretrained(folder).explain("the red ball is . the")
    places = {"model.embed_tokens": "cpu", "lm_head": "cpu", "model.norm": "cpu", "model.rotary_emb": "cpu"}
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        device_map={"": "disk"} if everything else places | {"model.layers": "disk"},
        offload_folder=tmp_path / "weights",
    )
    assert any(parameter.is_meta for parameter in model.parameters())
    with torch.no_grad():
        try:
            model(torch.tensor([[6, 7]]))  # the first forward already unties offloaded weights
        except RuntimeError as error:
            pytest.skip(f"the model does not run with transformers {transformers.__version__}: {error}")
    with untouched(model):
        found = Explainer(model, tiny_models.tokenizer(), checkpointing=True).explain("the red ball is . the")
    assert found.relevance == pytest.approx(expected.relevance, rel=1e-4, abs=1e-6)
    assert found.ledger.relative_error < 1e-4
    assert found.audit.forward_deviation == pytest.approx(0.0, abs=1e-6)
