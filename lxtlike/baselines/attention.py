"""Methods that read attention: rollout, and rollout weighted by gradients.

Attention is found by what is computed (`lxtlike.propagation.heads`), written out or in torch's fused kernel. What moves between
positions by other means (state spaces, convolutions, kernels of other packages) is not seen, so models that have such layers
are refused.

Both methods follow attention from the positions where F is read, which the gradient shows: at all others, what the last
attention puts out has gradient 0. Where there are several (the tokens of a continuation), their rows are averaged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lxtlike.baselines.options import numbers
from lxtlike.baselines.scores import Scores
from lxtlike.cases import Case
from lxtlike.errors import InputError
from lxtlike.methods.views import Views, batch_axis, layer_runs
from lxtlike.propagation.heads import AttentionOutput, AttentionWatch
from lxtlike.propagation.parallel import check_undivided
from lxtlike.rules.primitives import wide


@dataclass
class Attended:
    """One attention of the plain model over the T tokens of a text, of H heads with F features each.

    Attributes:
        weights: [H, T, T], a row for each position that looks, float32 or wider.
        values: [H, T, F].
        output: [H, T, F], the values weighted.
        gradient: [H, T, F], of F by the output, once the backward pass has been there.
    """

    weights: Tensor
    values: Tensor
    output: Tensor
    gradient: Tensor

    @property
    def by_weights(self) -> Tensor:
        """The gradient of F by the weights [H, T, T]: the output is linear in them."""
        return self.gradient @ self.values.mT


def attention_rollout(case: Case, *, residual: float = 0.5) -> Scores:
    """Attention followed from layer to layer, the residual stream included (Abnar and Zuidema 2020).

    The product over layers of ``r I + (1 - r) A``, the last layer's leftmost, A [T, T] the mean over heads of the attention
    weights; read at F's positions. Shares, which are not negative and add up to 1. What the target is does not matter.

    Args:
        residual: the share r of what a position keeps of itself, 0 to 1.

    Raises:
        InputError: another share, or a model whose attention does not tell where its tokens' information goes.
    """
    if not 0 <= residual <= 1:
        raise InputError(f"residual must be a share from 0 to 1, not {residual!r}")
    layers = attended(case)
    found = read_at(layers)
    for layer in reversed(layers):
        found = residual * found + (1 - residual) * found @ layer.weights.mean(0).to(found)
    return Scores(numbers(found))


def gradient_rollout(case: Case) -> Scores:
    """Attention weighted by its gradient, followed from layer to layer (Chefer et al. 2021, 2103.15679).

    ``R <- R + E_h[(A dF/dA)+] R`` from R = I up, A [T, T] a head's attention weights, E_h the mean over heads, ()+ what is above
    0. Read at F's positions, without the I that R begins with, which says only that a position depends on itself. Never
    negative, and adds up to nothing.

    Raises:
        InputError: a model whose attention does not tell where its tokens' information goes.
    """
    layers = attended(case)
    start = read_at(layers)
    found = start
    for layer in reversed(layers):
        found = found + found @ (layer.weights * layer.by_weights).clamp(min=0).mean(0).to(found)
    return Scores(numbers(found - start))


def attended(case: Case, begin: Callable[[AttentionOutput], Any] = lambda _: None) -> list[Attended]:
    """The attention of a text, in the order in which it runs, with the gradient of F.

    Args:
        begin: called with each output as soon as the model has it.

    Raises:
        InputError: an encoder-decoder, tensor parallelism, or a model of which a layer has no attention over all positions, or
            one in pieces.
    """
    check_undivided(case.setting.model, "attention is read")
    model, name, size = case.setting.model, type(case.setting.model).__name__, torch.Size((1, len(case.encoded.tokens)))
    if case.encoded.decoder is not None:
        raise InputError(f"{name} reads and writes in two places, between which its attention is not followed")
    found: list[Attended] = []
    pieces: list[AttentionOutput] = []

    def visit(output: AttentionOutput) -> Tensor:
        seen = _whole(output, size) if output.tensor.requires_grad else None
        if seen is not None:
            found.append(seen)
            begin(output)
            output.tensor.register_hook(partial(_differentiated, seen, output))  # type: ignore[no-untyped-call]
        elif output.tensor.requires_grad and output.tensor.shape[:2] != size:
            pieces.append(output)
        return output.tensor

    with layer_runs(model, Views(layers=True)) as runs, AttentionWatch(visit):
        case.gradient()
    layers = sum(run.hidden is not None and batch_axis(run.hidden, size) >= 0 for run in runs)
    if pieces or len(found) < max(layers, 1):
        raise InputError(
            f"attention over all tokens was found in {len(found)} of the {layers} layers of {name}: where the others take "
            "their information from cannot be followed; load it with eager or sdpa attention, or choose a method that does not "
            "read attention"
        )
    return found


def read_at(layers: list[Attended]) -> Tensor:
    """The positions where F is read, all with the same share, [T] in float64: where the last attention has a gradient.

    Raises:
        InputError: it has none.
    """
    read = (layers[-1].gradient != 0).any(-1).any(0).cpu().double()
    if not read.any():
        raise InputError(
            "the target's gradient is 0, so it cannot be seen where it is read: choose the objective logit"
        )
    return read / read.sum()


def _whole(output: AttentionOutput, size: torch.Size) -> Attended | None:
    """An attention over all positions of a text, or None if it is none."""
    if output.factors is None or not output.count(size):
        return None
    weights, values = (wide(t) for t in output.factors())
    weights, values = weights.flatten(0, -3), values.expand(*weights.shape[:-2], *values.shape[-2:]).flatten(0, -3)
    if weights.shape[-2:] != (size[1], size[1]):
        return None
    made = _by_head(output, output.tensor.detach())
    return Attended(weights, values, made, torch.zeros_like(made))


def _differentiated(seen: Attended, output: AttentionOutput, gradient: Tensor) -> None:
    seen.gradient = _by_head(output, gradient)


def _by_head(output: AttentionOutput, x: Tensor) -> Tensor:
    """A tensor of the output's shape, of one text, as [H, T, F]."""
    return wide(x.permute(output.order).flatten(0, -3))
