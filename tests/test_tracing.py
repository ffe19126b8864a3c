"""An answer that depends on a word which the model wrote itself, led back to the prompt hop by hop, with every unit booked."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from lxtlike import Attribution, Explainer, GenerationAttribution

ROOT = Path(__file__).parents[1]
PROMPT = (
    "listen : mia took the white key . june has the black key . the black key fits the box . "
    "the white key opens the chest . the key of june is"
)
WRITTEN = " black . the black key opens the box ."
STEP, ANSWER = 3, 7
"""Among the outputs: the second `black`, which says which key is spoken of, and `box`."""


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return Explainer.from_pretrained()


@pytest.fixture(scope="module")
def generation(explainer: Explainer) -> GenerationAttribution:
    return explainer.generate(PROMPT)


def on_outputs(generation: GenerationAttribution, attribution: Attribution) -> float:
    return float(attribution.token_relevance[generation.outputs[0].position :].sum(dtype=np.float64))


def test_the_model_writes_the_step_that_its_answer_needs(
    explainer: Explainer, generation: GenerationAttribution
) -> None:
    assert generation.text == PROMPT + WRITTEN
    before = PROMPT + WRITTEN.removesuffix(" box .")
    assert explainer.explain(before).prediction[0].token.strip() == "box"
    other = " white".join(before.rsplit(" black", 1))
    assert explainer.explain(other).prediction[0].token.strip() == "chest"


def test_the_step_speaks_for_the_answer(generation: GenerationAttribution) -> None:
    answer = generation[ANSWER]
    assert answer.target.token.strip() == "box"
    step = answer.relevance[generation.outputs[STEP].position]
    assert 0.03 < step / answer.target.value < 0.06  # little, but only the facts of the prompt have more
    words = [token.token.strip() for token, _ in answer.top(4)]
    assert words[:2] == ["box", "black"]


def test_every_hop_accounts_for_all(generation: GenerationAttribution) -> None:
    answer = generation[ANSWER]
    left = []
    for hops in range(8):
        traced = generation.trace(answer, hops)
        ledger = traced.ledger
        assert ledger.explained == answer.target.value
        assert abs(ledger.rest) < 1e-6 * sum(map(abs, ledger.accounts.values()))
        assert ledger.tokens == pytest.approx(float(traced.relevance.sum(dtype=np.float64)), rel=1e-6)
        left.append(on_outputs(generation, traced))
        # One hop further is one hop from there.
        np.testing.assert_allclose(
            generation.trace(traced, 1).relevance, generation.trace(answer, hops + 1).relevance, atol=1e-6
        )
    assert left[0] > 2.0
    assert all(after < 0.6 * before for before, after in pairwise(left[:5]))
    assert left[7] == 0.0  # no path through outputs is longer than there are outputs before
    assert generation.trace(answer) == generation.trace(answer, 7)


def test_a_hop_takes_from_outputs_what_the_prompt_and_the_accounts_get(generation: GenerationAttribution) -> None:
    answer, once = generation[ANSWER], generation.trace(generation[ANSWER], 1)
    begin = generation.outputs[0].position
    taken = answer.relevance.astype(float)[begin:]
    shares = taken / [output.ledger.explained for output in generation.outputs]
    for account in ("positions", "biases", "softmax", "epsilon", "router"):
        came = sum(share * getattr(o.ledger, account) for share, o in zip(shares, generation.outputs, strict=True))
        assert getattr(once.ledger, account) == pytest.approx(getattr(answer.ledger, account) + came, abs=1e-6)
    came = shares @ generation.relevance.astype(float)
    np.testing.assert_allclose(once.relevance[:begin], answer.relevance[:begin] + came[:begin], atol=1e-6)
    np.testing.assert_allclose(once.relevance[begin:], came[begin:], atol=1e-6)


@pytest.mark.parametrize("hops", [1, None])
def test_tracing_is_linear_in_what_is_traced(generation: GenerationAttribution, hops: int | None) -> None:
    weights = [1.0, -2.0, 0.5]
    together = generation.trace(generation.span(6, 9, weights), hops)
    each = [generation.trace(generation[index], hops) for index in (6, 7, 8)]
    expected = sum(weight * one.relevance.astype(float) for weight, one in zip(weights, each, strict=True))
    np.testing.assert_allclose(together.relevance, expected, atol=1e-5)
    softmax = sum(weight * one.ledger.softmax for weight, one in zip(weights, each, strict=True))
    assert together.ledger.softmax == pytest.approx(softmax, rel=1e-6)


def test_the_table_of_hops_is_what_comes_out(generation: GenerationAttribution) -> None:
    text = (ROOT / "docs" / "generations.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d|all) \| ([-\d.]+) \| ([-\d.]+) \| ([-\d.]+) \| ([-\d.]+) \|$", text, re.MULTILINE)
    assert [row[0] for row in rows] == ["0", "1", "2", "3", "4", "all"]
    for hops, *numbers in rows:
        traced = generation.trace(generation[ANSWER], None if hops == "all" else int(hops))
        later = on_outputs(generation, traced)
        found = traced.ledger.tokens - later, later, traced.ledger.softmax, traced.ledger.explained
        assert [float(number) for number in numbers] == pytest.approx(found, abs=6e-4)
        assert sum(map(float, numbers[:3])) == pytest.approx(float(numbers[3]), abs=2e-3)


def test_answers_need_and_credit_the_step_in_every_sentence_that_has_one(explainer: Explainer) -> None:
    """The first ten two-step sentences in which the model writes both steps: another step gives another answer."""
    lines = (ROOT / "lxtlike" / "assets" / "known_cause.jsonl").read_text(encoding="utf-8").splitlines()
    found = 0
    for example in map(json.loads, lines):
        if example["task"] != "two-step" or found == 10:
            continue
        told, who = re.fullmatch(r"(.*?)(?: so| now| then)? (\w+) (?:opens|can open) the", example["text"]).groups()  # type: ignore[union-attr]
        keys = dict(re.findall(r"the (\w+) key (?:opens|fits) the (\w+)", told))
        generation = explainer.generate(f"{told} the key of {who} is", max_new_tokens=8)
        said = [output.token.strip() for output in generation.outputs]
        if said[1:3] != [".", "the"] or said[4] != "key" or said[7] != keys[said[3]]:
            continue
        found += 1
        other = next(key for key in keys if key != said[3])
        changed = f"{told} the key of {who} is {' '.join([*said[:3], other, *said[4:7]])}"
        assert explainer.explain(changed).prediction[0].token.strip() == keys[other]
        assert generation[7].relevance[generation.outputs[3].position] > 0.0
        traced = generation.trace(generation[7])
        assert on_outputs(generation, traced) == 0.0
        assert traced.ledger.relative_error < 1e-5
    assert found == 10
