"""Memory: when layers are computed again by themselves, and what is said when nothing helps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tiny_models
import torch

from lxtlike import ExhaustedError, Explainer
from lxtlike.methods import room

TEXT = "the red ball is"
ALLOCATOR = "[enforce fail at alloc_cpu.cpp:127] data. DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."


@pytest.fixture
def explainer() -> Explainer:
    return Explainer(tiny_models.model("causal-lm"), tiny_models.tokenizer())


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of every forward pass, whether layers are to be computed again."""
    from lxtlike.propagation import recompute

    found: list[bool] = []
    find = recompute.find

    def watched(model: torch.nn.Module, asked: bool | None) -> Any:
        found.append(bool(asked))
        return find(model, asked)

    monkeypatch.setattr(recompute, "find", watched)
    return found


def fail_while(explainer: Explainer, error: Exception, runs: list[bool], last: int) -> Any:
    """The model's last norm raises an error in so many runs."""

    def fail(*_: Any) -> None:
        if torch.is_grad_enabled() and 0 < len(runs) <= last:
            raise error

    return explainer.model.model.norm.register_forward_pre_hook(fail)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("no room"), RuntimeError(ALLOCATOR), MemoryError()])
def test_where_memory_ran_out_layers_are_computed_again(
    explainer: Explainer, runs: list[bool], error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    plain = explainer.explain(TEXT)
    runs.clear()
    handle = fail_while(explainer, error, runs, last=1)
    try:
        found = explainer.explain(TEXT)
    finally:
        handle.remove()
    assert runs == [False, True]
    np.testing.assert_allclose(found.relevance, plain.relevance, rtol=1e-5, atol=1e-6)
    assert [record.getMessage() for record in caplog.records] == [
        "memory ran out: once more, with layers computed again in the backward pass."
    ]


def test_where_nothing_helps_one_sentence_says_so(explainer: Explainer, runs: list[bool]) -> None:
    handle = fail_while(explainer, RuntimeError(ALLOCATOR), runs, last=9)
    try:
        with pytest.raises(
            ExhaustedError, match=r"memory ran out explaining 1 x \d+ tokens .*allocate 9 bytes.*shorter texts"
        ):
            explainer.explain(TEXT)
    finally:
        handle.remove()
    assert runs == [False, True]
    assert explainer.explain(TEXT).ledger.relative_error < 1e-5


@pytest.mark.parametrize("asked", [True, False])
def test_what_was_asked_for_is_obeyed(runs: list[bool], asked: bool) -> None:
    explainer = Explainer(tiny_models.model("causal-lm"), tiny_models.tokenizer(), checkpointing=asked)
    handle = fail_while(explainer, MemoryError("no room"), runs, last=9)
    try:
        with pytest.raises(ExhaustedError):
            explainer.explain(TEXT)
    finally:
        handle.remove()
    assert runs == [asked]


def test_other_errors_are_not_tried_again(explainer: Explainer, runs: list[bool]) -> None:
    handle = fail_while(explainer, RuntimeError("a bug"), runs, last=9)
    try:
        with pytest.raises(RuntimeError, match="a bug"):
            explainer.explain(TEXT)
    finally:
        handle.remove()
    assert runs == [False]


def test_where_activations_may_not_fit_layers_are_computed_again(
    explainer: Explainer, runs: list[bool], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    inputs = {"input_ids": torch.zeros(1, len(explainer.explain(TEXT).tokens), dtype=torch.long)}
    needed = room.activation_bytes(explainer.model, inputs)
    for free, expected in ((needed, False), (needed - 1, True)):
        runs.clear()
        monkeypatch.setattr(room, "free_bytes", lambda _, free=free: free)
        explainer.explain(TEXT)
        assert runs == [expected]
    (record,) = caplog.records
    assert "layers are computed again" in record.getMessage()


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_the_estimate_is_generous_and_not_absurd(attention: str) -> None:
    model = tiny_models.model("causal-lm")
    model.set_attn_implementation(attention)
    ids = torch.ones(1, 28, dtype=torch.long)
    kept: dict[int, int] = {}

    def pack(t: torch.Tensor) -> torch.Tensor:
        kept[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    explainer = Explainer(model, tiny_models.tokenizer())
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        explainer.explain(" ".join([TEXT] * 7))
    total = sum(size for at, size in kept.items() if at not in weights)
    assert 0.8 * total < room.activation_bytes(model, {"input_ids": ids}) < 8 * total


def test_where_layers_differ_the_estimate_takes_the_largest() -> None:
    model, inputs = tiny_models.model("causal-lm"), {"input_ids": torch.ones(1, 28, dtype=torch.long)}
    if not hasattr(model.config, "per_layer_config"):
        pytest.skip("this transformers has no configs of single layers")
    model.set_attn_implementation("eager")
    heads = model.config.num_attention_heads
    model.config.num_attention_heads = 2 * heads
    needed = room.activation_bytes(model, inputs)
    model.config.num_attention_heads = heads
    model.config.per_layer_config = {0: {"num_attention_heads": 2 * heads}}
    assert room.activation_bytes(model, inputs) == needed
