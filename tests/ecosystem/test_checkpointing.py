"""Gradient checkpointing: the same relevance and the same accounts for less memory, in eval mode, without dropout."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from explaining import close, explained, fresh, ledgered, untouched
from families import EAGER_ONLY, FAMILIES, embeddings_of
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from lxtlike import InputError, LxtlikeError, propagate
from lxtlike.propagation.precision import Float64Casts

DROPOUT = {"attention_dropout": 0.5, "resid_pdrop": 0.5, "embd_pdrop": 0.5, "hidden_dropout_prob": 0.5, "dropout": 0.5}


def saved(call: Callable[[], Any]) -> int:
    """Bytes of distinct memory that autograd holds for the backward pass of what is called."""
    held: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        call()
    return sum(held.values())


@pytest.mark.parametrize("name", FAMILIES)
def test_relevance_and_ledger_are_those_of_the_plain_run(name: str) -> None:
    model = fresh(name, "eager" if name in EAGER_ONLY else "sdpa")
    plain, ledger = ledgered(model, checkpointing=False)
    with untouched(model):
        again, second = ledgered(model, checkpointing=True)
    assert close(again, plain, 1e-6)
    assert second.relative_error < 1e-5
    for account, value in ledger.accounts.items():
        assert second.accounts[account] == pytest.approx(value, rel=1e-4, abs=1e-5), account


@pytest.mark.parametrize("composite", ["cp-lrp", "epsilon:epsilon=0.01", "input-x-gradient"])
def test_other_composites(composite: str) -> None:
    model = fresh("gpt2")
    assert close(explained(model, composite, checkpointing=True), explained(model, composite, checkpointing=False))


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("name", ["gpt2", "opt", "bert"])
def test_a_model_that_has_it_switched_on(name: str, reentrant: bool) -> None:
    """Its own checkpointing would wake dropout and know no rules; ours takes its place."""
    plain = explained(fresh(name))
    model = fresh(name).train()
    for module in model.modules():
        for attribute in ("p", "dropout", "dropout_prob"):
            if isinstance(getattr(module, attribute, None), float):
                setattr(module, attribute, 0.5)
    for key in set(DROPOUT) & set(model.config.to_dict()):
        setattr(model.config, key, 0.5)
    model._set_gradient_checkpointing(  # type: ignore[operator]
        True, lambda *args, **kwargs: checkpoint(*args, use_reentrant=reentrant, **kwargs)
    )
    runs: list[int] = []
    layer = next(module for module in model.modules() if isinstance(module, GradientCheckpointingLayer))
    handle = next(m for m in layer.modules() if isinstance(m, nn.LayerNorm)).register_forward_hook(
        lambda *_: runs.append(1)
    )
    with untouched(model):
        found = explained(model)
    assert close(found, plain)
    assert len(runs) == 2  # computed again
    with untouched(model):
        assert close(explained(model, checkpointing=False), plain)
    assert len(runs) == 3
    handle.remove()


def test_it_keeps_less() -> None:
    model = fresh("llama")
    model.config.num_hidden_layers = 12
    model.model.layers.extend(copy.deepcopy(model.model.layers[-1]) for _ in range(10))
    embeddings = embeddings_of(model, length=48)

    def forward(checkpointing: bool) -> int:
        with propagate(model, checkpointing=checkpointing):
            return saved(lambda: model(inputs_embeds=embeddings, use_cache=False))

    # A state for each layer, and all of the last three.
    assert forward(True) < 0.4 * forward(False)


def test_a_second_backward_pass_computes_again() -> None:
    model = fresh("gpt2")
    embeddings = embeddings_of(model)
    with propagate(model, checkpointing=True) as audit:
        logits = model(inputs_embeds=embeddings).logits[0, -1]
        for number in (3, 4):
            (coefficients,) = torch.autograd.grad(logits[number], embeddings, retain_graph=True)
            assert audit.ledger(logits[number], embeddings * coefficients).relative_error < 1e-4


def test_a_backward_pass_in_another_thread() -> None:
    """On accelerators, autograd runs backward passes in threads of its own."""
    model = fresh("gpt2")
    embeddings, found = embeddings_of(model), []
    with propagate(model, checkpointing=True):
        value = model(inputs_embeds=embeddings).logits[0, -1, 0]
        thread = threading.Thread(target=lambda: found.extend(torch.autograd.grad(value, embeddings)))
        thread.start()
        thread.join()
    assert close((embeddings * found[0]).detach().sum(-1), explained(model))


def test_modes_around_the_forward_are_around_the_second_run() -> None:
    model = fresh("llama").double()
    embeddings = embeddings_of(model)
    with propagate(model, checkpointing=True) as audit:
        with Float64Casts():
            value = model(inputs_embeds=embeddings).logits[0, -1, 0]
        (coefficients,) = torch.autograd.grad(value, embeddings)
    assert audit.ledger(value, embeddings * coefficients).relative_error < 1e-12


def test_a_backward_pass_after_the_block_is_refused() -> None:
    model = fresh()
    embeddings = embeddings_of(model)
    with propagate(model, checkpointing=True):
        value = model(inputs_embeds=embeddings).logits[0, -1, 0]
    with pytest.raises(LxtlikeError, match="inside its `propagate` block"):
        torch.autograd.grad(value, embeddings)


def test_a_cache_that_holds_something_is_not_filled_twice() -> None:
    model = fresh()
    embeddings = embeddings_of(model)

    def last(checkpointing: bool) -> torch.Tensor:
        with propagate(model, checkpointing=checkpointing):
            with torch.no_grad():
                cache = model(inputs_embeds=embeddings[:, :5].detach(), use_cache=True).past_key_values
            rest = embeddings[:, 5:].detach().requires_grad_()
            value = model(inputs_embeds=rest, past_key_values=cache).logits[0, -1].max()
            return torch.autograd.grad(value, rest)[0]

    assert torch.equal(last(True), last(False))


def test_a_model_without_such_layers_is_refused() -> None:
    with pytest.raises(InputError, match="leave checkpointing off"), propagate(nn.Linear(2, 2), checkpointing=True):
        pass


def test_accounts_by_layer() -> None:
    model, ledgers = fresh(), []
    for checkpointing in (False, True):
        embeddings = embeddings_of(model)
        with propagate(model, by_layer=True, checkpointing=checkpointing) as audit:
            value = model(inputs_embeds=embeddings).logits[0, -1, 0]
            (coefficients,) = torch.autograd.grad(value, embeddings)
        ledgers.append(audit.ledger(value, embeddings * coefficients, by="layer"))
    for one, other in zip(*(ledger.layers for ledger in ledgers), strict=True):
        assert one.name == other.name
        assert one.arrives == pytest.approx(other.arrives, rel=1e-4, abs=1e-5)
