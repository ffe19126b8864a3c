"""w^2, flat and z^B against their oracles, where the relevance goes, and where these rules are refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import reference_first as ref
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from pairing import Of, assert_same, measure, normal
from torch import Tensor, nn

from lxtlike import Composite, InputError, propagate
from lxtlike.rules.first import read_from

X, W, B, C = normal(3, 4), normal(5, 4, seed=3), normal(5, seed=4), normal(3, 5, seed=5)
TW, TB = torch.tensor(W), torch.tensor(B)
LOW, HIGH = -3.0, 2.5

RULES: dict[str, Callable[..., ref.Shared]] = {
    "w-squared": ref.w_squared,
    "flat": ref.flat,
    "box": lambda *args: ref.box(*args, np.full(4, LOW), np.full(4, HIGH)),
}
SPELLINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "F.linear": lambda x: F.linear(x, TW, TB),
    "addmm, factors below zero": lambda x: torch.addmm(-2 * TB, x, -4 * TW.T, beta=-0.5, alpha=-0.25),
    "conv1d": lambda x: F.conv1d(x.T[None], TW[:, :, None], TB)[0].T,
    "conv_transpose2d": lambda x: F.conv_transpose2d(x.T[None, :, :, None], TW.T[:, :, None, None], TB)[0, :, :, 0].T,
    "selections before it": lambda x: F.linear(F.pad(x.reshape(2, 6), (0, 3))[:, :6].clone().view(3, 4), TW, TB),
}


def composite(rule: str, **parameters: float) -> Composite:
    bounds = {"low": LOW, "high": HIGH} if rule == "box" else {}
    same = {"rule": rule, **bounds, **parameters}
    return Composite.parse("attnlrp").where({"linear": same, "convolution": same}, first=True)


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=list(SPELLINGS))
@pytest.mark.parametrize("signs", ["mixed", "positive"])
@pytest.mark.parametrize("rule", RULES)
def test_oracle(rule: str, signs: str, spelling: Callable[[Tensor], Tensor]) -> None:
    x = X if signs == "mixed" else np.abs(X)
    expected = RULES[rule](x, W, B, C)
    found = measure(spelling, (x,), C, composite(rule))
    assert_same(found.output, expected.output, "output", floor=1.0)
    assert_same(found.relevance[0], expected.relevance, "relevance")
    assert found.ledger.epsilon == pytest.approx(expected.absorbed["epsilon"], abs=1e-12)
    assert found.ledger.biases == pytest.approx(expected.absorbed["bias"], abs=1e-12)
    assert found.ledger.relative_error < 1e-12
    assert not found.coefficients[0].any(), "all of it was deposited"


@pytest.mark.parametrize("rule", RULES)
def test_without_bias_and_with_denominators_of_zero(rule: str) -> None:
    weight = np.array(W)
    weight[2] = 0.0
    expected = RULES[rule](X, weight, None, C)
    found = measure(lambda x: F.linear(x, torch.tensor(weight)), (X,), C, composite(rule))
    assert_same(found.relevance[0], expected.relevance, "relevance")
    assert found.ledger.relative_error < 1e-12
    exact = measure(lambda x: F.linear(x, torch.tensor(weight)), (X,), C, composite(rule, epsilon=0.0))
    assert exact.relevance[0].isfinite().all()
    assert exact.ledger.epsilon == pytest.approx(0.0, abs=1e-12), "outputs without any input were zero themselves"


def test_bounds_by_channel() -> None:
    low, high = (-1.0, -2.0, -3.0, -4.0), (1.0, 2.0, 3.0, 4.0)
    expected = ref.box(X, W, B, C, np.array(low), np.array(high))
    chosen = Composite.parse("epsilon-gamma-box").bounded(low, high)
    for name in ("F.linear", "conv1d"):
        assert_same(measure(SPELLINGS[name], (X,), C, chosen).relevance[0], expected.relevance, name)
    unbatched = measure(lambda x: F.conv1d(x.T, TW[:, :, None], TB).T, (X,), C, chosen)
    assert_same(unbatched.relevance[0], expected.relevance, "unbatched")
    with pytest.raises(InputError, match="bounds for 3 channels, and the input has 4"):
        measure(SPELLINGS["conv1d"], (X,), C, Composite.parse("epsilon-gamma-box").bounded((0, 0, 0), 1.0))
    with pytest.raises(InputError, match="lowest and the highest value"):
        measure(SPELLINGS["conv1d"], (X,), C, "epsilon-gamma-box")


@settings(max_examples=25, deadline=None)
@given(
    rule=st.sampled_from(list(RULES)),
    seed=st.integers(0, 50),
    padding=st.integers(0, 2),
    stride=st.integers(1, 2),
    groups=st.sampled_from([1, 2]),
)
def test_conservation_of_convolutions(rule: str, seed: int, padding: int, stride: int, groups: int) -> None:
    """A black border or a step that leaves pixels out changes nothing: all relevance is at pixels, biases or epsilon."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(2, 4, 3, stride, padding, groups=groups), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3))
    x = normal(2, 2, 6, 6, seed=seed).clip(LOW, HIGH)
    net(torch.tensor(x).float())
    found = measure(net.double(), (x,), normal(2, 3, seed=seed), composite(rule))
    assert found.ledger.relative_error < 1e-9
    assert found.relevance[0].abs().sum() > 0


def test_relevance_at_black_pixels() -> None:
    """The reason for these rules: a pixel of value zero may count."""
    x = np.zeros((1, 4))
    assert measure(SPELLINGS["F.linear"], (x,), C[:1], composite("box")).relevance[0].abs().min() > 0


def test_an_input_that_takes_another_way_too() -> None:
    """What is deposited and what the coefficient says add up."""
    found = measure(lambda x: F.linear(x, TW, TB) + (x * 3).tanh() @ TW.T, (X,), C, composite("flat"))
    other = measure(lambda x: (x * 3).tanh() @ TW.T, (X,), C, composite("flat"))
    expected = ref.flat(X, W, B, C).relevance + other.relevance[0].numpy()
    assert_same(found.relevance[0], expected, "relevance")
    assert found.ledger.relative_error < 1e-12


def test_every_backward_pass_has_its_own_deposit() -> None:
    net = Of(SPELLINGS["F.linear"])
    leaf = torch.tensor(X).requires_grad_()
    with propagate(net, composite("flat")) as audit:
        output = net(leaf)
        found = []
        for row in (0, 1, 0):
            (c,) = torch.autograd.grad(output[row].sum(), leaf, retain_graph=True)
            found.append(audit.relevance(leaf, c))
    torch.testing.assert_close(found[0], found[2])
    assert found[0][0].any()
    assert not found[0][1].any()
    assert not found[1][0].any()


def test_by_layer() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)).double()
    leaf = torch.tensor(X).requires_grad_()
    with propagate(net, composite("flat"), by_layer=True) as audit:
        top = net(leaf)[:, 0].sum()
        (c,) = torch.autograd.grad(top, leaf)
    ledger = audit.ledger(top, audit.relevance(leaf, c))
    assert ledger.relative_error < 1e-12
    layers = {layer.name: layer for layer in audit.ledger(by="layer").layers}
    assert all(layer.relative_error < 1e-12 for layer in layers.values())
    assert layers["1"].passes == pytest.approx(float(audit.relevance(leaf, c).sum()), rel=1e-12)


@pytest.mark.parametrize("rule", RULES)
def test_refused_in_the_middle(rule: str) -> None:
    bounds = {"low": 0.0, "high": 1.0} if rule == "box" else {}
    everywhere = Composite.parse("attnlrp") | {"linear": {"rule": rule, **bounds}}
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    with pytest.raises(InputError, match="`first: true`"), propagate(net, everywhere):
        net(torch.ones(1, 4, requires_grad=True))


def test_what_reads_the_input() -> None:
    x = torch.ones(2, 6, requires_grad=True)
    for same in (
        x,
        x.view(3, 4),
        x.T.flatten(),
        x[:, 1:],
        F.pad(x, (1, 1)),
        F.unfold(x.view(1, 1, 3, 4), 2),
        x.clone(),
    ):
        assert read_from(same) is x
    for computed in (x * 2, x + 1, torch.cat([x, x]), x.relu(), F.pad(x, (1, 1)) + 0.5):
        assert read_from(computed) is None
    assert read_from(torch.ones(2)) is None
