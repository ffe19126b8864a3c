"""Elementwise functions: the identity rule where ``f(0) = 0``, constants elsewhere.

Identity rule (2402.05602): ``c_x = c_y * f(x) / x``, so that relevance passes unchanged. The quotient is used in
closed form where there is one: dividing by ``x + 1e-10`` is 0/0 at x = 0 in half precision.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lxtlike.rules.call import Activated, Call
from lxtlike.rules.primitives import substitute, wide


def identity(call: Call) -> Any:
    """``c_x = c_y * f(x) / x`` for an elementwise function with f(0) = 0; keeps the quotient only."""
    x = call.tracked()[0]
    value = call.quietly()
    with torch.no_grad():
        ratio = call.operation.ratio(call) if call.operation.ratio else quotient(call, x, value)
        ratio = ratio.to(value.dtype)
    output = substitute(value, x, ratio)
    call.activated[output] = Activated(x, ratio, x._version, output._version)
    return output


def constant(call: Call) -> Any:
    """A function with f(0) != 0 (a gate: sigmoid, exp, 1/x) or a statistic (a norm, a variance) is a constant."""
    return call.quietly()


def quotient(call: Call, x: Tensor, value: Tensor) -> Tensor:
    """``f(x) / x`` in float32 or wider, with its limit f'(0) at 0 (0 where the limit is infinite); `value` is f(x)."""
    narrow, x = x.dtype, wide(x.detach())
    if x.dtype != narrow:
        value = call.transform(lambda t: x if t.requires_grad else t).run()
    near = x == 0
    if not bool(near.any()):
        return torch.div(value, x)
    with torch.enable_grad():
        zero = torch.zeros_like(x, requires_grad=True)
        at_zero: Tensor = call.transform(lambda t: zero if t.requires_grad else t).run()
        (limit,) = torch.autograd.grad(at_zero.sum(), zero)
    return torch.where(near, torch.nan_to_num(limit, posinf=0.0, neginf=0.0), value / torch.where(near, 1, x))


def _x(call: Call) -> Tensor:
    return call.tracked()[0].detach()


def silu_ratio(call: Call) -> Tensor:
    """SiLU: sigmoid(x)."""
    return torch.sigmoid(_x(call))


def gelu_ratio(call: Call) -> Tensor:
    """GELU: Phi(x); its tanh form: (1 + tanh u) / 2."""
    if call.get("approximate", "none") == "tanh":
        return tanh_gelu_ratio(call)
    phi: Tensor = (wide(_x(call)) * -(0.5**0.5)).erfc_().mul_(0.5)
    return phi


def tanh_gelu_ratio(call: Call) -> Tensor:
    """tanh-GELU: (1 + tanh u) / 2 with u = sqrt(2 / pi) (x + 0.044715 x^3), in float32 (x^3 overflows float16)."""
    x = wide(_x(call))
    # (1 + tanh u) / 2 = sigmoid(2u), which does not cancel for u << 0; all in one tensor.
    return x.square().mul_(0.044715).add_(1).mul_(x).mul_(2 * (2 / math.pi) ** 0.5).sigmoid_()


def relu_ratio(call: Call) -> Tensor:
    """ReLU: 1[x > 0]."""
    return _x(call) > 0


def leaky_relu_ratio(call: Call) -> Tensor:
    """Leaky ReLU: 1 for x > 0, the negative slope elsewhere."""
    x = _x(call)
    return torch.where(x > 0, torch.ones_like(x), float(call.get("negative_slope", 0.01)))


def mish_ratio(call: Call) -> Tensor:
    """Mish: tanh(softplus(x))."""
    return torch.tanh(F.softplus(wide(_x(call))))


def hardswish_ratio(call: Call) -> Tensor:
    """Hard swish: hard sigmoid."""
    return F.hardsigmoid(_x(call))


def softsign_ratio(call: Call) -> Tensor:
    """Softsign: 1 / (1 + |x|)."""
    return 1 / (1 + _x(call).abs())


def square_ratio(call: Call) -> Tensor:
    """x^2: x."""
    return _x(call)


def power_ratio(call: Call) -> Tensor:
    """x^n for n > 0: x^(n - 1), and 0 at x = 0 where that is infinite."""
    ratio: Tensor = _x(call) ** (call.get("exponent") - 1)
    return torch.where(_x(call) == 0, 0.0, ratio) if call.get("exponent") < 1 else ratio


def power(call: Call) -> str:
    """Family of ``x ** n``: linear for n = 1, an activation for a number n > 0, a gate elsewhere."""
    exponent = call.get("exponent")
    if not isinstance(exponent, (int, float)) or exponent <= 0:
        return "gate"
    return "structure" if exponent == 1 else "activation"


def clamp(call: Call) -> str:
    """Family of `clamp`: an activation when zero lies between its bounds, a gate elsewhere.

    Bounds may be tensors: T5 in float16 clamps to a limit that it computes, quantised layers to one they have learned.
    """
    low, high = call.get("min"), call.get("max")
    if any(isinstance(bound, Tensor) and bound.requires_grad for bound in (low, high)):
        return "gate"
    around = (low is None or _all(low <= 0)) and (high is None or _all(high >= 0))
    return "activation" if around else "gate"


def clamp_ratio(call: Call) -> Tensor:
    """Clamp between bounds around zero: the quotient, and at x = 0, where a bound of 0 makes a kink, what ReLU has: 0."""
    bounds = {"relu6": (0.0, 6.0), "hardtanh": (call.get("min_val", -1.0), call.get("max_val", 1.0))}
    low, high = bounds.get(call.operation.name, (call.get("min"), call.get("max")))
    x = wide(_x(call))
    above = x == x if low is None else torch.as_tensor(low < 0, device=x.device)
    below = x == x if high is None else torch.as_tensor(high > 0, device=x.device)
    return torch.where(x == 0, (above & below).to(x.dtype), x.clamp(low, high) / torch.where(x == 0, 1, x))


def _all(condition: bool | Tensor) -> bool:
    return bool(condition.all()) if isinstance(condition, Tensor) else condition
