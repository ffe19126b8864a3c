"""Attention heads, found by what is computed and not by names: a product of a softmax and values, or the fused kernel.

Between this place and the output projection there are transpositions only, so relevance is the same at both. A model that
multiplies or normalises in between has its heads read before that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from lxtlike.propagation.mode import COMPOUNDS
from lxtlike.rules import OPERATIONS
from lxtlike.rules.attention import is_router
from lxtlike.rules.call import tensors
from lxtlike.rules.product import linear_or_product


@dataclass(frozen=True)
class AttentionOutput:
    """What the heads of one attention put out.

    Attributes:
        tensor: as the model made it; batch and heads may share an axis.
        order: its axes, so that they are batch, heads, positions, features; empty where that cannot be told.
    """

    tensor: Tensor
    order: tuple[int, ...]

    def count(self, size: Sequence[int]) -> int:
        """How many heads there are, for a text [B, T]; 0 if it is not made of whole heads."""
        items, length = size
        shape = [self.tensor.shape[axis] for axis in self.order]
        if len(shape) < 3 or shape[-2] != length or (len(shape) > 3 and shape[0] != items):
            return 0
        heads, left = divmod(math.prod(shape[:-2]), items)
        return 0 if left else heads

    def by_head(self, relevance: Tensor, size: Sequence[int]) -> Tensor:
        """Sums [B, H] of relevance of the tensor's own shape, for a text [B, T]."""
        return relevance.permute(self.order).flatten(-2).sum(-1).reshape(size[0], -1)


class AttentionWatch(TorchFunctionMode):
    """Notes what attention puts out; to be entered inside a model's forward, where it sees the model's own operations.

    Attributes:
        found: the list that is filled; None while nothing is noted (a layer that is computed again).
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[AttentionOutput] | None = None
        self._weights: Any = WeakTensorKeyDictionary()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.multi_head_attention_forward:
            with self:
                return COMPOUNDS[func](*args, **kwargs)
        result = func(*args, **kwargs)
        if self.found is not None and func in OPERATIONS:
            self._see(func, args, kwargs, result)
        return result

    def _see(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
        operation, given = OPERATIONS[func], tensors(args, dict(kwargs))
        if operation.name == "scaled_dot_product_attention":
            self._note(result, tuple(range(result.dim())))
        elif operation.name == "softmax":
            if not is_router(given[0]):
                self._weights[result] = True
        elif weights := [t for t in given if t in self._weights]:
            values = [t for t in given if t.requires_grad and t not in self._weights]
            if operation.family is linear_or_product and len(weights) == len(values) == 1:
                self._note(result, _order(result, given[0] is weights[0], args[0]))
            else:  # dropped out, cast, cut, reshaped, masked
                for t in tensors(result):
                    self._weights[t] = True

    def _note(self, output: Tensor, order: tuple[int, ...]) -> None:
        if self.found is not None and output.requires_grad:
            self.found.append(AttentionOutput(output, order))


def _order(output: Tensor, weights_first: bool, equation: object) -> tuple[int, ...]:
    """The axes of a product of attention weights and values; `equation` is that of an einsum, or any other object."""
    axes = tuple(range(output.dim()))
    if not isinstance(equation, str):
        return axes if weights_first else (*axes[:-2], axes[-1], axes[-2])
    factors, _, made = equation.replace(" ", "").partition("->")
    first, _, second = factors.partition(",")
    weights, values = (first, second) if weights_first else (second, first)
    shared = [letter for letter in weights if letter in values and letter in made]
    positions = [letter for letter in made if letter in weights and letter not in values]
    features = [letter for letter in made if letter not in weights]
    if "." in equation or len(positions) != 1 or len(features) != 1:
        return ()
    return tuple(made.index(letter) for letter in (*shared, *positions, *features))
