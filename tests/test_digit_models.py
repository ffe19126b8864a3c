"""The bundled classifiers of digits: small, right where their cards say so, and wrong where the example images say so."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor

import lxtlike
from lxtlike.loading import BUNDLED, load

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
import train_digit_models

ASSETS = Path(lxtlike.__file__).parent / "assets"
MODELS = tuple(name for name, task in BUNDLED.items() if task == "image-classification")


def answer(name: str, image: Path) -> int:
    loaded = load(name, need_tokenizer=False)
    processor = AutoImageProcessor.from_pretrained(ASSETS / "models" / name)
    with torch.no_grad():
        inputs = processor(Image.open(image), return_tensors="pt")
        return int(loaded.model(**inputs).logits.argmax())


def test_there_is_a_convolution_network_and_a_transformer() -> None:
    assert MODELS == train_digit_models.MODELS == ("digits-cnn", "digits-vit")
    sizes = [(ASSETS / "models" / name / "model.safetensors").stat().st_size for name in MODELS]
    assert max(sizes) < 300_000


@pytest.mark.parametrize("name", MODELS)
def test_the_card_states_the_measured_accuracy(name: str) -> None:
    folder = ASSETS / "models" / name
    _, wanted = train_digit_models.digits(test=True)
    accuracy = float((train_digit_models.answers(folder) == wanted).double().mean())
    assert accuracy >= 0.97
    assert f"| test | {accuracy:.1%} |" in (folder / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", MODELS)
def test_the_example_images_are_read_as_their_names_say(name: str) -> None:
    images = ASSETS / "images"
    assert [answer(name, images / f"digit-{digit}.png") for digit in range(10)] == list(range(10))
    (own,) = images.glob(f"{name}-misreads-*.png")
    (other,) = (path for path in images.glob("*-misreads-*.png") if path != own)
    assert answer(name, own) != int(own.stem[-1])
    assert answer(name, other) == int(other.stem[-1])
