"""Is a heat map right about the model? Hide what it calls relevant, and see how the target's value falls.

Cells of the picture are hidden one after another, the most relevant first (MoRF) or the least relevant first (LeRF), and the
target's value F is read off the plain model. ABPC, the mean over all steps of LeRF - MoRF, is large where hiding the most
relevant cells hurts at once and hiding the least relevant ones does not (Samek et al. 2017, Blücher et al. 2024).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from lxtlike.attribution import ImageAttribution

_BLUR = 1 / 4  # of the shorter edge: how wide the blur's window is


def mean_colour(pixels: Tensor) -> Tensor:
    """Pixel values [C, H, W], all of them the mean of their channel."""
    return pixels.mean((1, 2), keepdim=True).expand_as(pixels)


def blur(pixels: Tensor) -> Tensor:
    """Pixel values [C, H, W], each the mean of a square around it, twice over."""
    edge = max(3, int(_BLUR * min(pixels.shape[1:])) // 2 * 2 + 1)
    blurred = pixels[None]
    for _ in range(2):
        blurred = F.avg_pool2d(blurred, edge, stride=1, padding=edge // 2, count_include_pad=False)
    return blurred[0]


REPLACEMENTS: dict[str, Callable[[Tensor], Tensor]] = {"mean": mean_colour, "blur": blur}
"""Name -> what stands in a picture's place where it is hidden: the mean colour of the picture, or the picture blurred."""


@dataclass(frozen=True)
class Curves:
    """The target's value F [steps + 1] while cells are hidden, from none to all."""

    morf: NDArray[np.float64]
    lerf: NDArray[np.float64]

    @property
    def abpc(self) -> float:
        """Area between the curves: the mean over the steps of LeRF - MoRF, in units of the target."""
        return float((self.lerf - self.morf)[1:].mean())


def curves(
    attribution: ImageAttribution, pixels: Tensor, measure: Callable[[Tensor], Tensor], steps: int, replacement: str
) -> Curves:
    """MoRF and LeRF of the cells of an attribution.

    Args:
        pixels: the pixel values [C, H, W] that it explains.
        measure: pixel values [B, C, H, W] -> the target's value [B] of the plain model.
        steps: into how many equal parts the cells are divided, which are hidden one part after another.
    """
    hidden = REPLACEMENTS[replacement](pixels)
    order = np.argsort(-attribution.relevance, axis=None, kind="stable")
    rank = np.empty(order.size, dtype=np.int64)
    rank[order] = np.arange(order.size)
    ranks = torch.from_numpy(rank.reshape(attribution.relevance.shape))
    high, wide = attribution.cell
    height, width = pixels.shape[1:]
    placed = ranks.repeat_interleave(high, 0)[:height].repeat_interleave(wide, 1)[:, :width]
    counts = [round(order.size * step / steps) for step in range(steps + 1)]
    masks = [placed < count for count in counts] + [placed >= order.size - count for count in counts]
    values = measure(torch.stack([torch.where(mask, hidden, pixels) for mask in masks])).double().cpu().numpy()
    return Curves(values[: steps + 1], values[steps + 1 :])
