"""The radial correction: the derivative of a function as it is, and what that does not explain, along the input.

The plain gradient of ``f(h)`` is not conservative: ``sum(h c_h)`` is not ``sum(f c)``. The difference is given back in the one
direction in which relevance is counted, token by token: ``c_h = J^T c + h (f . c - h . J^T c) / |h|^2``. Along every other
direction the coefficient stays the derivative. Of a norm this is what holding its statistic constant gives.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lxtlike.errors import InputError
from lxtlike.rules.call import Call, tensors
from lxtlike.rules.linear import expanded
from lxtlike.rules.primitives import keep, wide


def radial(call: Call) -> Any:
    """The plain gradient with the radial correction, token by token: for each row of the leading dimensions.

    Those are what all tracked inputs and outputs have in common, but for the last one; without any, the rule is `gradient`.
    Where all inputs of a row are zero, there is no direction to give in, and what comes out is a bias.
    """
    inputs = {id(x): x for x in call.tracked()}
    if any(map(call.book.is_part, inputs.values())):
        raise InputError(
            "the radial correction needs all features of a token, and under tensor parallelism each process has a part: map "
            "the class of the whole MLP as an activation (atoms), or choose another composite"
        )
    rows = _Rows()
    aliases = dict(zip(inputs, _Radial.apply(rows, *inputs.values()), strict=True))  # type: ignore[no-untyped-call]
    result = call.transform(lambda t: aliases[id(t)] if t.requires_grad else t).run()
    outputs = [t for t in tensors(result) if t.requires_grad]
    rows.lead = _common(*inputs.values(), *outputs)
    if rows.lead == 0:
        return expanded(call)
    empty = keep(rows.sum(wide(x.detach()).square() for x in inputs.values()) == 0)
    for output in outputs:
        value = keep(output.detach().clone())  # models add residuals to the result in place

        def arrives(c: Tensor, value: Any = value) -> Tensor:
            relevance = rows.sum([wide(value()) * wide(c)])
            rows.arrive(relevance)
            return relevance * empty()

        call.book.absorb("biases.taylor", output, arrives)
    return result


@dataclass
class _Rows:
    """The rows of one call, [..lead..], and what has arrived at its outputs in the backward pass that runs."""

    lead: int = 0
    arrived: dict[int, Tensor] = field(default_factory=dict)

    def sum(self, products: Iterable[Tensor]) -> Tensor:
        """Of tensors with these rows, everything in a row."""
        return torch.stack([wide(product).flatten(self.lead).sum(-1) for product in products]).sum(0)

    def arrive(self, relevance: Tensor) -> None:
        """Add the relevance of one output."""
        number = torch._C._current_graph_task_id()
        self.arrived = {number: self.arrived.get(number, 0.0) + relevance}  # of earlier passes, nothing is left


class _Radial(torch.autograd.Function):
    """Aliases of the inputs; what their coefficients lack of the relevance that has arrived, they get along the inputs."""

    @staticmethod
    def forward(ctx: Any, rows: _Rows, *inputs: Tensor) -> tuple[Tensor, ...]:
        ctx.rows = rows
        ctx.save_for_backward(*inputs)
        return tuple(x.view_as(x) for x in inputs)

    @staticmethod
    def backward(ctx: Any, *coefficients: Tensor) -> tuple[Tensor | None, ...]:
        rows, inputs = ctx.rows, ctx.saved_tensors
        lacking = rows.arrived.pop(torch._C._current_graph_task_id()) - rows.sum(
            wide(x) * wide(c) for x, c in zip(inputs, coefficients, strict=True)
        )
        size = rows.sum(wide(x).square() for x in inputs)
        share = torch.where(size == 0, 0.0, lacking / size)
        return None, *(
            (wide(c) + wide(x) * share.reshape(*share.shape, *[1] * (x.dim() - rows.lead))).to(c.dtype)
            for x, c in zip(inputs, coefficients, strict=True)
        )


def _common(*values: Tensor) -> int:
    """How many leading dimensions all tensors share, without the last of any."""
    count = 0
    for sizes in zip(*(t.shape[:-1] for t in values), strict=False):
        if len(set(sizes)) > 1:
            break
        count += 1
    return count
