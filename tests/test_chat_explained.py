"""Chats and segments through an explainer: parts reach the result, and sums per part keep everything."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import tiny_models

from lxtlike import Explainer, InputError


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    tokenizer = tiny_models.tokenizer()
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }} . {% endfor %}"
    return Explainer(tiny_models.model("causal-lm"), tokenizer)


CHATS: list[list[Any]] = [
    [{"role": "system", "content": "the box"}, {"role": "user", "content": "holds a red ball"}],
    [{"role": "user", "content": "the hat"}],
]


def test_messages_are_parts_of_every_result(explainer: Explainer) -> None:
    single = explainer.explain(CHATS[0], chat=True)
    assert [part.label for part in single.parts] == ["system", "template", "user 1", "template"]
    assert math.isclose(sum(single.by("message").relevance), sum(single.relevance), rel_tol=1e-5)
    generation = explainer.generate(CHATS[0], chat=True, max_new_tokens=2)
    whole = explainer.explain(CHATS[0], chat=True, completion=" red ball")
    for parts in (generation.parts, whole.parts):
        assert parts[:-1] == single.parts
        assert parts[-1].start == len(single.text)  # the continuation is a part of its own


def test_a_list_of_chats_is_a_batch(explainer: Explainer) -> None:
    batch = explainer.explain(CHATS, chat=True)
    assert [a.text for a in batch] == ["the box . holds a red ball . ", "the hat . "]
    np.testing.assert_allclose(batch[0].relevance, explainer.explain(CHATS[0], chat=True).relevance, atol=1e-5)
    assert explainer.explain("the hat", chat=True).text == "the hat . "


def test_segments_of_a_plain_text(explainer: Explainer) -> None:
    result = explainer.explain("the box holds a red ball", segments=[("example 1", 0, 7), ("example 2", 8, 24)])
    units = result.by("example").units
    assert units is not None
    assert [unit.label for unit in units if unit.label] == ["example 1", "example 2"]
    with pytest.raises(InputError, match="is not within the text"):
        explainer.explain("the box", segments=[("example", 0, 99)])


def test_no_template_no_chat() -> None:
    with pytest.raises(InputError, match="no chat template"):
        Explainer(tiny_models.model("causal-lm"), tiny_models.tokenizer()).explain("the hat", chat=True)
