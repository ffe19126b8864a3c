"""Relevance of components: what hooks of one's own see, on several architectures."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_models
import torch
from explaining import untouched
from looking import IDS, TEXT, by_hand, explainer, target_of

from lxtlike import Explainer, InputError, latent

LAYERS = {
    "llama": ("model.layers", "mlp.down_proj"),
    "gpt2": ("transformer.h", "mlp.c_proj"),
    "gpt_neox": ("gpt_neox.layers", "mlp.dense_4h_to_h"),
    "bloom": ("transformer.h", "mlp.dense_4h_to_h"),
    "falcon-alibi": ("transformer.h", "mlp.dense_4h_to_h"),
    "bert": ("bert.encoder.layer", "output.dense"),
    "distilbert": ("distilbert.transformer.layer", "ffn.lin2"),
}
"""Where the layers are, and in them the linear layer that reads the neurons."""

MIXTURES = ("mixtral", "qwen3_moe")


@pytest.fixture(scope="module")
def bundled() -> Explainer:
    return Explainer.from_pretrained()


@pytest.mark.parametrize("composite", ["attnlrp", "cp-lrp", "input-x-gradient"])
@pytest.mark.parametrize("name", LAYERS)
def test_components_have_the_relevance_that_hooks_of_ones_own_see(name: str, composite: str) -> None:
    one, (layers, down) = explainer(name, composite), LAYERS[name]
    model = one.model
    places = [model.get_submodule(f"{layers}.{n}.{down}") for n in range(2)]
    blocks = [model.get_submodule(f"{layers}.{n}") for n in range(2)]
    asked = [f"{layers}.*.{down}", latent.inputs(f"{layers}.*.{down}"), latent.neurons(), latent.layers()]
    with untouched(model):
        found = latent.relevance(one, TEXT, asked, **target_of(one))
    expected = by_hand(one, *((p, False) for p in places), *((p, True) for p in places), *((b, False) for b in blocks))
    names = (f"{layers}.{{}}.{down} input", f"{layers}.{{}}.{down}", f"{layers}.{{}}")
    for key, values in zip([name.format(n) for n in range(2) for name in names], expected, strict=True):
        close(found.relevance[key], values)
    for n in range(2):
        neurons, into = found.relevance[f"{layers}.{n} neurons"], found.relevance[f"{layers}.{n}.{down} input"]
        np.testing.assert_array_equal(neurons, into)
        assert neurons.shape == (6, 128 if name in ("gpt2", "bloom", "falcon-alibi") else 48)
    attribution = one.explain(TEXT, heads=True, layers=True, **target_of(one))
    np.testing.assert_array_equal(found.attribution.relevance, attribution.relevance)
    heads = latent.relevance(one, TEXT, latent.heads(), **target_of(one)).relevance
    close(np.stack([x.sum(0) for x in heads.values()]), attribution.heads)
    close(np.stack([found.relevance[f"{layers}.{n}"].sum(1) for n in range(2)]), attribution.layers[1:])


@pytest.mark.parametrize("name", MIXTURES)
@pytest.mark.parametrize("composite", ["attnlrp", "cp-lrp"])
def test_experts_share_what_arrives_at_their_module(name: str, composite: str) -> None:
    """Expert by expert, by the weights themselves, and in sum what the module has; the text's explanation stays the same."""
    one = explainer(name, composite)
    module = one.model.get_submodule("model.layers.0.mlp.experts")
    with untouched(one.model):
        found = latent.relevance(one, TEXT, latent.experts(), **target_of(one))
    experts = found.relevance["model.layers.0.mlp.experts"]
    (whole,) = by_hand(one, (module, False))
    close(experts.sum(1), whole.sum(1))
    assert ((experts != 0).sum(1) == 2).all()  # two of four are chosen for each token
    seen = {}
    handle = module.register_forward_hook(lambda _, args, output: seen.update(args=args, output=output))
    one.model(input_ids=IDS)
    handle.remove()
    states, indices, weights = seen["args"]
    coefficient = torch.where(seen["output"] != 0, whole / seen["output"], 0)
    for token, (chosen, shares) in enumerate(zip(indices.tolist(), weights, strict=True)):
        for expert, share in zip(chosen, shares, strict=True):
            gate, up = (states[token] @ module.gate_up_proj[expert].T).chunk(2)
            put_out = share * ((torch.nn.functional.silu(gate) * up) @ module.down_proj[expert].T)
            close(experts[token, expert], (put_out * coefficient[token]).sum().detach())
    close(found.attribution.relevance, one.explain(TEXT, **target_of(one)).relevance)
    assert found.attribution.ledger.relative_error < 1e-6


def test_neurons_and_biases_make_up_what_the_projection_puts_out() -> None:
    one = explainer("gpt2")
    down = one.model.transformer.h[1].mlp.c_proj
    found = latent.relevance(
        one, TEXT, [latent.neurons(1), latent.outputs("transformer.h.1.mlp.c_proj")], **target_of(one)
    )
    neurons, out = found.relevance.values()
    bias = out * (down.bias / torch.tensor(found.activation["transformer.h.1.mlp.c_proj"])).detach().numpy()
    close(neurons.sum(1), (out - bias).sum(1), 1e-5)


def test_any_target_that_an_explainer_takes(bundled: Explainer) -> None:
    text = "the mug holds a red hat and a blue key is in the jar . so the key is"
    whole = latent.relevance(bundled, text, latent.layers(2), completion="blue . so")
    steps, read = np.zeros_like(whole.relevance["model.layers.2"]), text
    for word in ("blue", ".", "so"):
        part = latent.relevance(bundled, read, latent.layers(2), target=word)
        steps[: len(part.attribution.tokens)] += part.relevance["model.layers.2"]
        read += f" {word}"
    close(whole.relevance["model.layers.2"], steps, 1e-4)
    against = latent.relevance(bundled, text, latent.layers(2), completion="blue . so", contrast="red . so")
    layers = bundled.explain(text, completion="blue . so", contrast="red . so", layers=True).layers
    close(against.relevance["model.layers.2"].sum(1), layers[3], 1e-4)  # type: ignore[index]
    function = latent.relevance(bundled, text, latent.layers(2), target=lambda outputs: outputs.logits[0, -1, 5])
    close(
        function.relevance["model.layers.2"],
        latent.relevance(bundled, text, latent.layers(2), target=5).relevance["model.layers.2"],
    )


def test_units_and_positions_that_are_not_named_are_left_out(bundled: Explainer) -> None:
    text = "the mug holds a red hat"
    whole = latent.relevance(bundled, text, latent.neurons(1)).relevance["model.layers.1 neurons"]
    some = latent.relevance(bundled, text, latent.neurons(1, [3, 5], position=-1)).relevance["model.layers.1 neurons"]
    assert np.argwhere(some).tolist() == [[len(whole) - 1, 3], [len(whole) - 1, 5]]
    np.testing.assert_array_equal(some[some != 0], whole[-1, [3, 5]])
    two = latent.relevance(bundled, text, [latent.heads(1, 0), latent.heads(1, 2)]).relevance["model.layers.1 heads"]
    np.testing.assert_array_equal(two.any(0), [True, False, True, False])


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of peft's way to ask transformers
def test_an_adapter_beside_the_projection_reads_the_same_neurons() -> None:
    from peft import LoraConfig, get_peft_model

    plain = Explainer(tiny_models.model("causal-lm"), tiny_models.tokenizer())
    adapted = get_peft_model(tiny_models.model("causal-lm"), LoraConfig(target_modules=["down_proj"]))
    other = Explainer(adapted, tiny_models.tokenizer())  # whose adapter adds nothing yet
    found, same = (latent.relevance(one, "the red ball is", latent.neurons(), target="blue") for one in (plain, other))
    assert list(found.relevance) == list(same.relevance)
    for name, values in found.relevance.items():
        close(same.relevance[name], values, 1e-5)


def test_what_is_found_can_be_ranked_and_printed(bundled: Explainer) -> None:
    found = latent.relevance(
        bundled, "the jar holds a grey boot and a brown spoon is in the trunk . so the spoon is", latent.heads()
    )
    (first,) = found.top(1)
    assert first[:4] == ("model.layers.1 heads", 0, 19, "is")
    assert first.relevance == pytest.approx(max(abs(x).max() for x in found.relevance.values()))
    assert first.activation > 0
    assert "model.layers.1 heads 0 at 'is' #19" in repr(found)


@pytest.mark.parametrize(
    ("component", "sentence"),
    [
        ("model.layers.0.mlp.downproj", "has no module .*; did you mean 'model.layers.0.mlp.down_proj'"),
        (latent.heads(9), r"no heads \(layer 9\) .* whose 4 layers have numbers from 0"),
        (latent.heads(1, 7), r"heads \(layer 1; head 7\) .* number 3"),
        (latent.neurons(1, 500), "number 127"),
        (latent.layers(1, position=50), "the text has 7 tokens"),
        (latent.experts(), "there are no experts"),
        ([], "no component is named"),
        (3, "a component is a module's name"),
        ([3], "a component is a module's name"),
    ],
)
def test_what_is_not_there_is_refused(bundled: Explainer, component: object, sentence: str) -> None:
    with untouched(bundled.model), pytest.raises(InputError, match=sentence):
        latent.relevance(bundled, "the mug holds a red hat", component)  # type: ignore[arg-type]


@pytest.mark.parametrize("make", [latent.heads, latent.neurons, latent.layers, latent.experts])
def test_numbers_are_natural(make: object) -> None:
    for bad in (-1, [], [1.5], "1", True):
        with pytest.raises(InputError):
            make(bad)  # type: ignore[operator]


def test_several_texts_and_encoder_decoders_are_refused(bundled: Explainer) -> None:
    with pytest.raises(InputError, match="one text at a time"):
        latent.relevance(bundled, ["the hat"], latent.heads())
    t5 = Explainer(tiny_models.model("seq2seq-lm"), tiny_models.tokenizer())
    with pytest.raises(InputError, match="encoder-decoder"):
        latent.relevance(t5, "the red ball", latent.layers())


def close(actual: object, expected: object, tolerance: float = 1e-6) -> None:
    """Equal but for a share of the largest number: results are float32."""
    wanted = np.asarray(expected)
    np.testing.assert_allclose(np.asarray(actual), wanted, rtol=tolerance, atol=tolerance * np.abs(wanted).max())
