"""The optional rules on whole models: the ledger closes, values stay, fused attention is eager attention, layers run again."""

from __future__ import annotations

import pytest
import torch
from families import EAGER_ONLY, FAMILIES, build, embeddings_of, run
from torch import Tensor, nn

from lxtlike import Audit, Ledger, propagate
from lxtlike.propagation.precision import Float64Casts
from lxtlike.rules import residual
from lxtlike.rules.call import Call

COMPOSITES = ["attnlrp:temperature=2", "gim", "attnlrp-residual-gamma"]
CASES = [(name, "eager" if name in EAGER_ONLY else "sdpa") for name in FAMILIES]


def explain(model: nn.Module, composite: str, *, checkpointing: bool = False) -> tuple[Ledger, Audit, Tensor]:
    with Float64Casts():
        with torch.no_grad():
            plain, _ = run(model, embeddings_of(model))
        with propagate(model, composite, trace=True, checkpointing=checkpointing) as audit:
            row, leaves = run(model, embeddings_of(model))
            value = row.max()
            coefficients = torch.autograd.grad(value, leaves)
    audit.compare(plain, row)
    relevance = torch.cat([(e * c).flatten() for e, c in zip(leaves, coefficients, strict=True)]).detach()
    return audit.ledger(value, relevance), audit, relevance


@pytest.mark.parametrize("composite", COMPOSITES)
@pytest.mark.parametrize(("name", "attention"), CASES)
def test_the_ledger_closes(name: str, attention: str, composite: str) -> None:
    model = build(name, attention, torch.float64)
    ledger, audit, relevance = explain(model, composite)
    assert audit.forward_deviation == 0.0
    assert audit.uncovered == []
    assert ledger.relative_error <= 1e-8
    _, _, plain = explain(model, "attnlrp")
    assert not torch.allclose(relevance, plain, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("composite", COMPOSITES)
@pytest.mark.parametrize("name", ["llama", "gpt2", "bert", "opt", "t5"])
def test_fused_attention_is_eager_attention(name: str, composite: str) -> None:
    if name in EAGER_ONLY:
        pytest.skip("no sdpa attention here")
    eager, fused = (explain(build(name, kind, torch.float64), composite)[2] for kind in ("eager", "sdpa"))
    assert torch.allclose(eager, fused, rtol=1e-6, atol=1e-8 * eager.abs().max().item())


@pytest.mark.parametrize("composite", COMPOSITES)
@pytest.mark.parametrize("name", ["llama", "gpt2", "bert"])
def test_layers_that_run_again(name: str, composite: str) -> None:
    model = build(name, "sdpa", torch.float64)
    kept, again = (explain(model, composite, checkpointing=choice) for choice in (False, True))
    assert torch.equal(kept[2], again[2])
    assert again[0].relative_error <= 1e-8


ADDS = {"falcon": 2, "falcon-alibi": 2, "gpt_neox": 2, "t5": 10, "t5-gated": 10}
"""Residual sums of models that have others than two for each of their two layers."""


@pytest.mark.parametrize("name", FAMILIES)
def test_residual_sums_are_found_and_nothing_else_is(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No rotation, no sum of attention scores, no sum of two branches is a residual one."""
    found: list[tuple[int, ...]] = []

    def watched(call: Call, a: Tensor, b: Tensor) -> bool:
        if decided := decide(call, a, b):
            found.append(tuple(a.shape))
        return decided

    decide = residual._is_residual
    monkeypatch.setattr(residual, "_is_residual", watched)
    explain(build(name, "eager", torch.float64), "attnlrp-residual-gamma")
    assert len(found) == ADDS.get(name, 4)
    assert {shape[-1] for shape in found} == {32}  # the width of the residual stream
