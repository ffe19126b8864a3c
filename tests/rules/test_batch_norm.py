"""Batch norm merged in the layer before it, as a constant scale, or passed by; average pooling and sums: the norm rule."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pairing import assert_same, layer, measure, normal
from torch import Tensor, nn

from lxtlike import Composite

LAYERS: dict[str, tuple[type[nn.Module], tuple[Any, ...], dict[str, Any], type[nn.Module], tuple[int, ...]]] = {
    "linear": (nn.Linear, (4, 6), {}, nn.BatchNorm1d, (3, 4)),
    "conv1d": (nn.Conv1d, (4, 6, 3), {"padding": 1}, nn.BatchNorm1d, (2, 4, 5)),
    "conv2d in groups, without bias": (
        nn.Conv2d,
        (4, 6, 3),
        {"groups": 2, "bias": False},
        nn.BatchNorm2d,
        (2, 4, 5, 5),
    ),
    "conv3d": (nn.Conv3d, (4, 6, 2), {}, nn.BatchNorm3d, (2, 4, 3, 3, 3)),
    "conv_transpose2d": (nn.ConvTranspose2d, (4, 6, 3), {"stride": 2}, nn.BatchNorm2d, (2, 4, 3, 3)),
    "conv_transpose2d in groups": (nn.ConvTranspose2d, (4, 6, 3), {"groups": 2}, nn.BatchNorm2d, (2, 4, 3, 3)),
}
RULES = ["lrp-0", "epsilon", "gamma", "epsilon-plus", "epsilon-alpha2-beta1"]


def pair(name: str, shift: float = 0.7) -> tuple[nn.Module, nn.Module, tuple[int, ...]]:
    kind, sizes, options, norm_kind, shape = LAYERS[name]
    norm = layer(norm_kind, 6).double().eval()
    norm.running_mean = torch.tensor(normal(6, seed=8)) * shift
    norm.running_var = torch.tensor(normal(6, seed=9)).square() + 0.1
    return layer(kind, *sizes, **options).double().eval(), norm, shape


def by_hand(first: nn.Module, norm: nn.Module) -> nn.Module:
    """One layer that computes what both do, its weights found by probing it: no formula of the package's."""
    one = type(first)(**_options(first), bias=True).double()
    k = norm.weight / (norm.running_var + norm.eps).sqrt()
    transposed = isinstance(first, nn.ConvTranspose2d)
    weight = first.weight.detach().clone()
    for channel in range(6):
        if transposed:
            out = 6 // first.groups
            rows = slice(channel // out * (4 // first.groups), (channel // out + 1) * (4 // first.groups))
            weight[rows, channel % out] *= k[channel]
        else:
            weight[channel] *= k[channel]
    one.weight.data = weight
    bias = 0 if first.bias is None else first.bias
    one.bias.data = ((bias - norm.running_mean) * k + norm.bias).detach()
    return one


def _options(module: nn.Module) -> dict[str, Any]:
    if isinstance(module, nn.Linear):
        return {"in_features": 4, "out_features": 6}
    names = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "groups")
    return {name: getattr(module, name) for name in names}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", LAYERS)
def test_merged_is_one_layer(name: str, rule: str) -> None:
    first, norm, shape = pair(name)
    x = normal(*shape)
    c = normal(*nn.Sequential(first, norm)(torch.tensor(x)).shape, seed=2)
    found = measure(nn.Sequential(first, norm), (x,), c, rule)
    expected = measure(by_hand(first, norm), (x,), c, rule)
    assert_same(found.coefficients[0], expected.coefficients[0].numpy(), "coefficients", 1e-9)
    assert found.ledger.epsilon == pytest.approx(expected.ledger.epsilon, rel=1e-6, abs=1e-9)
    assert found.ledger.biases == pytest.approx(expected.ledger.biases, rel=1e-9)
    assert found.ledger.relative_error < 1e-12


def test_merged_first_layer() -> None:
    first, norm, shape = pair("conv2d in groups, without bias")
    x = normal(*shape)
    c = normal(*nn.Sequential(first, norm)(torch.tensor(x)).shape, seed=2)
    for name in ("epsilon-plus-flat", "epsilon-gamma-box:low=-3,high=3"):
        found, expected = (measure(net, (x,), c, name) for net in (nn.Sequential(first, norm), by_hand(first, norm)))
        assert_same(found.relevance[0], expected.relevance[0].numpy(), name, 1e-9)


def test_to_linear_rules_it_makes_no_difference() -> None:
    first, norm, shape = pair("conv1d")
    x, c = normal(*shape), normal(2, 6, 5, seed=2)
    one, other = (measure(nn.Sequential(first, norm), (x,), c, name) for name in ("lrp-0", "attnlrp"))
    assert_same(one.coefficients[0], other.coefficients[0].numpy(), "coefficients", 1e-12)
    gamma = Composite.parse("gamma")
    parted = measure(nn.Sequential(first, norm), (x,), c, gamma | {"batch-norm": "constant"}).coefficients[0]
    assert not torch.allclose(parted, measure(nn.Sequential(first, norm), (x,), c, gamma).coefficients[0])


@pytest.mark.parametrize("between", [nn.ReLU(), nn.ReLU(inplace=True), nn.Hardtanh(-2, 2, inplace=True)])
def test_what_does_not_follow_a_layer_is_a_constant_scale(between: nn.Module) -> None:
    """Something in between, in place or not, and statistics of the batch itself."""
    first, norm, shape = pair("conv1d")
    net, x, c = nn.Sequential(first, between, norm), normal(*shape), normal(2, 6, 5, seed=2)
    constant = Composite.parse("gamma") | {"batch-norm": "constant"}
    one, other = (measure(net, (x,), c, each).coefficients[0] for each in ("gamma", constant))
    assert_same(one, other.numpy(), "coefficients", 1e-12)
    live = nn.Sequential(first, nn.BatchNorm1d(6, track_running_stats=False)).double().eval()
    assert measure(live, (x,), c, "gamma").ledger.relative_error < 1e-12


def test_pass() -> None:
    """Relevance goes on as it came; at x = 0 it has nothing to go on with and is booked."""
    _, norm, _ = pair("conv1d")
    x, c = normal(2, 6, 5), normal(2, 6, 5, seed=2)
    x[0, 0, 0] = 0.0
    found = measure(norm, (x,), c, Composite.parse("attnlrp") | {"batch-norm": "pass"})
    expected = found.output.numpy() * c
    assert found.ledger.epsilon == pytest.approx(expected[0, 0, 0])
    expected[0, 0, 0] = 0.0
    assert_same(found.relevance[0], expected, "relevance", 1e-12)
    assert found.ledger.relative_error < 1e-12


def test_activations_pass() -> None:
    """The identity rule is the pass rule: every activation hands on what came, but to inputs of zero."""
    x, c = normal(3, 4), normal(3, 4, seed=2)
    for activation in (F.relu, F.gelu, torch.tanh, F.silu):
        found = measure(activation, (x,), c, "lrp-0")
        assert_same(found.relevance[0], found.output.numpy() * c, "relevance", 1e-12)


def norm_rule(terms: list[np.ndarray], c: np.ndarray) -> list[np.ndarray]:
    """The norm rule on a sum, slowly: each term gets its share ``z_i / sum z`` of the sum's relevance."""
    shares = [np.zeros_like(term) for term in terms]
    for place in np.ndindex(c.shape):
        total = sum(term[place] for term in terms)
        for share, term in zip(shares, terms, strict=True):
            share[place] = term[place] / total * (total * c[place])
    return shares


def test_sums_and_average_pooling_have_the_norm_rule() -> None:
    a, b, c = normal(2, 3, 4), normal(2, 3, 4, seed=1), normal(2, 3, 4, seed=2)
    found = measure(lambda x, y: x + y, (a, b), c, "gamma")
    for own, expected in zip(found.relevance, norm_rule([a, b], c), strict=True):
        assert_same(own, expected, "a term of a residual sum", 1e-9)
    pooled = measure(lambda x: F.avg_pool1d(x, 2), (a,), c[:, :, :2], "gamma")
    for start in (0, 1):
        (share, _) = norm_rule([a[:, :, start::2] / 2, a[:, :, 1 - start :: 2] / 2], c[:, :, :2])
        assert_same(pooled.relevance[0][:, :, start::2], share, "an entry of a pool", 1e-9)


def test_max_pooling_gives_all_to_the_winner() -> None:
    x, c = normal(2, 3, 4), normal(2, 3, 2, seed=2)
    found = measure(lambda t: F.max_pool1d(t, 2), (x,), c, "gamma")
    expected = np.zeros_like(x)
    for n, channel, place in np.ndindex(c.shape):
        window = x[n, channel, 2 * place : 2 * place + 2]
        expected[n, channel, 2 * place + window.argmax()] = window.max() * c[n, channel, place]
    assert_same(found.relevance[0], expected, "relevance", 1e-12)


def test_embeddings_sum_their_features() -> None:
    """What a rule of the layer above gives an embedding is the token's: summed over features, nothing is lost."""
    table = nn.Embedding(7, 4).double()
    head = layer(nn.Linear, 4, 3).double()
    e: Tensor = table(torch.tensor([[1, 5, 2]])).detach()
    found = measure(head, (e.numpy(),), normal(1, 3, 3), "gamma")
    assert found.relevance[0].sum(-1).shape == (1, 3)
    assert found.ledger.relative_error < 1e-12
