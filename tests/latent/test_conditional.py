"""Relevance on condition that it flows through components: linear, complete, and a ledger that closes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from explaining import untouched
from looking import IDS, TEXT, explainer, target_of

from lxtlike import InputError, latent, propagate

FAMILIES = ("llama", "gpt2", "qwen3_moe", "bert")


@pytest.mark.parametrize("composite", ["attnlrp", "cp-lrp"])
@pytest.mark.parametrize("name", FAMILIES)
def test_parts_add_up_to_the_whole(name: str, composite: str) -> None:
    """All positions behind a layer, or all its features, let everything through; heads what their attention lets through."""
    one, asked = explainer(name, composite), target_of(explainer(name))
    with untouched(one.model):
        whole = one.explain(TEXT, **asked)
        by_position = [latent.conditional(one, TEXT, latent.layers(0, position=p), **asked) for p in range(6)]
    equal(sum(part.relevance for part in by_position), whole.relevance)
    features = [range(8), range(8, 32)]
    equal(sum(latent.conditional(one, TEXT, latent.layers(0, f), **asked).relevance for f in features), whole.relevance)
    kinds: list[tuple[Any, int]] = [(latent.heads, 4)]
    kinds += [(latent.experts, 4)] if name == "qwen3_moe" else [(latent.neurons, 3)]
    for kind, count in kinds:
        attention = latent.conditional(one, TEXT, kind(0), **asked)
        numbers = range(count) if kind is not latent.neurons else [range(10), range(10, 11), range(11, 48)]
        if kind is latent.neurons and name == "gpt2":
            numbers = [range(10), range(10, 11), range(11, 128)]
        parts = [latent.conditional(one, TEXT, kind(0, number), **asked) for number in numbers]
        equal(sum(part.relevance for part in parts), attention.relevance)
        assert np.abs(attention.relevance - whole.relevance).max() > 1e-3 * np.abs(whole.relevance).max()


@pytest.mark.parametrize("name", FAMILIES)
def test_the_ledger_holds_what_was_masked(name: str) -> None:
    one, asked = explainer(name), target_of(explainer(name))
    whole, masked = one.explain(TEXT, **asked), latent.conditional(one, TEXT, latent.heads(0, 2), **asked)
    assert masked.ledger.relative_error < 1e-6
    assert masked.ledger.explained == pytest.approx(whole.ledger.explained)
    assert masked.target.value == pytest.approx(whole.target.value)
    flows = latent.relevance(one, TEXT, latent.heads(0, 2), **asked)
    (arrives,) = (values.sum() for values in flows.relevance.values())
    assert masked.ledger.masked == pytest.approx(whole.target.value - arrives, rel=1e-5)
    assert masked.to_dict()["ledger"]["masked"] == masked.ledger.masked
    assert "masked" not in whole.to_dict()["ledger"]


def test_what_flows_through_a_head_is_what_a_backward_pass_from_it_gives() -> None:
    one = explainer("llama", "cp-lrp")
    found = latent.conditional(one, TEXT, latent.heads(1, 3), **target_of(one))
    embeddings = one.model.get_input_embeddings()(IDS).detach().requires_grad_()
    projection, seen = one.model.model.layers[1].self_attn.o_proj, []
    with propagate(one.model, "cp-lrp"):
        handle = projection.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
        row = one.model(inputs_embeds=embeddings).logits[0, -1]
        handle.remove()
        (c,) = torch.autograd.grad(row[11] - row[29], seen, retain_graph=True)
        head = torch.zeros_like(c)
        head[..., 24:32] = c[..., 24:32]
        (coefficient,) = torch.autograd.grad(seen[0], embeddings, grad_outputs=head)
    equal(found.relevance, (embeddings * coefficient).sum(-1)[0].detach().numpy())


def test_conditions_one_behind_the_other() -> None:
    """Through all positions behind one layer and a head before it is through that head; the order does not matter."""
    one, asked = explainer("llama"), target_of(explainer("llama"))
    head, other = latent.heads(0, 1), latent.heads(1, [0, 2])
    alone = latent.conditional(one, TEXT, head, **asked)
    equal(latent.conditional(one, TEXT, [head, latent.layers(0)], **asked).relevance, alone.relevance)
    both = latent.conditional(one, TEXT, [head, other], **asked)
    equal(latent.conditional(one, TEXT, [other, head], **asked).relevance, both.relevance)
    assert np.abs(both.relevance - alone.relevance).max() > 1e-3 * np.abs(alone.relevance).max()
    rest = latent.conditional(one, TEXT, [head, latent.heads(1, [1, 3])], **asked)
    equal((both.relevance + rest.relevance), latent.conditional(one, TEXT, [head, latent.heads(1)], **asked).relevance)
    assert both.ledger.relative_error < 1e-6


def test_components_are_read_on_the_same_condition() -> None:
    one, asked = explainer("llama"), target_of(explainer("llama"))
    places = [latent.layers(0), latent.layers(1)]
    found = latent.relevance(one, TEXT, places, through=latent.heads(1, 0), **asked)
    masked = latent.conditional(one, TEXT, [latent.heads(1, 0), latent.layers(0)], **asked).ledger.masked
    equal(found.relevance["model.layers.0"].sum(), found.attribution.target.value - masked)
    assert not found.relevance["model.layers.1"].any()  # behind the condition nothing counts any more
    assert latent.relevance(one, TEXT, places, **asked).relevance["model.layers.1"].any()
    equal(found.attribution.relevance, latent.conditional(one, TEXT, latent.heads(1, 0), **asked).relevance)


def test_continuations_take_conditions_too() -> None:
    one = explainer("llama")
    parts = [
        latent.conditional(one, TEXT, latent.layers(0, position=p), completion=" w9 w10", objective="logprob")
        for p in range(8)
    ]
    whole = one.explain(TEXT, completion=" w9 w10", objective="logprob")
    equal(sum(part.relevance for part in parts), whole.relevance)
    against = latent.conditional(one, TEXT, latent.layers(0), completion=" w9 w10", contrast=" w8 w11")
    equal(against.relevance, one.explain(TEXT, completion=" w9 w10", contrast=" w8 w11").relevance)
    assert against.ledger.relative_error < 1e-6


@pytest.mark.parametrize(
    ("through", "sentence"),
    [
        (latent.heads(), "a condition is at one place, heads at 2: choose one of"),
        ([latent.heads(0), latent.heads(5)], "no heads"),
        (latent.heads(1, 0, position=0), None),
    ],
)
def test_conditions_that_are_none_are_refused(through: Any, sentence: str | None) -> None:
    one = explainer("llama")
    if sentence is None:  # nothing flows by an earlier position of the last layer: all is masked
        found = latent.conditional(one, TEXT, through, **target_of(one))
        assert not found.relevance.any()
        assert found.ledger.masked == pytest.approx(found.ledger.explained)
    else:
        with untouched(one.model), pytest.raises(InputError, match=sentence):
            latent.conditional(one, TEXT, through, **target_of(one))


def equal(actual: Any, expected: Any) -> None:
    """Equal but for a share of the largest number: results are float32."""
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=2e-6 * np.abs(expected).max())
