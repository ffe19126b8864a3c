"""The explainer of image classifiers: glue between image, target, method and result."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import torch
from torch import Tensor

from lxtlike.attribution import ImageAttribution, ResolvedTarget
from lxtlike.choices import Labels
from lxtlike.composites import Composite
from lxtlike.errors import InputError
from lxtlike.feeding import prediction
from lxtlike.loading import load
from lxtlike.methods import ExplainedInput, input_lrp
from lxtlike.recognition import IMAGES, task_of, unwrapped
from lxtlike.rules.primitives import Book
from lxtlike.setting import Setting, summary
from lxtlike.targets import Chosen, Target, contrast_of, resolve, values
from lxtlike.version import versions
from lxtlike.vision.pixels import Processing, stacked
from lxtlike.vision.searching import Search, searched

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image
    from transformers import PreTrainedModel
    from transformers.image_processing_utils import BaseImageProcessor

    Picture = str | Path | bytes | Image | NDArray[np.generic] | Tensor


class ImageExplainer(Setting):
    """Explains predictions of one image classifier. The model and the image processor are never changed.

    Args:
        model: a transformers model for image classification; taken out of the wrappers of torch.compile, peft and data
            parallelism.
        processor: its image processor, or a processor that has one; None if all images are given as pixel values between
            0 and 1.
        composite: as for `lxtlike.Explainer`; box rules without bounds get the values of black and of white as theirs.
        strict, checkpointing, name: as for `lxtlike.Explainer`.

    Raises:
        InputError: no image classifier, or an unknown composite.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        processor: BaseImageProcessor | None,
        *,
        composite: str | Path | Composite = "default",
        strict: bool = False,
        checkpointing: bool | None = None,
        name: str | None = None,
    ) -> None:
        inner = unwrapped(model)
        super().__init__(
            model=inner,
            tokenizer=None,
            composite=Composite.parse(composite),
            task=task_of(inner, IMAGES),
            name=name or inner.name_or_path or type(inner).__name__,
            strict=strict,
            checkpointing=checkpointing,
        )
        self.processor = getattr(processor, "image_processor", processor)
        self._processing = Processing(self.processor, _of_vision(inner.config, "num_channels") or 3)
        self._labels = Labels(inner.config.id2label)

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path | None = None,
        *,
        composite: str | Path | Composite = "default",
        strict: bool = False,
        checkpointing: bool | None = None,
        **options: Any,
    ) -> ImageExplainer:
        """Load an image classifier and its image processor by name or folder (None: the bundled one).

        The other arguments, `dtype`, `device`, `device_map` and `trust_remote_code`, are those of `lxtlike.loading.load`.
        """
        rules = Composite.parse(composite)
        loaded = load(model, task=IMAGES, **options)
        return cls(
            loaded.model,
            loaded.processor,
            composite=rules,
            strict=strict,
            checkpointing=checkpointing,
            name=loaded.name,
        )

    @overload
    def explain(
        self,
        image: Picture,
        target: str | int | None = None,
        *,
        contrast: str | int | None = None,
        objective: str = "logit",
        batch_size: int = 8,
        strict: bool | None = None,
    ) -> ImageAttribution: ...

    @overload
    def explain(
        self,
        image: list[Any] | tuple[Any, ...],
        target: str | int | None = None,
        *,
        contrast: str | int | None = None,
        objective: str = "logit",
        batch_size: int = 8,
        strict: bool | None = None,
    ) -> list[ImageAttribution]: ...

    @torch.inference_mode(False)  # tensors made in inference mode cannot be differentiated
    def explain(
        self,
        image: Picture | list[Any] | tuple[Any, ...],
        target: str | int | None = None,
        *,
        contrast: str | int | None = None,
        objective: str = "logit",
        batch_size: int = 8,
        strict: bool | None = None,
    ) -> ImageAttribution | list[ImageAttribution]:
        """Explain one image, or a list of images in batches (same results, less time).

        Args:
            image: path of an image file, the bytes of one, a PIL image, an array [H, W] or [H, W, C] (uint8, or floats
                between 0 and 1), or a tensor [C, H, W] of pixel values as the model takes them. Several: a list of them.
            target: a label (str), an id (int), or None for the model's first choice.
            contrast: explain the target minus this one (label or id), or minus the "mean" of all.
            objective: "logit", "centered", "logprob" or "prob" of the target.
            strict: overrides the explainer's own.

        Raises:
            InputError: a file that is no image, an image of the wrong kind or size, an unknown target.
            NumericalError: NaN in the model's output.
            AuditError: under `strict`.
        """
        if batch_size < 1:
            raise InputError(f"batch_size must be at least 1, not {batch_size}")
        asked = Target(target, contrast, objective)
        single = not isinstance(image, (list, tuple))
        images = [self.values(one) for one in (image if isinstance(image, (list, tuple)) else [image])]
        batches = stacked(images, batch_size)
        strict = self.strict if strict is None else strict
        found = [attribution for batch in batches for attribution in self._explain(batch, asked, strict)]
        return found[0] if single else found

    __call__ = explain

    @torch.inference_mode(False)
    def search(
        self,
        composites: Iterable[str | Composite],
        images: Sequence[Picture],
        target: str | int | None = None,
        *,
        contrast: str | int | None = None,
        objective: str = "logit",
        cell: str | int | tuple[int, int] = "patch",
        steps: int = 20,
        replacement: str = "mean",
        batch_size: int = 8,
    ) -> Search:
        """Try composites on a few images and rank them by ABPC: what hiding relevant and irrelevant cells does.

        Args:
            composites: such as ``lxtlike.vision.grid("attnlrp-gamma", gamma=(0, 0.05, 0.25))``.
            cell: as in `ImageAttribution.by`; what is hidden at once.
            steps: into how many equal parts all cells are divided, which are hidden one part after another.
            replacement: what stands where the picture is hidden, its "mean" colour or a "blur" of it.
            target, contrast, objective, batch_size: as in `explain`.

        Raises:
            InputError: as `explain`, an unknown composite, no composite or no image, no patches.
        """
        asked = {"target": target, "contrast": contrast, "objective": objective, "batch_size": batch_size}
        return searched(self, composites, images, cell, steps, replacement, **asked)

    def values(self, image: Picture) -> Tensor:
        """The pixel values [C, H, W] that the model gets of an image; InputError as of `explain`."""
        return self._processing.values(image)

    def logits(self, batch: Tensor) -> Tensor:
        """What the model, as it is, makes of pixel values [B, C, H, W]: [B, V]."""
        found: Tensor = self.model(pixel_values=self._placed(batch)).logits
        return found

    def with_composite(self, composite: str | Path | Composite) -> ImageExplainer:
        """An explainer of the same model by other rules."""
        return ImageExplainer(
            self.model,
            self.processor,
            composite=composite,
            strict=self.strict,
            checkpointing=self.checkpointing,
            name=self.name,
        )

    def _placed(self, batch: Tensor) -> Tensor:
        """A batch where the model wants it, in its dtype."""
        device: torch.device = self.model.device
        here = torch.device("cpu") if device.type == "meta" else device  # offloaded: accelerate sends inputs on
        return batch.to(device=here, dtype=self.model.dtype)

    def _explain(self, batch: Tensor, asked: Target, strict: bool) -> list[ImageAttribution]:
        """The results for a batch of pixel values [B, C, H, W], in one forward and one backward pass."""
        chosen: list[Chosen] = []

        def scalar(rows: Tensor, book: Book) -> Tensor:
            chosen.extend(resolve(asked, row.detach(), self._labels) for row in rows)
            return values(rows, chosen, book)

        (explained,) = input_lrp(
            self.model,
            self._placed(batch),
            lambda outputs: outputs.logits,
            [scalar],
            self.composite.bounded(*self._processing.bounds),
            name="pixel_values",
            strict=strict,
            compare=strict or not self._compared,
            checkpointing=self.checkpointing,
        )
        self._compared = True
        return [self._attribution(item, pixels, explained, chosen[item]) for item, pixels in enumerate(batch)]

    def _attribution(self, item: int, pixels: Tensor, explained: ExplainedInput, chosen: Chosen) -> ImageAttribution:
        value = float(explained.values[item])
        contrast = contrast_of(chosen, self._labels)
        label = self._labels.name(chosen.id)
        return ImageAttribution(
            model=self.name,
            task=self.task,
            composite=self.composite.name,
            picture=self._processing.shown(pixels),
            channels=explained.relevance[item].float().cpu().numpy(),
            prediction=prediction(explained.rows[item], self._labels),
            target=ResolvedTarget(chosen.id, label, None, chosen.objective, contrast, value),
            ledger=explained.ledgers[item],
            audit=summary(explained),
            versions=versions(),
            patch=_pair(_of_vision(self.model.config, "patch_size")),
        )


def _of_vision(config: Any, name: str) -> Any:
    """A field of a vision model's config, or of the vision part of one that has several."""
    return getattr(config, name, getattr(getattr(config, "vision_config", None), name, None))


def _pair(size: Any) -> tuple[int, int] | None:
    """Height and width from a config's number or pair of numbers; None if it is neither."""
    if isinstance(size, int):
        return size, size
    return (size[0], size[1]) if isinstance(size, (list, tuple)) and len(size) == 2 else None
