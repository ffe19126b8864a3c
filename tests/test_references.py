"""Relevance against a reference, along a path, and of positions: each against a computation by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, OPTConfig, OPTForCausalLM

import lxtlike
from lxtlike import Attribution, Composite, Explainer, InputError
from lxtlike.cli import main
from lxtlike.methods import Reference, Way, lrp
from lxtlike.methods.path import path_lrp

TEXTS = ["the red ball is", "a box holds the blue hat and the bag holds", "good", "not very bad film . the green"]
REFERENCES = ["mask", "pad", "unk", "mean", "zero", "hat", 9]


@pytest.fixture(scope="module")
def causal() -> Explainer:
    return Explainer(tiny_models.model("causal-lm"), tiny_models.tokenizer())


@pytest.fixture(scope="module")
def classifier() -> Explainer:
    return Explainer(tiny_models.model("sequence-classification"), tiny_models.tokenizer())


def learned(kind: str) -> Explainer:
    """A model that adds an embedding of each position to its tokens."""
    torch.manual_seed(0)
    size = {"vocab_size": len(tiny_models.VOCABULARY)}
    ids = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": 0}
    if kind == "gpt2":
        model: Any = GPT2LMHeadModel(GPT2Config(**size, **ids, n_embd=16, n_layer=2, n_head=2, n_positions=32))
    elif kind == "opt":
        width = {"hidden_size": 16, "word_embed_proj_dim": 8, "ffn_dim": 24, "num_attention_heads": 2}
        model = OPTForCausalLM(OPTConfig(**size, **width, **ids, num_hidden_layers=2, max_position_embeddings=32))
    else:
        model = tiny_models.model(kind)
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return Explainer(model.eval(), tiny_models.tokenizer())


def vector(explainer: Explainer, reference: str | int) -> Tensor:
    """The embedding that stands in place of every token."""
    table = explainer.model.get_input_embeddings().weight.detach()
    if reference in ("mean", "zero"):
        return table.mean(0) if reference == "mean" else torch.zeros_like(table[0])
    names = {"mask": "[MASK]", "pad": "[PAD]", "unk": "[UNK]"}
    number = reference if isinstance(reference, int) else tiny_models.VOCABULARY.index(names.get(reference, reference))
    return table[number]


def value(explainer: Explainer, embeddings: Tensor, target: int) -> Tensor:
    """The explained logit, from embeddings [T, D]."""
    logits: Tensor = explainer.model(inputs_embeds=embeddings[None]).logits[0]
    return logits[target] if logits.dim() == 1 else logits[-1, target]


@pytest.mark.parametrize("reference", REFERENCES)
@pytest.mark.parametrize("which", ["causal", "classifier"])
def test_by_hand(which: str, reference: str | int, request: pytest.FixtureRequest) -> None:
    """``(e - e_ref) c`` with the coefficients of one ordinary backward pass."""
    explainer: Explainer = request.getfixturevalue(which)
    found = explainer.explain(TEXTS[0], reference=reference)
    embedded = explainer.model.get_input_embeddings()(torch.tensor([t.id for t in found.tokens])).detach()
    leaf = embedded.clone().requires_grad_()
    with lxtlike.propagate(explainer.model, "attnlrp"):
        (coefficient,) = torch.autograd.grad(value(explainer, leaf, found.target.id), leaf)
    base = vector(explainer, reference)
    np.testing.assert_allclose(found.relevance, ((embedded - base) * coefficient).sum(-1), atol=1e-6)
    with torch.no_grad():
        ends = [float(value(explainer, e, found.target.id)) for e in (embedded, base.expand_as(embedded))]
    assert found.target.value == pytest.approx(ends[0], rel=1e-5)
    assert found.ledger.explained == pytest.approx(ends[0] - ends[1], abs=1e-5)
    constant = float((base * coefficient).sum()) - ends[1]
    assert found.ledger.bias_kinds["reference"] == pytest.approx(constant, abs=1e-5)
    assert found.ledger.relative_error < 1e-5


def test_zero_is_no_reference_but_for_the_value(causal: Explainer) -> None:
    plain, zero = causal.explain(TEXTS[0]), causal.explain(TEXTS[0], reference="zero")
    np.testing.assert_array_equal(plain.relevance, zero.relevance)
    assert (plain.target.reference, zero.target.reference) == (None, "zero")
    assert plain.ledger.explained == pytest.approx(plain.target.value)


class Linear(torch.nn.Module):
    """Embeddings, a position embedding, a linear layer with a bias, a mean: a linear model with constants."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = torch.nn.Embedding(7, 4), torch.nn.Embedding(5, 4)
        self.layer = torch.nn.Linear(4, 3)

    def get_input_embeddings(self) -> torch.nn.Module:
        return self.words

    def forward(self, input_ids: Tensor) -> Tensor:
        found: Tensor = self.layer(self.words(input_ids) + self.places.weight).mean(1)
        return found


@pytest.mark.parametrize("points", [None, 3])
def test_in_a_linear_model_tokens_are_the_whole_difference(points: int | None) -> None:
    """Biases and positions stand on their accounts, and the reference's takes them away again."""
    torch.manual_seed(0)
    model, ids = Linear(), torch.tensor([[1, 2, 3, 4, 5], [6, 5, 4, 3, 2]])
    way = Way(Reference("word", 0), points)
    run = (model, {"input_ids": ids}, lambda rows: rows, [lambda rows, _: rows[:, 1]], Composite.parse("attnlrp"))
    (found,) = path_lrp(*run, way=way, positions=True)
    for ledger in found.ledgers:
        assert ledger.explained == pytest.approx(ledger.tokens, abs=1e-6)
        assert ledger.bias_kinds["reference"] == pytest.approx(
            -ledger.positions - ledger.bias_kinds["linear"], abs=1e-6
        )
        assert min(abs(ledger.positions), abs(ledger.bias_kinds["linear"])) > 0.01
        assert abs(ledger.rest) < 1e-6


def test_results_say_so(causal: Explainer, tmp_path: Path) -> None:
    found = causal.explain(TEXTS[0], reference="mask", path=3)
    assert json.loads(found.to_json())["target"]["reference"] == {"id": 4, "token": "[MASK]"}
    assert json.loads(found.to_json())["target"]["path"] == 3
    for name in ("a.json", "a.safetensors"):
        found.save(tmp_path / name)
        assert lxtlike.load(tmp_path / name) == found
    plain = causal.explain(TEXTS[0]).to_dict()
    assert not {"reference", "path"} & set(plain["target"])
    assert "positions" not in plain


@pytest.mark.parametrize("options", [{}, {"path": 2}])
@pytest.mark.parametrize("which", ["causal", "classifier"])
def test_batches_are_single_texts(which: str, options: dict[str, int], request: pytest.FixtureRequest) -> None:
    explainer: Explainer = request.getfixturevalue(which)
    batched = explainer.explain(TEXTS, reference="unk", **options)
    for text, together in zip(TEXTS, batched, strict=True):
        alone = explainer.explain(text, reference="unk", **options)
        np.testing.assert_allclose(together.relevance, alone.relevance, atol=1e-5)
        assert together.target.id == alone.target.id
        assert together.ledger.explained == pytest.approx(alone.ledger.explained, abs=1e-5)
        assert together.ledger.relative_error < 1e-4


class TestPath:
    @pytest.mark.parametrize("points", [1, 5])
    @pytest.mark.parametrize("which", ["causal", "classifier"])
    def test_of_the_gradient_it_is_integrated_gradients(
        self, which: str, points: int, request: pytest.FixtureRequest
    ) -> None:
        explainer: Explainer = request.getfixturevalue(which)
        gradient = Explainer(explainer.model, explainer.tokenizer, composite="input-x-gradient")
        found = gradient.explain(TEXTS[1], reference="pad", path=points)
        embedded = explainer.model.get_input_embeddings()(torch.tensor([t.id for t in found.tokens])).detach()
        base = vector(explainer, "pad").expand_as(embedded)
        total = torch.zeros_like(embedded)
        for k in range(points):
            leaf = (base + (k + 0.5) / points * (embedded - base)).requires_grad_()
            total += torch.autograd.grad(value(explainer, leaf, found.target.id), leaf)[0]
        by_hand = ((embedded - base) * total / points).sum(-1)
        np.testing.assert_allclose(found.relevance, by_hand, atol=1e-6)

    @pytest.mark.parametrize("which", ["causal", "classifier"])
    def test_completeness_improves(self, which: str, request: pytest.FixtureRequest) -> None:
        explainer: Explainer = request.getfixturevalue(which)
        gradient = Explainer(explainer.model, explainer.tokenizer, composite="input-x-gradient")
        errors = []
        for points in (1, 4, 16, 64):
            ledger = gradient.explain(TEXTS[1], reference="mask", path=points).ledger
            assert ledger.rest == pytest.approx(ledger.explained - ledger.tokens)
            errors.append(abs(ledger.rest / ledger.explained))
        assert errors == sorted(errors, reverse=True)
        assert errors[-1] < 1e-3 < errors[0]

    def test_the_target_is_settled_at_the_text(self, causal: Explainer) -> None:
        for text in TEXTS:
            plain = causal.explain(text)
            averaged = causal.explain(text, reference="pad", path=1)
            assert (averaged.target.id, averaged.prediction) == (plain.target.id, plain.prediction)
            assert averaged.target.value == pytest.approx(plain.target.value)

    def test_of_rules_the_ledger_closes(self, causal: Explainer) -> None:
        for composite in ("attnlrp", "cp-lrp", "epsilon:epsilon=0.1"):
            explainer = Explainer(causal.model, causal.tokenizer, composite=composite)
            ledger = explainer.explain(TEXTS[1], reference="mask", path=3).ledger
            assert ledger.relative_error < 1e-5
            assert (ledger.softmax == 0) == (composite == "cp-lrp")

    @pytest.mark.parametrize("checkpointing", [False, True])
    def test_functions_contrasts_and_objectives(self, checkpointing: bool) -> None:
        model = tiny_models.model("causal-lm")
        explainer = Explainer(model, tiny_models.tokenizer(), checkpointing=checkpointing)
        options: dict[str, Any] = {"reference": "mean", "path": 2}
        contrast = explainer.explain(TEXTS[0], "ball", contrast="hat", **options)
        parts = [explainer.explain(TEXTS[0], word, **options) for word in ("ball", "hat")]
        np.testing.assert_allclose(contrast.relevance, parts[0].relevance - parts[1].relevance, atol=1e-6)
        number = tiny_models.VOCABULARY.index("ball")
        own = explainer.explain(TEXTS[0], lambda outputs: outputs.logits[0, -1, number], **options)
        np.testing.assert_allclose(own.relevance, parts[0].relevance, atol=1e-6)
        for objective in ("centered", "logprob", "prob"):
            found = explainer.explain(TEXTS[0], "ball", objective=objective, **options)
            assert found.ledger.relative_error < 1e-4

    def test_half_precision(self) -> None:
        """The scale that float16 needs is taken out again, at every point."""
        exact = Explainer(tiny_models.model("causal-lm"), tiny_models.tokenizer())
        half = Explainer(tiny_models.model("causal-lm").half(), tiny_models.tokenizer())
        one, other = (e.explain(TEXTS[1], "ball", reference="mean", path=2) for e in (exact, half))
        assert np.abs(one.relevance - other.relevance).max() < 0.02 * np.abs(one.relevance).max()


class TestPositions:
    @pytest.mark.parametrize("kind", ["gpt2", "opt", "masked-lm", "sequence-classification"])
    def test_they_are_the_account(self, kind: str) -> None:
        explainer = learned(kind)
        for text in ("the red [MASK] is", "a [MASK]"):
            found = explainer.explain(text, positions=True)
            assert found.positions is not None
            assert found.positions.shape == found.relevance.shape
            assert float(found.positions.sum()) == pytest.approx(found.ledger.positions, rel=1e-4, abs=1e-6)
            assert np.abs(found.positions).min() > 0
            np.testing.assert_allclose(found.relevance, explainer.explain(text).relevance, atol=1e-7)

    @pytest.mark.parametrize(("kind", "table"), [("gpt2", "transformer.wpe"), ("opt", "model.decoder.embed_positions")])
    def test_by_hand(self, kind: str, table: str) -> None:
        """The position embeddings as leaves of their own: ``p c``."""
        explainer = learned(kind)
        found = explainer.explain(TEXTS[0], positions=True)
        leaves: list[Tensor] = []

        def as_leaf(_module: Any, _args: Any, output: Tensor) -> Tensor:
            leaves.append(output.detach().requires_grad_())
            return leaves[-1]

        handle = explainer.model.get_submodule(table).register_forward_hook(as_leaf)
        with lxtlike.propagate(explainer.model, "attnlrp"):
            ids = torch.tensor([[t.id for t in found.tokens]])
            logit = explainer.model(ids).logits[0, -1, found.target.id]
            (coefficient,) = torch.autograd.grad(logit, leaves[0])
        handle.remove()
        by_hand = (leaves[0] * coefficient).sum(-1).reshape(-1).detach()
        np.testing.assert_allclose(found.positions, by_hand, atol=1e-6)

    def test_batches_paths_and_continuations(self) -> None:
        explainer = learned("gpt2")
        for text, together in zip(TEXTS, explainer.explain(TEXTS, positions=True), strict=True):
            alone = explainer.explain(text, positions=True)
            np.testing.assert_allclose(together.positions, alone.positions, atol=1e-5)
        averaged = explainer.explain(TEXTS[0], positions=True, reference="mask", path=2)
        assert float(averaged.positions.sum()) == pytest.approx(averaged.ledger.positions, rel=1e-4)
        said = explainer.explain(TEXTS[0], completion=" red ball", positions=True)
        assert float(said.positions.sum()) == pytest.approx(said.ledger.positions, rel=1e-4, abs=1e-6)
        against = explainer.explain(TEXTS[0], completion=" red ball", contrast=" blue hat", positions=True)
        assert against.positions.shape == against.relevance.shape

    def test_half_precision_and_several_targets(self) -> None:
        """Each pass has its own, and the factor by which float16 needs its target multiplied is taken out."""
        explainer = learned("gpt2")
        half = Explainer(learned("gpt2").model.half(), explainer.tokenizer)
        one, other = (e.explain(TEXTS[0], "ball", positions=True).positions for e in (explainer, half))
        assert np.abs(one - other).max() < 0.02 * np.abs(one).max()

        def logit(number: int) -> Any:
            return lambda rows, _: rows[:, -1, number]

        inputs = {"input_ids": torch.tensor([[5, 6, 7]])}
        run = (explainer.model, inputs, lambda outputs: outputs.logits)
        first, second = lrp(*run, [logit(3), logit(4)], Composite.parse("attnlrp"), positions=True)
        (alone,) = lrp(*run, [logit(4)], Composite.parse("attnlrp"), positions=True)
        torch.testing.assert_close(second.positions, alone.positions)
        assert not torch.allclose(first.positions, second.positions)

    def test_they_are_kept(self, tmp_path: Path) -> None:
        found = learned("gpt2").explain(TEXTS[0], positions=True)
        for name in ("a.json", "a.safetensors"):
            found.save(tmp_path / name)
            loaded = lxtlike.load(tmp_path / name)
            assert loaded == found
            np.testing.assert_array_equal(loaded.positions, found.positions)
        assert found.by("word").positions is not None
        damaged = {**found.to_dict(), "positions": [1.0]}
        with pytest.raises(InputError, match="damaged"):
            Attribution.from_dict(damaged)


REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "several tokens": (
        "causal-lm",
        {"reference": "red ball"},
        "is 2 tokens: give one token, its id, or mask, pad, unk",
    ),
    "out of range": ("causal-lm", {"reference": 99}, "token id 99 is out of range"),
    "neither": ("causal-lm", {"reference": True}, "must be a token's text"),
    "path alone": ("causal-lm", {"path": 3}, "a path begins at a reference"),
    "no points": ("causal-lm", {"reference": "mask", "path": -1}, "1 or more"),
    "nothing as path": ("causal-lm", {"reference": "mask", "path": 0}, "1 or more"),
    "views": ("causal-lm", {"reference": "mask", "layers": True}, "layers and heads have no reference"),
    "continuation": ("causal-lm", {"reference": "mask", "completion": "red ball"}, "a reference stands for the whole"),
    "rotary": ("causal-lm", {"positions": True}, "rotary and relative positions act inside of attention"),
    "two places": ("seq2seq-lm", {"reference": "mask"}, "cannot be read of an encoder-decoder"),
    "positions of two": ("seq2seq-lm", {"positions": True}, "cannot be read of an encoder-decoder"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    kind, options, message = REFUSED[case]
    explainer = Explainer(tiny_models.model(kind), tiny_models.tokenizer())
    with pytest.raises(InputError, match=message):
        explainer.explain("the red ball", **options)


def test_a_tokenizer_without_a_mask(causal: Explainer) -> None:
    tokenizer = tiny_models.tokenizer()
    tokenizer.mask_token = None
    with pytest.raises(InputError, match="this tokenizer has no mask token"):
        Explainer(causal.model, tokenizer).explain("the red ball", reference="mask")


def test_nothing_is_left_behind(causal: Explainer) -> None:
    before = {name: tensor.clone() for name, tensor in causal.model.state_dict().items()}
    hooks: Callable[[], int] = lambda: sum(len(m._forward_hooks) for m in causal.model.modules())  # noqa: E731
    count = hooks()
    causal.explain(TEXTS[0], reference="mean", path=2)
    assert hooks() == count
    assert all(torch.equal(tensor, before[name]) for name, tensor in causal.model.state_dict().items())
    assert all(parameter.requires_grad for parameter in causal.model.parameters())


def test_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["explain", "a fine film", "--model", "sentiment"]
    assert main([*command, "--reference", "mask", "--path", "2", "--positions", "--format", "json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["target"]["reference"] == {"id": 4, "token": "[MASK]"}
    assert printed["target"]["path"] == 2
    assert sum(printed["positions"]) == pytest.approx(printed["ledger"]["positions"], rel=1e-4)
    assert main([*command, "--reference", "mask", "--format", "text"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "“positive” compared with “[MASK]”" in shown
    assert "ledger: logit above the reference" in shown
    assert main([*command, "--path", "2"]) == 2
    assert capsys.readouterr().err.startswith("error: a path begins at a reference")
