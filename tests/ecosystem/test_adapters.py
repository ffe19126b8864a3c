"""Models with adapters of peft: low-rank updates, trained copies of modules, trained prompts."""

from __future__ import annotations

from typing import Any

import pytest
import tiny_models
import torch
from explaining import close, explained, fresh, ledgered, untouched
from families import embeddings_of
from torch import nn

from lxtlike import Explainer, InputError, propagate

peft = pytest.importorskip("peft", reason="peft is not installed (extra `test`)")

# peft asks transformers by the name it had before.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

TEXT = "the red ball is . the"
ATTENTION = ["q_proj", "v_proj"]


def adapted(model: nn.Module, **options: Any) -> Any:
    """A peft model whose adapter does something: its weights are random where peft begins with zeros."""
    options = {"r": 4, "lora_alpha": 8, "lora_dropout": 0.5, "target_modules": ATTENTION, **options}
    wrapped = peft.get_peft_model(model, peft.LoraConfig(**options))
    randomise(wrapped)
    return wrapped


def randomise(model: nn.Module) -> None:
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)


@pytest.mark.parametrize("options", [{}, {"use_dora": True}, {"use_rslora": True}, {"bias": "all"}])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_an_adapter_explains_as_its_merged_weights(options: dict[str, Any], checkpointing: bool) -> None:
    model = adapted(fresh(), **options).train()
    embeddings = embeddings_of(fresh())
    with untouched(model):
        found, ledger = ledgered(model, embeddings=embeddings, checkpointing=checkpointing)
    assert ledger.relative_error < 1e-5
    assert not close(found, explained(fresh()), 1e-2)
    model.eval().merge_adapter()
    with untouched(model):
        assert close(explained(model, embeddings=embeddings), found, 1e-4)
    model.unmerge_adapter()
    assert close(explained(model.merge_and_unload(), embeddings=embeddings), found, 1e-4)


def test_several_adapters_and_none() -> None:
    model, embeddings = adapted(fresh()), embeddings_of(fresh())
    first = explained(model, embeddings=embeddings)
    model.add_adapter("second", peft.LoraConfig(r=2, target_modules=["down_proj"]))
    model.set_adapter("second")
    randomise(model)
    with untouched(model):
        second = explained(model, embeddings=embeddings)
    assert not close(second, first, 1e-2)
    model.set_adapter("default")
    assert not close(explained(model, embeddings=embeddings), second, 1e-2)
    with model.disable_adapter():
        assert close(explained(model, embeddings=embeddings), explained(fresh()))


def test_the_model_inside_is_explained_as_well() -> None:
    model, embeddings = adapted(fresh()), embeddings_of(fresh())
    outside = explained(model, embeddings=embeddings)
    with untouched(model):
        assert torch.equal(explained(model.get_base_model(), embeddings=embeddings), outside)


@pytest.mark.parametrize("kind", ["causal-lm", "sequence-classification"])
def test_an_explainer_finds_model_and_task(kind: str) -> None:
    targets = ATTENTION if kind == "causal-lm" else ["query", "value"]
    task = {"causal-lm": "CAUSAL_LM", "sequence-classification": "SEQ_CLS"}[kind]
    model, tokenizer = adapted(tiny_models.model(kind), task_type=task, target_modules=targets), tiny_models.tokenizer()
    explainer = Explainer(model, tokenizer)
    with untouched(model):
        found = explainer.explain(TEXT)
        both = explainer.explain([TEXT, "a blue hat"])
    assert found.task == kind
    assert found.ledger.relative_error < 1e-4
    assert both[0].relevance == pytest.approx(found.relevance, rel=1e-3, abs=1e-6)
    merged = Explainer(model.merge_and_unload(), tokenizer).explain(TEXT)
    assert found.relevance == pytest.approx(merged.relevance, rel=1e-3, abs=1e-6)


def test_trained_copies_of_modules_and_of_the_embedding() -> None:
    """`modules_to_save` puts a wrapper around the embedding, an adapter on it adds to what it looks up."""
    tokenizer = tiny_models.tokenizer()
    for options in (
        {"modules_to_save": ["embed_tokens", "lm_head"]},
        {"target_modules": ["embed_tokens", "q_proj"]},
        {"trainable_token_indices": [6, 7]},
    ):
        base = tiny_models.model("causal-lm")
        base.config.tie_word_embeddings = False
        base.lm_head.weight = nn.Parameter(base.lm_head.weight.detach().clone())
        model = adapted(base, task_type="CAUSAL_LM", **options)
        with untouched(model):
            found = Explainer(model, tokenizer).explain(TEXT)
        merged = Explainer(model.merge_and_unload(), tokenizer).explain(TEXT)
        assert found.relevance == pytest.approx(merged.relevance, rel=1e-3, abs=1e-6), options
        assert found.ledger.positions == 0
        assert found.ledger.relative_error < 1e-4


def test_a_trained_prompt_is_refused_by_an_explainer_and_explained_by_propagate() -> None:
    base = tiny_models.model("causal-lm")
    model = peft.get_peft_model(base, peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3))
    with pytest.raises(InputError, match="trained prompt"):
        Explainer(model, tiny_models.tokenizer())
    embeddings = base.get_input_embeddings()(torch.tensor([[6, 7, 10]])).detach().requires_grad_()
    with untouched(model), propagate(model) as audit:
        value = model(inputs_embeds=embeddings, attention_mask=torch.ones(1, 3)).logits[0, -1].max()
        (coefficients,) = torch.autograd.grad(value, embeddings)
    ledger = audit.ledger(value, embeddings * coefficients)
    assert ledger.positions != 0  # what the prompt, a constant, makes of the value
    assert ledger.relative_error < 1e-5
