"""Relevance in float32, bfloat16 and float16 against float64: a sample of docs/precision.md, and the page itself."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lxtlike import Explainer
from lxtlike.errors import LxtlikeError

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

import precision_measure  # noqa: E402
from families import FAMILIES, build  # noqa: E402 - found by precision_measure
from precision_measure import BARS, REPEATED, SHORT, TEXTS, Input, compare, explain, loud, random_inputs, text_inputs  # noqa: E402

DTYPES = pytest.mark.parametrize("dtype", BARS, ids=lambda dtype: str(dtype)[6:])
DIFFERENCE = {torch.float32: 1e-4, torch.bfloat16: 0.1, torch.float16: 0.02}
"""Largest difference over the largest relevance, for trained models."""
SAMPLE = ("llama", "gemma3", "gpt2", "opt", "mixtral", "bert", "deberta-v2", "t5")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def inputs_of(name: str) -> tuple[Any, dict[str, Input]]:
    explainer = Explainer.from_pretrained(name)
    given = text_inputs(explainer, TEXTS[name], SHORT[name], REPEATED[name])
    return explainer.model, {entry.kind: entry for entry in given}


@DTYPES
@pytest.mark.parametrize("name", TEXTS)
def test_trained_models_on_hard_inputs(name: str, dtype: torch.dtype) -> None:
    model, given = inputs_of(name)
    assert {"zeros", "huge token", "huge channel", "one token", "padded left", "padded right", "long"} <= set(given)
    for entry in given.values():
        for composite in ("attnlrp", "cp-lrp") if entry.kind in ("long", "zeros", "padded left") else ("attnlrp",):
            found = compare(model, entry, composite, dtype)
            assert found.finite, entry.kind
            assert math.isnan(found.rank) if entry.kind == "one token" else found.rank >= BARS[dtype], entry.kind
            assert found.cosine >= 0.999, entry.kind
            assert found.difference <= DIFFERENCE[dtype], entry.kind


@DTYPES
@pytest.mark.parametrize("name", SAMPLE)
def test_random_models_on_hard_inputs(name: str, dtype: torch.dtype) -> None:
    """Rows of zeros, and a padded batch; T5 in float16 clamps its hidden states to a limit that is a tensor."""
    model = build(name)
    given = {entry.kind: entry for entry in random_inputs(model)}
    for kind, composite in (("zeros", "attnlrp"), ("padded left", "cp-lrp")):
        found = compare(model, given[kind], composite, dtype)
        assert found.finite
        assert found.rank >= BARS[dtype]


class TestScaledTarget:
    """The backward pass of float16 starts from a multiple of the target."""

    def scales(self, monkeypatch: pytest.MonkeyPatch, *scales: float) -> None:
        monkeypatch.setitem(sys.modules["lxtlike.methods.passes"].SCALES, torch.float16, scales)

    def test_small_coefficients_are_not_lost(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Hidden states up to 10^4 make coefficients that float16 has no normal numbers for."""
        model, given = inputs_of("bindings")
        loudest, entry = loud(model), given["long"]
        scaled = compare(loudest, entry, "cp-lrp", torch.float16)
        self.scales(monkeypatch, 1.0)
        plain = compare(loudest, entry, "cp-lrp", torch.float16)
        assert 1 - scaled.rank < 0.5 * (1 - plain.rank)
        assert scaled.ledger < 1e-3

    def test_a_smaller_scale_where_coefficients_overflow(self, monkeypatch: pytest.MonkeyPatch) -> None:
        model, given = inputs_of("bindings")
        quiet, entry = loud(model, 2.0**-12), given["text"]
        found = compare(quiet, entry, "attnlrp", torch.float16)
        assert found.finite
        assert found.rank >= 0.99
        assert found.ledger < 1e-3
        self.scales(monkeypatch, 256.0)
        with pytest.raises(LxtlikeError, match="NaN or infinite"):
            compare(quiet, entry, "attnlrp", torch.float16)

    def test_the_ledger_is_in_units_of_the_target(self) -> None:
        model, given = inputs_of("sentiment")
        half, single = (explain(model.to(dtype), given["text"], "attnlrp") for dtype in (torch.float16, torch.float32))
        for account, value in single.ledgers[0].accounts.items():
            assert half.ledgers[0].accounts[account] == pytest.approx(value, abs=5e-3), account


def test_a_model_without_a_derivative_is_refused() -> None:
    """Kernels for quantised activations round what comes in and hand no gradient back."""
    model, given = inputs_of("sentiment")

    class Rounded(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                return x.round(decimals=2)

    model.bert.pooler.activation = Rounded()
    with pytest.raises(LxtlikeError, match="no derivative"):
        explain(model, given["text"], "attnlrp")


def test_rank_correlation_of_ties() -> None:
    """Ranks of (1, 2, 2, 3) are 1, 2.5, 2.5, 4."""
    a, b = np.array([1.0, 2.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0, 4.0])
    assert precision_measure.spearman(a, b) == pytest.approx(4.5 / math.sqrt(4.5 * 5.0))
    assert precision_measure.spearman(a, -a) == pytest.approx(-1)
    assert math.isnan(precision_measure.spearman(a[:2], b[:2]))


class TestPage:
    """docs/precision.md, as the script wrote it."""

    TEXT = (ROOT / "docs" / "precision.md").read_text(encoding="utf-8")

    def rows(self, kind: str) -> list[list[str]]:
        part = re.search(rf"<!-- {kind} -->\n(.*)\n<!-- end {kind} -->", self.TEXT, re.DOTALL)
        assert part is not None
        return [line.strip("| ").split(" | ") for line in part[1].splitlines()[2:]]

    def test_trained_models_meet_the_bars(self) -> None:
        rows = self.rows("trained")
        assert {row[0] for row in rows} >= set(TEXTS)
        assert {row[2] for row in rows} == {"attnlrp", "cp-lrp", "epsilon"}
        for row in rows:
            assert row[4] == "-" or float(row[4]) >= BARS[getattr(torch, row[3])], row
            assert row[9] == "yes", row

    def test_what_misses_the_bar_is_listed_and_is_lost_in_the_forward(self) -> None:
        missed = self.rows("missed")
        rows = self.rows("random")
        assert {row[0] for row in rows} == set(FAMILIES)
        short = {(row[0], row[1]) for row in rows if float(row[2]) < BARS[getattr(torch, row[1])]}
        assert {(row[0].split()[0], row[3]) for row in missed} == short
        assert all(row[7] == "yes" for row in rows)
        for row in missed:
            assert float(row[4]) >= float(row[5]) - 0.01, row

    def test_quantised_models_agree_with_their_twins(self) -> None:
        rows = self.rows("quantised")
        assert {(row[0], row[1]) for row in rows} >= {("optimum-quanto", "8"), ("optimum-quanto", "4")}
        for row in rows:
            assert row[4] == "1" or float(row[4]) >= 0.99, row
