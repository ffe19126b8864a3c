"""The classic rules and composites give zennit's and captum's numbers; how those were made: tests/fixtures/parity/SOURCE.md.

Where conventions differ, both are compared where they must agree; docs/coming-from.md says what differs.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import lxtlike
from lxtlike import Composite

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
from rule_networks import NETWORKS, POSITIVE, load

FOLDER = Path(__file__).parent / "fixtures" / "parity" / "rules"
BAR = {"zennit": 1e-12, "captum": 1e-6}  # captum stabilises max and average pooling, too, and by 1e-9


def everywhere(rule: str, **parameters: float) -> Composite:
    chosen = {"rule": rule, **parameters}
    return Composite.parse("lrp-0") | {"linear": chosen, "convolution": chosen}


def first(rule: str) -> Composite:
    return Composite.parse("epsilon").where({"linear": rule, "convolution": rule}, first=True).bounded(-1.0, 1.0)


OURS = {
    ("zennit", "epsilon"): everywhere("epsilon"),
    ("zennit", "epsilon-0.1"): everywhere("epsilon", epsilon=0.1),
    ("zennit", "gamma"): everywhere("generalized-gamma"),
    ("zennit", "z-plus"): everywhere("alpha-beta", alpha=1.0),
    ("zennit", "alpha-beta"): everywhere("alpha-beta"),
    ("zennit", "w-square-first"): first("w-squared"),
    ("zennit", "flat-first"): first("flat"),
    ("zennit", "box-first"): first("box"),
    ("zennit", "epsilon-gamma-box"): Composite.parse("epsilon-gamma-box:low=-1,high=1"),
    ("zennit", "epsilon-plus"): Composite.parse("epsilon-plus"),
    ("zennit", "epsilon-plus-flat"): Composite.parse("epsilon-plus-flat"),
    ("zennit", "epsilon-alpha2-beta1"): Composite.parse("epsilon-alpha2-beta1"),
    ("zennit", "epsilon-alpha2-beta1-flat"): Composite.parse("epsilon-alpha2-beta1-flat"),
    ("zennit", "epsilon-norm-apart"): everywhere("epsilon") | {"batch-norm": "constant"},
    ("zennit", "epsilon-norm-passed"): everywhere("epsilon") | {"batch-norm": "pass"},
    ("captum", "epsilon"): everywhere("epsilon") | {"batch-norm": "constant"},
    ("captum", "gamma"): everywhere("gamma", epsilon=1e-9),
    ("captum", "z-plus"): everywhere("alpha-beta", alpha=1.0, epsilon=1e-9),
}


def comparable(network: str, peer: str, question: str) -> slice:
    """The items of the batch on which both must agree."""
    if peer == "captum" and question != "epsilon":
        if not network.endswith("-no-bias"):
            return slice(0)  # it leaves biases as they are beside changed weights
        return slice(POSITIVE if question == "z-plus" else None)  # z+ is wrong for negative inputs
    if question == "epsilon-gamma-box" and not network.startswith(("cnn", "transposed")):
        return slice(0)  # zennit's knows convolutions as first layers only
    return slice(None)


@cache
def stored(network: str) -> dict[str, Tensor]:
    with np.load(FOLDER / f"{network}.npz", allow_pickle=False) as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}


CASES = [
    (network, peer, question)
    for network in NETWORKS
    for peer, question in OURS
    if f"{peer}/{question}" in stored(network) and comparable(network, peer, question) != slice(0)
]


def distance(network: str, peer: str, question: str, composite: Any) -> float:
    """Largest difference of our relevance from theirs over their largest relevance, in the worst item."""
    data, items = stored(network), comparable(network, peer, question)
    model = load(network, {key.removeprefix("weight/"): data[key] for key in data if key.startswith("weight/")})
    given, wanted = data["input"].clone().requires_grad_(), data["target"]
    with lxtlike.propagate(model, composite, strict=True) as audit:
        score = model(given).gather(1, wanted[:, None]).sum()
        (coefficient,) = torch.autograd.grad(score, given)
        relevance = audit.relevance(given, coefficient)
    theirs = data[f"{peer}/{question}"].flatten(1)
    differences = (relevance.flatten(1) - theirs).abs().amax(1) / theirs.abs().amax(1)
    return float(differences[items].max())


def test_every_question_is_asked() -> None:
    assert {(peer, question) for _, peer, question in CASES} == set(OURS)
    assert {network for network, *_ in CASES} == set(NETWORKS)


@pytest.mark.parametrize(("network", "peer", "question"), CASES)
def test_relevance_is_theirs(network: str, peer: str, question: str) -> None:
    assert distance(network, peer, question, OURS[peer, question]) <= BAR[peer]


def test_the_rules_decide_the_numbers() -> None:
    """LRP-0 gives something else, so the agreement above is not vacuous."""
    for network, peer, question in CASES:
        if network == "cnn" and question != "epsilon":
            assert distance(network, peer, question, "lrp-0") > 0.01, question
