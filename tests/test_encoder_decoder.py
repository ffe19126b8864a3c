"""Encoder-decoders: what the decoder says, word by word or as a whole, from what the encoder reads and it said before."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tiny_models
import torch
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BartForQuestionAnswering,
    BartForSequenceClassification,
    PreTrainedModel,
    T5Config,
    T5ForSequenceClassification,
)

import lxtlike
from lxtlike import Explainer, InputError, continuations

TEXT, OUTPUT = "the red ball is", "a blue hat"
START, FORCED, END = 3, 2, 4
BART = BartConfig(
    vocab_size=len(tiny_models.VOCABULARY),
    d_model=16,
    encoder_layers=2,
    decoder_layers=2,
    encoder_attention_heads=2,
    decoder_attention_heads=2,
    encoder_ffn_dim=16,
    decoder_ffn_dim=16,
    max_position_embeddings=16,
    decoder_start_token_id=START,
    eos_token_id=END,
    bos_token_id=FORCED,
    pad_token_id=0,
    init_std=0.3,
)


def ids(text: str) -> list[int]:
    return [tiny_models.VOCABULARY.index(word) for word in text.split()]


def bart() -> PreTrainedModel:
    torch.manual_seed(0)
    model = BartForConditionalGeneration(BART).double().eval()
    model.generation_config.forced_bos_token_id = FORCED
    return model


def t5() -> PreTrainedModel:
    return tiny_models.model("seq2seq-lm").double()


STARTS = {"bart": [START, FORCED], "t5": [0]}


@pytest.fixture(params=["bart", "t5"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def explainer(kind: str) -> Explainer:
    return Explainer({"bart": bart, "t5": t5}[kind](), tiny_models.tokenizer(), name=kind)


def logits(explainer: Explainer, decoder: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return explainer.model(torch.tensor([ids(TEXT)]), decoder_input_ids=torch.tensor([decoder])).logits[0]


def oracle(explainer: Explainer, decoder: list[int], target: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Input x gradient of the last logit at both embeddings, from embeddings that the model is given."""
    table = explainer.model.get_input_embeddings()
    scale = float(getattr(table, "embed_scale", 1.0))
    sides = [(table.weight[given] * scale)[None].detach().requires_grad_() for given in (ids(TEXT), decoder)]
    row = explainer.model(inputs_embeds=sides[0], decoder_inputs_embeds=sides[1]).logits[0, -1]
    found = torch.autograd.grad(row[target], sides)
    return tuple((x * c).sum(-1)[0].detach() for x, c in zip(sides, found, strict=True))  # type: ignore[return-value]


def test_the_first_word_that_the_decoder_says(explainer: Explainer, kind: str) -> None:
    a = explainer.explain(TEXT)
    row = logits(explainer, STARTS[kind])[-1]
    assert (a.task, a.target.id) == ("seq2seq-lm", int(row.argmax()))
    assert a.target.value == pytest.approx(float(row.max()), rel=1e-6)
    assert [token.token for token in a.tokens] == TEXT.split()
    assert [token.id for token in a.decoder_tokens] == STARTS[kind]
    assert a.ledger.relative_error < 1e-6
    assert a.decoder is not None
    both = float(a.relevance.sum() + a.decoder.relevance.sum())
    assert a.ledger.tokens == pytest.approx(both, rel=1e-5)
    assert a.ledger.special == pytest.approx(float(a.decoder.relevance.sum()), rel=1e-5)


def test_relevance_at_both_embeddings(explainer: Explainer, kind: str) -> None:
    plain = Explainer(explainer.model, explainer.tokenizer, composite="input-x-gradient")
    a = plain.explain(TEXT, "hat")
    encoder, decoder = oracle(plain, STARTS[kind], ids("hat")[0])
    assert a.decoder is not None
    np.testing.assert_allclose(a.relevance, encoder, atol=1e-5)
    np.testing.assert_allclose(a.decoder.relevance, decoder, atol=1e-5)


def test_texts_of_different_lengths_share_a_batch(explainer: Explainer) -> None:
    texts = [TEXT, "a", "the box holds a good film"]
    for together, text in zip(explainer.explain(texts), texts, strict=True):
        alone = explainer.explain(text)
        np.testing.assert_allclose(together.relevance, alone.relevance, atol=1e-5)
        np.testing.assert_allclose(together.decoder.relevance, alone.decoder.relevance, atol=1e-5)  # type: ignore[union-attr]


@pytest.mark.parametrize("objective", ["logit", "logprob"])
def test_a_whole_output_and_one_against_another(explainer: Explainer, kind: str, objective: str) -> None:
    a = explainer.explain(TEXT, completion=OUTPUT, objective=objective)
    read = [*STARTS[kind], *ids(OUTPUT)]
    rows = logits(explainer, read[:-1])[-len(ids(OUTPUT)) :]
    scores = rows.log_softmax(-1) if objective == "logprob" else rows
    expected = sum(float(row[number]) for row, number in zip(scores, ids(OUTPUT), strict=True))
    assert a.target.value == pytest.approx(expected, rel=1e-5)
    assert (a.text, a.decoder.text) == (TEXT, OUTPUT)  # type: ignore[union-attr]
    assert [token.id for token in a.decoder_tokens] == read
    assert [a.decoder_tokens[i].token for i in a.target.positions] == OUTPUT.split()
    assert a.decoder.relevance[-1] == 0.0  # type: ignore[union-attr]
    assert a.ledger.relative_error < 1e-6
    other = explainer.explain(TEXT, completion="green box", objective=objective)
    both = explainer.explain(TEXT, completion=OUTPUT, contrast="green box", objective=objective)
    np.testing.assert_allclose(both.relevance, a.relevance - other.relevance, atol=1e-5)
    assert both.target.value == pytest.approx(expected - other.target.value, abs=1e-5)
    assert both.ledger.relative_error < 1e-6


def test_every_generated_word(explainer: Explainer, kind: str) -> None:
    g = explainer.generate(TEXT, max_new_tokens=4, num_beams=1)
    plain = explainer.model.generate(
        torch.tensor([ids(TEXT)]), max_new_tokens=4 + len(STARTS[kind]) - 1, do_sample=False
    )
    assert [*STARTS[kind], *(output.id for output in g.outputs)] == plain[0].tolist()
    assert g.text.startswith(f"{TEXT}\n")
    assert [token.id for token in g.tokens] == [*ids(TEXT), *plain[0].tolist()]
    rows = logits(explainer, plain[0].tolist())[len(STARTS[kind]) - 1 :]
    for output in g.outputs:
        assert output.value == pytest.approx(float(rows[output.index, output.id]), rel=1e-6)
        assert output.ledger.relative_error < 1e-6
        assert not g.relevance[output.index, output.position :].any()
    whole = g.span(0, len(g))
    assert whole.ledger.explained == pytest.approx(sum(output.value for output in g.outputs))
    traced = g.trace(g[-1])
    assert not traced.relevance[[output.position for output in g.outputs]].any()
    assert traced.ledger.relative_error < 1e-5


def test_results_are_stored_and_shown(explainer: Explainer, tmp_path: Path) -> None:
    a = explainer.explain(TEXT, completion=OUTPUT)
    for name in ("a.json", "a.safetensors"):
        a.save(tmp_path / name)
        assert lxtlike.load(tmp_path / name) == a
    data = json.loads(a.to_json())
    assert [token["token"] for token in data["tokens"]] == TEXT.split()
    assert all(token["text"] == data["decoder_text"][token["start"] : token["end"]] for token in data["decoder_tokens"])
    for shown in (repr(a), a.to_html(), a.to_latex(), a.to_csv()):
        assert all(word in shown for word in [*TEXT.split(), *OUTPUT.split()])
    words = a.by("word")
    assert [unit.text for unit in words.units or ()] == TEXT.split()
    assert "hat" in words.to_csv()
    a.plot()


@pytest.mark.parametrize(
    "family", [BartForSequenceClassification, BartForQuestionAnswering, T5ForSequenceClassification]
)
def test_classifiers_whose_decoder_reads_the_text_again(family: type[PreTrainedModel]) -> None:
    """Relevance of both copies of a token is the token's; without the decoder's the ledger stays open."""
    torch.manual_seed(0)
    size = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 1, "num_heads": 2, "eos_token_id": END}
    config = T5Config(vocab_size=len(tiny_models.VOCABULARY), pad_token_id=0, decoder_start_token_id=0, **size)
    model = family(BART if family is not T5ForSequenceClassification else config).double().eval()
    words = {"context": "a hat [MASK]"} if family is BartForQuestionAnswering else {}
    text = TEXT if words else f"{TEXT} [MASK]"  # the last one stands for the end, where such models look
    a = Explainer(model, tiny_models.tokenizer()).explain(text, **words)
    assert a.ledger.relative_error < 1e-6
    assert a.ledger.tokens == pytest.approx(float(a.relevance.sum()), rel=1e-5)


def test_bad_input(explainer: Explainer) -> None:
    for options, message in (
        ({"position": 1}, "leave the position out"),
        ({"layers": True}, "leave them out"),
        ({"heads": True}, "leave them out"),
        ({"completion": ""}, "the completion is empty"),
        ({"context": "a"}, "reads one text"),
    ):
        with pytest.raises(InputError, match=message):
            explainer.explain(TEXT, **options)  # type: ignore[arg-type]


def test_an_output_that_is_too_long() -> None:
    with pytest.raises(InputError, match="the output has 22 tokens, the model takes at most 16"):
        Explainer(bart(), tiny_models.tokenizer()).explain(TEXT, completion="a " * 20)


def test_outputs_in_chunks(explainer: Explainer, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = explainer.generate(TEXT, completion="a blue hat and the box")
    monkeypatch.setattr(continuations, "sharing", lambda *_: 2)
    parts = explainer.generate(TEXT, completion="a blue hat and the box")
    np.testing.assert_allclose(parts.relevance, whole.relevance, atol=1e-6)
    assert parts.tokens == whole.tokens
