"""Atoms: module classes one must not look inside, because their arithmetic hides what they are.

A tanh-GELU written as products would conserve relevance and still be wrong: its factors would share what the identity rule
passes whole. The whole module is one elementwise function instead. A quantised linear layer with a kernel of its own is a
linear layer with the weight that it stands for: its backward pass is right, but nobody else sees its bias.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor, nn

from lxtlike.composites import Composite
from lxtlike.propagation.mode import RuleMode
from lxtlike.propagation.walk import modules
from lxtlike.rules import Operation
from lxtlike.rules.call import Call
from lxtlike.rules.nonlinear import gelu_ratio, tanh_gelu_ratio

ATOMS: dict[str, tuple[str, Callable[[Call], Tensor] | None]] = {
    "NewGELUActivation": ("activation", tanh_gelu_ratio),
    "FastGELUActivation": ("activation", tanh_gelu_ratio),
    "BloomGelu": ("activation", tanh_gelu_ratio),
    "GELUTanh": ("activation", tanh_gelu_ratio),
    "AccurateGELUActivation": ("activation", tanh_gelu_ratio),
    "GELUActivation": ("activation", gelu_ratio),
    "ClippedGELUActivation": ("activation", None),
    "XIELUActivation": ("activation", None),
    "SqrtSoftplusActivation": ("gate", None),
    "LaplaceActivation": ("gate", None),
    # bitsandbytes
    "Linear8bitLt": ("linear", None),
    "Linear4bit": ("linear", None),
}
"""Class name -> (family, closed form of f(x) / x or None for the quotient with its limit)."""

ModuleRule = Callable[[RuleMode, Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]


_BIAS = "lxtlike.bias"
"""The keyword by which a rule sees the bias that a module adds inside."""


def find(model: nn.Module, composite: Composite) -> Iterator[tuple[nn.Module, ModuleRule]]:
    """The atoms of a model, each with what runs in place of its forward."""
    for module in modules(model):
        own = next((family for cls, family in composite.atoms.items() if _is_a(module, cls)), None)
        if own is not None:
            yield module, _rule(module, own, None)
        elif type(module).__name__ in ATOMS:
            family, ratio = ATOMS[type(module).__name__]
            if family in composite.rules:
                yield module, _rule(module, family, ratio)


def _is_a(module: nn.Module, cls: type | str) -> bool:
    return fnmatchcase(type(module).__name__, cls) if isinstance(cls, str) else isinstance(module, cls)


def _rule(module: nn.Module, family: str, ratio: Callable[[Call], Tensor] | None) -> ModuleRule:
    operation = Operation(type(module).__name__, family, ("input",), ("input",), _BIAS, ratio=ratio)

    def run(mode: RuleMode, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        def whole(*args: Any, **kwargs: Any) -> Any:
            del kwargs[_BIAS]
            return forward(*args, **kwargs)

        call = mode.call(whole, args, {**kwargs, _BIAS: getattr(module, "bias", None)}, operation)
        with mode.suspended():  # what the module does inside, and what its rule does, are no operations of the model
            output = mode.apply(call, "atom")
        mode.audit.cover((args, kwargs), output)
        return output

    return run
