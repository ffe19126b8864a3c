"""A tensor of one forward pass that is (a part of) a component, and its units and positions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lxtlike.errors import InputError
from lxtlike.latent.components import Component
from lxtlike.methods.views import batch_axis
from lxtlike.propagation.heads import AttentionOutput

Shape = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Site:
    """A tensor of one forward pass that is (a part of) a component.

    Attributes:
        name: the module's, or ``model.layers.1 heads``; with a number where it comes again in the same pass.
        tensor: as the model made it.
        shaped: a tensor of its shape -> [B, T, U, F], features of units of positions of texts.
        as_made: and back.
        count: how many units there are.
        chosen: of experts, which unit each of [B, T, U] is; None where unit number u is the u-th.
    """

    name: str
    component: Component
    tensor: Tensor
    shaped: Shape
    as_made: Shape
    count: int
    chosen: Tensor | None = None

    @property
    def key(self) -> tuple[Component, str]:
        """What tells it from the other sites of a forward pass."""
        return self.component, self.name

    def by_unit(self, x: Tensor) -> Tensor:
        """Sums over features [B, T, U] of a tensor of its shape."""
        sums = self.shaped(x).sum(-1)
        if self.chosen is None:
            return sums
        return sums.new_zeros(*sums.shape[:2], self.count).scatter_add(2, self.chosen, sums)

    def sizes(self, x: Tensor) -> Tensor:
        """Of a tensor of its shape, the values of units of one feature each, and the lengths of others [B, T, U]."""
        return self.by_unit(x) if self.shaped(x).shape[-1] == 1 else self.by_unit(x.square()).sqrt()

    def over(self, weights: Tensor) -> Tensor:
        """Weights [B or 1, T, U] of units, as a tensor of its shape."""
        shape = self.shaped(self.tensor.detach()).shape
        if self.chosen is not None:
            weights = weights.expand(*shape[:2], -1).gather(2, self.chosen)
        return self.as_made(weights.to(self.tensor.device)[..., None].expand(shape))

    def selected(self) -> Tensor:
        """1 at the units and positions that the component names, 0 elsewhere: [1, T, U].

        Raises:
            InputError: there is no such unit or position.
        """
        length = self.shaped(self.tensor.detach()).shape[1]
        units, positions = self.component.units, self.component.positions
        if units is not None and max(units) >= self.count:
            raise InputError(f"{self.component} is not there: {self.name} ends with number {self.count - 1}")
        if positions is not None and not all(-length <= position < length for position in positions):
            raise InputError(f"{self.component} is not there: the text has {length} tokens")
        places, numbers = torch.zeros(length), torch.zeros(self.count)
        places[slice(None) if positions is None else [position % length for position in positions]] = 1.0
        numbers[slice(None) if units is None else list(units)] = 1.0
        return (places[:, None] * numbers).to(self.tensor.device)[None]


def of_features(name: str, component: Component, tensor: Tensor, size: torch.Size) -> Site:
    """A site whose units are the features of every position of a text [B, T].

    Args:
        tensor: [B, T, D], perhaps with parallel streams before or behind; [B * T, D]; or [B, D], which has one position.

    Raises:
        InputError: another shape.
    """
    axis = batch_axis(tensor, size)
    moved = tensor if axis < 0 else tensor.movedim((axis, axis + 1), (0, 1))
    if axis < 0 and (tensor.dim() < 2 or tensor.shape[0] not in (size[0], size.numel())):
        raise InputError(
            f"{name} has a tensor of shape {list(tensor.shape)} there, with no axes for {size[0]} texts of {size[1]} tokens"
        )
    items = size[0] if axis >= 0 or tensor.shape[0] == size[0] else 0
    places = size[1] if axis >= 0 or not items else 1

    def shaped(x: Tensor) -> Tensor:
        first = x if axis < 0 else x.movedim((axis, axis + 1), (0, 1))
        return first.reshape(size[0], places, -1, 1)

    def as_made(x: Tensor) -> Tensor:
        back = x.reshape(moved.shape)
        return back if axis < 0 else back.movedim((0, 1), (axis, axis + 1))

    return Site(name, component, tensor, shaped, as_made, tensor.numel() // (size[0] * places))


def of_heads(name: str, component: Component, output: AttentionOutput, size: torch.Size) -> Site:
    """A site whose units are the heads of one attention."""
    return Site(
        name, component, output.tensor, lambda x: output.by_feature(x, size), output.as_made, output.count(size)
    )


def of_experts(name: str, component: Component, parts: Tensor, chosen: Tensor, count: int, size: torch.Size) -> Site:
    """A site whose units are experts.

    Args:
        parts: what each of the K experts that a token was sent to adds [B * T, K, D].
        chosen: which expert this is [B * T, K].
        count: how many experts there are.
    """

    def shaped(x: Tensor) -> Tensor:
        return x.reshape(*size, *parts.shape[1:])

    return Site(name, component, parts, shaped, lambda x: x.reshape(parts.shape), count, chosen.reshape(*size, -1))
