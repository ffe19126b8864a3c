"""A layer with many more outputs than inputs, most rows of whose coefficients are zero."""

from __future__ import annotations

import pytest
import reference as ref
import torch
import torch.nn.functional as F
from pairing import check, normal
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from lxtlike.propagation import propagate

X, W, B = normal(6, 4), normal(24, 4, seed=1), normal(24, seed=2)
TW, TB = torch.tensor(W), torch.tensor(B)


@pytest.mark.parametrize("rows", [[], [0], [2, 5], [0, 1, 2, 3, 4, 5]], ids=str)
def test_coefficients_are_those_of_the_whole_product(rows: list[int]) -> None:
    c = normal(6, 24, seed=3)
    c[[row for row in range(6) if row not in rows]] = 0
    check(lambda x: F.linear(x, TW, TB), ref.linear(X, W, B, c), (X,), c)


class Products(TorchDispatchMode):
    """Remembers how many rows were multiplied with a matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[int] = []

    def __torch_dispatch__(
        self, func: object, types: object, args: tuple[Tensor, ...] = (), kwargs: object = None
    ) -> object:
        if func is torch.ops.aten.mm.default:
            self.rows.append(len(args[0]))
        return func(*args, **(kwargs or {}))  # type: ignore[operator,dict-item]


def test_only_rows_that_a_target_reads_are_multiplied() -> None:
    head = torch.nn.Linear(4, 24, bias=False)
    x = torch.randn(1, 6, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    with propagate(head, "attnlrp"):
        logits = head(x)
        with Products() as products:
            (c,) = torch.autograd.grad(logits[0, 3, 7], x)
    assert products.rows == [1]
    expected = torch.zeros_like(x)
    expected[0, 3] = head.weight[7]
    torch.testing.assert_close(c, expected)


def test_nan_in_a_row_is_not_lost() -> None:
    head = torch.nn.Linear(4, 24)
    x = torch.ones(3, 4, requires_grad=True)
    with propagate(head, "attnlrp"):
        (c,) = torch.autograd.grad((head(x)[1] * float("nan")).sum(), x)
    assert c[1].isnan().all()
    assert not c[[0, 2]].any()
