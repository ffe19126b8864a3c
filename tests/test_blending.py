"""Two composites blended: the mean of both maps, in which each counts the same, and a ledger that still closes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import reference_options as ref
import tiny_models
import torch

import lxtlike
from lxtlike import Composite, Explainer, InputError
from lxtlike.ledger import Ledger
from lxtlike.methods import lrp
from lxtlike.methods.blend import blended
from lxtlike.targets import Span

TEXTS = ["the red ball is", "a box holds the blue hat and the bag holds"]
BLEND = "attnlrp:blend=attnlrp-warm"


@pytest.fixture(scope="module")
def causal() -> Explainer:
    return Explainer(tiny_models.model("causal-lm"), tiny_models.tokenizer())


@pytest.mark.parametrize(
    "options",
    [{}, {"contrast": "hat", "target": "ball"}, {"completion": " red ball"}, {"layers": True, "heads": True}],
    ids=["plain", "contrast", "continuation", "views"],
)
def test_by_hand(causal: Explainer, options: dict[str, Any]) -> None:
    found = causal.explain(TEXTS, method=BLEND, **options)
    singles = [causal.explain(TEXTS, method=name, **options) for name in ("attnlrp", "attnlrp-warm")]
    for one, first, second in zip(found, *singles, strict=True):
        by_hand = ref.blend([first.relevance, second.relevance])
        np.testing.assert_allclose(one.relevance, by_hand, atol=1e-6)
        assert np.abs(first.relevance - second.relevance).max() > 1e-4
        assert one.ledger.explained == pytest.approx(first.ledger.explained, rel=1e-6)
        assert one.ledger.relative_error < 1e-5
        assert one.ledger.softmax not in (first.ledger.softmax, second.ledger.softmax)
        assert one.composite == BLEND
        if one.layers is not None and one.heads is not None:
            np.testing.assert_allclose(one.layers[0], one.relevance, atol=1e-6)
            assert one.heads.shape == first.heads.shape  # type: ignore[union-attr]


def test_every_output_of_a_generation_has_a_blend_of_its_own(causal: Explainer) -> None:
    told: list[tuple[int, int]] = []
    asked: dict[str, Any] = {"completion": " red ball", "progress": lambda *one: told.append(one)}
    generation, plain = (causal.generate(TEXTS[0], quality=quality, **asked) for quality in ("high", "default"))
    assert told == [(0, 2), (1, 2), (1, 2), (2, 2), (1, 2), (2, 2)]
    assert (generation.composite, plain.composite) == (BLEND, "attnlrp")
    for number, weights in enumerate(([1.0, 0.0], [0.0, 1.0])):
        single = causal.explain(TEXTS[0], Span(" red ball", weights), quality="high")
        np.testing.assert_allclose(generation[number].relevance, single.relevance, atol=1e-6)
        assert generation[number].ledger.softmax == pytest.approx(single.ledger.softmax, abs=1e-6)
        assert np.abs(generation[number].relevance - plain[number].relevance).max() > 1e-4
    first = causal.explain(TEXTS[0], completion=" red", quality="high")
    np.testing.assert_allclose(generation.span(0, 1).relevance[:5], first.relevance, atol=1e-6)
    traced = generation.trace(generation[1], None)
    assert traced.ledger.relative_error < 1e-5
    with pytest.raises(InputError, match="chooses its composite itself"):
        Explainer(causal.model, causal.tokenizer, composite="cp-lrp").generate(TEXTS[0], quality="high")


def test_along_a_path_and_of_positions() -> None:
    explainer = lxtlike.Explainer.from_pretrained("sentiment")
    way = "reference=mask,path=2"
    found = explainer.explain("not a good film", method=f"attnlrp:{way},blend=cp-lrp", positions=True)
    singles = [explainer.explain("not a good film", method=f"{name}:{way}") for name in ("attnlrp", "cp-lrp")]
    np.testing.assert_allclose(found.relevance, ref.blend([one.relevance for one in singles]), atol=1e-5)
    assert found.positions is not None
    assert float(found.positions.sum()) == pytest.approx(found.ledger.positions, rel=1e-4)
    assert (found.target.path, found.ledger.relative_error < 1e-5) == (2, True)
    assert found.composite == "attnlrp:blend=cp-lrp"


def test_of_an_encoder_and_its_decoder() -> None:
    """One weight for the tokens of both."""
    explainer = Explainer(tiny_models.model("seq2seq-lm"), tiny_models.tokenizer())
    found, first, second = (explainer.explain(TEXTS[0], method=name) for name in (BLEND, "attnlrp", "attnlrp-warm"))
    by_hand = ref.blend([np.concatenate([one.relevance, one.decoder.relevance]) for one in (first, second)])
    np.testing.assert_allclose(np.concatenate([found.relevance, found.decoder.relevance]), by_hand, atol=1e-6)


def test_with_itself_it_is_itself_and_an_empty_map_counts_too(causal: Explainer) -> None:
    same, plain = (causal.explain(TEXTS[0], method=name) for name in ("attnlrp:blend=attnlrp", "attnlrp"))
    np.testing.assert_allclose(same.relevance, plain.relevance, rtol=1e-6)
    inputs = {"input_ids": torch.tensor([[5, 6, 7]])}
    run = (causal.model, inputs, lambda outputs: outputs.logits, [lambda rows, _: rows[:, -1, 3]])
    (found,) = lrp(*run, Composite.parse("attnlrp"))
    nothing = replace(found, relevance=torch.zeros_like(found.relevance))
    torch.testing.assert_close(blended([found, nothing]).relevance, found.relevance / 2)


def test_ledgers_are_weighed_account_by_account() -> None:
    first = Ledger(1.0, 2.0, biases=-1.0, bias_kinds={"linear": -1.0})
    second = Ledger(1.0, 0.0, softmax=1.0)
    mean = Ledger.mean([first, second], [0.25, 0.75])
    assert (mean.explained, mean.tokens, mean.biases, mean.softmax, mean.rest) == (1.0, 0.5, -0.25, 0.75, 0.0)
    assert mean.bias_kinds == {"linear": -0.25}


def test_an_unknown_composite_is_refused(causal: Explainer) -> None:
    with pytest.raises(InputError, match="attnlrp-worm"):
        causal.explain(TEXTS[0], method="attnlrp:blend=attnlrp-worm")


def test_a_difference_of_two_continuations_is_refused(causal: Explainer) -> None:
    with pytest.raises(InputError, match="a difference of two texts"):
        causal.explain(TEXTS[0], " red ball", contrast=" blue hat", method=BLEND)
