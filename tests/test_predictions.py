"""Targets beyond one token or label: answers to questions, pairs of texts, and functions of the model's outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tiny_models
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_tokenizers import KINDS, TEXTS, tokenizer
from transformers import (
    BertConfig,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForQuestionAnswering,
    LlamaConfig,
    LlamaForSequenceClassification,
    PreTrainedModel,
    XLNetConfig,
    XLNetForQuestionAnswering,
)

import lxtlike
from lxtlike import Explainer, InputError
from lxtlike.text import encode_pair

QUESTION, CONTEXT = "the red film is", "a red box holds the blue ball . the blue ball"
SIZES = {"vocab_size": len(tiny_models.VOCABULARY), "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
UPCAST = 1e-6
"""Relative error of the ledger of a float64 Llama, whose norms compute in float32."""
BERT = BertConfig(**SIZES, intermediate_size=24, max_position_embeddings=32, initializer_range=0.5)


def pairs() -> Any:
    """A tokenizer that writes ``[CLS] question [SEP] context [SEP]`` with token types, as BERT's does."""
    from tokenizers.processors import TemplateProcessing

    both = tiny_models.tokenizer()
    ids = [("[CLS]", 2), ("[SEP]", 3)]
    both.backend_tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ids
    )
    both.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    return both


def answering(kind: type[PreTrainedModel] = BertForQuestionAnswering) -> Explainer:
    torch.manual_seed(0)
    distil = DistilBertConfig(
        vocab_size=len(tiny_models.VOCABULARY), dim=16, n_layers=2, n_heads=2, hidden_dim=24, initializer_range=0.5
    )
    model = kind(BERT if kind is BertForQuestionAnswering else distil)
    return Explainer(model.double().eval(), pairs(), name="tiny")


def scores(explainer: Explainer) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        outputs = explainer.model(**explainer.tokenizer(QUESTION, CONTEXT, return_tensors="pt"))
    return outputs.start_logits[0], outputs.end_logits[0]


@pytest.mark.parametrize("kind", [BertForQuestionAnswering, DistilBertForQuestionAnswering])
def test_the_best_answer_is_the_span_of_highest_start_and_end(kind: type[PreTrainedModel]) -> None:
    explainer = answering(kind)
    if kind is DistilBertForQuestionAnswering:
        explainer.tokenizer.model_input_names = ["input_ids", "attention_mask"]
    a = explainer.explain(QUESTION, context=CONTEXT)
    start, end = scores(explainer)
    context = range(6, 17)  # behind [CLS] and the question's four words and [SEP]
    best = max(((s, e) for s in context for e in context if s <= e), key=lambda p: float(start[p[0]] + end[p[1]]))
    assert a.target.positions == tuple(range(best[0], best[1] + 1))
    assert a.target.value == pytest.approx(float(start[best[0]] + end[best[1]]), rel=1e-12)
    assert a.target.token == " ".join(a.tokens[i].token for i in a.target.positions)
    assert a.ledger.relative_error < 1e-12
    assert a.ledger.tokens == pytest.approx(float(a.relevance.sum()), abs=1e-5)
    assert sum(candidate.prob for candidate in a.prediction) <= 1 + 1e-6
    assert lxtlike.Attribution.from_dict(a.to_dict()) == a


def test_an_answer_is_given_as_its_text_and_stands_where_the_model_scores_it_highest() -> None:
    explainer = answering()
    start, end = scores(explainer)
    twice = [(11, 12), (15, 16)]
    best = max(twice, key=lambda p: float(start[p[0]] + end[p[1]]))
    assert explainer.explain(QUESTION, "Blue ball", context=CONTEXT).target.positions == best


@pytest.mark.parametrize("objective", ["logit", "centered", "logprob", "prob"])
def test_objectives_of_answers(objective: str) -> None:
    explainer = answering()
    a = explainer.explain(QUESTION, "box", context=CONTEXT, contrast="the blue ball", objective=objective)
    one, other = (
        explainer.explain(QUESTION, answer, context=CONTEXT, objective=objective) for answer in ("box", "the blue ball")
    )
    assert a.target.value == pytest.approx(one.target.value - other.target.value, abs=1e-9)
    np.testing.assert_allclose(a.relevance, one.relevance - other.relevance, atol=1e-6)
    assert a.ledger.relative_error < 1e-12
    assert a.target.contrast == {"id": other.target.id, "token": "the blue ball"}


def test_question_and_context_are_parts() -> None:
    a = answering().explain(QUESTION, context=CONTEXT)
    assert a.text == f"{QUESTION}\n{CONTEXT}"
    units = {unit.label: unit for unit in a.by("message").units or () if unit.label}
    assert [units["question"].text, units["context"].text] == [QUESTION, CONTEXT]
    assert sum(unit.relevance for unit in a.by("message").units or ()) == pytest.approx(
        float(a.relevance.sum()), abs=1e-5
    )


def test_questions_in_a_list_have_a_context_each_or_share_one() -> None:
    explainer = answering()
    apart = explainer.explain([QUESTION, "a hat"], context=[CONTEXT, "the bag is green"])
    assert [a.text.split("\n")[1] for a in apart] == [CONTEXT, "the bag is green"]
    shared = explainer.explain([QUESTION, "a hat"], context=CONTEXT)
    assert [a.text.split("\n")[1] for a in shared] == [CONTEXT, CONTEXT]
    np.testing.assert_array_equal(apart[0].relevance, shared[0].relevance)
    with pytest.raises(InputError, match="3 contexts for 2 texts"):
        explainer.explain([QUESTION, "a hat"], context=["a"] * 3)


def test_a_pair_of_texts_is_classified_as_the_model_does() -> None:
    """Token types tell the texts apart: without them the model's answer is another one."""
    torch.manual_seed(1)
    model = BertForSequenceClassification(BERT).eval()
    explainer = Explainer(model, pairs())
    a, b = (
        explainer.explain([QUESTION, "a hat"], context=[CONTEXT, "the bag is green"], batch_size=n)[1] for n in (1, 2)
    )
    with torch.no_grad():
        plain = model(**pairs()("a hat", "the bag is green", return_tensors="pt")).logits[0]
    assert a.target.value == pytest.approx(float(plain.max()), rel=1e-5)
    np.testing.assert_allclose(a.relevance, b.relevance, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15, deadline=None)
@given(first=TEXTS, second=TEXTS)
def test_two_texts_keep_their_tokens_and_places(kind: str, first: str, second: str) -> None:
    texts = [first, second]
    try:
        found = encode_pair(first, second, tokenizer(kind), ("text", "context"))
    except InputError:
        return
    assert found.ids == list(tokenizer(kind)(first, text_pair=second, verbose=False)["input_ids"])
    assert found.text == "\n".join(texts)
    assert [found.text[part.start : part.end] for part in found.parts] == texts
    starts = [token.start for token in found.tokens]
    assert starts == sorted(starts)
    for token in found.tokens:
        assert token.text == found.text[token.start : token.end]
        assert any(part.start <= token.start and token.end <= part.end for part in found.parts)


def test_texts_before_the_question_where_the_tokenizer_pads_on_the_left() -> None:
    left = pairs()
    left.padding_side = "left"
    found = encode_pair("a hat", "the bag", left, ("question", "context"))
    assert [(part.label, found.text[part.start : part.end]) for part in found.parts] == [
        ("context", "the bag"),
        ("question", "a hat"),
    ]


def entropy(outputs: Any) -> torch.Tensor:
    logs = outputs.logits[:, -1].log_softmax(-1)
    return -(logs.exp() * logs).sum()


@pytest.fixture(scope="module")
def causal() -> Explainer:
    return Explainer(tiny_models.model("causal-lm").double(), tiny_models.tokenizer())


def test_a_function_of_the_outputs_is_explained(causal: Explainer) -> None:
    a = causal.explain("the red ball is", entropy)
    with torch.no_grad():
        plain = entropy(causal.model(torch.tensor([causal.tokenizer("the red ball is")["input_ids"]])))
    assert a.target.value == pytest.approx(float(plain), rel=1e-9)
    assert (a.target.token, a.target.objective, a.target.id) == ("entropy", "function", None)
    assert a.ledger.relative_error < UPCAST
    assert a.ledger.bias_kinds["taylor"] != 0.0
    assert "entropy" in a.to_html()
    assert "entropy" in repr(a)


@given(word=st.sampled_from(tiny_models.VOCABULARY), factor=st.floats(-3, 3).filter(bool))
@settings(max_examples=10, deadline=None)
def test_a_function_that_picks_a_logit_is_that_target(causal: Explainer, word: str, factor: float) -> None:
    number = tiny_models.VOCABULARY.index(word)
    a = causal.explain("the red ball is", lambda outputs: factor * outputs.logits[0, -1, number])
    b = causal.explain("the red ball is", number)
    np.testing.assert_allclose(a.relevance, factor * b.relevance, atol=1e-6)
    assert a.ledger.bias_kinds.get("taylor", 0.0) == pytest.approx(0.0, abs=1e-9)


def test_a_function_sees_every_text_without_padding(causal: Explainer) -> None:
    texts = ["the red ball is", "a"]
    together = causal.explain(texts, lambda outputs: outputs.logits[:, -1].amax(-1))
    for a, text in zip(together, texts, strict=True):
        assert a.target.value == pytest.approx(causal.explain(text).target.value, rel=1e-9)


def test_outputs_that_are_made_of_one_another_count_once() -> None:
    model = tiny_models.model("causal-lm").double()
    model.config.output_hidden_states = True
    explainer = Explainer(model, tiny_models.tokenizer())
    a = explainer.explain("the red ball", lambda o: o.logits[0, -1, 5] * o.hidden_states[1][0, -1].sum(), layers=True)
    assert a.ledger.relative_error < UPCAST


@pytest.mark.parametrize(
    ("function", "options", "message"),
    [
        (lambda o: o.logits, {}, "must return a tensor with one number, not a tensor of shape"),
        (lambda o: 3.0, {}, "must return a tensor with one number, not float"),
        (lambda o: torch.ones(1), {}, "does not depend on the model's outputs"),
        (entropy, {"contrast": "red"}, "leave contrast, position and objective out"),
        (entropy, {"position": 1}, "leave contrast, position and objective out"),
    ],
)
def test_functions_that_cannot_be_explained(causal: Explainer, function: Any, options: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        causal.explain("the red ball is", function, **options)


def test_bad_questions(causal: Explainer) -> None:
    explainer = answering()
    for options, message in (
        ({}, "needs a context"),
        ({"context": ""}, "the context is empty"),
        ({"context": "   "}, "the context has nothing that becomes a token"),
        ({"context": CONTEXT, "target": "a green hat"}, "does not stand in the context"),
        ({"context": CONTEXT, "target": 1000}, "answer id 1000 is out of range"),
        ({"context": CONTEXT, "position": 3}, "leave the position out"),
        ({"context": CONTEXT, "chat": True}, "messages have no context"),
    ):
        with pytest.raises(InputError, match=message):
            explainer.explain(QUESTION, **options)
    with pytest.raises(InputError, match="reads one text"):
        causal.explain("a", context="b")
    beams = XLNetForQuestionAnswering(
        XLNetConfig(vocab_size=len(tiny_models.VOCABULARY), d_model=16, n_layer=1, n_head=2)
    )
    with pytest.raises(InputError, match="no start and end logits"):
        Explainer(beams.eval(), pairs()).explain(QUESTION, context=CONTEXT)


def test_a_model_that_sees_padding_gets_its_texts_one_by_one() -> None:
    """A Fourier transform along the text mixes what is padded in: in a batch its own output would be another one."""
    from transformers import FNetConfig, FNetForSequenceClassification

    torch.manual_seed(0)
    size = {"hidden_size": 16, "num_hidden_layers": 1, "intermediate_size": 24, "type_vocab_size": 2}
    model = FNetForSequenceClassification(FNetConfig(vocab_size=len(tiny_models.VOCABULARY), **size)).eval()
    explainer = Explainer(model, tiny_models.tokenizer())
    texts = ["the red ball is", "a hat", "the blue box holds a good film"]
    for together, text in zip(explainer.explain(texts), texts, strict=True):
        alone = explainer.explain(text)
        assert together.target.value == pytest.approx(alone.target.value, rel=1e-5)
        np.testing.assert_allclose(together.relevance, alone.relevance, atol=1e-6)


def test_a_classified_text_may_end_with_the_token_of_padding() -> None:
    """Decoders that classify read the last token that is another one."""
    torch.manual_seed(0)
    tokens, text = tiny_models.tokenizer(), "the red ball is in the blue box ."
    size = {"vocab_size": len(tokens), "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
    config = LlamaConfig(**size, num_attention_heads=2, pad_token_id=tokens.pad_token_id)
    explainer = Explainer(LlamaForSequenceClassification(config).eval(), tokens)
    plain, padded = explainer.explain(text), explainer.explain(f"{text} [PAD]")
    assert padded.target.value == pytest.approx(plain.target.value, rel=1e-4)
    np.testing.assert_allclose(padded.relevance, [*plain.relevance, 0], rtol=1e-4, atol=1e-7)
