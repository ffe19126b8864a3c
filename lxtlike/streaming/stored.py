"""A tensor whose numbers are in a file: whoever computes with it reads them, and keeps none.

Autograd keeps the tensor itself for the backward pass, not what was read, so that backward reads again. No hooks and no
state of a module are involved: an exception leaves nothing behind, tied weights are one object, and weights that one module
uses of another are read all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._pytree import tree_leaves, tree_map_only

from lxtlike.errors import LxtlikeError

Read = Callable[[Tensor | None], Tensor]
"""Reads the numbers, of some rows (indices into the first dimension, [R], int64, on the CPU) or of all (None)."""

_aten = torch.ops.aten
_ROW_BY_ROW = (_aten.alias.default, _aten.detach.default, _aten.clone.default, _aten._to_copy.default)
_ARRANGING = (_aten._to_copy.default, _aten._unsafe_view.default, _aten.cat.default, _aten.stack.default)


class Stored(Tensor):
    """A weight that stays in its file.

    What is made of such weights alone by views, casts, joining or numbers is one as well: it is worked out at every use.
    """

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, like: Tensor, device: torch.device, read: Read) -> Stored:
        return Tensor._make_wrapper_subclass(cls, like.shape, strides=like.stride(), dtype=like.dtype, device=device)

    def __init__(self, like: Tensor, device: torch.device, read: Read) -> None:
        """A tensor of the shape, strides and dtype of `like` (which may be a meta tensor), used on `device`."""
        self._read = read

    def read(self, rows: Tensor | None = None) -> Tensor:
        """The numbers, as a tensor of its own: all, or some rows.

        Raises:
            LxtlikeError: the weight was moved or converted after loading, or its file was changed.
        """
        found = self._read(rows).to(self.device)
        if found.dtype != self.dtype or found.shape[1:] != self.shape[1:]:
            raise LxtlikeError(
                "a streamed model cannot be converted after loading: name its dtype and device when it is loaded"
            )
        return found

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: OpOverload, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is _aten.embedding.default and isinstance(args[0], cls) and not isinstance(args[1], cls):
            return _looked_up(func, *args)
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if func._schema.is_mutable and isinstance(args[0], cls):
            raise LxtlikeError(
                f"a streamed weight cannot be changed in place ({func}): load the model without device_map='stream'"
            )
        if _is_of_weights(func) and all(isinstance(tensor, cls) for tensor in given):
            return _later(func, args, kwargs)
        return _run(func, args, kwargs)

    def tolist(self) -> Any:
        """The numbers, as lists: the one way of using them that is no operation."""
        return self.read().tolist()

    def __deepcopy__(self, memo: dict[int, Any]) -> Stored:
        copied = memo[id(self)] = torch.nn.Parameter(self.detach(), self.requires_grad)
        return copied  # type: ignore[return-value]

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"Stored(shape={tuple(self.shape)}, dtype={self.dtype}, device={self.device})"


def _is_of_weights(func: OpOverload) -> bool:
    return func.is_view or torch.Tag.pointwise in func.tags or func in _ARRANGING


def _run(func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    read_args, read_kwargs = tree_map_only(Stored, lambda weight: weight.read(), (args, kwargs))
    return func(*read_args, **read_kwargs)


def _looked_up(func: OpOverload, weight: Stored, indices: Tensor, *options: Any) -> Tensor:
    """Rows of a table, of which only these are read."""
    rows, places = torch.unique(indices, return_inverse=True)
    if len(rows) and not 0 <= int(rows[0]) <= int(rows[-1]) < len(weight):
        raise IndexError("index out of range in self")
    found: Tensor = func(weight.read(rows.cpu()), places, *options)
    return found


def _later(func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What an operation makes of stored tensors, as stored tensors."""

    def shaped(weight: Stored) -> Tensor:
        return torch.empty_strided(weight.shape, weight.stride(), dtype=weight.dtype, device="meta")

    first = next(leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Stored))
    options = tree_map_only(Stored, shaped, kwargs) | ({"device": "meta"} if "device" in kwargs else {})
    like = func(*tree_map_only(Stored, shaped, args), **options)
    device = kwargs.get("device") or first.device

    def read(rows: Tensor | None) -> Any:
        if rows is not None and func in _ROW_BY_ROW:
            return func(args[0].read(rows), *args[1:], **kwargs)
        found = _run(func, args, kwargs)
        return found if rows is None else found[rows]

    if isinstance(like, Tensor):
        return Stored(like, device, read)
    return type(like)(Stored(part, device, _part(read, number)) for number, part in enumerate(like))


def _part(read: Read, number: int) -> Read:
    return lambda rows: read(None)[number] if rows is None else read(None)[number][rows]
