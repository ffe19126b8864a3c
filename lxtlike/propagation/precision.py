"""Float64 checks of models whose code casts to float32 in places."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


class Float64Casts(TorchFunctionMode):
    """While active in this thread, casts to float32 go to float64.

    Transformers computes norms, softmaxes and rotary angles in float32 whatever the model's dtype. That limits a float64
    check of conservation to 1e-7; with this mode around the plain and the patched forward it reaches 1e-15.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is Tensor.float:
            func = Tensor.double
        args = tuple(torch.float64 if value is torch.float32 else value for value in args)
        kwargs = {k: torch.float64 if v is torch.float32 else v for k, v in (kwargs or {}).items()}
        return func(*args, **kwargs)
