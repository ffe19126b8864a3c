"""Products of tensors that both come from the input, and quotients.

Uniform rule (2402.05602, prop. 3.3): each of k factors receives its plain gradient times 1/k. Gated products
``act(gate) * up``: uniform under AttnLRP, all relevance through `up` under CP-LRP.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lxtlike.rules.call import Call, tensors
from lxtlike.rules.linear import absorb_addend
from lxtlike.rules.primitives import scale


def linear_or_product(call: Call) -> str:
    """Family of a contraction: a linear layer while only one operand is tracked."""
    count = _tracked_operands(call)
    return "product" if count > 1 else "linear" if count == 1 else "additive"


def convolution_or_product(call: Call) -> str:
    """Family of a convolution, as `linear_or_product`."""
    family = linear_or_product(call)
    return "convolution" if family == "linear" else family


def factor_or_product(call: Call) -> str:
    """Family of an elementwise product: multiplication by a constant keeps the plain gradient."""
    if _tracked_operands(call) < 2:
        return "structure"
    return "gated-product" if _gate(call) is not None else "product"


def quotient(call: Call) -> str:
    """Family of a division: by a constant it is linear."""
    other = call.get("other")
    return "division" if isinstance(other, Tensor) and other.requires_grad else "structure"


def scan_or_structure(call: Call) -> str:
    """Family of a split: a selective scan's when it hands out [x or Delta, B, C] within a state space layer.

    Such a layer has the log of A and the size N of its state under the names of Mamba's reference code; B and C are the
    last two parts, of equal size, N for each group.
    """
    sizes = next((v for v in (*call.args[1:], *call.kwargs.values()) if isinstance(v, (list, tuple))), ())
    if len(sizes) != 3 or sizes[1] != sizes[2]:
        return "structure"
    layer = call.running()
    state = getattr(layer, "ssm_state_size", None) or getattr(layer, "d_state", None)
    selective = hasattr(layer, "A_log") and isinstance(state, int) and sizes[2] % state == 0
    return "scan" if selective else "structure"


def scan_constant(call: Call) -> Any:
    """B and C are constants, so that all relevance of a scan goes through its signal x (MambaLRP: 2406.07592)."""
    first, *parameters = call.run()
    return first, *(parameter.detach() for parameter in parameters)


def uniform(call: Call) -> Any:
    """Each of k tracked factors receives the plain gradient times 1/k."""
    share = 1 / _tracked_operands(call)
    output = call.transform_operands(lambda t: scale(t, share) if t.requires_grad else t).run()
    absorb_addend(call, output)
    return output


def gated_uniform(call: Call) -> Any:
    """``act(gate) * up`` under AttnLRP: identity rule on the activation, uniform rule on the product, in one step.

    Two tensors are kept for the backward pass instead of three: ``c_up = c * act / 2``, ``c_gate = c * up * ratio / 2``.
    """
    found = _gate(call) if call.fast else None
    if found is None:
        return uniform(call)
    gate, up = found
    remembered = call.activated[gate]
    if not gate.shape == up.shape == remembered.ratio.shape:
        return uniform(call)
    first = next(v for v in call.operands() if isinstance(v, Tensor)) is up
    return _GatedProduct.apply(remembered.source, up, gate.detach(), remembered.ratio, first)  # type: ignore[no-untyped-call]


def gated_constant(call: Call) -> Any:
    """``act(gate) * up`` under CP-LRP (as LXT's cp_LRP): the gate is a constant, all relevance goes through `up`."""
    found = _gate(call)
    if found is None:
        return uniform(call)
    return call.transform_operands(lambda t: t.detach() if t is found[0] else t).run()


def constant_denominator(call: Call) -> Any:
    """``a / b``: the denominator is a constant, as in a norm (2402.05602, prop. 3.4)."""
    return call.having(other=call.get("other").detach()).run()


class _GatedProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, source: Tensor, up: Tensor, gate: Tensor, ratio: Tensor, up_first: bool) -> Tensor:
        ctx.save_for_backward(gate, up.detach() * ratio)
        # The layout in memory follows the first factor, and with it the kernel that torch takes next.
        return up * gate if up_first else gate * up

    @staticmethod
    def backward(ctx: Any, *coefficients: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        for_up, for_source = ctx.saved_tensors
        half = coefficients[0] / 2
        for_source = half * for_source
        return for_source, half.mul_(for_up), None, None, None


def _gate(call: Call) -> tuple[Tensor, Tensor] | None:
    """(act(gate), up) when exactly one factor of a product of two is the output of an activation."""
    factors = [v for v in call.operands() if isinstance(v, Tensor)]
    gates = [t for t in factors if t in call.activated and call.activated[t].holds(t)]
    if len(factors) != 2 or len(gates) != 1:
        return None
    return gates[0], factors[1] if factors[0] is gates[0] else factors[0]


def _tracked_operands(call: Call) -> int:
    return sum(t.requires_grad for t in tensors(*call.operands()))
