"""Pictures to the pixel values that a model takes, and back to what they look like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lxtlike.errors import InputError
from lxtlike.vision.pictures import picture, pillow

_ANY_SIZE = (64, 64)  # of the pictures by which an image processor is measured


@dataclass(frozen=True)
class Processing:
    """What an image processor of transformers does to pictures, as far as an explanation must know it.

    Processors scale, shift, normalise and reorder in ways of their own. What becomes of black, white and red tells all of
    it, whatever the class and its options.

    Attributes:
        processor: the image processor; None where only pixel values are given, which lie between 0 and 1 then.
        channels: how many the model takes.
    """

    processor: Any
    channels: int

    def values(self, source: Any) -> Tensor:
        """Pixel values [C, H, W] of an image; a tensor is taken as pixel values that are ready.

        Raises:
            InputError: it is no image, or the processor makes something else of it than one image of these channels.
        """
        if isinstance(source, Tensor):
            return self._ready(source)
        if self.processor is None:
            raise InputError("without an image processor only tensors of pixel values [C, H, W] can be explained")
        return self._processed(picture(source, self.channels))

    def shown(self, values: Tensor) -> NDArray[np.uint8]:
        """Pixel values [C, H, W] as the picture [H, W, 3] or [H, W] that they are; 8 bits, grey unless C is 3."""
        low, high = (torch.tensor(bound)[:, None, None] for bound in self.bounds)
        shares = ((values.float().cpu() - low) / (high - low)).clamp(0, 1)
        if self.channels == 3:
            shares = shares.flip(0) if self._reversed else shares
            return (shares * 255).round().byte().permute(1, 2, 0).numpy()
        return (shares.mean(0) * 255).round().byte().numpy()

    @cached_property
    def bounds(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """The values of black and of white, for each channel.

        Raises:
            InputError: the processor makes the same of both.
        """
        if self.processor is None:
            return (0.0,) * self.channels, (1.0,) * self.channels
        low, high = self._uniform("black"), self._uniform("white")
        if any(bottom >= top for bottom, top in zip(low, high, strict=True)):
            raise InputError(f"{type(self.processor).__name__} does not tell white from black: pass tensors instead")
        return low, high

    @cached_property
    def _reversed(self) -> bool:
        """Whether blue comes first."""
        return self.processor is not None and self._uniform("red")[0] == self.bounds[0][0]

    def _uniform(self, colour: str) -> tuple[float, ...]:
        """What becomes of a picture of one colour, in its middle: edges may be padding."""
        mode = {1: "L", 3: "RGB"}.get(self.channels, "RGB")
        values = self._processed(pillow("Image").new(mode, _ANY_SIZE, colour))
        _, height, width = values.shape
        return tuple(values[:, height // 2, width // 2].tolist())

    def _processed(self, image: Any) -> Tensor:
        inputs = self.processor(images=image, return_tensors="pt")
        values = inputs.get("pixel_values")
        shape = list(getattr(values, "shape", ()))
        if len(shape) != 4 or shape[:2] != [1, self.channels]:
            what = f"pixel values of shape {shape}" if shape else f"no pixel values ({', '.join(inputs)})"
            raise InputError(
                f"{type(self.processor).__name__} makes {what} of an image; explained are models that take one image of "
                f"shape [1, {self.channels}, H, W]: use `lxtlike.propagate`"
            )
        found: Tensor = values[0]
        return found

    def _ready(self, values: Tensor) -> Tensor:
        if values.ndim != 3 or values.shape[0] != self.channels or not values.is_floating_point():
            raise InputError(
                f"ready pixel values are a floating-point tensor [{self.channels}, H, W], not {values.dtype} "
                f"{list(values.shape)}; several images are a list"
            )
        return values.detach()


def stacked(values: Sequence[Tensor], size: int) -> list[Tensor]:
    """Images in order, as batches [B, C, H, W] of at most `size` neighbours of the same shape."""
    batches: list[list[Tensor]] = []
    for image in values:
        if batches and len(batches[-1]) < size and batches[-1][0].shape == image.shape:
            batches[-1].append(image)
        else:
            batches.append([image])
    return [torch.stack(batch) for batch in batches]
