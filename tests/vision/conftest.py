from __future__ import annotations

import pytest
import tiny_images

from lxtlike import ImageAttribution, ImageExplainer


@pytest.fixture(scope="session")
def explainer() -> ImageExplainer:
    return ImageExplainer(tiny_images.model("vit").double(), tiny_images.processor(), name="tiny")


@pytest.fixture(scope="session")
def attribution(explainer: ImageExplainer) -> ImageAttribution:
    return explainer.explain(tiny_images.picture(), target="dog", contrast="newt")
