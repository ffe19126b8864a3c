"""Where in the model's code something happens, read off the Python stack."""

from __future__ import annotations

import linecache
import os
import sys
from collections.abc import Container, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import nn

_LXTLIKE = str(Path(__file__).parents[1]) + os.sep
_TORCH = str(Path(torch.__file__).parent) + os.sep
_MODULE = torch.nn.modules.module.__file__


def outward(frame: FrameType | None) -> Iterator[FrameType]:
    """A frame and those that called it, the innermost first."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def caller() -> Iterator[FrameType]:
    """The frames outside of this module, the innermost first."""
    return (frame for frame in outward(sys._getframe(1)) if frame.f_code.co_filename != __file__)


def running(known: Container[int]) -> tuple[nn.Module | None, FrameType | None]:
    """The innermost module of the model (by id) that the stack is in, and the frame that says so."""
    for frame in caller():
        module = frame.f_locals.get("self")
        if id(module) in known:
            return module, frame
    return None, None


def by_model(known: Container[int]) -> bool:
    """Whether the model's own code is at work, and not a hook that torch calls before or after a module's forward."""
    _, frame = running(known)
    return frame is not None and frame.f_code.co_filename != _MODULE


def function() -> tuple[Any, FrameType] | None:
    """The `torch.autograd.Function` whose forward is running (its node in the graph), and the frame of its forward."""
    for frame in caller():
        names = frame.f_code.co_varnames[:1]
        node = frame.f_locals.get(names[0]) if names else None
        if isinstance(node, torch.autograd.function.BackwardCFunction):
            return node, frame
    return None


def line(frame: FrameType | None = None) -> str:
    """``file:line: text`` of the innermost frame, from `frame` on, that is neither ours nor torch's; "" without one."""
    for found in outward(frame) if frame else caller():
        file = found.f_code.co_filename
        if not file.startswith((_LXTLIKE, _TORCH)):
            text = linecache.getline(file, found.f_lineno, found.f_globals).strip()
            return f"{_shown(file)}:{found.f_lineno}" + (f": {text}" if text else "")
    return ""


def _shown(file: str) -> str:
    """A path as imports see it: what stands before the package is of no interest, and may be private."""
    roots = [os.path.join(os.path.abspath(entry), "") for entry in sys.path]
    inside = [root for root in roots if file.startswith(root)]
    return file[len(max(inside, key=len)) :] if inside else os.path.basename(file)
