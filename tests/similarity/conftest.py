"""Explainers of tiny models, and one explained pair of texts."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

import tiny_models
from two_texts import FIRST, SECOND, tokenizer

import lxtlike


@pytest.fixture(scope="session")
def explainer() -> lxtlike.SimilarityExplainer:
    return lxtlike.SimilarityExplainer(tiny_models.model("masked-lm").double(), tokenizer(), name="tiny")


@pytest.fixture(scope="session")
def explained(explainer: lxtlike.SimilarityExplainer) -> lxtlike.PairAttribution:
    return explainer.explain(FIRST, SECOND)
