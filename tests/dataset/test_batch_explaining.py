"""Many rows explained: what single explanations give, in order, and a row that fails fails alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import count, islice
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import FNetConfig, FNetForSequenceClassification

from lxtlike import Attribution, AuditError, Explainer, InputError, explain_rows
from lxtlike.dataset.batches import Item, batches
from lxtlike.reader import Question
from lxtlike.targets import Asked
from lxtlike.text import Encoded, Token

TEXTS = [
    "the red ball is",
    "a box holds the blue hat and the bag holds",
    "good",
    "not very bad film . the green",
    "a bag",
]


def explainer(kind: str = "causal-lm", **options: Any) -> Explainer:
    return Explainer(tiny_models.model(kind), tiny_models.tokenizer(), name="tiny", **options)


def alike(found: Attribution | None, single: Attribution) -> bool:
    """Whether relevance, target and ledger are the same but for float32's rounding."""
    assert found is not None
    largest = np.abs(single.relevance).max()
    ledgers = (np.array(a.ledger.numbers()) for a in (found, single))
    return (
        (found.text, found.target.token, found.target.contrast)
        == (single.text, single.target.token, single.target.contrast)
        and bool((np.abs(found.relevance - single.relevance) < 1e-5 * largest).all())
        and bool(np.allclose(*ledgers, rtol=1e-5, atol=1e-5 * largest))
    )


@pytest.mark.parametrize("kind", ["causal-lm", "sequence-classification"])
@pytest.mark.parametrize("method", ["default", "cp-lrp", "attnlrp:reference=pad,path=2"])
def test_rows_are_what_single_texts_are(kind: str, method: str) -> None:
    one = explainer(kind)
    rows = list(explain_rows(one, TEXTS, method=method, batch_size=3))
    assert [row.id for row in rows] == list(range(5))
    for row, text in zip(rows, TEXTS, strict=True):
        assert alike(row.attribution, one.explain(text, method=None if method == "default" else method))
        assert row.to_dict().keys() == {"id", *one.explain(text).to_dict()}


def test_rows_have_targets_contrasts_and_continuations_of_their_own() -> None:
    one = explainer()
    rows = [
        {"text": TEXTS[0], "target": "red", "id": "first"},
        {"text": TEXTS[1], "target": 6, "contrast": "hat"},
        {"text": TEXTS[2], "completion": "blue box"},
        {"text": TEXTS[3], "target": "red ball"},
        {"text": TEXTS[4]},
    ]
    found = list(explain_rows(one, rows, target="green", contrast="mean", objective="logprob"))
    assert [row.id for row in found] == ["first", 1, 2, 3, 4]
    assert [row.error is None for row in found] == [True, True, False, False, True]
    assert "contrasted with another one" in (found[2].error or "")
    found[2:4] = explain_rows(one, rows[2:4], objective="logprob")
    asked: list[dict[str, Any]] = [{"target": "red", "contrast": "mean"}, {"target": 6, "contrast": "hat"}]
    asked += [{"completion": "blue box"}, {"completion": "red ball"}, {"target": "green", "contrast": "mean"}]
    for row, text, options in zip(found, TEXTS, asked, strict=True):
        assert alike(row.attribution, one.explain(text, objective="logprob", **options))


@pytest.mark.parametrize("kind", ["causal-lm", "masked-lm"])
def test_layers_heads_and_positions_are_read_at_a_position_of_every_text(kind: str) -> None:
    one = explainer(kind)
    asked: dict[str, Any] = {"position": -2, "layers": True, "heads": True}
    views = ["layers", "heads"]
    if kind == "masked-lm":
        asked["positions"] = True
        views += ["positions"]
    found = list(explain_rows(one, TEXTS, batch_size=3, **asked))
    assert [row.error and row.error[:18] for row in found] == [None, None, "position -2 is out", None, None]
    for row, text in zip(found, TEXTS, strict=True):
        if row.attribution is not None:
            single = one.explain(text, **asked)
            assert alike(row.attribution, single)
            assert row.attribution.target.position == len(single.tokens) - 2
            for name in views:
                np.testing.assert_allclose(getattr(row.attribution, name), getattr(single, name), atol=1e-5)


def test_chats_are_messages_or_a_turn() -> None:
    one = explainer()
    one.tokenizer.chat_template = "{% for m in messages %}{{ m['role'] }} {{ m['content'] }} . {% endfor %}"
    messages = [{"role": "system", "content": "the box"}, {"role": "user", "content": "holds a red ball"}]
    rows: list[Any] = [
        messages,
        {"text": json.dumps(messages), "id": "spelt"},
        "the hat",
        {"text": messages, "target": "red"},
    ]
    rows += [{"text": '[{"role": '}, {"text": 3}, [{"content": "a"}], {"text": "a", "context": "b"}]
    *fine, torn, number, mute, paired = explain_rows(one, rows, chat=True, by="message")
    for row, text, target in zip(
        fine, (messages, messages, "the hat", messages), (None, None, None, "red"), strict=True
    ):
        assert alike(row.attribution, one.explain(text, target, chat=True).by("message"))
    assert fine[1].id == "spelt"
    for row, says in ((torn, "JSON list"), (number, "one user turn"), (mute, "with a role"), (paired, "no context")):
        assert says in (row.error or "")


def test_questions_take_their_context() -> None:
    one, context = explainer("question-answering"), "a red box holds the blue ball"
    rows = [{"text": text, "context": context} for text in TEXTS[:3]]
    rows[0]["target"] = "red box"
    del rows[1]["context"]
    found = list(explain_rows(one, rows))
    assert alike(found[0].attribution, one.explain(TEXTS[0], "red box", context=context))
    assert alike(found[2].attribution, one.explain(TEXTS[2], context=context))
    assert "needs a context" in (found[1].error or "")


def test_by_word_and_by_a_method_without_rules() -> None:
    one = explainer()
    (row,) = explain_rows(one, TEXTS[:1], method="occlusion:by=word", by="word")
    assert row.to_dict() == {"id": 0, **one.explain(TEXTS[0], method="occlusion:by=word").by("word").to_dict()}


def test_where_padding_matters_only_equal_lengths_share_a_batch() -> None:
    config = FNetConfig(
        vocab_size=len(tiny_models.VOCABULARY), hidden_size=16, num_hidden_layers=1, intermediate_size=24
    )
    torch.manual_seed(0)
    one = Explainer(FNetForSequenceClassification(config).eval(), tiny_models.tokenizer())
    texts = [*TEXTS, "a hat", "bad"]
    sizes = watched(one)
    found = list(explain_rows(one, texts))
    assert sizes == [2, 2, 1, 1, 1]
    assert all(alike(row.attribution, one.explain(text)) for row, text in zip(found, texts, strict=True))


def watched(one: Explainer) -> list[int]:
    """How many texts are in each batch that is explained from now on."""
    sizes: list[int] = []
    explain = Explainer.explain_encoded

    def explain_encoded(self: Explainer, method: Any, batch: Sequence[Any], *given: Any, **options: Any) -> Any:
        sizes.append(len(batch))
        return explain(self, method, batch, *given, **options)

    one.explain_encoded = explain_encoded.__get__(one)  # type: ignore[method-assign]
    one.under = lambda composite, compared=False: one  # type: ignore[method-assign, misc, assignment]
    return sizes


def test_the_least_batch_of_a_window_is_compared_with_the_plain_model() -> None:
    found = explain_rows(
        explainer(), ["a red box is", "the blue hat is", "a bag and box", "a box is not red"], batch_size=3
    )
    deviations = [row.attribution and row.attribution.audit.forward_deviation for row in found]
    assert deviations[:3] == [None] * 3
    assert deviations[3] is not None


def test_a_row_whose_output_is_nan_fails_alone() -> None:
    one = explainer()
    with torch.no_grad():
        one.model.get_input_embeddings().weight[tiny_models.VOCABULARY.index("film")] = float("nan")
        one.model.lm_head.weight = torch.nn.Parameter(torch.rand_like(one.model.lm_head.weight))
    found = list(explain_rows(one, TEXTS))
    assert [row.error is None for row in found] == [True, True, True, False, True]
    assert "NaN" in (found[3].error or "")
    assert alike(found[1].attribution, one.explain(TEXTS[1]))


def test_a_batch_that_needs_too_much_memory_is_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    one, explain, sizes = explainer(), Explainer.explain_encoded, []

    def greedy(
        self: Explainer, method: Any, batch: Sequence[Encoded], *given: Any, **options: Any
    ) -> list[Attribution]:
        sizes.append(len(batch))
        if len(batch) > 2 or max(len(encoded.tokens) for encoded in batch) > 9:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return explain(self, method, batch, *given, **options)

    monkeypatch.setattr(Explainer, "explain_encoded", greedy)
    found = list(explain_rows(one, TEXTS))
    assert [row.error is None for row in found] == [True, False, True, True, True]
    assert found[1].error == "out of memory: use a shorter text or a smaller dtype"
    assert sizes == [5, 2, 3, 1, 2, 1, 1]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"text": ""}, "the text is empty"),
        ({"txt": "a"}, "has no 'text'"),
        ({"text": "a " * 40}, "40 tokens, the model takes at most 32"),
        ({"text": "a", "target": "nothing"}, "not in the model's vocabulary"),
        ({"text": "a", "target": 99}, "out of range"),
        ({"text": "a", "target": "red", "contrast": "red"}, "their difference is 0"),
        ({"text": "a", "target": "red", "completion": "red"}, "target and a completion"),
        ({"text": "a\ud800"}, "not valid Unicode"),
        ([1], "no JSON object"),
    ],
)
def test_a_bad_row_says_why(row: Any, says: str) -> None:
    fine, bad, last = explain_rows(explainer(), ["a bag", row, "a hat"])
    assert says in (bad.error or "")
    assert bad.to_dict() == {"id": 1, "error": bad.error}
    assert fine.error is None
    assert last.error is None


@pytest.mark.parametrize(
    "options",
    [
        {"target": "nothing"},
        {"objective": "x"},
        {"method": "attnlrb"},
        {"batch_size": 0},
        {"target": 99},
        {"position": "end"},
        {"position": 1, "target": "red ball"},
        {"chat": True},
        {"by": "message"},
        {"layers": True, "method": "occlusion"},
        {"heads": True, "method": "attnlrp:reference=pad"},
    ],
)
def test_what_is_wrong_for_every_row_is_said_at_once(options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        next(explain_rows(explainer(), TEXTS, **options))


def test_an_operation_without_a_rule_ends_the_run_under_strict() -> None:
    class Odd(torch.nn.SiLU):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return torch.special.i0e(input)

    one = explainer()
    one.model.model.layers[1].mlp.act_fn = Odd()
    assert next(explain_rows(one, TEXTS)).error is None
    with pytest.raises(AuditError, match="i0e"):
        next(explain_rows(one, TEXTS, strict=True))


def test_rows_may_go_on_for_ever() -> None:
    drawn: list[int] = []

    def rows() -> Iterator[str]:
        for number in count():
            drawn.append(number)
            yield TEXTS[number % 5]

    found = list(islice(explain_rows(explainer(), rows(), batch_size=1), 6))
    assert [row.id for row in found] == list(range(6))
    assert len(drawn) <= 32  # the window of the last one, and one ahead


@given(
    lengths=st.lists(st.integers(1, 40), max_size=30),
    most=st.integers(1, 6),
    tokens=st.integers(1, 100),
    mixed=st.booleans(),
    alone=st.sets(st.integers(0, 30)),
)
def test_batches_keep_to_their_budget(lengths: list[int], most: int, tokens: int, mixed: bool, alone: set[int]) -> None:
    token = Token(0, 0, "a", "a", 0, 1, False)
    questions = [Question(Encoded("a", (token,) * n), Asked(), number not in alone) for number, n in enumerate(lengths)]
    items = [Item(number, number, question) for number, question in enumerate(questions)]
    found = batches(items, most, tokens, mixed=mixed)
    assert sorted(item.number for batch in found for item in batch) == list(range(len(items)))
    for batch in found:
        assert 1 <= len(batch) <= most
        if len(batch) > 1:
            assert len(batch) * max(item.length for item in batch) <= tokens
            padding = sum(batch[-1].length - item.length for item in batch)
            assert padding <= (tokens // 16 if mixed else 0)
            assert all(item.number not in alone for item in batch)
