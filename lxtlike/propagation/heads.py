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
from torch import Tensor, nn
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

    def by_feature(self, x: Tensor, size: Sequence[int]) -> Tensor:
        """A tensor of the same shape as [B, T, H, F], for a text [B, T] of whole heads."""
        moved = x.permute(self.order)
        return moved.reshape(size[0], -1, *moved.shape[-2:]).transpose(1, 2)

    def as_made(self, x: Tensor) -> Tensor:
        """What `by_feature` gave, back in the tensor's own shape."""
        shape = [self.tensor.shape[axis] for axis in self.order]
        back = sorted(range(len(self.order)), key=lambda axis: self.order[axis])
        return x.transpose(1, 2).reshape(shape).permute(back)

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
    """Sees what attention puts out; to be entered inside a model's forward, where it sees the model's own operations.

    Attributes:
        visit: what is called with each output; the model goes on with the tensor that it returns. None while nothing is
            looked at (a layer that is computed again).
    """

    def __init__(self, visit: Callable[[AttentionOutput], Tensor] | None = None) -> None:
        super().__init__()
        self.visit = visit
        self._weights: Any = WeakTensorKeyDictionary()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.multi_head_attention_forward:
            with self:
                return COMPOUNDS[func](*args, **kwargs)
        result = func(*args, **kwargs)
        if self.visit is not None and func in OPERATIONS:
            return self._see(func, args, kwargs, result)
        return result

    def _see(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> Any:
        operation, given = OPERATIONS[func], tensors(args, dict(kwargs))
        if operation.name == "scaled_dot_product_attention":
            return self._visited(result, tuple(range(result.dim())))
        if operation.name == "softmax":
            if not is_router(given[0]):
                self._weights[result] = True
        elif weights := [t for t in given if t in self._weights]:
            values = [t for t in given if t not in self._weights and _follows(t, weights[0])]
            if operation.family is linear_or_product and len(weights) == len(values) == 1:
                return self._visited(result, _order(result, given[0] is weights[0], args[0]))
            for t in tensors(result):  # dropped out, cast, cut, reshaped, masked
                self._weights[t] = True
        return result

    def _visited(self, output: Tensor, order: tuple[int, ...]) -> Tensor:
        return output if self.visit is None else self.visit(AttentionOutput(output, order))


def _follows(t: Tensor, weights: Tensor) -> bool:
    """Whether a tensor comes from the input, like the attention weights do; without gradients, whether it may."""
    return t.requires_grad or (not weights.requires_grad and t.is_floating_point() and not isinstance(t, nn.Parameter))


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
