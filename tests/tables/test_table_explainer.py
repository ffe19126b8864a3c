"""Rows in, relevance of features out: the numbers, targets, standardised rows, and what is refused."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.random import default_rng
from small_network import FEATURES, LABELS, network
from torch import Tensor, nn

from lxtlike import InputError, TableExplainer

ROWS = default_rng(0).normal(size=(5, 4))


def one_by_one(row: np.ndarray[Any, Any], weights: Tensor) -> Tensor:
    """LRP-0 of ``weights . outputs`` by hand: activations hand on by their ratio, linear layers by their weights."""
    first, _, second, _, third = network()
    x = torch.tensor(row)
    a = first(x)
    b = second(a.relu())
    coefficient = third.weight.T @ weights * (b.tanh() / b)
    coefficient = second.weight.T @ coefficient * (a > 0)
    return (x * (first.weight.T @ coefficient)).detach()


def test_relevance_is_that_of_each_row(explainer: TableExplainer) -> None:
    outputs = network()(torch.tensor(ROWS)).detach()
    found = explainer.explain(ROWS)
    for number, row in enumerate(ROWS):
        best = int(outputs[number].argmax())
        target = found.rows[number].target
        assert (target.id, target.token) == (best, LABELS[best])
        assert target.value == pytest.approx(float(outputs[number, best]))
        expected = one_by_one(row, torch.eye(3, dtype=torch.float64)[best])
        np.testing.assert_allclose(found.relevance[number], expected.numpy(), rtol=1e-5, atol=1e-7)
    assert [c.id for c in found.rows[0].prediction] == outputs[0].argsort(descending=True).tolist()


@pytest.mark.parametrize(
    ("target", "options", "weights"),
    [
        ("yes", {}, [0, 1, 0]),
        ("YES", {}, [0, 1, 0]),
        (2, {}, [0, 0, 1]),
        ("yes", {"contrast": "no"}, [-1, 1, 0]),
        ("yes", {"contrast": "mean"}, [-1 / 3, 2 / 3, -1 / 3]),
        ("no", {"objective": "centered"}, [2 / 3, -1 / 3, -1 / 3]),
        (lambda outputs: outputs[:, 1] - 2 * outputs[:, 0], {}, [-2, 1, 0]),
    ],
)
def test_targets(explainer: TableExplainer, target: Any, options: dict[str, Any], weights: list[float]) -> None:
    found = explainer.explain(ROWS, target, **options)
    outputs = network()(torch.tensor(ROWS)).detach()
    vector = torch.tensor(weights, dtype=torch.float64)
    for number, row in enumerate(ROWS):
        assert found.rows[number].target.value == pytest.approx(float(outputs[number] @ vector), abs=1e-9)
        np.testing.assert_allclose(found.relevance[number], one_by_one(row, vector).numpy(), rtol=1e-5, atol=1e-6)
        assert found.rows[number].ledger.relative_error < 1e-9


@pytest.mark.parametrize(
    "composite",
    "default epsilon epsilon-plus epsilon-plus-flat gamma lrp-0 layerwise-w-squared epsilon-gamma-box:low=-4,high=4".split(),
)
@pytest.mark.parametrize("target", [None, lambda outputs: outputs.logsumexp(-1)], ids=["choice", "function"])
def test_every_ledger_closes(composite: str, target: Any) -> None:
    found = TableExplainer(network(), FEATURES, labels=LABELS, composite=composite).explain(ROWS, target)
    assert max(row.ledger.relative_error for row in found.rows) < 1e-9
    for row, relevance in zip(found.rows, found.relevance, strict=True):
        assert row.ledger.tokens == pytest.approx(float(relevance.sum(dtype=float)), abs=1e-5)
    assert found.ledger.relative_error < 1e-9
    assert found.audit.uncovered == ()


def test_rows_given_as_they_are_and_standardised() -> None:
    means, scales = np.array([50.0, 2.0, 0.0, 1.0]), np.array([10.0, 0.5, 1.0, 2.0])
    raw = ROWS * scales + means
    outside = TableExplainer(network(), FEATURES, means=means, scales=scales).explain(raw)
    plain = TableExplainer(network(), FEATURES).explain(ROWS)
    np.testing.assert_allclose(outside.relevance, plain.relevance, rtol=1e-5)
    np.testing.assert_allclose(outside.values, raw)
    raw[:, 0] = means[0]
    assert not TableExplainer(network(), FEATURES, means=means, scales=scales).explain(raw).relevance[:, 0].any()


class Standardised(nn.Module):
    """A network that standardises its rows itself."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = network()
        self.register_buffer("means", torch.tensor([50.0, 2.0, 0.0, 1.0], dtype=torch.float64))

    def forward(self, rows: Tensor) -> dict[str, Tensor]:
        return {"logits": self.inner((rows - self.means) / 10)}


def test_what_the_model_subtracts_itself_is_a_bias() -> None:
    found = TableExplainer(Standardised(), FEATURES).explain(ROWS * 10 + 50)
    assert found.ledger.relative_error < 1e-9
    assert abs(found.ledger.bias_kinds["other"]) > 1e-3
    assert [row.target.token for row in found.rows] == [f"output {row.target.id}" for row in found.rows]


class Residual(nn.Module):
    """A layer norm and a batch norm, one beside the other, in a residual block."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.out = nn.Linear(4, 8), nn.Linear(8, 3)
        self.left, self.right = nn.Sequential(nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 8)), nn.BatchNorm1d(8)

    def forward(self, rows: Tensor) -> Tensor:
        hidden = self.into(rows)
        return self.out(hidden + self.left(hidden) + self.right(hidden))


@pytest.mark.parametrize("composite", ["default", "epsilon", "gamma", "epsilon-plus", "layerwise-w-squared"])
def test_norms_and_residuals(composite: str) -> None:
    model = Residual().double()
    model(torch.randn(50, 4, dtype=torch.float64) * 3 + 1)  # running means and variances
    found = TableExplainer(model, FEATURES, composite=composite).explain(ROWS)
    assert max(row.ledger.relative_error for row in found.rows) < 1e-9
    assert found.audit.uncovered == ()


@pytest.mark.parametrize("flat", [True, False])
def test_one_output_is_a_regression(flat: bool) -> None:
    model = nn.Sequential(network(1), nn.Flatten(0)) if flat else network(1)
    found = TableExplainer(model, FEATURES).explain(ROWS)
    outputs = network(1)(torch.tensor(ROWS)).flatten().tolist()
    assert [row.target.value for row in found.rows] == pytest.approx(outputs)
    assert {row.target.token for row in found.rows} == {"output"}
    assert found.rows[0].prediction == ()


def test_frames_tensors_lists_and_batches_are_the_same(explainer: TableExplainer) -> None:
    whole = explainer.explain(ROWS)
    frame = pd.DataFrame(ROWS, columns=FEATURES)[FEATURES[::-1]].assign(other="text")
    for rows in (torch.tensor(ROWS), ROWS.tolist(), frame):
        np.testing.assert_array_equal(explainer.explain(rows).relevance, whole.relevance)
    batched = explainer.explain(ROWS, batch_size=2)
    np.testing.assert_allclose(batched.relevance, whole.relevance, rtol=1e-6)
    np.testing.assert_allclose(explainer(ROWS[3]).relevance, whole[3].relevance, rtol=1e-6)


def test_the_model_is_what_it_was() -> None:
    model = nn.Sequential(network(), nn.Dropout(0.5)).train()
    before = copy.deepcopy(model.state_dict())
    with torch.inference_mode():
        found = TableExplainer(model, FEATURES).explain(ROWS)
    assert found == TableExplainer(model, FEATURES).explain(ROWS)
    assert model.training
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("rows", "options", "says"),
    [
        (ROWS[:, :3], {}, "4 features"),
        (ROWS[:0], {}, "4 features"),
        ([[1, 2, 3, "much"]], {}, "no numbers"),
        ([[1, 2, 3, float("nan")]], {}, "row 0 has no finite number in '<img"),
        (pd.DataFrame({"age": [1.0]}), {}, "no column 'income'"),
        (ROWS, {"target": "maybe"}, "no label 'maybe'"),
        (ROWS, {"target": 3}, "0 to 2"),
        (ROWS, {"target": "yes", "contrast": "yes"}, "difference is 0"),
        (ROWS, {"objective": "logits"}, "objective"),
        (ROWS, {"batch_size": 0}, "batch_size"),
        (ROWS, {"target": lambda outputs: outputs}, r"a number for each of the 5 rows, not a tensor of shape \[5, 3\]"),
        (ROWS, {"target": lambda outputs: outputs[:, 0].detach()}, "does not depend"),
        (ROWS, {"target": lambda outputs: outputs[:, 0], "contrast": 1}, "leave contrast"),
    ],
)
def test_bad_rows_and_targets_get_a_sentence(
    explainer: TableExplainer, rows: Any, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        explainer.explain(rows, **options)


@pytest.mark.parametrize(
    ("features", "options", "says"),
    [
        ([], {}, "at least one"),
        ("abcd", {}, "a list"),
        (["a", "b", "a", "d"], {}, "'a' is there twice"),
        (FEATURES, {"means": [1.0, 2.0]}, "means must be 4"),
        (FEATURES, {"scales": [1.0, 1.0, 0.0, 1.0]}, "a scale is 0"),
        (FEATURES, {"labels": ["no", "yes"]}, "2 labels were given, but the model has 3"),
        (FEATURES, {"composite": "epsilon-gamma-box"}, "lowest and the highest"),
    ],
)
def test_a_bad_explainer_gets_a_sentence(features: Any, options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        TableExplainer(network(), features, **options).explain(ROWS)


def test_a_model_that_returns_no_table_is_refused() -> None:
    with pytest.raises(InputError, match=r"a tensor of shape \[5, 3, 1\]"):
        TableExplainer(nn.Sequential(network(), nn.Unflatten(1, (3, 1))), FEATURES).explain(ROWS)
