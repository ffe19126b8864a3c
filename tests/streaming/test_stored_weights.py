"""A stored tensor is read by whoever computes with it, and by nobody else."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lxtlike.errors import LxtlikeError
from lxtlike.streaming import Stored

CPU = torch.device("cpu")
VALUES = torch.arange(24, dtype=torch.float32).reshape(6, 4).sin()
X = torch.linspace(-1, 1, 8).reshape(2, 4)


class Shelf:
    """Where a tensor is stored, and what was read of it: the number of rows each time."""

    def __init__(self, values: Tensor = VALUES) -> None:
        self.values, self.reads = values, list[int]()

    def take(self, rows: Tensor | None) -> Tensor:
        found = self.values.clone() if rows is None else self.values[rows]
        self.reads.append(len(found))
        return found

    def stored(self) -> Stored:
        return Stored(self.values, CPU, self.take)


OF_WEIGHTS: dict[str, Callable[[Tensor], Tensor]] = {
    "transposed": lambda w: w.T,
    "cast": lambda w: w.to(torch.float64),
    "part": lambda w: w[2:5, 1],
    "joined": lambda w: torch.cat([w, torch.stack([w[0], w[1]])]),
    "split": lambda w: w.split([2, 4])[1],
    "reshaped": lambda w: w.t().contiguous().reshape(3, 8),
    "positive": lambda w: w.clamp(min=0) + 0.25 * w,
}
USED: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda w: F.linear(X, w),
    "product": lambda w: X @ w.T,
    "added": lambda w: torch.addmm(torch.ones(2), X, w[:2].T),
    "looked up": lambda w: F.embedding(torch.tensor([[5, 0, 5]]), w),
    "summed": lambda w: w.sum(0),
    "zeros": lambda w: torch.zeros_like(w).add_(1),
}


@pytest.mark.parametrize("name", OF_WEIGHTS)
def test_what_is_made_of_stored_tensors_is_worked_out_when_it_is_used(name: str) -> None:
    shelf = Shelf()
    made = OF_WEIGHTS[name](shelf.stored())
    expected = OF_WEIGHTS[name](VALUES)
    assert isinstance(made, Stored)
    assert (made.shape, made.stride(), made.dtype) == (expected.shape, expected.stride(), expected.dtype)
    assert not shelf.reads
    for _ in range(2):
        assert torch.equal(made.read(), expected)


@pytest.mark.parametrize("name", USED)
def test_who_computes_with_it_reads_it(name: str) -> None:
    found = USED[name](Shelf().stored())
    assert type(found) is Tensor
    assert torch.equal(found, USED[name](VALUES))


def test_its_numbers_are_listed() -> None:
    assert Shelf().stored().flatten()[:3].tolist() == VALUES.flatten()[:3].tolist()
    assert float(Shelf().stored()[1, 2]) == float(VALUES[1, 2])


def test_the_backward_pass_reads_again() -> None:
    shelf, x = Shelf(), X.clone().requires_grad_()
    output = F.linear(x, nn.Parameter(shelf.stored(), requires_grad=False))
    weight = output.grad_fn._saved_mat2  # type: ignore[union-attr]
    assert isinstance(weight, Stored)
    assert shelf.reads == [6]
    (gradient,) = torch.autograd.grad(output.sum(), x)
    assert torch.equal(gradient, torch.ones(2, 6) @ VALUES)
    assert shelf.reads == [6, 6]


def test_a_table_is_read_where_it_is_looked_up() -> None:
    shelf = Shelf()
    table = nn.Parameter(shelf.stored().to(torch.float64)).detach()
    ids = torch.tensor([[3, 1, 3], [1, 1, 3]])
    assert torch.equal(F.embedding(ids, table), VALUES.double()[ids])
    assert shelf.reads == [2]
    for wrong in (6, -1):
        with pytest.raises(IndexError, match="out of range"):
            F.embedding(torch.tensor([wrong]), table)


def test_weights_are_not_changed() -> None:
    stored = Shelf().stored()
    with pytest.raises(LxtlikeError, match="cannot be changed in place"):
        stored.mul_(2)
    layer = nn.Linear(4, 6, bias=False)
    layer.weight = nn.Parameter(stored, requires_grad=False)
    layer.to(torch.float64)
    with pytest.raises(LxtlikeError, match="name its dtype and device when it is loaded"):
        layer(X.double())


def test_a_copy_reads_from_the_same_place() -> None:
    layer = nn.Linear(4, 6, bias=False)
    layer.weight = nn.Parameter(Shelf().stored(), requires_grad=False)
    other = copy.deepcopy(layer)
    assert isinstance(other.weight, Stored)
    assert other.weight is not layer.weight
    assert torch.equal(other(X), layer(X))
    assert repr(other.weight) == "Stored(shape=(6, 4), dtype=torch.float32, device=cpu)"
