"""Attention and layers that run in kernels no rule can look into: as PyTorch writes them, for the time of a block.

A configuration may be shared by several models, so it is never edited: modules get a copy of it for that time.
"""

from __future__ import annotations

import copy
import re
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from lxtlike.errors import InputError
from lxtlike.propagation.walk import modules

_KERNEL = re.compile(r"flash|flex|^paged\||/")
"""Names of attention implementations that hide their operations: flash and flex attention, paged ones, hub kernels."""


@contextmanager
def written_out(model: nn.Module) -> Iterator[None]:
    """Attention by `sdpa`, or `eager` where the model has no other, and layers by their own code instead of a hub kernel's.

    Raises:
        InputError: a module whose class is written for one kernel.
    """
    for cls in {type(module) for module in modules(model)}:
        if re.search(r"FlashAttention\d|FlexAttention", cls.__name__):
            name = next(name for name, module in model.named_modules() if type(module) is cls)
            raise InputError(
                f"{name} ({cls.__name__}) is written for a kernel that no rule can look into: load the model with "
                "attn_implementation='eager'"
            )
    before: list[tuple[nn.Module, str, Any]] = []
    try:
        for module, name, value in list(_changes(model)):
            before.append((module, name, vars(module)[name]))
            if value is None:
                del vars(module)[name]
            else:
                vars(module)[name] = value
        yield
    finally:
        for module, name, value in before:
            vars(module)[name] = value


def _changes(model: nn.Module) -> Iterator[tuple[nn.Module, str, Any]]:
    """(module, attribute, value for the time of the block; None for one that is taken away)."""
    plain = "sdpa" if all(getattr(type(module), "_supports_sdpa", True) for module in modules(model)) else "eager"
    copies: dict[int, Any] = {}
    for module in modules(model):
        own = vars(module)
        config = own.get("config")
        if any(_is_kernel(getattr(part, "_attn_implementation", None)) for part in _parts(config)):
            changed = copy.deepcopy(config, copies)
            for part in _parts(changed):
                if _is_kernel(getattr(part, "_attn_implementation", None)):
                    part._attn_implementation = {"": plain}
            yield module, "config", changed
        if _is_kernel(own.get("_attn_implementation")):  # some remember what their config said
            yield module, "_attn_implementation", plain
        forward = own.get("forward")
        replaced = isinstance(forward, types.MethodType) and forward.__self__ is module
        if replaced and hasattr(type(module), "kernel_layer_name"):
            yield module, "forward", None


def _parts(config: Any) -> list[Any]:
    """A configuration and those inside it."""
    parts = (getattr(config, name, None) for name in getattr(config, "sub_configs", ()))
    return [config, *(inner for part in parts if part is not None for inner in _parts(part))]


def _is_kernel(name: Any) -> bool:
    return isinstance(name, str) and _KERNEL.search(name) is not None
