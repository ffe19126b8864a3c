"""Memory grows with the text, not with its square: what is kept for the backward pass, and the largest tensor there is."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from lxtlike.propagation import propagate
from lxtlike.rules import blocks

LENGTH = 256
SIZES = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "vocab_size": 8,
    "max_position_embeddings": 2 * LENGTH,
}


def llama() -> nn.Module:
    return transformers.LlamaModel(transformers.LlamaConfig(**SIZES, num_key_value_heads=1))


def mistral() -> nn.Module:
    return transformers.MistralModel(transformers.MistralConfig(**SIZES, num_key_value_heads=1, sliding_window=24))


def bert() -> nn.Module:
    return transformers.BertModel(transformers.BertConfig(**SIZES))


class Largest(TorchDispatchMode):
    """Remembers the largest tensor of numbers that an operation made. Yes and no (a model's own masks) are no numbers."""

    numel = 0

    def __torch_dispatch__(self, func: Any, types: object, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for t in found if isinstance(found, (list, tuple)) else [found]:
            if isinstance(t, Tensor) and t.is_floating_point():
                self.numel = max(self.numel, t.numel())
        return found


def measured(model: nn.Module, length: int, composite: str, checkpointing: bool) -> tuple[int, int]:
    """Bytes of numbers that are kept for the backward pass, whoever keeps them, and the entries of the largest tensor."""
    kept: dict[int, int] = {}

    def pack(t: Tensor) -> Tensor:
        if t.is_floating_point():
            kept[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    ids = torch.arange(length)[None] % 8
    mask = torch.ones_like(ids)
    with Largest() as largest, propagate(model, composite, checkpointing=checkpointing) as audit:
        x = model.get_input_embeddings()(ids).detach().requires_grad_()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            top = model(inputs_embeds=x, attention_mask=mask).last_hidden_state[0, -1].square().sum()
        (c,) = torch.autograd.grad(top, x)
        audit.ledger(top, audit.relevance(x, c))
    return sum(kept.values()), largest.numel


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("composite", ["attnlrp", "attnlrp-warm"])
@pytest.mark.parametrize("make", [llama, mistral, bert])
def test_memory_grows_with_the_text(
    make: Any, composite: str, checkpointing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "ENTRIES", 64 * LENGTH)
    torch.manual_seed(0)
    model = make().eval()
    kept, _ = measured(model, LENGTH, composite, checkpointing)
    twice, largest = measured(model, 2 * LENGTH, composite, checkpointing)
    assert twice < 2.5 * kept
    assert largest < (2 * LENGTH) ** 2 / 4
