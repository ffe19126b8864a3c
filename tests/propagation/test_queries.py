"""The last layer for the target's queries only: same relevance, fewer tokens; whole where that would be wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import pytest
import torch
from families import EAGER_ONLY, FAMILIES, VOCABULARY, build
from torch import Tensor, nn
from transformers import GPTNeoConfig, GPTNeoForCausalLM

from lxtlike import Composite
from lxtlike.methods.lrp import Explained, lrp
from lxtlike.propagation.precision import Float64Casts
from lxtlike.propagation.recompute import marked

WHOLE = {"bloom", "falcon-alibi", "distilbert", "deberta-v2", "modernbert", "t5", "t5-gated"}
"""Families whose last layer takes no cache, or a bias of positions that only the model can cut."""
if any(t.dim() == 4 for t in build("gpt2").buffers()):  # older ones hold a mask of their own (transformers 5.0)
    WHOLE |= {"gpt2"}
LENGTHS = [9, 12]
QUERIES = [0, 8, 11]
"""The first token, which encoders read, and the last one of each text."""
CASES = [(name, kind) for name in FAMILIES for kind in ("eager", "sdpa") if kind == "eager" or name not in EAGER_ONLY]


def texts() -> Tensor:
    return torch.randint(3, VOCABULARY, (2, max(LENGTHS)), generator=torch.Generator().manual_seed(2))


def explain(
    model: nn.Module, queries: Sequence[int] | None, items: slice = slice(0, 2), back: int = 1, **options: Any
) -> Explained:
    """Two texts of different lengths, or one of them, explained at their last tokens, or so many from the end."""
    ids, lengths = texts()[items], torch.tensor(LENGTHS)[items]
    inputs = {"input_ids": ids, "attention_mask": (torch.arange(ids.shape[1]) < lengths[:, None]).long()}
    if getattr(model.config, "is_encoder_decoder", False):
        inputs["decoder_input_ids"] = ids

    def read(outputs: Any) -> Tensor:
        logits: Tensor = outputs.logits
        return logits[torch.arange(len(ids)), lengths - back] if logits.dim() == 3 else logits

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


def check_both_and_the_second(model: nn.Module, narrow: list[int], runs: list[list[int]]) -> None:
    """The second text, at its end; then both of them, twice: relevance is right, and `runs` are the narrowed runs."""
    whole = explain(model, None).relevance
    for queries, items, expected in zip(
        ([11], [8, 11], [8, 11]), (slice(1, 2), slice(0, 2), slice(0, 2)), runs, strict=True
    ):
        narrow.clear()
        torch.testing.assert_close(explain(model, queries, items).relevance, whole[items], rtol=1e-9, atol=1e-12)
        assert narrow == expected


def test_a_layer_that_takes_its_queries_for_the_last_ones_is_found_out(narrow: list[int]) -> None:
    model = deepcopy(build("llama", "eager", torch.float64))
    *_, last = marked(model)

    class Looking(type(last)):  # type: ignore[misc]
        def forward(self, hidden_states: Tensor, attention_mask: Tensor, **options: Any) -> Any:
            shape = hidden_states.shape[1], attention_mask.shape[-1]
            later = torch.ones(shape, dtype=torch.bool).triu(shape[1] - shape[0] + 1)
            ahead = torch.zeros(shape, dtype=torch.float64).masked_fill(later, -1e9)
            return super().forward(hidden_states, attention_mask=ahead[None, None], **options)

    last.__class__ = Looking
    check_both_and_the_second(model, narrow, [[1], [2], []])


def test_a_layer_with_a_mask_of_its_own_is_asked_for_its_end_only(narrow: list[int]) -> None:
    kinds = {"num_layers": 2, "attention_types": [[["global", "local"], 1]], "window_size": 4}
    sizes = {"vocab_size": VOCABULARY, "hidden_size": 32, "num_heads": 4, "max_position_embeddings": 64}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = GPTNeoForCausalLM(GPTNeoConfig(**kinds, **sizes, attn_implementation="eager")).eval().double()
    check_both_and_the_second(model, narrow, [[1], [], []])


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


def test_a_target_that_reads_other_positions_is_found_out_in_its_backward_pass(narrow: list[int]) -> None:
    model = build("llama", "sdpa", torch.float64)
    explain(model, QUERIES)  # from now on the layer is known to be right
    narrow.clear()
    other = explain(model, QUERIES, back=3)
    assert narrow == [len(QUERIES)]
    whole = explain(model, None, back=3)
    torch.testing.assert_close(other.relevance, whole.relevance, rtol=0, atol=1e-12)
    torch.testing.assert_close(other.values, whole.values, rtol=0, atol=1e-12)
    assert other.ledgers[0].tokens == pytest.approx(whole.ledgers[0].tokens, abs=1e-12)
    explain(model, QUERIES)
    assert narrow == [len(QUERIES)] * 2  # that was a matter of the target, not of the layer
