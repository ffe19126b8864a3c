"""Routers of experts and selective scans: which operations count as one, and both variants of their rules.

Expected coefficients come from autograd on the same arithmetic with single factors detached, as the papers define the rules.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from pairing import Of, layer, measure, normal
from torch import Tensor, nn

from lxtlike.composites import Composite

H, C = normal(2, 5, 6), normal(2, 5, 6, seed=9)
ATTNLRP = Composite.parse("attnlrp")


def _softmax_first(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Mixtral: softmax over all experts, the best two are kept."""
    best = scores.softmax(-1).topk(2)
    return best.values, best.indices


def _choice_first(scores: Tensor) -> tuple[Tensor, Tensor]:
    """gpt-oss: the best two are chosen, softmax over their scores."""
    best = scores.topk(2)
    return F.softmax(best.values, dim=-1), best.indices


def _gathered(scores: Tensor) -> tuple[Tensor, Tensor]:
    """DeepSeek: the choice is made on corrected weights, the weights are gathered."""
    weights = F.softmax(scores, dim=-1, dtype=torch.float64)
    chosen = (weights + torch.linspace(0, 0.1, 4, dtype=weights.dtype)).topk(2).indices
    return weights.gather(-1, chosen), chosen


class Experts(nn.Module):
    """``y = sum over the chosen experts e of p_e (W_e h)``, with p from `choose`."""

    def __init__(self, choose: Callable[[Tensor], tuple[Tensor, Tensor]], bias: bool) -> None:
        super().__init__()
        self.router = layer(nn.Linear, 6, 4, bias=bias)
        self.weights = nn.Parameter(torch.tensor(normal(4, 6, 6, seed=3)))
        self.choose = choose

    def forward(self, h: Tensor) -> Tensor:
        return self.mix(self.choose(self.router(h)), h)

    def mix(self, routed: tuple[Tensor, Tensor], h: Tensor) -> Tensor:
        chosen, indices = routed
        experts = torch.stack([h @ weight.T for weight in self.weights], dim=2)
        picked = experts.gather(2, indices[..., None].expand(-1, -1, -1, 6))
        return (chosen[..., None] * picked).sum(2)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("choose", [_softmax_first, _choice_first, _gathered])
def test_a_router_shares_with_its_experts_or_is_a_constant(
    choose: Callable[[Tensor], tuple[Tensor, Tensor]], bias: bool
) -> None:
    model = Experts(choose, bias).double()
    c = torch.tensor(C)
    h = torch.tensor(H, requires_grad=True)
    routed, indices = choose(model.router(h))
    through_experts = torch.autograd.grad(model.mix((routed.detach(), indices), h), h, c)[0]
    weights = routed.detach().requires_grad_()
    for_weights = torch.autograd.grad(model.mix((weights, indices), h.detach()), weights, c)[0]
    through_router = torch.autograd.grad(routed, h, for_weights)[0]

    shared = measure(model, (H,), C, ATTNLRP)
    torch.testing.assert_close(shared.coefficients[0], (through_experts + through_router) / 2)
    constant = measure(model, (H,), C, ATTNLRP | {"router": "constant"})
    torch.testing.assert_close(constant.coefficients[0], through_experts)
    torch.testing.assert_close(measure(model, (H,), C, "cp-lrp").coefficients[0], through_experts)

    given = float((routed.detach() * for_weights).sum()) / 2
    passed_on = float((h.detach() * through_router).sum()) / 2 + shared.ledger.biases
    assert shared.ledger.router == pytest.approx(given - passed_on, rel=1e-9)
    assert abs(shared.ledger.router) > 1e-3
    assert shared.ledger.softmax == constant.ledger.router == 0.0
    for measured in (shared, constant):
        assert measured.ledger.relative_error < 1e-12


def _attention(h: Tensor) -> Tensor:
    return (h @ h.transpose(1, 2)).softmax(-1) @ h


def _pooled(h: Tensor) -> Tensor:
    query = torch.tensor(normal(2, 1, 6, seed=4))  # one learned query for each of two heads
    return ((query @ h[:, None].transpose(-1, -2)).softmax(-1) @ h[:, None]).flatten(1)


@pytest.mark.parametrize("function", [_attention, _pooled])
def test_attention_is_no_router(function: Callable[[Tensor], Tensor]) -> None:
    output = function(torch.tensor(H))
    measured = measure(Of(function), (H,), normal(*output.shape, seed=5), ATTNLRP)
    assert measured.ledger.router == 0.0
    assert measured.ledger.softmax != 0.0
    assert measured.ledger.relative_error < 1e-12


class StateSpace(nn.Module):
    """A selective state space layer as Mamba's reference code writes it, for one state per feature."""

    def __init__(self, state: int = 3, sizes: tuple[int, int, int] = (6, 3, 3)) -> None:
        super().__init__()
        self.ssm_state_size, self.sizes = state, sizes
        self.projection = layer(nn.Linear, 6, sum(sizes))
        self.A_log = nn.Parameter(torch.tensor(normal(6, sizes[1], seed=2)))

    def forward(self, h: Tensor) -> Tensor:
        parts = torch.split(self.projection(h), list(self.sizes), dim=-1)
        return self.scan(h, *parts)

    def scan(self, x: Tensor, step: Tensor, b: Tensor, c: Tensor) -> Tensor:
        step = F.softplus(step)
        decay = torch.exp(-torch.exp(self.A_log) * step[..., None])
        written = (step[..., None] * b[..., None, :]) * x[..., None]
        state, outputs = torch.zeros_like(written[:, 0]), []
        for t in range(x.shape[1]):
            state = decay[:, t] * state + written[:, t]
            outputs.append((state @ c[:, t, :, None])[..., 0])
        return torch.stack(outputs, dim=1)


def test_the_parameters_of_a_scan_are_constants() -> None:
    model = StateSpace().double()
    h = torch.tensor(H, requires_grad=True)
    parts = [part.detach() for part in torch.split(model.projection(h), [6, 3, 3], dim=-1)]
    expected = torch.autograd.grad(model.scan(h, *parts), h, torch.tensor(C))[0]
    for composite in ("attnlrp", "cp-lrp"):
        measured = measure(model, (H,), C, composite)
        torch.testing.assert_close(measured.coefficients[0], expected)
        assert measured.ledger.tokens == pytest.approx(measured.ledger.explained)
        assert measured.ledger.biases == pytest.approx(0.0, abs=1e-12)


def test_the_parameters_of_a_scan_may_share() -> None:
    model = StateSpace().double()
    shared = measure(model, (H,), C, ATTNLRP | {"scan": "uniform"})
    constant = measure(model, (H,), C, ATTNLRP)
    assert not torch.allclose(shared.coefficients[0], constant.coefficients[0])
    assert shared.ledger.relative_error < 1e-12
    assert shared.ledger.biases != 0.0  # the projection of B and C has a bias


@pytest.mark.parametrize(("state", "sizes"), [(4, (6, 3, 3)), (3, (3, 6, 3)), (3, (6, 6, 6))])
def test_only_a_split_that_fits_the_state_is_a_scan(state: int, sizes: tuple[int, int, int]) -> None:
    class Split(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.ssm_state_size = state
            self.A_log = nn.Parameter(torch.zeros(1))

        def forward(self, h: Tensor) -> Tensor:
            return torch.cat(torch.split(h, list(sizes), dim=-1), dim=-1)

    h = normal(2, sum(sizes))
    c = normal(2, sum(sizes), seed=1)
    coefficients = measure(Split(), (h,), c, "attnlrp").coefficients[0]
    untouched = sizes[1] != sizes[2] or sizes[2] % state
    assert bool((coefficients[:, sizes[0] :] != 0).all()) == bool(untouched)


PLAIN = {
    "activation": (F.silu, torch.tanh),
    "gate": (torch.sigmoid, torch.exp, lambda x: x.var(-1, keepdim=True)),
    "norm": (lambda x: F.layer_norm(x, (6,)), lambda x: F.normalize(x, dim=-1)),
    "product": (lambda x: x[:, :3] * x[:, 2:], lambda x: x @ x.transpose(1, 2)),
    "division": (lambda x: x / (x.abs().sum(-1, keepdim=True) + 1),),
}


@pytest.mark.parametrize(("family", "function"), [(family, f) for family, fs in PLAIN.items() for f in fs])
def test_the_plain_gradient_books_what_its_taylor_expansion_leaves(
    family: str, function: Callable[[Tensor], Tensor]
) -> None:
    x = torch.tensor(H, requires_grad=True)
    output = function(x)
    c = torch.tensor(normal(*output.shape, seed=6))
    changes = {family: "gradient"} | ({"activation": "gradient"} if family == "division" else {})
    measured = measure(Of(function), (H,), c, ATTNLRP | changes)
    torch.testing.assert_close(measured.coefficients[0], torch.autograd.grad(output, x, c)[0])
    left = float((output * c).sum().detach() - (x.detach() * measured.coefficients[0]).sum())
    assert measured.ledger.biases == pytest.approx(left)
    assert measured.ledger.relative_error < 1e-12
