"""Where relevance is read besides the tokens: behind every layer, and at the heads of its attention."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lxtlike.errors import InputError
from lxtlike.propagation.heads import AttentionOutput, AttentionWatch
from lxtlike.propagation.layers import layers_of
from lxtlike.propagation.parallel import gathered, groups_of
from lxtlike.rules.call import tensors


class Views(NamedTuple):
    """What is read besides the relevance of the tokens: `layers`, theirs behind every layer; `heads`, that of each head."""

    layers: bool = False
    heads: bool = False


NO_VIEWS = Views()


@dataclass
class LayerRun:
    """What one run of a layer has made: its tracked output, if there is one, and what its attention heads put out."""

    hidden: Tensor | None = None
    attention: list[AttentionOutput] = field(default_factory=list)


@contextmanager
def layer_runs(model: nn.Module, views: Views) -> Iterator[list[LayerRun]]:
    """Within the block, the list fills with the runs of every repeated layer of the model, if a view wants them.

    What counts as a layer: see `lxtlike.propagation.layers.layers_of`.
    """
    runs: list[LayerRun] = []
    running: list[LayerRun] = []
    owner, watch = threading.get_ident(), AttentionWatch()

    def begin(_module: nn.Module, _args: Any) -> None:
        if threading.get_ident() == owner:
            runs.append(LayerRun())
            running.append(runs[-1])
            if views.heads:
                watch.visit = partial(_noted, running[-1].attention)
                watch.__enter__()  # type: ignore[no-untyped-call]

    def end(_module: nn.Module, _args: Any, output: Any) -> None:
        if threading.get_ident() == owner:
            running.pop().hidden = next((t for t in tensors(output) if t.requires_grad), None)
            if views.heads:
                watch.__exit__(None, None, None)  # type: ignore[no-untyped-call]
                watch.visit = partial(_noted, running[-1].attention) if running else None

    layers = dict.fromkeys(layers_of(model).values()) if any(views) else ()
    handles = [layer.register_forward_pre_hook(begin, prepend=True) for layer in layers]
    handles += [layer.register_forward_hook(end, always_call=True) for layer in layers]
    try:
        yield runs
    finally:
        for handle in handles:
            handle.remove()
        for _ in running if views.heads else ():  # interrupted, which no hook hears of
            watch.__exit__(None, None, None)  # type: ignore[no-untyped-call]


def _noted(found: list[AttentionOutput], output: AttentionOutput) -> Tensor:
    if output.tensor.requires_grad:
        found.append(replace(output, factors=None))
    return output.tensor


@dataclass(frozen=True)
class ViewPlaces:
    """Where the views that were asked for are read.

    Attributes:
        size: of the text, [B, T].
        hidden: the hidden states behind every layer; None if not asked for.
        attention: of every layer, what its heads put out; None if not asked for.
    """

    size: torch.Size
    hidden: list[Tensor] | None
    attention: list[list[AttentionOutput]] | None

    @classmethod
    def of(cls, model: nn.Module, runs: Sequence[LayerRun], views: Views, size: torch.Size) -> ViewPlaces:
        """The places in those runs of layers whose outputs have the positions of the text.

        Raises:
            InputError: there are no such layers; heads are asked for, and there are none, or some that cannot be told apart.
        """
        of_text = [
            (run.hidden, run.attention) for run in runs if run.hidden is not None and batch_axis(run.hidden, size) >= 0
        ]
        if any(views) and not of_text:
            raise InputError(
                f"no layer of {type(model).__name__} puts out one state for each position of the text: leave layers and heads out"
            )
        return cls(
            size,
            [hidden for hidden, _ in of_text] if views.layers else None,
            _whole(model, [outputs for _, outputs in of_text], size) if views.heads else None,
        )

    @property
    def tensors(self) -> list[Tensor]:
        """The tensors whose relevance `sums` takes, in its order."""
        return [*(self.hidden or ()), *(output.tensor for outputs in self.attention or () for output in outputs)]

    def sums(self, products: Iterator[Tensor], relevance: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Relevance of positions [B, L + 1, T] and of heads [B, L, H], each where it was asked for.

        A head that a layer does not have, because it has fewer than another or no attention, has relevance 0.

        Args:
            products: the relevance of each of `tensors`, in its own shape.
            relevance: of the tokens [B, T].
        """
        layers = heads = None
        if self.hidden is not None:
            behind = [self._by_position(next(products)).to(relevance) for _ in self.hidden]
            layers = torch.stack([relevance, *behind], 1)
        if self.attention is not None:
            none = relevance.new_zeros(len(relevance), 0)
            sums = [[self._by_head(output, next(products)).to(relevance) for output in run] for run in self.attention]
            rows = [torch.cat([none, *row], 1) for row in sums]
            width = max(row.shape[1] for row in rows)
            heads = torch.stack([F.pad(row, (0, width - row.shape[1])) for row in rows], 1)
        return layers, heads

    def _by_head(self, output: AttentionOutput, relevance: Tensor) -> Tensor:
        """[B, H] of all heads, also of those that other processes compute."""
        return gathered(output.by_head(relevance, self.size), groups_of(output.tensor), 1)

    def _by_position(self, relevance: Tensor) -> Tensor:
        axis = batch_axis(relevance, self.size)
        return relevance.sum([other for other in range(relevance.dim()) if other not in (axis, axis + 1)])


def batch_axis(hidden: Tensor, size: torch.Size) -> int:
    """The axis of the batch, before that of the positions (parallel streams may come first or later); -1 without one."""
    return next((axis for axis in range(hidden.dim() - 2) if hidden.shape[axis : axis + 2] == size), -1)


def _whole(
    model: nn.Module, attention: Sequence[list[AttentionOutput]], size: torch.Size
) -> list[list[AttentionOutput]]:
    """Of each layer, what whole heads put out; attention within one position (over parallel streams) is left out."""
    found = [
        [output for output in outputs if output.tensor.shape[:2] != size or output.count(size)] for outputs in attention
    ]
    name = type(model).__name__
    if not all(output.count(size) for outputs in found for output in outputs):
        raise InputError(f"{name} computes attention in pieces, whose heads cannot be told apart: leave heads out")
    if not any(found):
        raise InputError(
            f"no attention heads were found in {name}: no layer multiplies a softmax with values of all positions; leave "
            "heads out"
        )
    return found
