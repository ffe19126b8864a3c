"""Input embeddings as leaves: where relevance is read out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lxtlike.errors import InputError
from lxtlike.propagation.walk import modules
from lxtlike.rules.primitives import Book, wide


def input_embedding(model: Any) -> nn.Module:
    """The module that looks the input tokens of a transformers model up.

    Raises:
        InputError: the model names no such module (Canine hashes characters into several tables).
    """
    try:
        source = model.get_input_embeddings()
    except (AttributeError, NotImplementedError):
        source = None
    if not isinstance(source, nn.Module):
        raise InputError(
            f"{type(model).__name__} has no single input embedding to read relevance at: use `lxtlike.propagate` with leaves "
            "of your own"
        )
    return source


def decoder_embedding(model: Any) -> nn.Module | None:
    """The module that looks the tokens of an encoder-decoder's decoder up; None of any other model."""
    if not getattr(getattr(model, "config", None), "is_encoder_decoder", False):
        return None
    decoder = model.get_decoder()
    found: nn.Module = getattr(decoder, "embed_tokens", None) or decoder.get_input_embeddings()
    return found


@contextmanager
def embedding_leaves(
    model: nn.Module, ids: Tensor | None = None, place: Callable[[Tensor], Tensor] | None = None
) -> Iterator[list[Tensor]]:
    """Within the block, input embeddings are leaves that require grad; the list fills as the model looks tokens up.

    The model is called with token ids, as always: position ids, padding and whatever else it derives from them stay its own
    business. The embeddings of encoder and decoder, tied or not, give a leaf each, in the order in which they run.

    Args:
        ids: what the model is called with, [B, T]; leaves are [B, T, D] then also where it looks up position by position.
        place: what the model goes on with instead of what it looked up, [B, T, D]; None: with that.
    """
    leaves: list[Tensor] = []

    def as_leaf(embedded: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return embedded
        leaf = embedded.detach()
        leaves.append((leaf if place is None else place(leaf)).requires_grad_())
        return leaves[-1].clone()  # models scale what they looked up in place, which torch refuses for a leaf

    with looked_up(model, as_leaf, ids):
        yield leaves


@contextmanager
def looked_up(model: nn.Module, change: Callable[[Tensor], Tensor], ids: Tensor | None = None) -> Iterator[None]:
    """Within the block, a model goes on with `change` of what it looked up, [B, T, D]; other threads are not concerned.

    Args:
        ids: what the model is called with, [B, T]; needed where it looks up position by position.
    """
    owner = threading.get_ident()

    def changed(_module: nn.Module, args: Any, output: Any) -> Any:
        if threading.get_ident() != owner:
            return output
        if isinstance(output, tuple):  # quantised embeddings hand out their scale too
            return (changed(_module, args, output[0]), *output[1:])
        if ids is not None and bool(args) and _is_transposed(args[0], ids):
            return change(output.transpose(0, 1)).transpose(0, 1)
        return change(output)

    source = input_embedding(model)
    weight = getattr(source, "weight", None)
    inside = set(source.modules())  # an adapter looks up in an embedding inside it, and adds to that
    tied = [m for m in modules(model) if isinstance(m, nn.Embedding) and m.weight is weight and m not in inside]
    decoder = decoder_embedding(model)
    places = dict.fromkeys((source, *tied, *([] if decoder is None else [decoder])))
    handles = [module.register_forward_hook(changed) for module in places]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _is_transposed(looked_up: Tensor, ids: Tensor) -> bool:
    """Whether these are the ids [B, T] as [T, B], as XLNet has them."""
    if looked_up.shape == ids.shape:
        return ids.shape[0] == ids.shape[1] > 1 and torch.equal(looked_up, ids.T) and not torch.equal(ids, ids.T)
    return looked_up.shape == ids.T.shape


@dataclass(frozen=True)
class TokenPlaces:
    """Where the relevance of tokens is read.

    Attributes:
        leaves: what was looked up, in the order of `embedding_leaves`.
        speaks: the last one is of a decoder's own tokens.
        repeats: the last one is of the same text, one place further right behind a start token, as a decoder reads it in
            a classifier.
    """

    leaves: Sequence[Tensor]
    speaks: bool
    repeats: bool

    @classmethod
    def of(cls, model: Any, leaves: Sequence[Tensor], inputs: Mapping[str, Any], book: Book) -> TokenPlaces:
        """For a model that was called with these inputs; what a start token keeps is booked as a bias."""
        speaks = "decoder_input_ids" in inputs
        repeats = not speaks and len(leaves) > 1 and decoder_embedding(model) is not None
        if repeats:
            start = leaves[-1].detach()[:, :1]
            book.absorb("biases", leaves[-1], lambda c: wide(start) * wide(c[:, :1]))
        return cls(leaves, speaks, repeats)

    def sums(self, products: Iterator[Tensor]) -> tuple[Tensor, Tensor | None]:
        """Relevance of the tokens [B, T], and of a decoder's own [B, D].

        Args:
            products: the relevance of each leaf, in its own shape.
        """
        relevance, *others = [next(products).sum(-1) for _ in self.leaves]
        if self.repeats:
            relevance[:, :-1] += others[-1][:, 1:].to(relevance)
        return relevance, others[-1].to(relevance) if self.speaks else None
