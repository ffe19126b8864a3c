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
from rule_networks import NETWORKS, SIGNS, load

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


def comparable(network: str, peer: str, question: str, signs: str) -> bool:
    if peer == "captum":
        # It leaves biases as they are in the changed denominators, and has no contributions of negative inputs in z+.
        return question == "epsilon" or (network.endswith("-no-bias") and (question, signs) != ("z-plus", "mixed"))
    # zennit's EpsilonGammaBox knows convolutions as first layers only.
    return not (question == "epsilon-gamma-box" and network.startswith("mlp"))


@cache
def stored(network: str) -> dict[str, Tensor]:
    with np.load(FOLDER / f"{network}.npz", allow_pickle=False) as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}


CASES = [
    (network, peer, question, signs)
    for network in NETWORKS
    for peer, question in OURS
    for signs in SIGNS
    if f"{peer}/{question}/{signs}" in stored(network) and comparable(network, peer, question, signs)
]


def distance(network: str, peer: str, question: str, signs: str, composite: Any) -> float:
    """Largest difference of our relevance from theirs, over their largest relevance."""
    data = stored(network)
    model = load(network, {key.removeprefix("weight/"): data[key] for key in data if key.startswith("weight/")})
    given, wanted = data[f"input/{signs}"].clone().requires_grad_(), data[f"target/{signs}"]
    with lxtlike.propagate(model, composite, strict=True) as audit:
        score = model(given).gather(1, wanted[:, None]).sum()
        (coefficient,) = torch.autograd.grad(score, given)
        relevance = audit.relevance(given, coefficient)
    theirs = data[f"{peer}/{question}/{signs}"]
    return float((relevance - theirs).abs().max() / theirs.abs().max())


def test_every_question_is_asked() -> None:
    assert {(peer, question) for _, peer, question, _ in CASES} == set(OURS)
    assert {network for network, *_ in CASES} == set(NETWORKS)


@pytest.mark.parametrize(("network", "peer", "question", "signs"), CASES)
def test_relevance_is_theirs(network: str, peer: str, question: str, signs: str) -> None:
    assert distance(network, peer, question, signs, OURS[peer, question]) <= BAR[peer]


DECIDED = sorted(
    {(peer, question) for network, peer, question, _ in CASES if network == "cnn"}
    - {("zennit", "epsilon"), ("captum", "epsilon")}
)


@pytest.mark.parametrize(("peer", "question"), DECIDED)
def test_the_rules_decide_the_numbers(peer: str, question: str) -> None:
    """The plain gradient gives something else, so the agreement above is not vacuous."""
    assert distance("cnn", peer, question, "mixed", "lrp-0") > 0.01
