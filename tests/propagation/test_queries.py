"""The last layer for the target's queries only: same relevance, fewer tokens; whole where that would be wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from families import EAGER_ONLY, FAMILIES, VOCABULARY, build
from torch import Tensor, nn

from lxtlike import Composite
from lxtlike.methods.lrp import Explained, lrp
from lxtlike.propagation.precision import Float64Casts
from lxtlike.propagation.recompute import marked

WHOLE = {"bloom", "falcon-alibi", "distilbert", "deberta-v2", "modernbert", "t5", "t5-gated"}
"""Families whose last layer takes no cache, or a bias of positions that only the model can cut."""
LENGTHS = [9, 12]
QUERIES = [0, 8, 11]
"""The first token, which encoders read, and the last one of each text."""
CASES = [(name, kind) for name in FAMILIES for kind in ("eager", "sdpa") if kind == "eager" or name not in EAGER_ONLY]


def texts() -> Tensor:
    return torch.randint(3, VOCABULARY, (2, max(LENGTHS)), generator=torch.Generator().manual_seed(2))


def explain(model: nn.Module, queries: Sequence[int] | None, **options: Any) -> Explained:
    """Two texts of different lengths, explained at their last tokens."""
    ids, lengths = texts(), torch.tensor(LENGTHS)
    inputs = {"input_ids": ids, "attention_mask": (torch.arange(ids.shape[1]) < lengths[:, None]).long()}
    if getattr(model.config, "is_encoder_decoder", False):
        inputs["decoder_input_ids"] = ids

    def read(outputs: Any) -> Tensor:
        logits: Tensor = outputs.logits
        return logits[torch.arange(len(ids)), lengths - 1] if logits.dim() == 3 else logits

    with Float64Casts():
        (found,) = lrp(
            model,
            {**inputs, "use_cache": False},
            read,
            [lambda rows, _: rows[:, 1]],
            Composite.parse("attnlrp"),
            queries=queries,
            **options,
        )
    return found


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Fills with the number of queries of each narrowed run of a last layer."""
    from lxtlike.methods.queries import Queried

    runs: list[int] = []
    placed = Queried._placed

    def watched(self: Queried, output: Tensor, hidden: Tensor) -> Tensor:
        if output.dim() == 3:
            runs.append(output.shape[1])
        return placed(self, output, hidden)

    monkeypatch.setattr(Queried, "_placed", watched)
    return runs


@pytest.mark.parametrize(("name", "attention"), CASES)
def test_relevance_and_ledger_are_those_of_the_whole_layer(name: str, attention: str, narrow: list[int]) -> None:
    model = build(name, attention, torch.float64)
    whole = explain(model, None)
    assert not narrow
    few = explain(model, QUERIES)
    assert narrow == ([] if name in WHOLE else [3])
    torch.testing.assert_close(few.relevance, whole.relevance, rtol=1e-9, atol=1e-12)
    for one, other in zip(few.ledgers, whole.ledgers, strict=True):
        assert one.relative_error <= 1e-8
        assert one.softmax == pytest.approx(other.softmax, rel=1e-8, abs=1e-12)
        assert one.biases == pytest.approx(other.biases, rel=1e-8, abs=1e-12)


def test_without_a_mask_queries_look_back_only(narrow: list[int]) -> None:
    model = build("llama", "sdpa", torch.float64)
    ids = texts()[:1]
    logits = model(ids).logits[0, 5].detach()
    for queries in ([5], [5, 11]):
        found: list[Tensor] = []
        for asked in (None, queries):
            (one,) = lrp(
                model,
                {"input_ids": ids, "use_cache": False},
                lambda outputs: outputs.logits[:, 5],
                [lambda rows, _: rows[:, 1]],
                Composite.parse("attnlrp"),
                queries=asked,
            )
            found.append(one.relevance)
            assert float((one.rows[0] - logits).abs().max()) < 1e-5 * float(logits.abs().max())
        torch.testing.assert_close(*found, rtol=1e-5, atol=1e-6)
    assert narrow == [1, 2]


def with_forward(model: nn.Module, change: Callable[[Any], Any]) -> nn.Module:
    """A copy of a model of which the head reads something else."""
    from copy import deepcopy

    model = deepcopy(model)
    model.score_hook = model.model.norm.register_forward_hook(lambda _m, _a, output: change(output))  # type: ignore[union-attr]
    return model


def test_a_model_that_reads_other_positions_is_found_out_once(narrow: list[int]) -> None:
    model = with_forward(build("llama", "eager", torch.float64), lambda h: h + h.mean(1, keepdim=True))
    whole = explain(model, None)
    for runs in (1, 1):  # the second time it is known
        few = explain(model, [8, 11])
        assert len(narrow) == runs
        torch.testing.assert_close(few.relevance, whole.relevance, rtol=1e-12, atol=0)


def test_a_layer_that_runs_twice_is_not_the_last_one(narrow: list[int]) -> None:
    model = with_forward(build("llama", "eager", torch.float64), lambda h: h)
    model.model.layers.append(model.model.layers[-1])
    model.config.num_hidden_layers += 1
    whole = explain(model, None)
    few = explain(model, [8, 11])
    assert narrow
    torch.testing.assert_close(few.relevance, whole.relevance, rtol=1e-12, atol=0)


def test_hooks_of_others_see_the_whole_layer(narrow: list[int]) -> None:
    model = build("llama", "eager", torch.float64)
    lengths: list[int] = []
    *_, last = marked(model)
    handle = last.mlp.register_forward_hook(lambda _m, args, _o: lengths.append(args[0].shape[1]))  # type: ignore[operator, union-attr]
    explain(model, [8, 11])
    handle.remove()
    assert not narrow
    assert set(lengths) == {12}


def test_the_model_is_untouched_afterwards(narrow: list[int]) -> None:
    model = build("llama", "sdpa", torch.float64)
    *_, last = marked(model)
    before = dict(vars(last))

    def fail(rows: Tensor, _: Any) -> Tensor:
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        lrp(model, {"input_ids": texts()}, lambda o: o.logits[:, 11], [fail], Composite.parse("attnlrp"), queries=[11])
    explain(model, [8, 11])
    assert narrow
    assert dict(vars(last)) == before


@pytest.mark.parametrize("checkpointing", [False, True])
def test_with_layers_computed_again(checkpointing: bool, narrow: list[int]) -> None:
    model = build("llama", "sdpa", torch.float64)
    whole = explain(model, None)
    few = explain(model, [8, 11], checkpointing=checkpointing)
    assert narrow == [2]
    torch.testing.assert_close(few.relevance, whole.relevance, rtol=1e-9, atol=1e-12)
