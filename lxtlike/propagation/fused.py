"""The fast lane: recognised modules run in one step, with the same numbers as their operations' rules.

RMS norms are recognised by what they compute, not by their name or family: a module with one weight and an epsilon whose
output on a probe equals ``x / rms(x) * w`` or ``x / rms(x) * (1 + w)``. Gated products have
their fast form in `lxtlike.rules.product`.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, MutableMapping
from copy import copy
from typing import Any

import torch
from torch import Tensor, nn

from lxtlike.composites import Composite
from lxtlike.propagation.atoms import ModuleRule
from lxtlike.propagation.mode import RuleMode
from lxtlike.propagation.parallel import is_distributed, shares_weights
from lxtlike.propagation.surroundings import offloaded
from lxtlike.propagation.walk import modules
from lxtlike.rules.norm import ceiling, frozen_norm
from lxtlike.rules.primitives import wide

_OFFSETS: MutableMapping[nn.Module, float | None] = weakref.WeakKeyDictionary()


def find(model: nn.Module, composite: Composite) -> Iterator[tuple[nn.Module, ModuleRule]]:
    """The RMS norms of a model, each with what runs in place of its forward."""
    if "norm" not in composite.rules or composite.rules["norm"].name != "constant":
        return
    if any("norm" in assignment.rules for assignment in composite.layers):
        return
    for module in modules(model):
        if isinstance(module, nn.RMSNorm) or _epsilon(module) is None:
            continue  # torch's own is one operation already
        if offloaded(module):
            continue  # its weight is not there to be probed
        if module not in _OFFSETS:
            _OFFSETS[module] = _probe(module)
        offset = _OFFSETS[module]
        if offset is not None:
            yield module, _rms_norm(module, offset)


def _rms_norm(module: nn.Module, offset: float) -> ModuleRule:
    def run(mode: RuleMode, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if len(args) != 1 or kwargs or not args[0].requires_grad or offloaded(module) or shares_weights(module):
            return forward(*args, **kwargs)
        x = args[0]
        mode.audit.note("rms_norm", "norm: constant (fast lane)")
        with mode.suspended():
            with torch.no_grad():
                value, scale, weight = forward(x.detach()), _scale(module, x), _weight(module, offset)
            return frozen_norm(value, x, scale, weight, ceiling=ceiling(_epsilon(module) or 0.0))

    return run


def _scale(module: nn.Module, x: Tensor) -> Tensor:
    return torch.rsqrt(wide(x.detach()).square().mean(-1, keepdim=True) + (_epsilon(module) or 0.0))


def _weight(module: nn.Module, offset: float) -> Tensor:
    weight: Tensor = module.weight.detach()  # type: ignore[operator]
    return weight + offset if offset else weight


def _epsilon(module: nn.Module) -> float | None:
    found = (vars(module).get(name) for name in ("variance_epsilon", "eps"))
    return next((epsilon for epsilon in found if isinstance(epsilon, float)), None)


def _probe(module: nn.Module) -> float | None:
    """Which offset (0 or 1) makes ``x / rms(x) * (offset + w)`` what the module computes; None if neither does."""
    parameters = dict(module.named_parameters())
    if set(parameters) != {"weight"} or parameters["weight"].dim() != 1:
        return None
    weight = parameters["weight"]
    if is_distributed(weight):
        # It is whole within a forward of FSDP only. What the module computes can be told of another weight.
        weight = nn.Parameter(torch.linspace(0.5, 1.5, weight.numel(), dtype=weight.dtype, device=weight.device), False)
        module = copy(module)
        module._parameters = {"weight": weight}
    x = torch.linspace(-1.0, 2.0, 2 * weight.numel(), device=weight.device).reshape(2, -1).to(weight.dtype)
    x[1] *= 3
    with torch.no_grad():
        try:
            output = type(module).forward(module, x)  # past the caller's hooks, which must not see a probe
        except Exception:  # noqa: BLE001 - whatever a module raises that wants other inputs: it is no plain RMS norm
            return None
        for offset in (0.0, 1.0):
            expected = wide(x) * _scale(module, x) * wide(_weight(module, offset))
            tolerance = 4 * torch.finfo(weight.dtype).eps ** (1 if weight.dtype != torch.float64 else 0.5)
            if isinstance(output, Tensor) and torch.allclose(wide(output), expected, tolerance, tolerance):
                return offset
    return None
