"""Train the two bundled classifiers of handwritten digits, and write the example images beside them.

    python scripts/train_digit_models.py --out lxtlike/assets               # both: about 4 minutes on 2 cores
    python scripts/train_digit_models.py --out lxtlike/assets --evaluate    # measure what the folder holds

It writes OUT/models/digits-cnn, OUT/models/digits-vit and OUT/images. The data come with scikit-learn: 1,797 digits of
8x8 pixels (UCI "Optical Recognition of Handwritten Digits", CC BY 4.0). Every fifth is for testing.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor
from train_demo_models import Batch, card, fit, save
from transformers import (
    AutoImageProcessor,
    AutoModelForImageClassification,
    PreTrainedModel,
    ResNetConfig,
    ResNetForImageClassification,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
)

MODELS = ("digits-cnn", "digits-vit")
STEPS = {"digits-cnn": 1500, "digits-vit": 3000}
LABELS = {"id2label": {n: str(n) for n in range(10)}, "label2id": {str(n): n for n in range(10)}}


def digits(*, test: bool) -> tuple[list[Image.Image], Tensor]:
    """The digits for testing, or those for training, as 8x8 grey images with white ink, and their labels [N]."""
    data = load_digits()
    shades = (data.images / 16 * 255).round().astype("uint8")
    chosen = [index for index in range(len(shades)) if (index % 5 == 4) is test]
    return [Image.fromarray(shades[index]) for index in chosen], torch.tensor(data.target[chosen])


def processor(size: int) -> ViTImageProcessor:
    """To `size` x `size`, three equal channels, from 0 (black) to 1."""
    return ViTImageProcessor(
        size={"height": size, "width": size},
        resample=Image.Resampling.NEAREST,
        do_convert_rgb=True,
        do_normalize=False,
    )


def cnn() -> ResNetForImageClassification:
    return ResNetForImageClassification(
        ResNetConfig(embedding_size=16, hidden_sizes=[16, 24, 48], depths=[1, 1, 1], layer_type="basic", **LABELS)
    )


def vit() -> ViTForImageClassification:
    model = ViTForImageClassification(
        ViTConfig(
            image_size=8,
            patch_size=2,
            hidden_size=48,
            num_hidden_layers=3,
            num_attention_heads=4,
            intermediate_size=96,
            hidden_dropout_prob=0.1,
            **LABELS,
        )
    )
    # From the usual small numbers, a model of this size needs long to tell places and shades apart.
    torch.nn.init.normal_(model.vit.embeddings.position_embeddings, std=0.3)
    torch.nn.init.normal_(model.vit.embeddings.patch_embeddings.projection.weight, std=0.3)
    return model


def batches(pixels: Tensor, labels: Tensor, size: int, steps: int) -> Iterator[Batch]:
    """Training digits in random order, each a little turned, sheared, scaled and shifted."""
    for _ in range(math.ceil(steps * size / len(pixels))):
        for chosen in torch.randperm(len(pixels))[: len(pixels) // size * size].split(size):
            drawn = pixels[chosen]
            warp = torch.eye(2, 3).repeat(size, 1, 1)
            warp[:, :, :2] += 0.12 * torch.randn(size, 2, 2)
            warp[:, :, 2] += 0.1 * torch.randn(size, 2)
            grid = F.affine_grid(warp, list(drawn.shape), align_corners=False)
            warped = F.grid_sample(drawn, grid, padding_mode="border", align_corners=False)
            yield {"pixel_values": warped, "labels": labels[chosen], "weights": torch.ones(size)}


def train(name: str, folder: Path, seed: int) -> None:
    torch.manual_seed(seed)
    size, model = (32, cnn()) if name == "digits-cnn" else (8, vit())
    images, labels = digits(test=False)
    prepare = processor(size)
    pixels = prepare(images, return_tensors="pt")["pixel_values"]
    fit(model, batches(pixels, labels, 64, STEPS[name]), STEPS[name], rate=2e-3, smoothing=0.05)
    save(model, prepare, folder)


@torch.no_grad()
def answers(folder: Path) -> Tensor:
    """The saved model's answers to the test digits, [N]."""
    model: PreTrainedModel = AutoModelForImageClassification.from_pretrained(folder)
    inputs = AutoImageProcessor.from_pretrained(folder)(digits(test=True)[0], return_tensors="pt")
    return model(**inputs).logits.argmax(-1)


def write_images(folder: Path, answered: dict[str, Tensor]) -> None:
    """One test digit of each kind that both models read, and for each model the first one that it alone misreads."""
    images, labels = digits(test=True)
    right = {name: answer == labels for name, answer in answered.items()}
    folder.mkdir(parents=True, exist_ok=True)
    for digit in range(10):
        index = int(((labels == digit) & right["digits-cnn"] & right["digits-vit"]).nonzero()[0])
        images[index].save(folder / f"digit-{digit}.png")
    for name, other in (MODELS, reversed(MODELS)):
        index = int((~right[name] & right[other]).nonzero()[0])
        images[index].save(folder / f"{name}-misreads-{labels[index]}.png")
        print(f"{name} reads test digit {index}, a {labels[index]}, as {answered[name][index]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the assets folder")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--evaluate", action="store_true", help="train nothing: measure the models that OUT holds")
    asked = parser.parse_args()

    answered = {}
    for name in MODELS:
        folder = asked.out / "models" / name
        if not asked.evaluate:
            train(name, folder, asked.seed)
        answered[name] = answers(folder)
        wrong = answered[name] != digits(test=True)[1]
        accuracy = 1 - wrong.double().mean().item()
        if not asked.evaluate:
            card(folder, {"test": accuracy})
        print(f"{name}: right on {accuracy:.2%} of {len(wrong)} test digits, {int(wrong.sum())} misread")
    if not asked.evaluate:
        write_images(asked.out / "images", answered)


if __name__ == "__main__":
    main()
