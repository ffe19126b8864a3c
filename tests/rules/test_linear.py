"""Linear layers against the oracle, and everything else that is affine in what is tracked.

Of the latter the oracle is the definition itself: torch's own gradient outside `propagate`, and ``f(0) * c`` absorbed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import reference as ref
import torch
import torch.nn.functional as F
from pairing import Of, assert_same, check, layer, measure, normal
from reference import Array, Step
from torch import Tensor, nn

from lxtlike.propagation import propagate

X, Y = normal(3, 4), normal(3, 4, seed=1)
K, K2, L, ROW = (torch.tensor(t) for t in (normal(3, 4, seed=2), normal(3, 4, seed=3), normal(4, 4), normal(4)))
M = torch.tensor(normal(3, 4, seed=5) > 0)
COLUMNS = torch.tensor([[0, 2], [1, 1], [3, 0]])


W, B, C = normal(5, 4, seed=3), normal(5, seed=4), normal(3, 4, seed=1)
C5 = normal(3, 5, seed=5)
TW, TB = torch.tensor(W), torch.tensor(B)
BOTH = pytest.mark.parametrize("composite", ["attnlrp", "cp-lrp"])

LINEAR: dict[str, Callable[[Tensor], Tensor]] = {
    "F.linear": lambda x: F.linear(x, TW, TB),
    "F.linear, keywords": lambda x: F.linear(bias=TB, weight=TW, input=x),
    "matmul": lambda x: x @ TW.T + TB,
    "matmul, reflected": lambda x: (TW @ x.T).T + TB,
    "addmm": lambda x: torch.addmm(TB, x, TW.T),
    "addmm, keywords": lambda x: torch.addmm(input=2 * TB, mat1=x, mat2=4 * TW.T, beta=0.5, alpha=0.25),
    "tensor.addmm": lambda x: TB.expand(3, 5).addmm(x, TW.T),
    "baddbmm": lambda x: torch.baddbmm(4 * TB, x[None], 0.5 * TW.T[None], beta=0.25, alpha=2)[0],
    "bmm": lambda x: torch.bmm(x[None], TW.T[None])[0] + TB,
    "einsum": lambda x: torch.einsum("nd,od->no", x, TW) + TB,
    "einsum, reflected, list": lambda x: torch.einsum("od,nd->no", [TW, x]).add(TB),
    "conv1d": lambda x: F.conv1d(x.T[None], TW[:, :, None], TB)[0].T,
    "in place": lambda x: torch.empty(3, 5, dtype=x.dtype).zero_().addmm_(x, TW.T).add_(TB),
}


class TestLinear:
    @BOTH
    @pytest.mark.parametrize("spelling", LINEAR.values(), ids=list(LINEAR))
    def test_spellings(self, spelling: Callable[[Tensor], Tensor], composite: str) -> None:
        check(spelling, ref.linear(X, W, B, C5), (X,), C5, composite)

    def test_module(self) -> None:
        module = layer(nn.Linear, 4, 5)
        check(module, ref.linear(X, module.weight.detach().numpy(), module.bias.detach().numpy(), C5), (X,), C5)

    @pytest.mark.parametrize("epsilon", [0.0, 1e-6, 0.5])
    def test_epsilon(self, epsilon: float) -> None:
        step = ref.linear(X, W, B, C5, epsilon)
        for name in ("F.linear", "addmm, keywords", "conv1d"):
            check(LINEAR[name], step, (X,), C5, f"epsilon:epsilon={epsilon}")

    @pytest.mark.parametrize(("name", "axes"), [("F.linear", -1), ("conv1d", (0, 1))])
    def test_relative_epsilon(self, name: str, axes: int | tuple[int, int]) -> None:
        """A part of the root mean square of a position's outputs, of an item's for convolutions (one item, three places)."""
        y = np.broadcast_to(np.sqrt(np.mean((X @ W.T + B) ** 2, axes, keepdims=True)), (len(X), 1))
        found = measure(LINEAR[name], (X,), C5, "epsilon:epsilon=0.1,relative=0.25")
        for item, (x, c) in enumerate(zip(X, C5, strict=True)):
            step = ref.linear(x[None], W, B, c[None], 0.1 + 0.25 * float(y[item, 0]))
            assert_same(found.coefficients[0][item : item + 1], step.coefficients[0], "coefficients")
        assert found.ledger.relative_error < 1e-12

    def test_additive(self) -> None:
        check(lambda x: x + TB[:4], ref.add_constant(X, B[:4], C), (X,), C)
        check(lambda x: TB[:4] - (-x), ref.add_constant(X, B[:4], C), (X,), C)
        check(lambda x: torch.add(x, TB[:4], alpha=2), ref.add_constant(X, 2 * B[:4], C), (X,), C)
        check(torch.add, ref.add(X, Y, C), (X, Y), C)
        check(lambda x, y: x.clone().add_(y), ref.add(X, Y[:1], C), (X, Y[:1]), C)
        check(lambda x, y: torch.stack([x, y]).sum(0), ref.add(X, Y, C), (X, Y), C)

    def test_reductions(self) -> None:
        c = C[:, 0]
        check(lambda x: x.sum(-1), ref.total(X, c), (X,), c)
        check(lambda x: torch.mean(x, dim=1), ref.total(X, c, mean=True), (X,), c)

    def test_rotary(self) -> None:
        cos, sin = np.cos(W[:3, :2]), np.sin(W[:3, :2])
        tc, ts = (torch.tensor(np.concatenate([t, t], 1)) for t in (cos, sin))

        def rotate(x: Tensor) -> Tensor:
            return x * tc + torch.cat([-x[:, 2:], x[:, :2]], -1) * ts

        check(rotate, ref.rotary(X, cos, sin, C), (X,), C)


def assign(x: Tensor, y: Tensor) -> Tensor:
    buffer = torch.zeros(3, 4, dtype=x.dtype)
    buffer[:, :2] = x[:, 2:]
    buffer[1] = 0.5
    buffer[2] += y[0]
    return buffer


def overwrite(x: Tensor, y: Tensor) -> Tensor:
    x = x.clone()
    x[0] = ROW
    x[:, 1] = y[:, 2]
    x[M] = 2.0
    return x


def rotary_as_complex_numbers(x: Tensor, y: Tensor) -> Tensor:
    turn = torch.polar(torch.ones(3, 2, dtype=x.dtype), K[:, :2])
    return torch.view_as_real(torch.view_as_complex(x.view(3, 2, 2)) * turn).flatten(1) + y


AFFINE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add a number": lambda x, y: 3 + x + y,
    "subtract from a number": lambda x, y: 1 - x - y,
    "subtract": lambda x, y: torch.sub(x, y, alpha=2) - 1,
    "subtract a constant": lambda x, y: torch.sub(input=x, other=K, alpha=2) + y.sub(K),
    "rsub": lambda x, y: torch.rsub(x, K) + y,
    "in place": lambda x, y: x.clone().add_(K, alpha=2).sub_(y).mul_(3).div_(2),
    "augmented": lambda x, y: (x + 0).__iadd__(K).__isub__(y),
    "cat": lambda x, y: torch.cat([x, K, y]),
    "cat, keywords": lambda x, y: torch.cat(tensors=(x, K, y), dim=1),
    "hstack": lambda x, y: torch.hstack([x, K, y]),
    "stack": lambda x, y: torch.stack([x, K, y], dim=1),
    "where": lambda x, y: torch.where(M, x, K) + torch.where(M, K2, y),
    "where, numbers": lambda x, y: torch.where(M, x, 2.0) + y.where(M, 0),
    "masked_fill": lambda x, y: x.masked_fill(M, 3.0) + y.masked_fill(mask=M, value=-2.0),
    "masked_fill in place": lambda x, y: x.clone().masked_fill_(M, 3.0) + y,
    "pad": lambda x, y: F.pad(x + y, (1, 2), value=2.0),
    "pad with zeros": lambda x, y: F.pad(x, (1, 2)) + F.pad(input=y, pad=(2, 1), mode="constant", value=0.0),
    "assign": assign,
    "overwrite": overwrite,
    "copy_": lambda x, y: torch.empty(3, 4, dtype=x.dtype).copy_(x) + y.clone().copy_(K),
    "index_add": lambda x, y: K.index_add(0, torch.tensor([2, 0, 2]), x).index_add(1, torch.tensor([1, 1, 0, 3]), y),
    "index_add_ on zeros": lambda x, y: torch.zeros(5, 4, dtype=x.dtype).index_add_(0, torch.tensor([4, 0, 4]), x)[2:] + y,
    "scatter": lambda x, y: K.scatter(1, COLUMNS[:, :1], x[:, :1]).scatter_add(1, COLUMNS, y[:, :2]),
    "index_copy": lambda x, y: K.index_copy(0, torch.tensor([1, 2]), x[:2]) + y,
    "masked_scatter": lambda x, y: K.masked_scatter(M, x) + y,
    "addcmul": lambda x, y: torch.addcmul(x, K, K2, value=0.5) + torch.addcmul(K, y, K2),
    "addcdiv": lambda x, y: torch.addcdiv(x, K, K2, value=0.5) + torch.addcdiv(K, y, K2),
    "lerp": lambda x, y: torch.lerp(x, y, 0.3) + torch.lerp(x, K, 0.3),
    "lerp by a constant tensor": lambda x, y: torch.lerp(K, x, K2) + y,
    "scaled": lambda x, y: 2 * x / 3 - (-y) * K,
    "reductions": lambda x, y: x.sum(0) - y.mean(dim=0, keepdim=True) + x.mean(),
    "cumsum": lambda x, y: x.cumsum(1) - torch.cumsum(y, dim=0),
    "views": lambda x, y: x.view(2, 6).reshape(3, 4).flip(0).roll(1, 1) + y.T.contiguous().permute(1, 0).squeeze(),
    "selections": lambda x, y: x.gather(1, COLUMNS) + y[:, [3, 0]] + x.index_select(1, torch.tensor([2, 2])),
    "boolean index": lambda x, y: x[M] + y[M],
    "pieces": lambda x, y: x.chunk(2, 1)[1] - torch.split(y, [1, 2, 1], 1)[1] + torch.stack(x.unbind(1)[:2], 1),
    "triangles": lambda x, y: x.tril() + torch.triu(y, 1),
    "repeats": lambda x, y: x.repeat_interleave(2, 0) + y.repeat(2, 1) + x[:1].expand(6, 4),
    "casts": lambda x, y: x.to(torch.float64) + y.type_as(x).double(),
    "matrix-vector": lambda x, y: torch.addmv(ROW[:3], x, ROW, beta=2, alpha=0.5) + y.mv(ROW) + y @ ROW,
    "tensordot": lambda x, y: torch.tensordot(x, L, dims=1) + torch.inner(y, L),
    "outer": lambda x, y: torch.outer(x[0], ROW) + torch.outer(ROW, y[0]),
    "einsum of one": lambda x, y: torch.einsum("ij->ji", x) + torch.einsum("ij,ij->j", y, K).unsqueeze(1),
    "conv1d": lambda x, y: F.conv1d(x[None], L[:3, :3, None].expand(3, 3, 3), ROW[:3], padding=1)[0] + y,
    "conv_transpose1d": lambda x, y: F.conv_transpose1d((x + y)[None], L[:3, :2, None], bias=ROW[:2], stride=2)[0],
    "conv2d": lambda x, y: F.conv2d((x + y)[None, None], L[None, None, :2, :2], bias=ROW[:1])[0, 0],
    "average pool": lambda x, y: F.avg_pool1d((x + y)[None], 2)[0],
    "interpolate": lambda x, y: F.interpolate((x + y)[None], scale_factor=2.0, mode="linear")[0],
    "batch_norm": lambda x, y: F.batch_norm(x + y, ROW, ROW**2 + 0.1, ROW + 1, ROW - 1),
    "bilinear with a constant": lambda x, y: F.bilinear(x, K, L.expand(2, 4, 4), ROW[:2]) + y[:, :2],
    "rotary as complex numbers": rotary_as_complex_numbers,
}  # fmt: skip
# Piecewise linear and homogeneous: the gradient selects, and nothing is absorbed.
SELECTIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "max": lambda x, y: x.max(-1).values + y.amax(1),
    "maximum": torch.maximum,
    "topk": lambda x, y: x.topk(2).values - y.sort(dim=-1).values[:, :2],
    "max pool": lambda x, y: F.max_pool1d((x + y)[None], 2)[0],
}


def oracle(function: Callable[[Tensor, Tensor], Tensor]) -> tuple[Step, Array]:
    x, y = torch.tensor(X, requires_grad=True), torch.tensor(Y, requires_grad=True)
    output = function(x, y)
    c = normal(*output.shape, seed=9)
    found = torch.autograd.grad((output * torch.tensor(c)).sum(), (x, y), allow_unused=True)
    gradients = tuple(np.zeros_like(X) if g is None else g.numpy() for g in found)
    at_zero = function(torch.zeros(3, 4, dtype=x.dtype), torch.zeros(3, 4, dtype=x.dtype))
    return Step(output.detach().numpy(), gradients, {"bias": float((at_zero * torch.tensor(c)).sum())}), c


@BOTH
@pytest.mark.parametrize("name", AFFINE)
def test_affine(name: str, composite: str) -> None:
    step, c = oracle(AFFINE[name])
    check(AFFINE[name], step, (X, Y), c, composite)


@pytest.mark.parametrize("name", SELECTIONS)
def test_selections(name: str) -> None:
    step, c = oracle(SELECTIONS[name])
    assert step.absorbed == {"bias": 0.0}
    check(SELECTIONS[name], step, (X, Y), c)


def test_dropout_is_off() -> None:
    x = torch.tensor(X, requires_grad=True)
    module = Of(lambda x: F.dropout(torch.dropout(x, 0.3, True), 0.5, training=True)).train()
    with propagate(module, "attnlrp"):
        output = module(x)
        (c,) = torch.autograd.grad(output.sum(), x)
    assert torch.equal(output, x)
    assert torch.equal(c, torch.ones_like(x))
    assert module.training
