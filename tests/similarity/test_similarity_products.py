"""The numbers: pairs as the definition has them, a ledger that closes, directions that leave nothing out."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_models
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from two_texts import FIRST, SECOND, tokenizer

import lxtlike
from lxtlike.similarity import products
from lxtlike.similarity.products import Pooled

PICKS = {
    "mean": lambda states: states.mean(1),
    "cls": lambda states: states[:, 0],
    "last": lambda states: states[:, -1],
}


def one_by_one(model: nn.Module, text: str, pooling: str, composite: str) -> tuple[Tensor, Tensor]:
    """The embedding [D], and the relevance [D, T] of tokens for each of its dimensions: a pass for every one."""
    ids = tokenizer()(text, return_tensors="pt")["input_ids"]
    with lxtlike.propagate(model, composite):
        embeddings = model.get_input_embeddings()(ids).detach().requires_grad_()
        embedding = PICKS[pooling](model(inputs_embeds=embeddings).last_hidden_state)[0]
        rows = [torch.autograd.grad(x, embeddings, retain_graph=True)[0][0] for x in embedding]
    return embedding.detach(), torch.stack([(embeddings[0] * row).sum(-1) for row in rows]).detach()


@pytest.mark.parametrize("kind", ["masked-lm", "causal-lm"])
@pytest.mark.parametrize("pooling", PICKS)
@pytest.mark.parametrize("composite", ["attnlrp", "cp-lrp"])
def test_pairs_are_the_sum_over_dimensions_of_the_products_of_both_relevances(
    kind: str, pooling: str, composite: str
) -> None:
    model = tiny_models.model(kind).double()
    explainer = lxtlike.SimilarityExplainer(model, tokenizer(), pooling=pooling, similarity="dot", composite=composite)
    found = explainer.explain(FIRST, SECOND, batch_size=5)
    one, first = one_by_one(model.base_model, FIRST, pooling, composite)
    other, second = one_by_one(model.base_model, SECOND, pooling, composite)
    assert found.ledger.explained == pytest.approx(float(one @ other), rel=1e-12)
    close(found.token_matrix, first.T @ second)
    close(found.first.relevance, first.T @ other)
    close(found.second.relevance, second.T @ one)
    close(explainer.embed(FIRST), one)


@pytest.mark.parametrize("composite", ["attnlrp", "cp-lrp", "epsilon:epsilon=0.01"])
@pytest.mark.parametrize("options", [{}, {"form": "tokens"}, {"projections": 3}], ids=str)
def test_the_ledger_closes(composite: str, options: dict[str, object]) -> None:
    model = tiny_models.model("masked-lm").double()
    for layer in model.modules():  # biases of BERT start at zero
        if isinstance(layer, nn.Linear) and layer.bias is not None:
            nn.init.normal_(layer.bias, std=0.3)
    explainer = lxtlike.SimilarityExplainer(model, tokenizer(), composite=composite)
    found = explainer.explain(FIRST, SECOND, **options)
    ledger = found.ledger
    one, other = map(explainer.embed, (FIRST, SECOND))
    assert ledger.explained == pytest.approx(float(one @ other / np.linalg.norm(one) / np.linalg.norm(other)), abs=1e-6)
    assert ledger.relative_error < 1e-10
    assert ledger.explained == pytest.approx(ledger.pairs + ledger.first + ledger.second + ledger.neither, abs=1e-9)
    assert ledger.pairs == pytest.approx(float(found.matrix.sum(dtype=float)), abs=1e-5)
    assert ledger.pairs + ledger.first == pytest.approx(float(found.first.relevance.sum(dtype=float)), abs=1e-5)
    assert ledger.pairs + ledger.second == pytest.approx(float(found.second.relevance.sum(dtype=float)), abs=1e-5)
    assert abs(ledger.table["biases"]["biases"]) > 1e-6
    assert min(map(abs, (ledger.pairs, ledger.first, ledger.second, ledger.neither))) > 1e-6


def test_an_operation_without_a_rule_leaves_a_rest(explainer: lxtlike.SimilarityExplainer) -> None:
    plain = lxtlike.SimilarityExplainer(explainer.model, explainer.tokenizer, composite="input-x-gradient")
    assert plain.explain(FIRST, SECOND).ledger.relative_error > 0.01


def test_the_order_of_the_texts_turns_the_matrix(
    explainer: lxtlike.SimilarityExplainer, explained: lxtlike.PairAttribution
) -> None:
    turned = explainer.explain(SECOND, FIRST)
    close(turned.token_matrix.T, torch.tensor(explained.token_matrix))
    assert turned.ledger.first == pytest.approx(explained.ledger.second, abs=1e-12)


def test_cosine_is_dot_over_two_constant_lengths(
    explainer: lxtlike.SimilarityExplainer, explained: lxtlike.PairAttribution
) -> None:
    dot = lxtlike.SimilarityExplainer(explainer.model, explainer.tokenizer, similarity="dot").explain(FIRST, SECOND)
    lengths = np.linalg.norm(explainer.embed(FIRST)) * np.linalg.norm(explainer.embed(SECOND))
    close(dot.matrix / lengths, torch.tensor(explained.matrix))


def test_fewer_directions_contain_both_embeddings() -> None:
    torch.manual_seed(0)
    a, b = (Pooled(states, states.mean(0)) for states in torch.randn(2, 3, 16, dtype=torch.float64))
    for directions in (products.tokens, products.projections(4, 1)):
        along = directions(a, b)
        assert along.shape == (6, 16)
        for text in (a, b):
            torch.testing.assert_close(along.T @ (along @ text.embedding), text.embedding)
    drawn = [products.projections(4, seed)(a, b) for seed in range(2000)]
    mean = torch.stack([along.T @ along for along in drawn]).mean(0)
    assert (mean - torch.eye(16)).abs().max() < 0.1
    assert (drawn[0].T @ drawn[0] - torch.eye(16)).abs().max() > 0.5


def test_the_space_of_as_many_tokens_as_dimensions_is_everything(
    explainer: lxtlike.SimilarityExplainer, explained: lxtlike.PairAttribution
) -> None:
    assert len(explained.first.tokens) + len(explained.second.tokens) > 16
    close(explainer.explain(FIRST, SECOND, "tokens").token_matrix, torch.tensor(explained.token_matrix))
    short = explainer.explain("red ball", "blue hat", "tokens")
    full = explainer.explain("red ball", "blue hat")
    assert short.ledger.explained == pytest.approx(full.ledger.explained, abs=1e-12)
    assert np.abs(short.matrix - full.matrix).max() > 1e-4


def test_projections_come_closer_with_their_number_and_are_drawn_from_the_seed(
    explainer: lxtlike.SimilarityExplainer, explained: lxtlike.PairAttribution
) -> None:
    errors = {}
    for count in (2, 200):
        drawn = [explainer.explain(FIRST, SECOND, projections=count, seed=seed) for seed in range(3)]
        errors[count] = np.mean([np.abs(result.matrix - explained.matrix).max() for result in drawn])
    assert errors[200] < errors[2] / 4
    state = torch.random.get_rng_state()
    again = explainer.explain(FIRST, SECOND, projections=200, seed=2)
    assert again == drawn[2]
    assert again != drawn[1]
    assert torch.equal(torch.random.get_rng_state(), state)


def close(found: NDArray[np.float32], expected: Tensor) -> None:
    assert found.shape == tuple(expected.shape)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5, atol=1e-6 * float(expected.abs().max()))
