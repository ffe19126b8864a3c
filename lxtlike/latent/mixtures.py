"""Mixtures of experts: what each expert adds, whichever way a model computes all of them at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn


def experts_of(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The modules that hold the weights of many experts in one tensor, by name."""
    for name, module in model.named_modules():
        stacked = any(parameter.dim() == 3 for parameter in module.parameters(recurse=False))
        if stacked and isinstance(getattr(module, "num_experts", None), int):
            yield name, module


def contributions(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Tensor, Tensor] | None:
    """What the experts that each token was sent to add [N, K, D], and which they are [N, K].

    Every token is sent to one of its experts at a time, by the model's own code: nobody else knows how it keeps and
    multiplies the weights. None if the module is not called with states [N, D], indices and weights [N, K].
    """
    given = [*args, *kwargs.values()]
    if len(given) < 3 or not all(isinstance(value, Tensor) and value.dim() == 2 for value in given[:3]):
        return None
    names, (states, indices, weights) = list(kwargs)[: 3 - len(args[:3])], given[:3]
    if indices.is_floating_point() or indices.shape != weights.shape or len(states) != len(indices):
        return None
    parts = []
    for place in range(indices.shape[1]):
        own = (states, indices[:, place : place + 1], weights[:, place : place + 1])
        split = len(own) - len(names)
        parts.append(module.forward(*own[:split], **{**kwargs, **dict(zip(names, own[split:], strict=True))}))
    return torch.stack(parts, 1), indices
