"""The example of docs/tables.md, on fewer steps: relevance finds the feature that a model should not lean on."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import table_example


def test_relevance_tells_the_leaning_model() -> None:
    train, study, elsewhere, features, labels = table_example.prepared(10)
    leaning, clean = (table_example.trained(data, epochs=150) for data in (train, train.shuffled(2)))
    places = []
    for model in (leaning, clean):
        result = table_example.explained(model, study, features, labels, "default")
        places.append([name for name, _ in result.top(11)].index(table_example.CODE))
        assert max(row.ledger.relative_error for row in result.rows) < 1e-4
    assert places[0] == 0
    assert places[1] >= 5
    assert leaning.accuracy(study) - leaning.accuracy(elsewhere) > 0.05
    assert abs(clean.accuracy(study) - clean.accuracy(elsewhere)) < 0.02
    assert len(table_example.misled(leaning, clean, elsewhere)) > 5
