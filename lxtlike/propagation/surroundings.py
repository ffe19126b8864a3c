"""What a `propagate` block changes around the model for its time, and puts back: exclusive use, frozen weights, no compiler."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from lxtlike.errors import InputError, LxtlikeError
from lxtlike.propagation.walk import modules, weights

_entered: dict[int, int] = {}
_changed = threading.Condition()


@contextmanager
def owned(model: nn.Module) -> Iterator[None]:
    """Exclusive use of a model and all its modules: the same thread is refused, another one waits."""
    me, mine = threading.get_ident(), [id(module) for module in modules(model)]
    with _changed:
        while owners := {_entered[module] for module in mine if module in _entered}:
            if me in owners:
                raise InputError("this model is already inside a `propagate` block of this thread; leave it first")
            _changed.wait()
        _entered.update(dict.fromkeys(mine, me))
    try:
        yield
    finally:
        with _changed:
            for module in mine:
                del _entered[module]
            _changed.notify_all()


def offloaded(module: nn.Module) -> bool:
    """Whether weights of a module are there only while its own forward runs (accelerate)."""
    return any(parameter.is_meta for parameter in weights(module))


def watched(module: nn.Module) -> bool:
    """Whether somebody's hooks (accelerate's among them) wait for the forward of a module, or of one inside it."""
    return any(m._forward_hooks or m._forward_pre_hooks or hasattr(m, "_hf_hook") for m in modules(module))


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Parameters without gradient and every module in eval mode, for the time of the block.

    Parameters are remembered by their place too: offloading puts other objects there whenever it loads a weight.
    """
    places = [
        (module, name, parameter)
        for module in modules(model)
        for name, parameter in module._parameters.items()
        if parameter is not None and parameter.requires_grad
    ]
    training = [module for module in modules(model) if module.training]
    try:
        for _, _, parameter in places:
            parameter.requires_grad_(False)
        for module in training:
            module.training = False
        yield
    finally:
        for module, name, parameter in places:
            for weight in (parameter, module._parameters.get(name)):
                if weight is not None and weight.is_floating_point():
                    weight.requires_grad_(True)
        for module in training:
            module.training = True


def still_frozen(model: nn.Module) -> None:
    """Raise LxtlikeError when somebody has undone inside the block what `frozen` did: all that follows would be wrong."""
    if any(parameter.requires_grad for parameter in weights(model)):
        awake = next(name for name, parameter in model.named_parameters() if parameter.requires_grad)
        raise LxtlikeError(
            f"the model's weights were made to require grad inside the `propagate` block ({awake}): train it outside"
        )
    if any(module.training for module in modules(model)):
        raise LxtlikeError("the model was put into train mode inside the `propagate` block: train it outside")


@contextmanager
def forwarded(module: nn.Module, run: Callable[..., Any], mine: Callable[[], bool]) -> Iterator[None]:
    """Put ``run(original forward, *args, **kwargs)`` in place of one instance's forward, for the calls that are `mine`.

    Undone by identity: a forward that somebody else (accelerate) has put on top in the meantime stays, and ours steps aside.
    """
    had, before, inside = "forward" in vars(module), module.forward, [True]

    @functools.wraps(before)
    def forward(*args: Any, **kwargs: Any) -> Any:
        return run(before, *args, **kwargs) if inside and mine() else before(*args, **kwargs)

    module.forward = forward
    try:
        yield
    finally:
        inside.clear()
        if vars(module).get("forward") is forward:
            if had:
                module.forward = before
            else:
                del module.forward


@contextmanager
def differentiable() -> Iterator[None]:
    """Gradients are recorded, also where the caller is in `torch.no_grad` or `torch.inference_mode`."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


_eager: list[Any] = []
_turn = threading.Lock()


@contextmanager
def uncompiled(model: nn.Module) -> Iterator[None]:
    """What `torch.compile` has compiled runs as it was written: rules see the operations of Python code.

    The stance of the compiler belongs to the process: compiled functions of other threads run uncompiled meanwhile.
    """
    with ExitStack() as stack:
        for module in modules(model):
            if module._compiled_call_impl is not None:  # by `module.compile()`
                stack.callback(setattr, module, "_compiled_call_impl", module._compiled_call_impl)
                module._compiled_call_impl = None
        if "torch._dynamo" in sys.modules:
            stack.callback(_compile_again)
            with _turn:
                _eager.append(None if _eager else torch.compiler.set_stance("force_eager"))
        yield


def _compile_again() -> None:
    with _turn:
        first = _eager[0]
        _eager.pop()
        if not _eager:
            first.__exit__(None, None, None)
