"""The explainer: targets, batches, tasks; the caller's objects stay as they are."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_models
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    BertConfig,
    BertForTokenClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    ViTConfig,
    ViTForImageClassification,
)

import lxtlike
from lxtlike import Explainer, InputError, NumericalError
from lxtlike.targets import Span

TEXTS = ["the red ball is", "a box holds the blue hat and the bag holds", "good", "not very bad film . the green"]


@pytest.fixture(scope="module")
def causal() -> Explainer:
    return Explainer(tiny_models.model("causal-lm"), tiny_models.tokenizer())


@pytest.fixture(scope="module")
def classifier() -> Explainer:
    return Explainer(tiny_models.model("sequence-classification"), tiny_models.tokenizer(), composite="cp-lrp")


def logits(explainer: Explainer, text: str) -> torch.Tensor:
    with torch.no_grad():
        return explainer.model(torch.tensor([explainer.tokenizer(text)["input_ids"]])).logits[0].double()


def test_the_default_target_is_the_models_first_choice(causal: Explainer) -> None:
    a = causal.explain(TEXTS[0])
    last = logits(causal, TEXTS[0])[-1]
    assert (a.target.id, a.target.position) == (int(last.argmax()), 3)
    assert a.target.value == pytest.approx(float(last.max()), rel=1e-5)
    assert [c.id for c in a.prediction] == last.topk(5).indices.tolist()
    assert [c.prob for c in a.prediction] == pytest.approx(last.softmax(-1).topk(5).values.tolist(), rel=1e-4)
    assert a.composite == "attnlrp"
    assert a.ledger.relative_error < 1e-5
    assert a.ledger.tokens == pytest.approx(float(a.relevance.sum()), abs=1e-5)


@pytest.mark.parametrize("objective", ["logit", "centered", "logprob", "prob"])
@pytest.mark.parametrize("contrast", [None, "blue", "mean"])
def test_objectives_and_contrasts(causal: Explainer, objective: str, contrast: str | None) -> None:
    a = causal.explain(TEXTS[0], target="red", contrast=contrast, objective=objective)
    last = logits(causal, TEXTS[0])[-1]
    scores = {
        "logit": last,
        "centered": last - last.mean(),
        "logprob": last.log_softmax(-1),
        "prob": last.softmax(-1),
    }[objective]
    red, blue = (tiny_models.VOCABULARY.index(word) for word in ("red", "blue"))
    less = {None: 0.0, "blue": float(scores[blue]), "mean": float(scores.mean())}[contrast]
    assert a.target.value == pytest.approx(float(scores[red]) - less, rel=1e-4, abs=1e-6)
    assert a.ledger.relative_error < 1e-4
    assert a.target.contrast == ({"id": blue, "token": "blue"} if contrast == "blue" else contrast)


def test_a_contrast_is_the_difference_of_two_explanations(causal: Explainer) -> None:
    red, blue, both = (causal.explain(TEXTS[1], "red", contrast=c).relevance for c in (None, None, "blue"))
    blue = causal.explain(TEXTS[1], "blue").relevance
    assert np.allclose(both, red - blue, atol=1e-5 * np.abs(red).max())


def test_targets_by_id_and_position(causal: Explainer) -> None:
    by_name, by_id = causal.explain(TEXTS[1], "red"), causal.explain(TEXTS[1], tiny_models.VOCABULARY.index("red"))
    assert by_name.to_dict() == by_id.to_dict() | {"audit": by_name.to_dict()["audit"]}
    early = causal.explain(TEXTS[1], "red", position=2)
    assert early.target.position == 2
    assert not early.relevance[3:].any()  # a causal model's third output knows nothing of what follows
    assert np.allclose(early.relevance[:3], causal.explain("a box holds", "red").relevance, atol=1e-6)
    assert causal.explain(TEXTS[1], "red", position=-8).to_dict() == early.to_dict()


@pytest.mark.parametrize("which", ["causal", "classifier"])
def test_batches_give_what_single_texts_give(which: str, request: pytest.FixtureRequest) -> None:
    explainer: Explainer = request.getfixturevalue(which)
    for single, batched in zip(map(explainer.explain, TEXTS), explainer.explain(TEXTS, batch_size=3), strict=True):
        assert np.allclose(batched.relevance, single.relevance, atol=2e-6 * max(1, np.abs(single.relevance).max()))
        assert batched.target.id == single.target.id
        assert batched.ledger.relative_error < 1e-5
        assert batched.ledger.tokens == pytest.approx(single.ledger.tokens, abs=1e-5)


@settings(max_examples=10, deadline=None)
@given(order=st.permutations(range(len(TEXTS))), size=st.integers(1, 5))
def test_order_and_size_of_batches_do_not_matter(order: list[int], size: int) -> None:
    explainer = Explainer(tiny_models.model("causal-lm"), tiny_models.tokenizer())
    found = explainer.explain([TEXTS[i] for i in order], "red", batch_size=size)
    for i, a in zip(order, found, strict=True):
        assert a.text == TEXTS[i]
        assert np.allclose(a.relevance, explainer.explain(TEXTS[i], "red").relevance, atol=1e-6)


def test_every_text_of_a_batch_has_its_own_target(causal: Explainer) -> None:
    targets, contrasts = ["red", 6, None, Span("blue box")], [None, "mean", "hat", None]
    singles = [causal.explain(*one, contrast=other) for *one, other in zip(TEXTS, targets, contrasts, strict=True)]
    causal.explain(TEXTS)  # the first time, it is measured whether padding matters
    passes: list[int] = []
    hook = causal.model.register_forward_pre_hook(
        lambda model, args, given: passes.append(len(given["input_ids"])), with_kwargs=True
    )
    batch = causal.explain(TEXTS, targets, contrast=contrasts)
    hook.remove()
    assert passes == [3, 1]  # all that ask for a token, and the continuation
    for single, batched in zip(singles, batch, strict=True):
        assert (batched.target.token, batched.target.contrast) == (single.target.token, single.target.contrast)
        assert np.allclose(batched.relevance, single.relevance, atol=2e-6 * max(1, np.abs(single.relevance).max()))
    with pytest.raises(InputError, match="2 targets for 4 texts"):
        causal.explain(TEXTS, targets[:2])


def test_labels(classifier: Explainer) -> None:
    a = classifier.explain(TEXTS[3], "GOOD", contrast="bad")
    difference = logits(classifier, TEXTS[3])
    assert (a.target.token, a.target.position) == ("good", None)
    assert a.target.value == pytest.approx(float(difference[1] - difference[0]), rel=1e-4)
    with pytest.raises(InputError, match="'bad', 'good'; did you mean 'good'"):
        classifier.explain(TEXTS[3], "goood")
    with pytest.raises(InputError, match="ids go from 0 to 1"):
        classifier.explain(TEXTS[3], 2)
    with pytest.raises(InputError, match="one output for the whole text"):
        classifier.explain(TEXTS[3], position=1)


def test_masked_language_model() -> None:
    explainer = Explainer(tiny_models.model("masked-lm"), tiny_models.tokenizer())
    a = explainer.explain("the [MASK] ball is red")
    assert a.target.position == 1
    assert a.ledger.relative_error < 1e-5
    assert explainer.explain("the red ball", "blue", position=1).target.position == 1
    with pytest.raises(InputError, match=r"put \[MASK\] where"):
        explainer.explain("the red ball")


def test_token_classification() -> None:
    torch.manual_seed(3)
    config = BertConfig(
        vocab_size=len(tiny_models.VOCABULARY),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        id2label={0: "O", 1: "THING", 2: "COLOUR"},
    )
    explainer = Explainer(BertForTokenClassification(config).eval(), tiny_models.tokenizer())
    text = TEXTS[1]
    labels = logits(explainer, text).argmax(-1).tolist()
    most = max(labels, key=labels.count)
    a = explainer.explain(text)
    assert a.target.position == next((i for i, label in enumerate(labels) if label != most), 0)
    assert explainer.explain(text, "COLOUR", position=3).target.id == 2


def test_a_decoder_that_classifies_without_padding_takes_texts_one_by_one() -> None:
    config = GPT2Config(vocab_size=len(tiny_models.VOCABULARY), n_embd=16, n_layer=1, n_head=2, n_positions=32)
    config.bos_token_id = config.eos_token_id = None
    explainer = Explainer(GPT2ForSequenceClassification(config).eval(), tiny_models.tokenizer())
    found = explainer.explain(TEXTS)
    assert [a.text for a in found] == TEXTS
    assert all(a.ledger.relative_error < 1e-5 for a in found)


def test_bad_input(causal: Explainer) -> None:
    with pytest.raises(InputError, match="text is empty"):
        causal.explain("")
    with pytest.raises(InputError, match="33 tokens, the model takes at most 32"):
        causal.explain("red " * 33)
    masked = Explainer(tiny_models.model("masked-lm"), tiny_models.tokenizer())
    with pytest.raises(InputError, match=r"not one token but 2 \('red', 'ball'\)"):
        masked.explain("the hat", "red ball", position=1)
    with pytest.raises(InputError, match="not in the model's vocabulary"):
        causal.explain("the", "Paris")
    with pytest.raises(InputError, match="ids go from 0 to"):
        causal.explain("the", 10_000)
    with pytest.raises(InputError, match="position 9 is out of range"):
        causal.explain("the", position=9)
    with pytest.raises(InputError, match="unknown objective"):
        causal.explain("the", objective="odds")
    with pytest.raises(InputError, match="must be a text"):
        causal.explain("the", target=True)
    with pytest.raises(InputError, match="both 'red'"):
        causal.explain("the", "red", contrast="red")
    with pytest.raises(InputError, match="batch_size"):
        causal.explain(["the"], batch_size=0)
    with pytest.raises(InputError, match="did you mean 'cp-lrp'"):
        Explainer(causal.model, causal.tokenizer, composite="cp-lpr")
    sized = {"image_size": 8, "patch_size": 4, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    images = ViTForImageClassification(ViTConfig(**sized, intermediate_size=8))
    with pytest.raises(InputError, match=r"explained by lxtlike\.ImageExplainer"):
        Explainer(images, tiny_models.tokenizer())
    with pytest.raises(InputError, match="there is no task"):
        Explainer(causal.model, causal.tokenizer, task="poetry")


def test_a_model_without_an_input_embedding_is_refused() -> None:
    model = tiny_models.model("causal-lm")
    model.get_input_embeddings = lambda: None
    with pytest.raises(InputError, match="no single input embedding"):
        Explainer(model, tiny_models.tokenizer()).explain("the red")


def test_nan_in_the_output_is_no_result() -> None:
    model = tiny_models.model("causal-lm")
    with torch.no_grad():
        model.model.norm.weight[0] = float("nan")
    with pytest.raises(NumericalError, match="NaN"):
        Explainer(model, tiny_models.tokenizer()).explain("the red")


def test_it_works_under_no_grad_and_inference_mode(causal: Explainer) -> None:
    expected = causal.explain(TEXTS[0]).relevance
    with torch.no_grad():
        assert np.array_equal(causal.explain(TEXTS[0]).relevance, expected)
        assert not torch.is_grad_enabled()
    with torch.inference_mode():
        assert np.array_equal(causal.explain(TEXTS[0]).relevance, expected)


def test_model_and_tokenizer_are_untouched(causal: Explainer) -> None:
    tokenizer, model = causal.tokenizer, causal.model.train()
    before = tokenizer.backend_tokenizer.to_str(), tokenizer.padding_side, list(vars(model)), model.config.to_dict()
    hooks = [len(module._forward_hooks) for module in model.modules()]
    causal.explain(TEXTS)
    assert before == (
        tokenizer.backend_tokenizer.to_str(),
        tokenizer.padding_side,
        list(vars(model)),
        model.config.to_dict(),
    )
    assert hooks == [len(module._forward_hooks) for module in model.modules()]
    assert model.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    model.eval()


def test_forward_deviation_is_measured_once_and_under_strict() -> None:
    explainer = Explainer(tiny_models.model("causal-lm"), tiny_models.tokenizer())
    found = [explainer.explain(TEXTS[0], strict=strict).audit.forward_deviation for strict in (False, False, True)]
    assert [value is None for value in found] == [False, True, False]
    # Sums of one row are added up in another order than those of all rows.
    assert max(value for value in found if value is not None) < 1e-6


def test_importing_the_package_does_not_import_transformers() -> None:
    import subprocess
    import sys

    code = "import sys, lxtlike; assert not {'torch', 'transformers'} & set(sys.modules), 'imported'"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert set(lxtlike.__all__) <= set(dir(lxtlike))
    assert all(getattr(lxtlike, name) is not None for name in lxtlike.__all__)
