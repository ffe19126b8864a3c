"""Components taken away, weakened or replaced by their mean: by hooks of one's own, and undone whatever happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from explaining import untouched
from looking import IDS, TEXT, explainer, target_of
from torch import Tensor, nn

from lxtlike import InputError, latent


@contextmanager
def changed(module: nn.Module, change: Callable[[Tensor], Tensor], into: bool) -> Iterator[None]:
    """The input or output of a module, changed by a hook."""
    if into:
        handle = module.register_forward_pre_hook(lambda _, args: (change(args[0]), *args[1:]))
    else:
        handle = module.register_forward_hook(
            lambda _, args, output: (change(output[0]), *output[1:]) if isinstance(output, tuple) else change(output)
        )
    yield
    handle.remove()


def logits(model: Any) -> Tensor:
    with torch.no_grad():
        return model(input_ids=IDS).logits.clone()


def columns(start: int, end: int, factor: float) -> Callable[[Tensor], Tensor]:
    def change(x: Tensor) -> Tensor:
        own = x.clone()
        own[..., start:end] *= factor
        return own

    return change


PLACES = {
    "llama": ("model.layers.1.self_attn.o_proj", "model.layers.1.mlp.down_proj", "model.layers.0"),
    "gpt2": ("transformer.h.1.attn.c_proj", "transformer.h.1.mlp.c_proj", "transformer.h.0"),
    "bert": (
        "bert.encoder.layer.1.attention.output.dense",
        "bert.encoder.layer.1.output.dense",
        "bert.encoder.layer.0",
    ),
}


@pytest.mark.parametrize("factor", [0.0, 0.5, -2.0])
@pytest.mark.parametrize("name", PLACES)
def test_it_does_what_hooks_of_ones_own_do(name: str, factor: float) -> None:
    model: Any = explainer(name).model
    attention, down, layer = map(model.get_submodule, PLACES[name])
    cases = [
        (latent.heads(1, 2), attention, columns(16, 24, factor), True),
        (latent.neurons(1, [4, 5, 6]), down, columns(4, 7, factor), True),
        (latent.inputs(PLACES[name][1], [4, 5, 6]), down, columns(4, 7, factor), True),
        (latent.outputs(PLACES[name][1]), down, lambda x: x * factor, False),
        (latent.layers(0, 3), layer, columns(3, 4, factor), False),
    ]
    plain = logits(model)
    for component, module, change, into in cases:
        with changed(module, change, into):
            expected = logits(model)
        with untouched(model), latent.ablated(model, component, factor):
            ablated = logits(model)
        torch.testing.assert_close(ablated, expected)
        assert not torch.allclose(ablated, plain)
        assert torch.equal(logits(model), plain)


def test_only_the_positions_that_are_named() -> None:
    model: Any = explainer("llama").model

    def change(x: Tensor) -> Tensor:
        own = x.clone()
        own[:, [1, 5]] = 0
        return own

    with changed(model.model.layers[0].mlp, change, False):
        expected = logits(model)
    with latent.ablated(model, latent.outputs("model.layers.0.mlp", position=[1, -1])):
        torch.testing.assert_close(logits(model), expected)


@pytest.mark.parametrize("name", ["mixtral", "qwen3_moe"])
def test_experts(name: str) -> None:
    """Without all of them their module puts out nothing; without one, the others go on."""
    model: Any = explainer(name).model
    with changed(model.model.layers[0].mlp.experts, lambda x: x * 0, False):
        none = logits(model)
    with latent.ablated(model, latent.experts(0)):
        torch.testing.assert_close(logits(model), none)
    chosen: list[Tensor] = []
    hook = model.model.layers[0].mlp.experts.register_forward_hook(lambda _, args, __: chosen.append(args[1]))
    plain = logits(model)
    hook.remove()
    unused = next(iter(set(range(4)) - set(chosen[0][-1].tolist())))
    used = int(chosen[0][-1, 0])
    with latent.ablated(model, latent.experts(0, unused, position=-1)):
        torch.testing.assert_close(logits(model), plain)
    with latent.ablated(model, latent.experts(0, used, position=-1)):
        assert not torch.allclose(logits(model)[:, -1], plain[:, -1])


def test_towards_the_mean() -> None:
    one = explainer("llama")
    model: Any = one.model
    texts = [TEXT, "w9 w12 w40", "w2 w2"]
    seen: list[Tensor] = []
    hook = model.model.layers[1].self_attn.o_proj.register_forward_pre_hook(lambda _, args: seen.append(args[0][0]))
    for text in texts:
        model(input_ids=torch.tensor([[int(word[1:]) for word in text.split()]]))
    hook.remove()
    mean = torch.cat(seen).mean(0).detach()
    with untouched(model):
        means = latent.means(one, texts, latent.heads(1))
    torch.testing.assert_close(means["model.layers.1 heads"], mean.unflatten(-1, (4, -1)))

    def change(x: Tensor) -> Tensor:
        own = x.clone()
        own[..., 8:16] = mean[8:16] + 0.25 * (own[..., 8:16] - mean[8:16])
        return own

    with changed(model.model.layers[1].self_attn.o_proj, change, True):
        expected = logits(model)
    with latent.ablated(model, latent.heads(1, 1), 0.25, to=means):
        torch.testing.assert_close(logits(model), expected)
        found = one.explain(TEXT, **target_of(one))  # and rules see the ablated model
    assert found.target.value == pytest.approx(float(expected[0, -1, 11] - expected[0, -1, 29]))
    assert found.ledger.relative_error < 1e-6
    with (
        pytest.raises(InputError, match=r"no mean of model.layers.0 heads"),
        latent.ablated(model, latent.heads(0), to=means),
    ):
        logits(model)


def test_exceptions_leave_nothing_behind() -> None:
    one = explainer("llama")
    model: Any = one.model

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with untouched(model):
        for component in (latent.heads(1, 0), latent.neurons(0), latent.outputs("model.layers.0.mlp")):
            with pytest.raises(ZeroDivisionError), latent.ablated(model, component):
                raise ZeroDivisionError
            hook = model.model.layers[1].mlp.register_forward_pre_hook(stop)
            with latent.ablated(model, component):
                with pytest.raises(KeyboardInterrupt):
                    logits(model)
                hook.remove()
                after = logits(model)
            with latent.ablated(model, component):
                torch.testing.assert_close(logits(model), after)


def test_it_holds_for_layers_that_are_computed_again() -> None:
    for name, component in [
        *(("llama", c) for c in (latent.heads(0, 1), latent.neurons(1, 3), latent.layers(0, 2))),
        ("llama", latent.outputs("model.layers.0.mlp")),
        ("mixtral", latent.experts(0, [0, 1])),
    ]:
        plain, again = (explainer(name, checkpointing=on) for on in (False, True))
        with latent.ablated(plain.model, component):
            expected, found = (one.explain(TEXT, **target_of(plain)) for one in (plain, again))
        torch.testing.assert_close(torch.tensor(found.relevance), torch.tensor(expected.relevance))


def test_what_is_wrong_is_refused() -> None:
    model: Any = explainer("llama").model
    with (
        pytest.raises(InputError, match="factor must be a number"),
        latent.ablated(model, latent.heads(), float("nan")),
    ):
        pass
    with (
        pytest.raises(InputError, match=r"did you mean 'model\.layers\.0\.mlp'"),
        latent.ablated(model, "model.layers.0.mpl"),
    ):
        pass
    with latent.ablated(model, latent.heads(7)), pytest.raises(InputError, match="no heads"):
        logits(model)
    with pytest.raises(InputError, match="give one or more"):
        latent.means(explainer("llama"), [], latent.heads())
    with pytest.raises(InputError, match="experts have no mean"):
        latent.means(explainer("mixtral"), [TEXT], latent.experts())
