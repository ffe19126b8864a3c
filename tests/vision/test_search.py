"""Hiding cells and ranking composites by it: against the definition, written out slowly."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny_images
import torch
from torch import Tensor

import lxtlike
from lxtlike import ImageAttribution, ImageExplainer, InputError
from lxtlike.composites import Composite
from lxtlike.vision import grid
from lxtlike.vision.perturbing import REPLACEMENTS, curves

ROOT = Path(__file__).parents[2]
DIGITS = sorted(map(str, (Path(lxtlike.__file__).parent / "assets" / "images").glob("digit-*.png")))


def one_by_one(
    attribution: ImageAttribution, pixels: Tensor, measure: Callable[[Tensor], Tensor], best: bool
) -> list[float]:
    """Hide the cells one after another, the most (or the least) relevant of those that are left first."""
    (high, wide), relevance = attribution.cell, attribution.relevance.copy()
    hidden, found = pixels.clone(), [float(measure(pixels[None]))]
    for _ in range(relevance.size):
        y, x = np.unravel_index(np.argmax(relevance) if best else np.argmin(relevance), relevance.shape)
        relevance[y, x] = -np.inf if best else np.inf
        rows, columns = slice(y * high, (y + 1) * high), slice(x * wide, (x + 1) * wide)
        hidden[:, rows, columns] = pixels.mean((1, 2))[:, None, None].expand_as(hidden[:, rows, columns])
        found.append(float(measure(hidden[None])))
    return found


def test_curves_are_those_of_the_definition(attribution: ImageAttribution) -> None:
    weights = torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(0)).double()
    pixels = torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(1)).double()

    def measure(batch: Tensor) -> Tensor:
        return (batch * weights).flatten(1).sum(1) + batch.flatten(1).pow(2).sum(1).sqrt()

    cells = attribution.by((7, 10))  # 5 x 4, cut off at both edges
    found = curves(cells, pixels, measure, steps=20, replacement="mean")
    np.testing.assert_allclose(found.morf, one_by_one(cells, pixels, measure, best=True))
    np.testing.assert_allclose(found.lerf, one_by_one(cells, pixels, measure, best=False))
    assert found.abpc == pytest.approx(np.mean(found.lerf[1:] - found.morf[1:]))
    coarse = curves(cells, pixels, measure, steps=4, replacement="mean")
    np.testing.assert_allclose(coarse.morf, found.morf[::5])


def test_replacements() -> None:
    pixels = torch.arange(2 * 9 * 9, dtype=torch.float64).reshape(2, 9, 9)
    assert torch.equal(REPLACEMENTS["mean"](pixels)[1], torch.full((9, 9), 121.0).double())
    blurred = REPLACEMENTS["blur"](pixels)
    assert blurred.shape == pixels.shape
    assert blurred[0, 4, 4].item() == pytest.approx(40)  # a plane stays one away from the edges
    assert blurred[0, 0, 0].item() == pytest.approx(pixels[0, :3, :3].mean().item(), abs=5.1)
    assert torch.equal(REPLACEMENTS["blur"](torch.ones(3, 5, 5)), torch.ones(3, 5, 5))


def test_the_search_ranks_and_changes_nothing(explainer: ImageExplainer) -> None:
    images = [tiny_images.picture(seed=seed) for seed in range(3)]
    before = {name: tensor.clone() for name, tensor in explainer.model.state_dict().items()}
    composites = ["attnlrp", "input-x-gradient", *grid("attnlrp-gamma", gamma=(0, 0.25))]
    search = explainer.search(composites, images, "dog", contrast="newt", steps=8)
    assert all(torch.equal(tensor, before[name]) for name, tensor in explainer.model.state_dict().items())
    assert explainer.composite.name == "attnlrp"
    scores = {trial.composite: trial for trial in search.trials}
    assert set(scores) == set(composites)
    assert [t.abpc for t in search.trials] == sorted((t.abpc for t in search.trials), reverse=True)
    assert search.best == search.trials[0].composite
    assert scores["attnlrp-gamma:gamma=0"].abpc == pytest.approx(scores["attnlrp"].abpc)
    assert all(trial.abpc == pytest.approx(trial.lerf - trial.morf) for trial in search.trials)
    assert "3 images, cells of 8 x 8 pixels hidden by the mean colour in 8 steps" in str(search)
    assert len(str(search).splitlines()) == 6


def test_the_search_measures_the_explained_target(explainer: ImageExplainer) -> None:
    image = tiny_images.picture()
    for asked in ({"target": "cat"}, {"target": 1, "contrast": "mean", "objective": "prob"}):
        (trial,) = explainer.search(["attnlrp"], [image], steps=16, replacement="blur", **asked).trials
        value = explainer.explain(image, **asked).target.value
        cells = explainer.explain(image, **asked).by("patch")
        hidden = explainer.explain(REPLACEMENTS["blur"](explainer.values(image)), **{"target": 1} | asked).target.value
        assert cells.relevance.size == 16
        assert value != pytest.approx(hidden)
        assert trial.morf != pytest.approx(value)
        (whole,) = explainer.search(["attnlrp"], [image], steps=1, replacement="blur", **asked).trials
        assert [whole.morf, whole.lerf] == pytest.approx([hidden, hidden])


def test_a_right_explanation_beats_its_opposite() -> None:
    explainer = ImageExplainer.from_pretrained("digits-cnn")
    search = explainer.search(["epsilon-gamma-box", "input-x-gradient"], DIGITS[:4], cell=4)
    assert search.best == "epsilon-gamma-box"
    assert search.trials[0].abpc > 1


def test_grids() -> None:
    assert grid("gamma", gamma=(0.1, 1)) == ["gamma:gamma=0.1", "gamma:gamma=1"]
    both = grid("attnlrp-gamma", **{"linear.gamma": (0, 0.5), "convolution.gamma": (1,)})
    assert [Composite.parse(name).name for name in both] == both
    assert both[1] == "attnlrp-gamma:linear.gamma=0.5,convolution.gamma=1"
    assert grid("attnlrp") == ["attnlrp"]


def test_what_is_wrong(explainer: ImageExplainer) -> None:
    image = tiny_images.picture()
    with pytest.raises(InputError, match=r"no replacement 'meen'.*did you mean mean\?"):
        explainer.search(["attnlrp"], [image], replacement="meen")
    with pytest.raises(InputError, match="at least 1"):
        explainer.search(["attnlrp"], [image], steps=0)
    for composites, images in (([], [image]), (["attnlrp"], [])):
        with pytest.raises(InputError, match="at least one composite and one image"):
            explainer.search(composites, images)
    with pytest.raises(InputError, match="no patches"):
        ImageExplainer(tiny_images.model("resnet"), explainer.processor).search(["attnlrp"], [image])


def test_the_script_prints_the_table() -> None:
    command = [
        sys.executable,
        "scripts/gamma_search.py",
        "--model",
        "digits-vit",
        "--steps",
        "2",
        "--composite",
        "attnlrp",
    ]
    command += ["--composite", "gamma", "--set", "gamma=0.05,1", *DIGITS[:1]]
    ended = subprocess.run(
        command,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = ended.stdout.splitlines()
    assert lines[0].startswith("1 images, cells of 2 x 2")
    assert {line.split()[0] for line in lines[2:]} == {"attnlrp", "gamma:gamma=0.05", "gamma:gamma=1"}
