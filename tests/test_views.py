"""Views of a result on request: relevance behind every layer and of every attention head."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch
from transformers import BartConfig, BartForSequenceClassification

import lxtlike
from lxtlike import Attribution, Explainer, InputError, NumericalError

TEXTS = ["the red ball is", "a box holds the blue hat and the bag holds", "good", "not very bad film . the green"]
KNOWN = Path(lxtlike.__file__).parent / "assets" / "known_cause.jsonl"


@pytest.fixture(scope="module")
def causal() -> Explainer:
    return Explainer(tiny_models.model("causal-lm"), tiny_models.tokenizer())


@pytest.fixture(scope="module")
def classifier() -> Explainer:
    return Explainer(tiny_models.model("sequence-classification"), tiny_models.tokenizer(), composite="cp-lrp")


@pytest.fixture(scope="module")
def bundled() -> Explainer:
    return Explainer.from_pretrained()


@pytest.mark.parametrize("which", ["causal", "classifier"])
def test_views_of_texts_and_batches(which: str, request: pytest.FixtureRequest) -> None:
    explainer: Explainer = request.getfixturevalue(which)
    result = explainer.explain(TEXTS[0], layers=True, heads=True)
    assert result.layers is not None
    assert result.heads is not None
    assert result.layers.shape == (explainer.model.config.num_hidden_layers + 1, len(result.tokens))
    assert result.heads.shape == (2, 2)
    assert result.heads.dtype == np.float32
    np.testing.assert_allclose(result.layers[0], result.relevance, rtol=1e-6)
    if which == "causal":  # no bias, and the last norm is a constant factor: all of the value lies on the last token
        assert result.layers[-1][-1] == pytest.approx(result.target.value, rel=1e-4)
        assert not result.layers[-1][:-1].any()
    for batched, text in zip(explainer.explain(TEXTS, layers=True, heads=True), TEXTS, strict=True):
        single = explainer.explain(text, layers=True, heads=True)
        np.testing.assert_allclose(batched.layers, single.layers, atol=1e-5)
        np.testing.assert_allclose(batched.heads, single.heads, atol=1e-6)
    assert not {"layers", "heads"} & set(explainer.explain(TEXTS[0]).to_dict())


@pytest.mark.parametrize("name", ["a.json", "a.safetensors"])
def test_they_are_stored_and_read(causal: Explainer, tmp_path: Path, name: str) -> None:
    result = causal.explain(TEXTS[0], layers=True, heads=True)
    result.save(tmp_path / name)
    read = lxtlike.load(tmp_path / name)
    assert read == result
    assert np.array_equal(read.heads, result.heads)  # type: ignore[union-attr, arg-type]
    assert np.array_equal(result.by("word").heads, result.heads)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="read-only"):
        result.heads[0, 0] = 1.0  # type: ignore[index]


def test_heads_that_are_no_table_of_numbers_are_refused(causal: Explainer) -> None:
    result = causal.explain(TEXTS[0], heads=True)
    data = result.to_dict()
    with pytest.raises(InputError, match=r"relevance of heads of shape \(3,\)"):
        replace(result, heads=np.zeros(3))
    with pytest.raises(NumericalError, match="of a head is NaN or infinite"):
        replace(result, heads=np.array([[1.0, np.inf]]))
    for damaged in ([[1.0], [1.0, 2.0]], [["a"]], [], 3):
        with pytest.raises(InputError, match=r"damaged|shape"):
            Attribution.from_dict(data | {"heads": damaged})


def test_continuations_have_the_views_of_the_sum_of_their_tokens(bundled: Explainer) -> None:
    text, answer = "the mug holds a red hat and a blue key is in the jar . so the key is", " blue . so"
    views: dict[str, Any] = {"layers": True, "heads": True}
    whole = bundled.explain(text, completion=answer, **views)
    layers, heads = np.zeros_like(whole.layers), np.zeros_like(whole.heads)
    for word in answer.split():
        one = bundled.explain(text, word, **views)
        layers[:, : len(one.tokens)] += one.layers
        heads += one.heads
        text += f" {word}"
    np.testing.assert_allclose(whole.layers, layers, atol=1e-3)
    np.testing.assert_allclose(whole.heads, heads, atol=1e-3)
    np.testing.assert_allclose(whole.layers[0], whole.relevance, rtol=1e-6)


def test_a_contrast_of_continuations_has_the_views_of_both(bundled: Explainer) -> None:
    text, views = (
        "the mug holds a red hat and a blue key is in the jar . so the key is",
        {"layers": True, "heads": True},
    )
    one, other = (bundled.explain(text, completion=f"{word} . so", **views) for word in ("blue", "red"))  # type: ignore[call-overload]
    both = bundled.explain(text, completion="blue . so", contrast="red . so", **views)  # type: ignore[call-overload]
    prompt = len(both.tokens) - 3
    np.testing.assert_allclose(both.heads, one.heads - other.heads, atol=1e-3)
    np.testing.assert_allclose(both.layers[:, :prompt], (one.layers - other.layers)[:, :prompt], atol=1e-3)
    np.testing.assert_allclose(both.layers[:, prompt:], one.layers[:, prompt:], atol=1e-3)
    np.testing.assert_allclose(both.layers[0], both.relevance, rtol=1e-6)


def test_layers_of_a_text_that_is_read_twice_are_refused() -> None:
    size = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2}
    size |= {"decoder_attention_heads": 2, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "vocab_size": 24}
    config = BartConfig(**size, pad_token_id=0, eos_token_id=3, decoder_start_token_id=3, max_position_embeddings=32)
    explainer = Explainer(BartForSequenceClassification(config).eval(), tiny_models.tokenizer())
    text = "the red ball [SEP]"
    assert explainer.explain(text, heads=True).heads.shape == (2, 4)  # the decoder's own, and those over the encoder
    with pytest.raises(InputError, match="whose decoder reads the text again"):
        explainer.explain(text, layers=True)


def known(task: str, count: int) -> list[dict[str, Any]]:
    lines = map(json.loads, KNOWN.read_text(encoding="utf-8").splitlines())
    return [example for example in lines if example["task"] == task][:count]


@contextmanager
def without(explainer: Explainer, layer: int, head: int) -> Iterator[None]:
    """The bundled language model with one head whose output is zero."""
    attention = explainer.model.model.layers[layer].self_attn

    def silence(_: Any, args: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        parts = args[0].unflatten(-1, (-1, attention.head_dim)).clone()
        parts[..., head, :] = 0
        return (parts.flatten(-2),)

    handle = attention.o_proj.register_forward_pre_hook(silence)
    try:
        yield
    finally:
        handle.remove()


def right(explainer: Explainer, examples: list[dict[str, Any]]) -> int:
    """How many sentences the model answers rightly."""
    found = explainer.explain([example["text"] for example in examples])
    return sum(a.target.token.strip() == e["answer"] for a, e in zip(found, examples, strict=True))


@pytest.mark.parametrize(
    ("task", "first"),
    [("binding", {(1, 0)}), ("induction", {(2, 1), (2, 2)})],
)
def test_the_heads_that_were_built_to_copy_the_answer_have_most_relevance(
    bundled: Explainer, task: str, first: set[tuple[int, int]]
) -> None:
    """`scripts/demo_wiring.py` says which: of bindings the one that finds the word before the last and passes on what
    stands before it, of lists the two that find the last word, or that before it, and pass on what followed."""
    examples = known(task, 12)
    found = bundled.explain([example["text"] for example in examples], contrast="mean", heads=True)
    tops = {tuple(map(int, np.unravel_index(np.argmax(a.heads), (4, 4)))) for a in found}  # type: ignore[arg-type]
    assert tops <= first
    mean = np.mean([a.heads / np.abs(a.heads).sum() for a in found if a.heads is not None], axis=0)
    weakest = tuple(map(int, np.unravel_index(np.argmin(np.abs(mean)), mean.shape)))
    assert right(bundled, examples) == len(examples)
    with without(bundled, *weakest):
        assert right(bundled, examples) == len(examples)
    for place in first:
        with without(bundled, *place):
            assert right(bundled, examples) < 0.8 * len(examples)
