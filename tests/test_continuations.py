"""Continuations: as a whole, token by token, against another one, and led back over several hops."""

from __future__ import annotations

import functools
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import lxtlike
from lxtlike import Explainer, GenerationAttribution, InputError, continuations
from lxtlike.targets import Span

PROMPT = "the white mug belongs to gus while there is a pink lamp for emil , carl has a red hat . so the colour of the hat is"
COMPLETION = " red . the"


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return Explainer.from_pretrained()


@pytest.fixture(scope="module")
def generation(explainer: Explainer) -> GenerationAttribution:
    return explainer.generate(PROMPT, completion=COMPLETION, objective="logprob")


@pytest.mark.parametrize("objective", ["logit", "centered", "logprob", "prob"])
def test_a_continuation_is_the_sum_of_its_tokens(explainer: Explainer, objective: str) -> None:
    ids = [explainer.explain(PROMPT, word).target.id for word in ("red", ".", "the")]
    whole = explainer.explain(PROMPT, completion=COMPLETION, objective=objective)
    text, parts = PROMPT, []
    for number, word in zip(ids, COMPLETION.split(), strict=True):
        parts.append(explainer.explain(text, target=number, objective=objective))
        text += f" {word}"
    assert whole.target.value == pytest.approx(sum(part.target.value for part in parts), rel=1e-5)
    expected = np.zeros(len(whole.tokens))
    for part in parts:
        expected[: len(part.tokens)] += part.relevance
    np.testing.assert_allclose(whole.relevance, expected, atol=1e-4)
    assert whole.text == PROMPT + COMPLETION
    assert list(whole.target.ids) == ids
    assert [whole.tokens[place].id for place in whole.target.positions] == ids
    assert whole.relevance[-1] == 0.0
    assert whole.ledger.relative_error < 1e-5


def test_a_target_of_several_tokens_is_a_continuation(explainer: Explainer) -> None:
    one = explainer.explain(PROMPT, COMPLETION, objective="logprob")
    other = explainer.explain(PROMPT, completion=COMPLETION, objective="logprob")
    assert one == other
    assert explainer.explain(PROMPT, Span(" red")).target.value == explainer.explain(PROMPT, "red").target.value


def test_weights_weigh(explainer: Explainer, generation: GenerationAttribution) -> None:
    weights = [0.5, -2.0, 1.0]
    whole = explainer.explain(PROMPT, Span(COMPLETION, weights), objective="logprob")
    np.testing.assert_allclose(whole.relevance, generation.span(0, 3, weights).relevance, atol=1e-4)
    assert whole.target.value == pytest.approx(generation.span(0, 3, weights).target.value, rel=1e-5)


def test_a_contrast_of_continuations_is_their_difference(explainer: Explainer) -> None:
    red, pink = (explainer.explain(PROMPT, completion=f" {colour} . the") for colour in ("red", "pink"))
    both = explainer.explain(PROMPT, completion=" red . the", contrast=" pink . the")
    assert both.target.value == pytest.approx(red.target.value - pink.target.value, rel=1e-4)
    start = red.target.positions[0]
    np.testing.assert_allclose(both.relevance[:start], red.relevance[:start] - pink.relevance[:start], atol=1e-4)
    np.testing.assert_allclose(both.relevance[start:], red.relevance[start:], atol=1e-4)
    contrast: Any = both.target.contrast
    assert contrast["token"] == " pink . the"
    np.testing.assert_allclose(contrast["relevance"], -pink.relevance[start:], atol=1e-4)
    assert both.ledger.tokens == pytest.approx(float(both.relevance.sum()) + sum(contrast["relevance"]), rel=1e-4)
    assert both.ledger.relative_error < 1e-5


def test_every_row_of_a_generation_is_an_explanation(explainer: Explainer, generation: GenerationAttribution) -> None:
    assert len(generation) == len(generation.outputs) == 3
    for index, row in enumerate(generation):
        output = generation.outputs[index]
        text = generation.text[: generation.tokens[output.position].start].rstrip()
        alone = explainer.explain(text, target=output.id, objective="logprob")
        np.testing.assert_allclose(row.relevance[: len(alone.tokens)], alone.relevance, atol=1e-4)
        assert not row.relevance[output.position :].any()
        assert row.target.position == output.position - 1
        assert row.target.value == pytest.approx(alone.target.value, rel=1e-5)
        assert row.ledger.relative_error < 1e-5
        assert row.prediction[0].id == alone.prediction[0].id


def test_generate_generates_as_the_model_does(explainer: Explainer) -> None:
    before = torch.random.get_rng_state()
    found = explainer.generate(PROMPT, max_new_tokens=4)
    ids = explainer.tokenizer(PROMPT, return_tensors="pt")
    plain = explainer.model.generate(**ids, max_new_tokens=4, do_sample=False)[0]
    assert [output.id for output in found.outputs] == plain[ids["input_ids"].shape[1] :].tolist()
    assert found.text.startswith(PROMPT)
    assert torch.equal(before, torch.random.get_rng_state())
    for output in found.outputs:
        assert output.prediction[0].id == output.id


def test_outputs_are_explained_in_chunks_with_the_same_numbers(
    explainer: Explainer, generation: GenerationAttribution, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths: list[int] = []
    forward = explainer.model.forward

    def watched(**inputs: Any) -> Any:
        lengths.append(inputs["input_ids"].shape[1])
        assert len(inputs["logits_to_keep"]) <= 2
        return forward(**inputs)

    monkeypatch.setattr(continuations, "sharing", lambda *_: 2)
    monkeypatch.setattr(explainer.model, "forward", functools.wraps(forward)(watched))
    told: list[tuple[int, int]] = []
    found = explainer.generate(
        PROMPT, completion=COMPLETION, objective="logprob", progress=lambda *numbers: told.append(numbers)
    )
    np.testing.assert_allclose(found.relevance, generation.relevance, atol=1e-5)
    for one, other in zip(found.outputs, generation.outputs, strict=True):
        assert one.value == pytest.approx(other.value, abs=1e-5)
        assert one.ledger.softmax == pytest.approx(other.ledger.softmax, abs=1e-5)
        assert (one.index, one.position, one.prediction[0].id) == (other.index, other.position, other.prediction[0].id)
    assert found.audit.uncovered == generation.audit.uncovered
    assert lengths == [len(found.tokens) - 1, len(found.tokens)]
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_mass_led_back_is_all_accounted_for(explainer: Explainer) -> None:
    generation = explainer.generate(PROMPT, completion=COMPLETION)
    last = generation[2]
    start = generation.outputs[0].position
    one, whole = generation.trace(last, hops=1), generation.trace(last)
    assert generation.trace(last, hops=0) == last
    assert abs(last.relevance[start:]).max() > 0.1
    shares = last.relevance[start : start + 2] / [output.ledger.explained for output in generation.outputs[:2]]
    expected = last.relevance.astype(float)
    expected[start : start + 2] = 0
    expected += shares @ generation.relevance[:2].astype(float)
    np.testing.assert_allclose(one.relevance, expected, atol=1e-5)
    assert not whole.relevance[start:].any()
    for traced in (one, whole):
        assert traced.ledger.explained == last.ledger.explained
        assert traced.ledger.tokens == pytest.approx(float(traced.relevance.sum()), abs=1e-4)
        assert traced.ledger.relative_error < 1e-5
    assert whole.ledger.softmax != last.ledger.softmax


def test_mass_stays_where_proportions_mean_nothing(generation: GenerationAttribution) -> None:
    cancelled = replace(generation.outputs[0].ledger, explained=1e-9)
    outputs = (replace(generation.outputs[0], ledger=cancelled), *generation.outputs[1:])
    unsteady = replace(generation, outputs=outputs)
    traced = unsteady.trace(unsteady[1])
    assert traced == unsteady[1]


@settings(deadline=None, max_examples=20)
@given(cut=st.tuples(st.integers(0, 3), st.integers(0, 3)).map(sorted).filter(lambda pair: pair[0] < pair[1]))
def test_spans_add_up(generation: GenerationAttribution, cut: list[int]) -> None:
    start, stop = cut
    span = generation.span(start, stop)
    rows = [generation[index] for index in range(start, stop)]
    np.testing.assert_allclose(span.relevance, sum(row.relevance for row in rows), atol=1e-6)
    assert span.ledger.softmax == pytest.approx(sum(row.ledger.softmax for row in rows))
    assert span.target.token.strip() == " ".join(row.target.token.strip() for row in rows)


def test_generations_are_stored_and_read(generation: GenerationAttribution, tmp_path: Path) -> None:
    path = tmp_path / "g.json"
    generation.save(path)
    assert lxtlike.load(path) == generation
    assert pickle.loads(pickle.dumps(generation)) == generation  # noqa: S301 - our own bytes
    path.write_text(path.read_text().replace('"position"', '"place"'))
    with pytest.raises(InputError, match="'position' is missing"):
        lxtlike.load(path)
    frame = generation.to_pandas()
    assert frame.shape == generation.relevance.shape


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"completion": " red", "target": "red"}, "not both"),
        ({"completion": " red", "position": 3}, "leave the position out"),
        ({"completion": " red", "contrast": "mean"}, "contrasted with another one"),
        ({"completion": " red", "contrast": " red"}, "difference is 0"),
        ({"completion": ""}, "empty"),
        ({"completion": " red", "objective": "loss"}, "unknown objective"),
        ({"target": Span(" red", [1.0, 2.0])}, "2 weights for a continuation of 1 tokens"),
        ({"contrast": " red . the"}, "as contrast needs one as target"),
    ],
)
def test_what_makes_no_sense_is_refused(explainer: Explainer, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        explainer.explain(PROMPT, **options)


def test_a_classifier_continues_nothing() -> None:
    explainer = Explainer.from_pretrained(task="sequence-classification")
    for call in (lambda: explainer.generate("fine"), lambda: explainer.explain("fine", completion=" film")):
        with pytest.raises(InputError, match="only a language model"):
            call()
    with pytest.raises(InputError, match="generate refuses"):
        Explainer.from_pretrained().generate(PROMPT, no_such_option=1)
    with pytest.raises(InputError, match="not within the outputs"):
        Explainer.from_pretrained().generate(PROMPT, max_new_tokens=1).span(0, 2)


def test_progress_is_told_and_may_end_the_work(explainer: Explainer, generation: GenerationAttribution) -> None:
    told: list[tuple[int, int]] = []
    again = explainer.generate(
        PROMPT, completion=COMPLETION, objective="logprob", progress=lambda *now: told.append(now)
    )
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert again == generation

    def stop(done: int, _all: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        explainer.generate(PROMPT, completion=COMPLETION, objective="logprob", progress=stop)
    assert explainer.generate(PROMPT, completion=COMPLETION, objective="logprob") == generation
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
    assert not any(getattr(module, name) for module in explainer.model.modules() for name in hooks)
    assert all(parameter.requires_grad for parameter in explainer.model.parameters())


def test_as_many_outputs_share_a_forward_pass_as_pays_and_memory_has_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    model = torch.nn.Linear(1, 1)
    model.device = torch.device("cpu")
    free = 2**40
    monkeypatch.setattr(continuations, "free_bytes", lambda _: free)
    assert continuations.sharing(10, 32000, model) == 32
    assert continuations.sharing(8192, 32000, model) == 128
    free = 4 * 16 * 32000 * 7 + 1
    assert continuations.sharing(8192, 32000, model) == 7
    free = 0
    assert continuations.sharing(8192, 32000, model) == 1
