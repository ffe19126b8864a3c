"""Rules for some layers only: by name, class, depth, or because they read the input; in Python, in YAML, by overrides."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel

from lxtlike import COMPOSITES, Composite, InputError, propagate
from lxtlike.propagation.assigned import depths

ATTNLRP = Composite.parse("attnlrp")


class Net(nn.Module):
    """Two convolutions, two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.ModuleList([nn.Conv2d(1, 3, 3), nn.Conv2d(3, 2, 3)])
        self.head = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))

    def forward(self, x: Tensor) -> Tensor:
        for convolution in self.features:
            x = F.relu(convolution(x))
        return self.head(x.flatten(1))


def ran(composite: Composite | str, net: nn.Module | None = None, x: Tensor | None = None) -> dict[str, str]:
    """Module path -> the rule its layer got."""
    net = net or Net()
    x = torch.rand(1, 1, 6, 6).requires_grad_() if x is None else x
    with propagate(net, composite, trace=True) as audit:
        outputs = net(x) if not hasattr(net, "config") else net(inputs_embeds=x).logits
        torch.autograd.grad(outputs.sum(), x)
    return {
        module: rule.partition(": ")[2]
        for module, operations in audit.rules().items()
        for rule in operations.values()
        if rule.startswith(("linear", "convolution"))
    }


def test_by_name_class_depth_and_first() -> None:
    chosen = (
        ATTNLRP.where({"linear": "epsilon"}, name="head.*")
        .where({"convolution": {"rule": "alpha-beta", "alpha": 1}}, type="Conv?d")
        .where({"linear": "gradient"}, depth=[0.9, 1])
        .where({"linear": "flat", "convolution": "flat"}, first=True)
    )
    assert ran(chosen) == {
        "features.0": "flat",
        "features.1": "alpha-beta alpha=1",
        "head.0": "epsilon",
        "head.2": "gradient",
    }


def test_all_conditions_must_hold_and_the_last_entry_wins() -> None:
    chosen = ATTNLRP.where({"linear": "epsilon"}, name=["head.0", "head.2"], depth=[0, 0.7])
    assert ran(chosen)["head.0"] == "epsilon"
    assert ran(chosen)["head.2"] == "gradient"
    assert ran(chosen.where({"linear": "gamma"}, name="head.0"))["head.0"] == "gamma"


def test_classes_they_derive_from_count() -> None:
    class Own(nn.Linear):
        pass

    net = Net()
    net.head[2] = Own(4, 2)
    assert ran(ATTNLRP.where({"linear": "epsilon"}, type="Linear"), net)["head.2"] == "epsilon"
    assert ran(ATTNLRP.where({"linear": "epsilon"}, type="Own"), net)["head.0"] == "gradient"


def test_depth_counts_layers_with_weights() -> None:
    net = Net()
    found = {name: depths(net)[id(module)] for name, module in net.named_modules()}
    assert [found[name] for name in ("features.0", "features.1", "head.0", "head.2")] == [0.0, 1 / 3, 2 / 3, 1.0]
    assert found["head.1"] == 1.0  # the ReLU stands behind three of four


def test_conv1d_of_transformers_is_a_linear_layer() -> None:
    model = GPT2LMHeadModel(GPT2Config(n_layer=2, n_embd=8, n_head=2, vocab_size=11, n_positions=8)).eval()
    found = ran(
        ATTNLRP.where({"linear": "epsilon"}, name="transformer.h.1.*").where({"convolution": "gamma"}, type="Conv*"),
        model,
        torch.randn(1, 3, 8, requires_grad=True),
    )
    assert found["transformer.h.1.mlp.c_fc"] == "epsilon"
    assert found["transformer.h.0.mlp.c_fc"] == "gradient"


def test_layerwise_goes_by_depth() -> None:
    assert ran("layerwise:low=0,high=1") == {
        "features.0": "box low=0 high=1",
        "features.1": "generalized-gamma gamma=0.25",
        "head.0": "epsilon epsilon=1e-09 relative=0.25",
        "head.2": "gradient",
    }
    assert ran("layerwise-w-squared")["features.0"] == "w-squared"


@pytest.mark.parametrize("name", [name for name in COMPOSITES if name != "input-x-gradient"])
def test_every_composite_closes(name: str) -> None:
    net, x = Net().double(), torch.rand(2, 1, 6, 6, dtype=torch.float64, requires_grad=True)
    with propagate(net, Composite.parse(name).bounded(0.0, 1.0)) as audit:
        top = net(x)[:, 1].sum()
        (c,) = torch.autograd.grad(top, x)
    assert audit.ledger(top, audit.relevance(x, c)).relative_error < 1e-12


def test_yaml_and_back(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(
        "base: epsilon-plus-flat\nlayers:\n  - {name: 'head.*', depth: [0, 1], rules: {linear: {rule: gamma, gamma: 0.1}}}\n"
        "  - {first: true, rules: {convolution: {rule: box, low: [-1.5], high: [2]}}}\n"
    )
    composite = Composite.parse(file)
    assert ran(composite)["features.0"] == "box low=[-1.5] high=[2]"
    assert ran(composite)["head.2"] == "gamma gamma=0.1"
    again = tmp_path / "again.yaml"
    again.write_text(composite.to_yaml())
    assert Composite.parse(again).layers == composite.layers
    assert copy.deepcopy(composite).layers == composite.layers


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("layers: [{nmae: x, rules: {linear: flat}}]", "'nmae'; did you mean 'name'"),
        ("layers: [{name: x, rules: {linaer: flat}}]", "'linaer'; did you mean 'linear'"),
        ("layers: [{name: x, rules: {linear: flta}}]", "'flta'; did you mean 'flat'"),
        ("layers: [{name: x, rules: {linear: {rule: flat, epsilom: 1}}}]", "'epsilom'; did you mean 'epsilon'"),
        ("layers: [{name: 3, rules: {linear: flat}}]", "'name' of layers is a pattern"),
        ("layers: [{depth: 0.5, rules: {linear: flat}}]", "two fractions"),
        ("layers: [{depth: [0.5, 0.2], rules: {linear: flat}}]", "to a larger one"),
        ("layers: [{first: 1.5, rules: {linear: flat}}]", "'first' of layers is true"),
        ("layers: [{first: true, rules: {norm: constant}}]", "only linear and convolution layers"),
        ("layers: [{first: true}]", "needs 'rules'"),
        ("layers: [{rules: {linear: flat}}]", "need a condition"),
        ("layers: {first: true}", "must be a list"),
        ("rules: {linear: {rule: box, low: [a]}}", "a list of one for each channel"),
        ("rules: {linear: {rule: gamma, gamma: [1, 2]}}", "must be a number >= 0"),
    ],
)
def test_wrong_files(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=message):
        Composite.parse(file)


def test_overrides_reach_layers_and_single_families() -> None:
    assert ran("epsilon-gamma-box:low=-1,high=1")["features.0"] == "box low=-1 high=1"
    both = Composite.parse("gamma:convolution.gamma=0.5,epsilon=0.1")
    assert both.name == "gamma:convolution.gamma=0.5,epsilon=0.1"
    assert Composite.parse(both.name).rules == both.rules
    assert both.rules["convolution"].parameters == {"gamma": 0.5, "epsilon": 0.1}
    assert both.rules["linear"].parameters == {"gamma": 0.25, "epsilon": 0.1}
    with pytest.raises(InputError, match=r"no parameter 'linear\.low'"):
        Composite.parse("gamma:linear.low=1")
    with pytest.raises(InputError, match="'convolutoin'; did you mean 'convolution'"):
        Composite.parse("gamma:convolutoin.gamma=1")


def test_a_name_that_fits_nothing_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    ran(ATTNLRP.where({"linear": "epsilon"}, name="haed.2"))
    assert "no module of this model is called 'haed.2'; the nearest is 'head.2'" in caplog.text


def test_rules_for_first_layers_that_there_are_none_of_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    for name in (
        "epsilon-plus-flat",
        "layerwise-w-squared",
    ):  # the second one has two such entries, of which the last wins
        ran(name)
    assert not caplog.text
    normed = nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 2))
    ran("epsilon-plus-flat", normed, torch.randn(1, 8, requires_grad=True))
    assert "no layer of this model reads the input itself" in caplog.text
