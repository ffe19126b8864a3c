"""Image classifiers of transformers, explained through the front door: what is promised holds for each of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_images
import torch
from PIL import Image

import lxtlike
from lxtlike import ImageExplainer, InputError


def state(model: Any) -> tuple[dict[str, bytes], list[tuple[str, bool, bool, tuple[str, ...]]]]:
    """Weights, train mode, grad flags and what hangs on each module."""
    weights = {name: t.detach().numpy().tobytes() for name, t in model.state_dict().items()}
    modules = [
        (name, m.training, any(p.requires_grad for p in m.parameters()), tuple(sorted(vars(m))))
        for name, m in model.named_modules()
    ]
    return weights, modules


@pytest.mark.parametrize("kind", tiny_images.CONFIGS)
def test_the_account_closes_and_nothing_changes(kind: str) -> None:
    model = tiny_images.model(kind).double().train()
    explainer = ImageExplainer(model, tiny_images.processor(), strict=True)
    before, random = state(model), torch.get_rng_state()
    first, second = found = explainer.explain([tiny_images.picture(seed=seed) for seed in (0, 1)])
    assert before == state(model)
    assert torch.equal(random, torch.get_rng_state())
    for a in found:
        assert a.ledger.relative_error < 1e-9
        assert a.audit.forward_deviation == pytest.approx(0, abs=1e-12)
        assert a.audit.uncovered == ()
        assert a.channels.shape == (3, tiny_images.EDGE, tiny_images.EDGE)
        assert float(a.channels.sum(dtype=np.float64)) == pytest.approx(a.ledger.tokens, abs=1e-5)
        assert abs(a.relevance).max() > 1e-4
    assert abs(first.relevance - second.relevance).max() > 1e-3
    alone = explainer.explain(tiny_images.picture(seed=1))
    np.testing.assert_allclose(alone.channels, second.channels, atol=1e-6)
    assert alone.ledger.to_dict() == pytest.approx(second.ledger.to_dict(), abs=1e-9)
    patch = tiny_images.PATCHES[kind]
    assert first.patch == (None if patch is None else (patch, patch))


def test_without_rules_it_is_input_times_gradient(explainer: ImageExplainer) -> None:
    plain = ImageExplainer(explainer.model, explainer.processor, composite="input-x-gradient")
    a = plain.explain(tiny_images.picture(), target="newt")
    pixels = (
        explainer.processor(images=tiny_images.picture(), return_tensors="pt")["pixel_values"].double().requires_grad_()
    )
    logits = explainer.model(pixel_values=pixels).logits[0]
    (gradient,) = torch.autograd.grad(logits[2], pixels)
    np.testing.assert_allclose(a.channels, (pixels * gradient)[0].detach().numpy(), atol=1e-7)
    assert a.target.value == pytest.approx(logits[2].item())


@pytest.mark.parametrize("composite", ["epsilon-gamma-box", "epsilon-plus-flat", "layerwise", "attnlrp-gamma"])
@pytest.mark.parametrize("kind", ["vit", "resnet"])
def test_classic_composites_close(kind: str, composite: str) -> None:
    explainer = ImageExplainer(
        tiny_images.model(kind).double(), tiny_images.processor(), composite=composite, strict=True
    )
    for a in explainer.explain([tiny_images.picture(seed=seed) for seed in (0, 1)]):
        assert a.composite == composite
        assert a.ledger.relative_error < 1e-9


def test_box_rules_are_bounded_by_black_and_white() -> None:
    model, processor, image = tiny_images.model("resnet").double(), tiny_images.processor(), tiny_images.picture()
    mean, std = np.array(processor.image_mean), np.array(processor.image_std)
    low, high = (tuple(map(float, (colour - mean) / std)) for colour in (0, 1))
    found = ImageExplainer(model, processor, composite="epsilon-gamma-box").explain(image)
    given = lxtlike.COMPOSITES["epsilon-gamma-box"].bounded(low, high)
    np.testing.assert_allclose(
        ImageExplainer(model, processor, composite=given).explain(image).channels, found.channels, atol=1e-6
    )
    other = lxtlike.COMPOSITES["epsilon-gamma-box"].bounded(-9.0, 9.0)
    assert abs(ImageExplainer(model, processor, composite=other).explain(image).channels - found.channels).max() > 1e-4


def test_targets(explainer: ImageExplainer) -> None:
    image = tiny_images.picture()
    by = {
        objective: explainer.explain(image, "DOG", objective=objective)
        for objective in ("logit", "centered", "logprob", "prob")
    }
    logits = {c.token: c.logit for c in by["logit"].prediction}
    assert [a.target.id for a in by.values()] == [1] * 4
    assert by["logit"].target.value == pytest.approx(logits["dog"])
    assert by["centered"].target.value == pytest.approx(logits["dog"] - sum(logits.values()) / 3)
    assert np.exp(by["logprob"].target.value) == pytest.approx(by["prob"].target.value)
    assert all(a.ledger.relative_error < 1e-9 for a in by.values())
    first = explainer.explain(image)
    assert first.target.token == first.prediction[0].token
    contrast = explainer.explain(image, 1, contrast=2)
    assert contrast.target.contrast == {"id": 2, "token": "newt"}
    whole = explainer.explain(image, 1).channels - explainer.explain(image, 2).channels
    np.testing.assert_allclose(contrast.channels, whole, atol=1e-6)
    assert explainer(image, 1, contrast="mean").target.contrast == "mean"


def test_whatever_shows_the_image_gives_the_same(explainer: ImageExplainer, tmp_path: Path) -> None:
    image = tiny_images.picture()
    image.save(tmp_path / "image.png")
    pixels = explainer.processor(images=image, return_tensors="pt")["pixel_values"][0]
    sources = [
        str(tmp_path / "image.png"),
        tmp_path / "image.png",
        (tmp_path / "image.png").read_bytes(),
        np.asarray(image),
        np.asarray(image) / 255.0,
        image.convert("RGBA"),
        pixels,
    ]
    expected = explainer.explain(image)
    for found in explainer.explain(sources, batch_size=3):
        np.testing.assert_array_equal(found.channels, expected.channels)
        np.testing.assert_array_equal(found.picture, expected.picture)


def test_images_of_other_sizes_have_their_place_in_a_batch() -> None:
    explainer = ImageExplainer(tiny_images.model("resnet").double(), None)
    generator = torch.Generator().manual_seed(0)
    sizes = [(32, 32), (32, 32), (48, 32), (32, 32)]
    found = explainer.explain([torch.rand(3, *size, generator=generator) for size in sizes])
    assert [a.relevance.shape for a in found] == sizes


def test_the_picture_is_what_the_model_saw(explainer: ImageExplainer) -> None:
    image = tiny_images.picture(32, 32)
    np.testing.assert_array_equal(explainer.explain(image).picture, np.asarray(image))
    grey = explainer.explain(image.convert("L")).picture
    np.testing.assert_array_equal(grey, np.asarray(image.convert("L").convert("RGB")))


def test_a_processor_that_turns_channels_and_shifts(explainer: ImageExplainer) -> None:
    size = {"height": 32, "width": 32}
    image = tiny_images.picture(32, 32)
    for processor in (
        tiny_images.processor_of("MobileViT", size=size, do_center_crop=False),
        tiny_images.processor_of("EfficientNet", size=size, rescale_offset=True, rescale_factor=1 / 127.5),
    ):
        found = ImageExplainer(explainer.model, processor).explain(image).picture
        assert abs(found.astype(int) - np.asarray(image)).max() <= 1


@pytest.mark.parametrize(
    ("image", "says"),
    [
        ("nowhere.png", "there is no image file 'nowhere.png'"),
        (b"GIF89a but not really", "no image in a format that Pillow reads"),
        (b"", "no image in a format"),
        (7, "not int"),
        (np.zeros((4, 4, 2), np.uint8), r"not \[4, 4, 2\].*tensor \[C, H, W\]"),
        (np.full((4, 4), 3.0), "between 0 and 1"),
        (np.full((4, 4), np.nan), "between 0 and 1"),
        (np.zeros((4, 4), np.int64), "not int64"),
        (np.zeros((0, 4), np.uint8), "no pixels"),
        (torch.zeros(1, 3, 32, 32), "floating-point tensor"),
        (torch.zeros(3, 32, 32, dtype=torch.uint8), "floating-point tensor"),
        (Image.new("I;16", (4, 4)), "more than 8 bits"),
    ],
)
def test_what_is_no_image(image: Any, says: str, explainer: ImageExplainer) -> None:
    with pytest.raises(InputError, match=says) as caught:
        explainer.explain(image)
    assert "\n" not in str(caught.value)


def test_a_file_that_ends_too_early(explainer: ImageExplainer, tmp_path: Path) -> None:
    path = tmp_path / "half.png"
    tiny_images.picture(200, 200).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InputError, match=r"half.png.* cannot be read: "):
        explainer.explain(path)


def test_a_picture_too_large_to_unpack(explainer: ImageExplainer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(InputError, match=r"40 x 30 pixels, more than the 1,000"):
        explainer.explain(tiny_images.picture())


def test_wrong_targets_and_options(explainer: ImageExplainer) -> None:
    image = tiny_images.picture()
    with pytest.raises(InputError, match=r"no label 'newts'; it has 'cat', 'dog', 'newt'; did you mean 'newt'\?"):
        explainer.explain(image, "newts")
    with pytest.raises(InputError, match="0 to 2"):
        explainer.explain(image, 3)
    with pytest.raises(InputError, match="choose another contrast"):
        explainer.explain(image, "dog", contrast="dog")
    with pytest.raises(InputError, match="at least 1"):
        explainer.explain(image, batch_size=0)
    with pytest.raises(InputError, match="only tensors"):
        ImageExplainer(explainer.model, None).explain(image)


def test_processors_whose_output_is_no_image(explainer: ImageExplainer) -> None:
    with pytest.raises(InputError, match=r"Siglip2.* of shape \[1, 256, 768\].*lxtlike.propagate"):
        ImageExplainer(explainer.model, tiny_images.processor_of("Siglip2")).explain(tiny_images.picture())


def test_each_explainer_names_the_other(explainer: ImageExplainer, tmp_path: Path) -> None:
    import tiny_models

    with pytest.raises(InputError, match=r"lxtlike\.ImageExplainer"):
        lxtlike.Explainer(explainer.model, tiny_models.tokenizer())
    with pytest.raises(InputError, match="causal-lm model"):
        ImageExplainer(tiny_models.model("causal-lm"), explainer.processor)
    folder = tiny_images.save("vit", tmp_path / "vit")
    with pytest.raises(InputError, match=r"lxtlike\.ImageExplainer"):
        lxtlike.Explainer.from_pretrained(folder)
    loaded = ImageExplainer.from_pretrained(folder, dtype="float64")
    np.testing.assert_allclose(
        loaded.explain(tiny_images.picture()).channels, explainer.explain(tiny_images.picture()).channels, atol=1e-5
    )
