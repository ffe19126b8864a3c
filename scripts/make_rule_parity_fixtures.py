"""Make tests/fixtures/parity/rules: the relevances that zennit and captum give two small networks.

Run it in an environment of its own, in which neither lxtlike nor torchvision is needed:

    python3 -m venv peers && peers/bin/pip install --constraint constraints.txt torch numpy pillow tqdm packaging matplotlib
    peers/bin/pip install --no-deps zennit==0.5.1 captum==0.9.0
    peers/bin/python scripts/make_rule_parity_fixtures.py            # --check writes nothing and prints the distances

zennit asks for torchvision only to name its residual blocks, which do not occur here, so two empty classes stand in for
them. Weights, inputs and relevances are float64; the same seed gives the same file.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from rule_networks import CLASSES, NETWORKS, drawn
from torch import Tensor, nn

FOLDER = Path(__file__).parents[1] / "tests" / "fixtures" / "parity" / "rules"
GAMMA, EPSILON, LOW, HIGH = 0.25, 1e-6, -1.0, 1.0
TINY = 1e-15  # zennit's stabiliser in averages and norms: lxtlike has none there, and 0 / 0 must not be


def import_zennit() -> tuple[Any, Any, Any, Any]:
    """zennit's rules, composites, canonizers and types, without torchvision."""
    for name in ("torchvision", "torchvision.models", "torchvision.models.resnet"):
        sys.modules[name] = ModuleType(name)
    for name in ("BasicBlock", "Bottleneck"):
        setattr(sys.modules["torchvision.models.resnet"], name, type(name, (nn.Module,), {}))
    import zennit.canonizers
    import zennit.composites
    import zennit.rules
    import zennit.types

    return zennit.rules, zennit.composites, zennit.canonizers, zennit.types


def has_norms(model: nn.Module) -> bool:
    return any(isinstance(layer, nn.BatchNorm2d) for layer in model.modules())


def zennit_composites(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Our name of each question -> zennit's composite; batch norms are merged into the layer before them."""
    biases, norms = any(name.endswith("bias") for name, _ in model.named_parameters()), has_norms(model)
    rules, composites, canonizers, types = import_zennit()
    merged = {"canonizers": [canonizers.SequentialMergeBatchNorm()]}
    classic = {**merged, "layer_map": [((types.AvgPool, composites.Sum), rules.Norm(stabilizer=TINY))]}
    base = composites.layer_map_base(stabilizer=TINY)
    everywhere = {
        "epsilon": rules.Epsilon(),
        "epsilon-0.1": rules.Epsilon(epsilon=0.1),
        "gamma": rules.Gamma(gamma=GAMMA),
        "z-plus": rules.ZPlus(),
        "alpha-beta": rules.AlphaBeta(alpha=2.0, beta=1.0),
    }
    for name, rule in everywhere.items():
        yield name, composites.LayerMapComposite([*base, (types.Linear, rule)], **merged)
    first = {
        "w-square-first": rules.WSquare(),
        "flat-first": rules.Flat(),
        "box-first": rules.ZBox(low=LOW, high=HIGH),
    }
    if biases:
        first["w-square-first-zero-bias"] = rules.WSquare(zero_params="bias")
    for name, rule in first.items():
        layers = [*base, (types.Linear, rules.Epsilon())]
        yield name, composites.SpecialFirstLayerMapComposite(layers, [(types.Linear, rule)], **merged)
    yield "epsilon-gamma-box", composites.EpsilonGammaBox(low=LOW, high=HIGH, **classic)
    yield "epsilon-plus", composites.EpsilonPlus(**classic)
    yield "epsilon-plus-flat", composites.EpsilonPlusFlat(**classic)
    yield "epsilon-alpha2-beta1", composites.EpsilonAlpha2Beta1(**classic)
    yield "epsilon-alpha2-beta1-flat", composites.EpsilonAlpha2Beta1Flat(**classic)
    if norms:
        layers = [(types.BatchNorm, rules.Norm(stabilizer=TINY)), *base, (types.Linear, rules.Epsilon())]
        yield "epsilon-norm-apart", composites.LayerMapComposite(layers)
        yield "epsilon-norm-passed", composites.LayerMapComposite([*base, (types.Linear, rules.Epsilon())])


def zennit_relevance(model: nn.Module, composite: Any, given: Tensor, wanted: Tensor) -> Tensor:
    leaf = given.clone().requires_grad_()
    with composite.context(copy.deepcopy(model)) as changed:
        logits = changed(leaf)
        start = logits.detach() * nn.functional.one_hot(wanted, CLASSES)
        (relevance,) = torch.autograd.grad(logits, leaf, start)
    return relevance


def captum_rules(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Our name of each question -> what makes captum's rule of a linear layer. Norms have captum's epsilon rule."""
    from captum.attr._utils.lrp_rules import Alpha1_Beta0_Rule, EpsilonRule, GammaRule

    yield "epsilon", lambda: EpsilonRule(EPSILON)
    if not has_norms(model):
        yield "gamma", lambda: GammaRule(GAMMA)
        yield "z-plus", Alpha1_Beta0_Rule


def captum_relevance(model: nn.Module, rule: Any, given: Tensor, wanted: Tensor) -> Tensor:
    from captum.attr import LRP
    from captum.attr._utils.lrp_rules import EpsilonRule

    model = copy.deepcopy(model)
    for layer in model.children():
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            layer.rule = rule()
        elif isinstance(layer, nn.Flatten):  # captum has no rule of its own for it and refuses it without one
            layer.rule = EpsilonRule()
    return LRP(model).attribute(given.clone(), target=wanted).detach()


def answers(name: str, seed: int) -> dict[str, np.ndarray]:
    """Everything that is stored of one network: weights, inputs, explained classes and relevances."""
    _, composites, _, _ = import_zennit()
    model, given, wanted = drawn(name, seed, composites.Sum)
    stored = {f"weight/{path}": value for path, value in model.state_dict().items() if value.is_floating_point()}
    stored |= {"input": given, "target": wanted}
    for question, composite in zennit_composites(model):
        stored[f"zennit/{question}"] = zennit_relevance(model, composite, given, wanted)
    if name.startswith(("mlp", "cnn")):
        for question, rule in captum_rules(model):
            stored[f"captum/{question}"] = captum_relevance(model, rule, given, wanted)
    return {key: value.numpy() for key, value in stored.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--check", action="store_true", help="write nothing: print the distances from what is stored")
    asked = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in NETWORKS:
        made, path = answers(name, asked.seed), FOLDER / f"{name}.npz"
        if asked.check:
            with np.load(path, allow_pickle=False) as stored:
                worst = max(float(np.abs(made[key] - stored[key]).max()) for key in made)
            print(f"{name}: largest difference from what is stored {worst:.1e}")
        else:
            np.savez_compressed(path, **made)
            print(f"{name}: {len(made)} arrays, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
