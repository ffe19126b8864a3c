"""The patching of one instance: complete inside the block, gone after it, whatever happened."""

from __future__ import annotations

import copy
import inspect
import pickle
import threading
from typing import Any

import pytest
import torch
from explaining import explained, fresh, ledgered, state
from families import build, embeddings_of, run
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lxtlike import AuditError, InputError, LxtlikeError, propagate
from lxtlike.composites import COMPOSITES


@settings(max_examples=8, deadline=None)
@given(
    name=st.sampled_from(["llama", "gpt2", "bert", "bloom", "mixtral", "t5"]),
    composite=st.sampled_from(sorted(COMPOSITES)),
    train=st.booleans(),
    frozen=st.integers(0, 3),
    failing=st.booleans(),
)
def test_model_is_untouched(name: str, composite: str, train: bool, frozen: int, failing: bool) -> None:
    model = fresh(name).train(train)
    for parameter in list(model.parameters())[:frozen]:
        parameter.requires_grad_(False)
    next(iter(model.children())).eval()
    before, rng = state(model), torch.get_rng_state()
    try:
        with propagate(model, composite):
            row, _ = run(model, embeddings_of(model))
            row[0].backward()
            if failing:
                raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    assert state(model) == before
    assert torch.equal(torch.get_rng_state(), rng)
    assert torch.is_grad_enabled()


def test_no_gradient_is_left_in_parameters() -> None:
    model = fresh()
    with propagate(model):
        row, _ = run(model, embeddings_of(model))
        row[0].backward()
    assert all(parameter.grad is None for parameter in model.parameters())


def test_another_instance_is_not_affected() -> None:
    patched, other = fresh(), fresh()
    embeddings = embeddings_of(other)
    plain = torch.autograd.grad(run(other, embeddings)[0][0], embeddings)[0]
    with propagate(patched):
        beside = torch.autograd.grad(run(other, embeddings)[0][0], embeddings)[0]
        run(patched, embeddings_of(patched))
    assert torch.equal(plain, beside)


def test_two_models_nested_keep_their_own_composites() -> None:
    one, two = fresh("llama"), fresh("gpt2")
    alone = explained(one, "attnlrp"), explained(two, "cp-lrp")
    with propagate(one, "attnlrp"), propagate(two, "cp-lrp"):
        embeddings = [embeddings_of(one), embeddings_of(two)]
        rows = [run(model, e)[0] for model, e in zip((one, two), embeddings, strict=True)]
        together = [
            (e * torch.autograd.grad(row[0], e)[0]).detach().sum(-1) for e, row in zip(embeddings, rows, strict=True)
        ]
    assert torch.equal(alone[0], together[0])
    assert torch.equal(alone[1], together[1])


def test_entering_twice_is_refused_and_leaves_the_first_block_working() -> None:
    model = fresh()
    expected = explained(model)
    with propagate(model):
        with pytest.raises(InputError, match="already inside"), propagate(model):
            pass
        with pytest.raises(InputError, match="already inside"), propagate(model.model):
            pass
        embeddings = embeddings_of(model)
        (coefficients,) = torch.autograd.grad(run(model, embeddings)[0][0], embeddings)
    assert torch.equal((embeddings * coefficients).detach().sum(-1), expected)


def test_threads_on_one_model_take_turns() -> None:
    model, results = fresh(), []
    expected = explained(model)
    threads = [threading.Thread(target=lambda: results.append(explained(model))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert all(torch.equal(result, expected) for result in results)


def test_a_plain_forward_in_another_thread_stays_plain() -> None:
    model = fresh()
    embeddings = embeddings_of(model)
    plain = torch.autograd.grad(run(model, embeddings)[0][0], embeddings)[0]
    found: list[torch.Tensor] = []

    def other() -> None:
        leaf = embeddings.detach().requires_grad_()
        found.append(torch.autograd.grad(run(model, leaf)[0][0], leaf)[0])

    with propagate(model):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        run(model, embeddings_of(model))
    assert torch.equal(found[0], plain)


def test_train_mode_does_not_wake_dropout() -> None:
    model = fresh("gpt2")
    model.transformer.drop.p = 0.5
    expected = explained(model)
    assert torch.equal(explained(model.train()), expected)
    assert model.training


def test_a_forward_put_on_top_inside_the_block_stays() -> None:
    model = fresh()
    with propagate(model):
        ours = model.forward
        model.forward = top = lambda *a, **k: ours(*a, **k)
    assert model.forward is top
    with torch.no_grad():
        assert torch.equal(run(model, embeddings_of(model))[0], run(build("llama"), embeddings_of(model))[0])


def test_a_forward_put_there_before_is_run_and_kept() -> None:
    model, calls = fresh(), []
    plain = model.forward
    model.forward = mine = lambda *a, **k: (calls.append(1), plain(*a, **k))[1]
    assert torch.equal(explained(model), explained(fresh()))
    assert model.forward is mine
    assert calls


def test_the_signature_stays_readable() -> None:
    model = fresh()
    before = inspect.signature(model.forward)
    with propagate(model):
        assert inspect.signature(model.forward) == before
        model(inputs_embeds=embeddings_of(model))


def test_generate_after_a_block_is_as_before() -> None:
    model = fresh()
    ids = torch.tensor([[5, 6, 7]])
    before = model.generate(ids, max_new_tokens=5, do_sample=False)
    explained(model)
    assert torch.equal(model.generate(ids, max_new_tokens=5, do_sample=False), before)


def test_pickling_after_a_block_works() -> None:
    model = fresh()
    explained(model)
    assert pickle.loads(pickle.dumps(model.config)).to_dict() == model.config.to_dict()  # noqa: S301 - our own bytes
    copy.deepcopy(model)


def test_data_parallel_and_unknown_names_are_refused() -> None:
    model = fresh()
    with pytest.raises(InputError, match=r"model\.module"), propagate(nn.DataParallel(model)):
        pass
    with pytest.raises(InputError, match="did you mean 'attnlrp'"), propagate(model, "atnlrp"):
        pass
    with pytest.raises(InputError, match="unknown family"), propagate(model, unknown="nonsense"):
        pass


def test_a_block_without_the_models_forward_has_no_ledger() -> None:
    model = fresh()
    with propagate(model) as audit:
        model.model(inputs_embeds=embeddings_of(model))
    with pytest.raises(LxtlikeError, match="did not run inside"):
        audit.ledger(1.0, 1.0)


def test_the_epsilon_account_survives_changes_in_place() -> None:
    """Falcon adds residuals to the result of a linear layer in place."""
    _, ledger = ledgered(fresh("falcon"), "epsilon:epsilon=0.01")
    assert ledger.epsilon != 0
    assert ledger.relative_error < 1e-5


class Unusual(nn.Module):
    """A model that no table knows: an operation without a rule, on and off the way to the target."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = torch.special.i0e(self.first(x))
        self.aside = torch.special.i1(x)  # computed, never used
        return self.second(hidden)


def test_an_operation_without_a_rule_is_reported_where_it_matters() -> None:
    model, x = Unusual(), torch.randn(2, 4, requires_grad=True)
    with propagate(model) as audit:
        torch.autograd.grad(model(x).sum(), x)
    assert [found.operation for found in audit.uncovered] == ["torch.special.i0e"]
    assert "composite | {function: family}" in str(audit.uncovered[0])
    with pytest.raises(AuditError, match="i0e"), propagate(model, strict=True):
        torch.autograd.grad(model(x).sum(), x)
    known = COMPOSITES["attnlrp"] | {torch.special.i0e: "gate"}
    with propagate(model, known, strict=True) as audit:
        (coefficients,) = torch.autograd.grad(model(x).sum() + 0 * x.sum(), x)
    assert audit.uncovered == []
    assert coefficients.abs().max() == 0.0  # a gate is a constant
    with propagate(model, unknown="activation", strict=True) as audit:
        value = model(x)
        (coefficients,) = torch.autograd.grad(value.sum(), x)
    assert audit.ledger(value, x * coefficients).relative_error < 1e-5


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> torch.Tensor:
        return 2 * grads[0]


def test_a_foreign_autograd_function_is_reported() -> None:
    class Model(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return Doubled.apply(x).sum()

    x = torch.randn(3, requires_grad=True)
    model = Model()
    with propagate(model) as audit:
        torch.autograd.grad(model(x), x)
    assert [found.operation for found in audit.uncovered] == ["torch.autograd.Function Doubled"]


class Gated(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * (1 + torch.tanh(x))


def test_an_atom_is_one_elementwise_function() -> None:
    model = nn.Sequential(Gated())
    x = torch.tensor([2.0, -1.0], requires_grad=True)
    with propagate(model):
        parts = torch.autograd.grad(model(x).sum(), x)[0]
    with propagate(model, COMPOSITES["attnlrp"] | {Gated: "activation"}):
        whole = torch.autograd.grad(model(x).sum(), x)[0]
    ratio = 1 + torch.tanh(x.detach())
    assert torch.allclose(whole, ratio)  # f(x) / x
    assert torch.allclose(parts, ratio - 0.5)  # written as a product, its constant 1 absorbs a half: wrong for a gate


@settings(max_examples=10, deadline=None)
@given(first=st.integers(0, 100), second=st.integers(0, 100), weight=st.floats(-3, 3))
def test_relevance_is_linear_in_the_target(first: int, second: int, weight: float) -> None:
    model = build("llama")
    with propagate(model):
        embeddings = embeddings_of(model)
        row, _ = run(model, embeddings)
        one, two, both = (
            torch.autograd.grad(value, embeddings, retain_graph=True)[0]
            for value in (row[first], row[second], row[first] + weight * row[second])
        )
    assert torch.allclose(both, one + weight * two, atol=1e-4 * float(one.abs().max() + two.abs().max()))


def test_the_ledger_is_of_the_latest_backward_pass() -> None:
    model = build("gpt2")
    with propagate(model) as audit:
        embeddings = embeddings_of(model)
        row, _ = run(model, embeddings)
        for value in (row[3], row[4]):
            (coefficients,) = torch.autograd.grad(value, embeddings, retain_graph=True)
            assert audit.ledger(value, embeddings * coefficients).relative_error < 1e-4


def test_items_of_a_batch_have_their_own_ledgers() -> None:
    model = build("gpt2")
    with propagate(model) as audit:
        embeddings = embeddings_of(model, batch=3)
        values = model(inputs_embeds=embeddings).logits[:, -1].max(-1).values
        (coefficients,) = torch.autograd.grad(values.sum(), embeddings)
    relevance = embeddings * coefficients
    for item in range(3):
        assert audit.ledger(values[item], relevance[item], item=item).relative_error < 1e-4
    assert audit.ledger(values, relevance).relative_error < 1e-4
