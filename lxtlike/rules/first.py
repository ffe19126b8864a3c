"""Rules for layers that read the explained input itself: w^2, flat and z^B (Montavon et al. 2017; Lapuschkin et al. 2019).

What they give an input does not go to zero with its value: a black pixel may be as relevant as a white one. So it is no
multiple of a coefficient, and it is not sent down as one: it is deposited at the input, for the read-out to add
(`Book.deposit`), and the coefficient of the layer's input is zero. All three are plain gradients of a layer that computes some
``z'_j`` from inputs of their own: ones for w^2 and flat, the lowest and highest values beside ``x`` for z^B.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lxtlike.errors import InputError
from lxtlike.rules.call import Call
from lxtlike.rules.primitives import keep, stabilized, wide
from lxtlike.rules.signed import Change, above, below, changed, is_layer

Bound = float | Sequence[float] | None
"""A number, or one for each channel; None where it is still to be set."""

_SELECTIONS = frozenset(
    f"{name}Backward0"
    for name in """
    View UnsafeView ReshapeAlias Alias Permute Transpose T Squeeze Unsqueeze Slice Select Index Clone ToCopy Expand
    ConstantPadNd Im2Col Unfold AsStrided Split Unbind Narrow
    """.split()
) | {"SqueezeBackward1", "SqueezeBackward2"}


def read_from(x: Tensor) -> Tensor | None:
    """The input whose entries `x` consists of, moved, repeated or padded with zeros; None where `x` was computed."""
    node: Any = x.grad_fn
    if node is None:
        return x if x.requires_grad else None
    while not hasattr(node, "variable"):
        parents = [parent for parent, _ in node.next_functions if parent is not None]
        if node.name() not in _SELECTIONS or len(parents) != 1:
            return None
        (node,) = parents
    leaf: Tensor = node.variable
    return leaf


def w_squared(call: Call, *, epsilon: float = 1e-6) -> Any:
    """The w^2 rule, ``R_i = sum_j w_ij^2 / z'_j R_j`` with ``z'_j = sum_i w_ij^2 + b_j^2`` (Montavon et al. 2017)."""
    return _evenly(call, "w-squared", torch.square, torch.square, epsilon)


def flat(call: Call, *, epsilon: float = 1e-6) -> Any:
    """The flat rule: every input that an output is connected with has the same share (Lapuschkin et al. 2019); no bias has."""
    return _evenly(call, "flat", torch.ones_like, torch.zeros_like, epsilon)


def box(call: Call, *, low: Bound = None, high: Bound = None, epsilon: float = 1e-6) -> Any:
    """The z^B rule, ``z'_ij = x_i w_ij - low w_ij+ - high w_ij-`` for inputs between low and high (Montavon et al. 2017).

    A bias cancels out. Bounds are numbers, or one for each channel.

    Raises:
        InputError: the bounds are not set, or have another number of channels.
    """
    if low is None or high is None:
        raise InputError(
            "the box rule needs the lowest and the highest value that an input can have: give `low` and `high`, as in "
            "epsilon-gamma-box:low=0,high=1 (one number each; in YAML or Python also a list, one for each channel)"
        )
    x = _input(call, "box")
    ends = [_bound(call, x, value) for value in (low, high)]
    return _deposited(call, [(x, 1.0, torch.detach), (ends[0], -1.0, above), (ends[1], -1.0, below)], None, epsilon)


def _evenly(call: Call, name: str, weight: Change, bias: Change, epsilon: float) -> Any:
    return _deposited(call, [(torch.ones_like(_input(call, name)), 1.0, weight)], bias, epsilon)


def _deposited(call: Call, terms: Sequence[tuple[Tensor, float, Change]], bias: Change | None, epsilon: float) -> Any:
    """Each output's relevance in the proportions of ``z' = sum of sign * layer(input, changed weight)``, deposited at x."""
    x, value = call.tracked()[0], call.quietly()
    inputs = [given.detach().requires_grad_() for given, _, _ in terms]
    with torch.enable_grad():
        layers = [
            sign * changed(call, partial(_instead, own, change), torch.zeros_like).run()
            for own, (_, sign, change) in zip(inputs, terms, strict=True)
        ]
        modified = torch.stack(layers).sum(0)
    constant = changed(call, torch.zeros_like, bias or torch.zeros_like).quietly()
    z = wide(modified.detach() + constant)
    ratio = wide(value) / stabilized(z, epsilon)
    kept, absorbed = keep(wide(constant) * ratio), keep(wide(value) - z * ratio)
    deposit = call.book.deposit(x)

    def share(c: Tensor) -> None:
        found = torch.autograd.grad(modified, inputs, (wide(c) * ratio).to(modified.dtype), retain_graph=True)
        shares = [wide(own.detach()) * wide(g) for own, g in zip(inputs, found, strict=True)]
        deposit(torch.stack(shares).sum(0))

    output: Tensor = _Deposited.apply(x, [value], share)  # type: ignore[no-untyped-call]
    if bias is not None:
        call.book.absorb("biases.linear", output, lambda c: wide(c) * kept())
    call.book.absorb("epsilon", output, lambda c: wide(c) * absorbed())
    return output


class _Deposited(torch.autograd.Function):
    """Value given; the coefficient that comes back is handed to `share`, and none goes on."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, value: list[Tensor], share: Callable[[Tensor], None]) -> Tensor:
        ctx.share, ctx.like = share, x.detach()
        return value[0]

    @staticmethod
    def backward(ctx: Any, *coefficients: Tensor) -> tuple[Tensor, None, None]:
        ctx.share(coefficients[0])
        return torch.zeros_like(ctx.like), None, None


def _instead(x: Tensor, weight: Change, t: Tensor) -> Tensor:
    return x if t.requires_grad else weight(t)


def _input(call: Call, rule: str) -> Tensor:
    x = call.tracked()[0]
    if not is_layer(call) or read_from(x) is None:
        raise InputError(
            f"the {rule} rule is for linear and convolution layers that read the explained input itself, and this "
            f"{call.operation.name} reads what was computed from it: assign the rule to such layers only, with `first: true` "
            "in a composite's `layers`"
        )
    return x


def _bound(call: Call, x: Tensor, value: float | Sequence[float]) -> Tensor:
    numbers = x.new_tensor(value)
    if numbers.dim():
        axis = -1 if call.operation.channel < 0 else 1 + x.dim() - call.get("weight").dim()
        if x.shape[axis] != numbers.numel():
            raise InputError(
                f"the box rule has bounds for {numbers.numel()} channels, and the input has {x.shape[axis]}"
            )
        numbers = numbers.reshape([-1 if other == axis % x.dim() else 1 for other in range(x.dim())])
    return numbers.expand(x.shape)
