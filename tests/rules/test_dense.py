"""Every classic rule on every kind of layer, turned into its dense matrix, against the oracle (see `scripts/rule_table.py`)."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import rule_table


@pytest.mark.parametrize("kind", rule_table.LAYERS)
@pytest.mark.parametrize("rule", rule_table.RULES)
def test_oracle(rule: str, kind: str) -> None:
    """Inputs of one or both signs, with bias and without, with denominators of zero."""
    for mixed, bias, dead in rule_table.cases(rule):
        difference, error = rule_table.compare(rule, kind, mixed, bias, dead)
        assert difference < 1e-12, (mixed, bias, dead)
        assert error < 1e-12, (mixed, bias, dead)
