"""A small network on made-up rows, and some of them explained."""

from __future__ import annotations

import pytest
import torch
from numpy.random import default_rng
from small_network import FEATURES, LABELS, network

from lxtlike import TableAttribution, TableExplainer


@pytest.fixture(scope="session")
def explainer() -> TableExplainer:
    return TableExplainer(network(), FEATURES, labels=LABELS, name="small")


@pytest.fixture(scope="session")
def explained(explainer: TableExplainer) -> TableAttribution:
    return explainer.explain(default_rng(0).normal(size=(5, 4)))


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)
