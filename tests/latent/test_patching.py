"""Patching: the truth by hooks of one's own, and estimates that are exact where the rest of the model is linear."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from explaining import untouched
from looking import IDS, TEXT, explainer, target_of
from torch import Tensor

from lxtlike import InputError, latent

OTHER = "w5 w21 w33 w8 w71 w7"
OTHERS = torch.tensor([[5, 21, 33, 8, 71, 7]])


def value(model: Any, asked: dict[str, Any]) -> float:
    row = model(input_ids=IDS).logits[0]
    row = row[-1] if row.dim() == 2 else row
    return float(row[asked["target"]] - row[asked["contrast"]])


@pytest.mark.parametrize("name", ["llama", "gpt2", "bert"])
@torch.no_grad()
def test_activation_patching_runs_the_model_for_every_place(name: str) -> None:
    one = explainer(name)
    model: Any = one.model
    asked = target_of(one)
    path = {"llama": "model.layers.0.self_attn.o_proj", "gpt2": "transformer.h.0.attn.c_proj"}.get(
        name, "bert.encoder.layer.0.attention.output.dense"
    )
    module, seen = model.get_submodule(path), []
    hook = module.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model(input_ids=OTHERS)
    hook.remove()
    plain = value(model, asked)
    expected = np.zeros((6, 4))
    for position in range(6):
        for head in range(4):

            def patch(_: Any, args: Any, position: int = position, head: int = head) -> tuple[Tensor]:
                own = args[0].clone()
                own[:, position, 8 * head : 8 * head + 8] = seen[0][:, position, 8 * head : 8 * head + 8]
                return (own,)

            hook = module.register_forward_pre_hook(patch)
            expected[position, head] = value(model, asked) - plain
            hook.remove()
    with untouched(model):
        heads = latent.activation_patching(one, TEXT, OTHER, latent.heads(0), batch_size=5, **asked)
        whole = latent.activation_patching(one, TEXT, OTHER, latent.inputs(path, position=[0, 4]), **asked)
    (found,) = heads.effects.values()
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert heads.value == pytest.approx(plain)
    (vectors,) = whole.effects.values()
    assert vectors.shape == (6, 1)
    assert np.flatnonzero(np.abs(vectors) > 1e-9).tolist() == ([0, 4] if name == "bert" else [4])
    assert heads.top(1)[0][3] == pytest.approx(expected.flat[np.abs(expected).argmax()], rel=1e-4)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_estimates_are_differences_times_coefficients(name: str) -> None:
    one = explainer(name, "cp-lrp")
    asked, component = target_of(one), latent.neurons(0)
    with untouched(one.model):
        (found,) = latent.relevance_patching(one, TEXT, OTHER, component, **asked).effects.values()
    clean, corrupt = (latent.relevance(one, text, component, **asked) for text in (TEXT, OTHER))
    (relevance,), (own,), (other,) = (
        tuple(values.values()) for values in (clean.relevance, clean.activation, corrupt.activation)
    )
    np.testing.assert_allclose(found, relevance / own * (other - own), rtol=1e-3, atol=1e-6 * np.abs(found).max())


def test_an_estimate_is_the_truth_where_the_rest_is_linear() -> None:
    """Behind the last norm there is the head alone: gradients and rules are exact for whatever arrives there."""
    for composite in ("attnlrp", "cp-lrp", "input-x-gradient"):
        one = explainer("llama", composite)
        asked = target_of(one)
        estimate = latent.relevance_patching(one, TEXT, OTHER, "model.norm", **asked).effects["model.norm"]
        truth = latent.activation_patching(one, TEXT, OTHER, "model.norm", **asked).effects["model.norm"]
        np.testing.assert_allclose(estimate, truth, rtol=1e-5, atol=1e-7)
        assert np.abs(truth).max() > 1e-3


def test_what_an_estimate_misses_before_the_last_norm_is_the_change_of_its_scale() -> None:
    """Rules hold the scale of a norm: ``(estimate + F) rms = (truth + F) rms of the other text`` for the residual stream."""
    one, last = explainer("llama"), latent.layers(1, position=-1)
    asked = target_of(one)
    estimate = latent.relevance_patching(one, TEXT, OTHER, last, **asked)
    truth = latent.activation_patching(one, TEXT, OTHER, last, **asked)
    own, other = (
        np.sqrt(np.square(latent.relevance(one, text, last, **asked).activation["model.layers.1"][-1]).mean() + 1e-6)
        for text in (TEXT, OTHER)
    )
    estimated, true = (found.effects["model.layers.1"][-1, 0] + truth.value for found in (estimate, truth))
    assert estimated * own == pytest.approx(true * other, rel=1e-4)
    assert abs(own / other - 1) > 0.01


def test_what_cannot_be_patched_is_refused() -> None:
    one = explainer("mixtral")
    for patching in (latent.relevance_patching, latent.activation_patching):
        with pytest.raises(InputError, match="different numbers of tokens"):
            patching(one, TEXT, "w5 w21", latent.layers(), **target_of(one))
        with pytest.raises(InputError, match="experts see other tokens"):
            patching(one, TEXT, OTHER, latent.experts(), **target_of(one))
        with pytest.raises(InputError, match="did you mean"):
            patching(one, TEXT, OTHER, "model.layers.0.attn", **target_of(one))
