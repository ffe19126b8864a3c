"""Image classifiers of a few kilobytes with random weights, their processors, and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as hf
from PIL import Image

EDGE = 32
LABELS = {0: "cat", 1: "dog", 2: "newt"}
_SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
_PATCHES = {"image_size": EDGE, "patch_size": 8}
_STAGES = {"depths": [1, 1], "hidden_sizes": [8, 16]}
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "vit": ("ViT", _SIZES | _PATCHES),
    "deit": ("DeiT", _SIZES | _PATCHES),
    "swin": (
        "Swin",
        {"image_size": EDGE, "patch_size": 4, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 4},
    ),
    "dinov2": ("Dinov2", _SIZES | _PATCHES | {"mlp_ratio": 2}),
    "clip": ("CLIP", {"vision_config": _SIZES | _PATCHES, "text_config": _SIZES}),
    "convnext": ("ConvNext", _STAGES | {"num_stages": 2, "image_size": EDGE}),
    "resnet": ("ResNet", _STAGES | {"embedding_size": 8, "layer_type": "basic"}),
}
PATCHES = {"vit": 8, "deit": 8, "swin": 4, "dinov2": 8, "clip": 8, "convnext": 4, "resnet": None}


def model(kind: str) -> Any:
    """A classifier of three labels whose every parameter is random, so that no bias and no layer scale is trivial."""
    torch.manual_seed(0)
    name, sizes = CONFIGS[kind]
    config = getattr(hf, f"{name}Config")(**sizes, id2label=LABELS)
    made = getattr(hf, f"{name}ForImageClassification")(config).eval()
    for name, parameter in made.named_parameters():
        torch.nn.init.normal_(parameter, 1.0 if name.endswith("norm.weight") else 0.0, 0.3)
    for name, buffer in made.named_buffers():
        if name.endswith("running_mean"):
            torch.nn.init.normal_(buffer, 0.0, 0.3)
        elif name.endswith("running_var"):
            torch.nn.init.uniform_(buffer, 0.5, 2.0)
    return made


def processor(**options: Any) -> Any:
    """Of `EDGE` x `EDGE` pixels, each channel normalised in its own way."""
    normal = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.4]}
    return processor_of("ViT", **{"size": {"height": EDGE, "width": EDGE}} | normal | options)


def processor_of(name: str, **options: Any) -> Any:
    """An image processor that needs no torchvision; older versions of transformers have no suffix for them."""
    made = getattr(hf, f"{name}ImageProcessorPil", None) or getattr(hf, f"{name}ImageProcessor")
    return made(**options)


def picture(width: int = 40, height: int = 30, seed: int = 0) -> Image.Image:
    """Coarse colours, which survive resizing."""
    colours = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(colours).resize((width, height), Image.Resampling.BICUBIC)


def save(kind: str, folder: Path) -> Path:
    """The model and its processor as an ordinary folder."""
    model(kind).save_pretrained(folder)
    processor().save_pretrained(folder)
    return folder
