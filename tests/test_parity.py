"""Relevances equal those of LXT, the reference implementation of AttnLRP and CP-LRP.

`fixtures/parity` holds tiny random models with the numbers LXT gives for them; its SOURCE.md says how they were made.
LXT computes in float32, where its own rounding is below 1e-6 of the largest relevance: the bar leaves ten times that.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

from lxtlike.composites import Composite
from lxtlike.propagation import propagate

FOLDER = Path(__file__).parent / "fixtures" / "parity"
MODELS = sorted(path.parent.name for path in FOLDER.glob("*/config.json"))
BAR = 1e-5  # largest difference over LXT's largest relevance
KEYS = {"attnlrp": "attn", "cp-lrp": "cp"}


@functools.cache
def stored(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / name / "relevance.json").read_text())


# Where a rule of ours is another one than LXT's: the change that makes it LXT's. Router weights that are divided by their
# sum: we hold the sum constant, as in any norm; with LXT's live sum the router's path carries no relevance at all
# (a function homogeneous of degree 0), and the ledger does not close.
LIVE_SUM = {"division": "gradient"}
CHANGES: dict[tuple[str, str], dict[str, str]] = {("qwen3_moe_renormalised", "attnlrp"): LIVE_SUM}
CASES = [(name, composite) for name in MODELS for composite, key in KEYS.items() if stored(name)[key] is not None]


@functools.cache
def load(name: str, attention: str) -> torch.nn.Module:
    folder = FOLDER / name
    classifier = "SequenceClassification" in AutoConfig.from_pretrained(folder).architectures[0]
    auto = AutoModelForSequenceClassification if classifier else AutoModelForCausalLM
    return auto.from_pretrained(folder, attn_implementation=attention, dtype=torch.float32).eval()


def explain(name: str, composite: str, attention: str) -> tuple[torch.Tensor, float]:
    """Relevance [T] float32 of the stored question by the low-level road, and the explained logit."""
    model, question = load(name, attention), stored(name)
    with propagate(model, Composite.parse(composite) | CHANGES.get((name, composite), {})):
        embeddings = model.get_input_embeddings()(torch.tensor([question["ids"]])).detach().requires_grad_()
        logits = model(inputs_embeds=embeddings).logits[0]
        logit = (logits if logits.ndim == 1 else logits[-1])[question["target"]]
        (coefficients,) = torch.autograd.grad(logit, embeddings)
    return (embeddings * coefficients).detach().float().sum(-1)[0], logit.item()


def distance(name: str, composite: str, relevance: torch.Tensor) -> float:
    reference = torch.tensor(stored(name)[KEYS[composite]])
    return float((relevance - reference).abs().max() / reference.abs().max())


def test_the_fixtures_are_there() -> None:
    assert {name for name, _ in CASES} >= {"llama", "qwen3", "gpt2", "qwen2", "gemma3", "qwen3_moe", "bert"}
    assert {name for name, composite in CASES if composite == "cp-lrp"} >= {"llama", "qwen3", "gpt2", "qwen2", "gemma3"}


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize(("name", "composite"), CASES)
def test_relevance_equals_lxt(name: str, composite: str, attention: str) -> None:
    relevance, logit = explain(name, composite, attention)
    assert logit == pytest.approx(stored(name)["logit"], rel=1e-5)
    assert distance(name, composite, relevance) <= BAR


@pytest.mark.parametrize(("name", "composite"), CASES)
def test_the_rules_decide_the_numbers(name: str, composite: str) -> None:
    """Without rules the same models give something else entirely, so the agreement above is not vacuous."""
    relevance, _ = explain(name, "input-x-gradient", "sdpa")
    assert distance(name, composite, relevance) > 0.1
