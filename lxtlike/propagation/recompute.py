"""Gradient checkpointing: a layer keeps its inputs only, and runs again in the backward pass, under the same rules.

The layers are those that transformers marks for it (`GradientCheckpointingLayer`). Its own switch is not used: that one works
in train mode only and knows nothing of rules, so a layer would be computed again without them.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import _get_current_function_mode_stack as function_modes
from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop

from lxtlike.errors import InputError, LxtlikeError
from lxtlike.propagation.surroundings import offloaded, watched
from lxtlike.rules.call import tensors

_logger = logging.getLogger(__name__)

_PLAIN = (Tensor, str, int, float, complex, bool, torch.dtype, torch.device, torch.Size, type(None))


class Here(threading.local):
    """What this thread does: whether the block is its own, and how deep it is in the explained model's forward."""

    inside = False
    depth = 0


def find(model: nn.Module, asked: bool | None) -> list[nn.Module]:
    """The layers of a model to compute again: all but the last sqrt(L) of L.

    Those would come first in the backward pass, where the inputs of all others are still held: memory stays within the square
    root of the model's depth (Chen et al. 2016: 1604.06174) beside one state for each layer. Offloaded layers are
    among them whatever their place: a graph that keeps them would keep their weights.

    Args:
        asked: True for all that can be, False for none, None for those whose checkpointing the model has switched on.

    Raises:
        InputError: it is asked for, and the model has no layer that transformers marks for it.
    """
    layers = list(dict.fromkeys(marked(model)))
    if asked and not layers:
        raise InputError(
            f"{type(model).__name__} has no layers that can be computed again (transformers' GradientCheckpointingLayer): "
            "leave checkpointing off"
        )
    chosen = layers if asked else [] if asked is False else [m for m in layers if m.gradient_checkpointing]
    first = len(chosen) - math.isqrt(len(chosen))
    return [*chosen[:first], *(layer for layer in chosen[first:] if offloaded(layer))]


def marked(model: nn.Module) -> Iterator[nn.Module]:
    """The layers that transformers marks as those that can be computed again, in the model's order."""
    for child in model.children():
        if any(cls.__name__ == "GradientCheckpointingLayer" for cls in type(child).__mro__):
            yield child
        else:
            yield from marked(child)


def run(layer: nn.Module, here: Here, alive: list[bool], forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """A layer's forward, computed again in the backward pass where it is on the relevance path."""
    tracked = any(t.requires_grad for t in tensors(args, kwargs))
    if not (here.depth and tracked and torch.is_grad_enabled()):
        return forward(*args, **kwargs)
    args = tuple(None if _is_empty_cache(value) else value for value in args)
    kwargs = {name: None if _is_empty_cache(value) else value for name, value in kwargs.items()}
    if not all(map(_is_plain, (*args, *kwargs.values()))):
        # A cache that holds something would be filled a second time.
        _logger.info("a layer was given a state (a filled cache) and is not computed again: it keeps its activations.")
        return forward(*args, **kwargs)
    names = tuple(kwargs)

    def again(*values: Any) -> Any:
        return forward(*values[: len(args)], **dict(zip(names, values[len(args) :], strict=True)))

    # To its end if hooks wait for it: who loads weights before a forward (accelerate) frees them after it. All are given
    # by position, where torch finds out whether one was changed in place since.
    with set_checkpoint_early_stop(not watched(layer)):
        return checkpoint(
            again,
            *args,
            *kwargs.values(),
            use_reentrant=False,
            context_fn=lambda: (nullcontext(), _Again(here, alive)),
        )


class _Again:
    """The surroundings of the first run, once more: the rule mode (and other function modes), in whichever thread."""

    def __init__(self, here: Here, alive: list[bool]) -> None:
        self.here, self.alive = here, alive
        self.modes = function_modes()  # type: ignore[no-untyped-call]
        self.entered: list[ExitStack] = []

    def __enter__(self) -> None:
        if not self.alive:
            raise LxtlikeError(
                "the backward pass of a checkpointed forward must be inside its `propagate` block: its layers run again there"
            )
        stack, current = ExitStack(), function_modes()  # type: ignore[no-untyped-call]
        for mode in self.modes:
            if not any(mode is other for other in current):
                stack.enter_context(mode)
        before = self.here.inside, self.here.depth
        stack.callback(self._leave, *before)
        self.here.inside, self.here.depth = True, before[1] + 1
        self.entered.append(stack)

    def __exit__(self, *error: Any) -> None:
        self.entered.pop().__exit__(*error)

    def _leave(self, inside: bool, depth: int) -> None:
        self.here.inside, self.here.depth = inside, depth


def _is_empty_cache(value: Any) -> bool:
    length = getattr(value, "get_seq_length", None)
    return length is not None and int(length()) == 0


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return all(map(_is_plain, value.values())) if isinstance(value, dict) else isinstance(value, _PLAIN)
