"""What the caller is in the middle of: autocast, no_grad, inference mode, hooks of his own, generation, errors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import tiny_models
import torch
from explaining import close, explained, fresh, ledgered, state, untouched
from families import embeddings_of, run
from torch import nn

from lxtlike import Explainer, InputError, LxtlikeError, propagate

TEXT = "the red ball is . the"


@pytest.mark.parametrize("name", ["llama", "gpt2", "bert", "mixtral", "t5"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_autocast_around_the_block(name: str, checkpointing: bool) -> None:
    plain, _ = ledgered(fresh(name))
    model = fresh(name)
    with torch.autocast("cpu", torch.bfloat16), untouched(model):
        found, ledger = ledgered(model, checkpointing=checkpointing)
    assert close(found.float(), plain, 0.1)
    assert torch.corrcoef(torch.stack([found.float().flatten(), plain.flatten()]))[0, 1] > 0.99
    assert ledger.relative_error < 0.03


def test_autocast_around_the_forward_only() -> None:
    model = fresh("llama")
    embeddings = embeddings_of(model)
    for checkpointing in (False, True):
        with propagate(model, checkpointing=checkpointing):
            with torch.autocast("cpu", torch.bfloat16):
                value = run(model, embeddings)[0][0]
            (coefficients,) = torch.autograd.grad(value, embeddings)
        assert close((embeddings * coefficients).detach().sum(-1), explained(fresh("llama")), 0.1)


def weight_gradients(model: nn.Module) -> list[torch.Tensor]:
    run(model, embeddings_of(model))[0].max().backward()  # type: ignore[no-untyped-call]
    gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    return gradients


def test_training_goes_on_in_the_same_autocast_context() -> None:
    """Autocast remembers its casts of the weights; one made without gradient would end the training of that weight."""
    model, tokenizer = tiny_models.model("causal-lm"), tiny_models.tokenizer()
    ids = torch.tensor([[6, 7, 10]])

    def gradients() -> dict[str, torch.Tensor]:
        model.zero_grad()
        model(ids).logits.sum().backward()
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    with torch.autocast("cpu", torch.bfloat16):
        expected = gradients()
    for first in (True, False):
        with torch.autocast("cpu", torch.bfloat16):
            if not first:
                gradients()
            model.zero_grad()
            Explainer(model, tokenizer).explain(TEXT)
            found = gradients()
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_block_where_no_gradients_are_recorded(mode: Any) -> None:
    model = fresh()
    plain = explained(model)
    with mode(), untouched(model):
        found = explained(model)
    assert torch.equal(found, plain)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("kind", ["causal-lm", "masked-lm", "sequence-classification"])
def test_an_explainer_where_no_gradients_are_recorded(mode: Any, kind: str) -> None:
    model, text = tiny_models.model(kind), TEXT + (" [MASK]" if kind == "masked-lm" else "")
    explainer = Explainer(model, tiny_models.tokenizer())
    plain = explainer.explain(text)
    with mode(), untouched(model):
        found = explainer.explain(text)
    assert found.ledger == plain.ledger
    assert (found.relevance == plain.relevance).all()


def test_weights_made_in_inference_mode_are_refused() -> None:
    with torch.inference_mode():
        model = tiny_models.model("causal-lm")
    with pytest.raises(InputError, match="load the model outside of it"), propagate(model):
        pass


def test_a_rope_table_made_in_inference_mode() -> None:
    """Models fill tables while they run, in whatever mode that is."""
    model = fresh("llama")
    plain = explained(model)
    with torch.inference_mode():
        model.model.rotary_emb.inv_freq = model.model.rotary_emb.inv_freq.clone()
    assert torch.equal(explained(model), plain)


def test_hooks_of_the_user_fire_as_ever() -> None:
    plain, model, calls = explained(fresh()), fresh(), []
    layer = model.model.layers[0]
    handles = [
        layer.register_forward_pre_hook(lambda *_: calls.append("before")),
        layer.register_forward_hook(lambda *_: calls.append("after")),
        layer.mlp.register_full_backward_hook(lambda *_: calls.append("backward")),
        layer.mlp.register_full_backward_pre_hook(lambda *_: calls.append("back")),
    ]
    for checkpointing in (False, True):
        calls.clear()
        with untouched(model):
            assert close(explained(model, checkpointing=checkpointing), plain)
        assert calls == ["before", "after", "back", "backward"]
    for handle in handles:
        handle.remove()


def test_a_hook_that_changes_the_output_is_part_of_the_model() -> None:
    model = fresh()
    plain = explained(model)
    with model.model.layers[0].register_forward_hook(lambda _m, _a, output: output * 1.5):
        found, ledger = ledgered(model)
    assert not close(found, plain, 0.01)
    assert ledger.relative_error < 1e-5


@pytest.mark.parametrize("cache", ["dynamic", "static"])
def test_generation_inside_and_after_a_block(cache: str) -> None:
    model, ids = fresh(), torch.tensor([[5, 6, 7]])
    options = {"max_new_tokens": 5, "do_sample": False, "cache_implementation": cache}
    before = model.generate(ids, **options)
    vars(model).pop("_cache", None)
    with untouched(model), propagate(model) as audit:
        assert torch.equal(model.generate(ids, **options), before)
        vars(model).pop("_cache", None)
        embeddings = embeddings_of(model)
        value = run(model, embeddings)[0][0]
        (coefficients,) = torch.autograd.grad(value, embeddings)
    assert audit.ledger(value, embeddings * coefficients).relative_error < 1e-5
    assert torch.equal(model.generate(ids, **options), before)


class Broken(nn.Module):
    """A model that fails where it is told to."""

    def __init__(self, where: str, error: type[BaseException]) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 1)
        self.where, self.error = where, error

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.where == "forward":
            raise self.error
        if self.where == "backward":
            x.register_hook(self._fail)
        return torch.tanh(self.linear(x))

    def _fail(self, _gradient: torch.Tensor) -> None:
        raise self.error


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("where", ["forward", "backward"])
def test_errors_and_interruptions_leave_nothing_behind(where: str, error: type[BaseException]) -> None:
    model = Broken(where, error).train()
    x = torch.ones(1, 3, requires_grad=True)
    with untouched(model), pytest.raises(error), propagate(model):
        torch.autograd.grad(model(x * 1).sum(), x)
    model.where = ""
    with propagate(model):
        torch.autograd.grad(model(x).sum(), x)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_an_error_in_a_layer_leaves_nothing_behind(checkpointing: bool) -> None:
    model, plain = fresh().train(), explained(fresh())
    failing = [True]

    def interrupt(*_: object) -> None:
        if failing:
            raise KeyboardInterrupt

    with model.model.layers[1].mlp.register_forward_pre_hook(interrupt):
        with untouched(model), pytest.raises(KeyboardInterrupt):
            explained(model, checkpointing=checkpointing)
        failing.clear()
        assert close(explained(model, checkpointing=checkpointing), plain)


def test_a_generator_that_is_closed_early() -> None:
    model = fresh()
    before = state(model)

    def maps() -> Iterator[torch.Tensor]:
        with propagate(model):
            while True:
                embeddings = embeddings_of(model)
                yield torch.autograd.grad(run(model, embeddings)[0][0], embeddings)[0]

    running = maps()
    next(running)
    assert model.model.norm.weight.requires_grad is False
    running.close()
    assert state(model) == before
    assert torch.equal(explained(model), explained(fresh()))


def test_a_module_that_two_models_share() -> None:
    one, two = fresh(), fresh()
    two.model.layers[0] = one.model.layers[0]
    plain = explained(two)
    with propagate(one), pytest.raises(InputError, match="already inside"), propagate(two):
        pass
    with untouched(one, two):
        assert torch.equal(explained(two), plain)


def test_training_inside_a_block_is_refused() -> None:
    model = fresh("gpt2")
    with propagate(model):
        model.train()
        with pytest.raises(LxtlikeError, match="train mode"):
            run(model, embeddings_of(model))
        model.eval().requires_grad_(True)
        with pytest.raises(LxtlikeError, match=r"require grad inside .* \(transformer\.wte\.weight\)"):
            run(model, embeddings_of(model))
        model.requires_grad_(False)
        run(model, embeddings_of(model))
