"""Texts to the keyword arguments of a model's forward, and what is read of the logits that come back."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from itertools import product
from typing import Any

import torch
from torch import Tensor

from lxtlike.attribution import Candidate
from lxtlike.choices import Choices
from lxtlike.errors import InputError
from lxtlike.methods import input_embedding
from lxtlike.text import Encoded, Tokenizer


def model_inputs(
    batch: Sequence[Encoded], model: Any, tokenizer: Tokenizer, kept: Sequence[int] | None = None
) -> dict[str, Any]:
    """Ids [B, T] padded on the right with their mask, on the device of the input embedding; a decoder's ids [B, D] likewise.

    Padding on the right leaves the positions of real tokens as they are, in causal models too.

    Args:
        kept: the positions whose logits are wanted, in order, for models that can leave the others out (`keeps_logits`).
    """
    weight = getattr(input_embedding(model), "weight", None)
    device = model.device if weight is None or weight.is_meta else weight.device
    if device.type == "meta":  # all offloaded: accelerate sends inputs where they belong
        device = torch.device("cpu")

    def padded(rows: Sequence[Sequence[int]], filling: int) -> Tensor:
        longest = max(map(len, rows))
        return torch.tensor([[*row, *[filling] * (longest - len(row))] for row in rows], device=device)

    pad = _pad_id(model, tokenizer)
    first, *decoder = (
        [[token.id for token in tokens] for tokens in sequences]
        for sequences in zip(*(encoded.sequences for encoded in batch), strict=True)
    )
    inputs: dict[str, Any] = {"input_ids": padded(first, pad)}
    if decoder:
        inputs["decoder_input_ids"] = padded(decoder[0], pad)
    accepted = inspect.signature(model.forward).parameters
    if "attention_mask" in accepted:
        inputs["attention_mask"] = padded([[1] * len(row) for row in first], 0)
    if "token_type_ids" in accepted and any(encoded.types for encoded in batch):
        types = [encoded.types or [0] * len(row) for encoded, row in zip(batch, first, strict=True)]
        inputs["token_type_ids"] = padded(types, 0)
    if "use_cache" in accepted:
        inputs["use_cache"] = False
    if kept is not None and keeps_logits(model):
        inputs["logits_to_keep"] = list(kept)  # no tensor, which would have to be where the last layer is
    return inputs


def keeps_logits(model: Any) -> bool:
    """Whether the model's forward can be told which logits are wanted."""
    return "logits_to_keep" in inspect.signature(model.forward).parameters


def rows_at(logits: Tensor, items: Sequence[int], positions: Sequence[int], kept: Sequence[int]) -> Tensor:
    """The rows [R, V] of logits [B, T, V] at pairs of item and position.

    Args:
        kept: the positions the model was asked to keep (as in `model_inputs`); it may have given all of them.
    """
    if logits.shape[1] == len(kept):
        place = {position: index for index, position in enumerate(kept)}
        positions = [place[position] for position in positions]
    if [*zip(items, positions, strict=True)] == [*product(range(logits.shape[0]), range(logits.shape[1]))]:
        return logits.flatten(0, 1)  # a view: no backward pass through it fills another tensor of this size
    device = logits.device
    return logits[torch.tensor(items, device=device), torch.tensor(positions, device=device)]


def check_length(encoded: Encoded, model: Any, tokenizer: Tokenizer) -> None:
    """Raise InputError when a text is longer than its model takes."""
    config = model.config.get_text_config()
    limits = [getattr(config, "max_position_embeddings", None), getattr(tokenizer, "model_max_length", None)]
    limit = min((int(n) for n in limits if isinstance(n, (int, float)) and 0 < n < 1e9), default=None)
    for name, tokens in zip(("text", "output"), encoded.sequences, strict=False):
        if limit is not None and len(tokens) > limit:
            raise InputError(f"the {name} has {len(tokens)} tokens, the model takes at most {limit}: shorten it")


def prediction(row: Tensor, choices: Choices, count: int = 5) -> tuple[Candidate, ...]:
    """The `count` most probable choices of a row of logits [V], the first one first."""
    probabilities = row.float().softmax(-1)
    best = row.float().topk(min(count, len(row)))
    return tuple(
        Candidate(number, choices.name(number), logit, float(probabilities[number]))
        for number, logit in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    )


def _pad_id(model: Any, tokenizer: Tokenizer) -> int:
    config = model.config.get_text_config()
    candidates = (getattr(config, "pad_token_id", None), getattr(tokenizer, "pad_token_id", None))
    return next((number for number in candidates if number is not None), 0)
