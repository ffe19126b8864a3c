"""Explainers of tiny models in float64, and what hooks of one's own see in them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from families import VOCABULARY, build
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from lxtlike import Explainer, propagate

TEXT = "w5 w17 w33 w8 w60 w7"
IDS = torch.tensor([[5, 17, 33, 8, 60, 7]])
TARGET, CONTRAST = 11, 29


@cache
def words() -> PreTrainedTokenizerFast:
    """Word number n of the vocabulary is "wn"; 0 pads, 1 is all that is unknown."""
    names = ["[PAD]", "[UNK]", *(f"w{number}" for number in range(2, VOCABULARY))]
    known = Tokenizer(WordLevel({name: number for number, name in enumerate(names)}, unk_token="[UNK]"))
    known.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=known, unk_token="[UNK]", pad_token="[PAD]")


def explainer(name: str, composite: Any = "attnlrp", dtype: torch.dtype = torch.float64, **options: Any) -> Explainer:
    return Explainer(build(name, "eager", dtype), words(), composite=composite, **options)  # type: ignore[arg-type]


def target_of(one: Explainer) -> dict[str, Any]:
    return {"target": TARGET, "contrast": CONTRAST} if one.task == "causal-lm" else {"target": 0, "contrast": 1}


@contextmanager
def hooked(*places: tuple[nn.Module, bool]) -> Iterator[list[Tensor]]:
    """Inputs (True) or outputs of modules as they run."""
    seen: list[Tensor] = []

    def note(_: nn.Module, __: Any, output: Any) -> Any:
        first = output[0] if isinstance(output, tuple) else output
        seen.append(first)
        own = first.clone()  # some models add to what they got in place
        return (own, *output[1:]) if isinstance(output, tuple) else own

    handles = [
        module.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
        if is_input
        else module.register_forward_hook(note)
        for module, is_input in places
    ]
    yield seen
    for handle in handles:
        handle.remove()


def by_hand(one: Explainer, *places: tuple[nn.Module, bool]) -> list[Tensor]:
    """Relevance of those tensors for the contrast of `target_of`, by hooks and a backward pass of one's own."""
    ids, asked = IDS, target_of(one)
    embeddings = one.model.get_input_embeddings()(ids).detach().requires_grad_()
    with propagate(one.model, one.composite), hooked(*places) as seen:
        logits = one.model(inputs_embeds=embeddings).logits[0]
        row = logits[-1] if logits.dim() == 2 else logits
        coefficients = torch.autograd.grad(row[asked["target"]] - row[asked["contrast"]], seen)
    return [(x * c).detach().reshape(-1, x.shape[-1]) for x, c in zip(seen, coefficients, strict=True)]
