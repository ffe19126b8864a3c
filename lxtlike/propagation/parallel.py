"""Tensor parallelism: several processes compute one forward pass together, each with a part of the weights.

Between a layer that is split by its outputs and the next one, split by its inputs, every process has features or heads of
its own. There a coefficient is that process's part, and what an operation absorbs is a part of what it absorbs in one process:
the sum over the processes. Everywhere else all of them compute the same. The graph tells where a tensor stands: few autograd
Functions lead from one to the other. DTensors know their own layout.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lxtlike.errors import InputError
from lxtlike.propagation.walk import weights

Group = Any
"""A `torch.distributed.ProcessGroup`."""

_GROUPS = "lxtlike.groups"

_ELSE = "load it with DistributedConfig(tp_size=...) alone, with FSDP or with device_map='auto'"
_STYLES = {"sequence_parallel": "a part of the positions", "mla_kv_a_proj": "a part of the coefficients"}
"""Styles of tensor parallelism whose tensors are neither whole nor split as described above."""


def is_parallel(model: nn.Module) -> bool:
    """Whether the layers of a model are split over processes. With FSDP they are not: it gathers them for their forward.

    Raises:
        InputError: they are split in a way in which accounts or relevance would be wrong.
    """
    config = getattr(getattr(model, "config", None), "distributed_config", None)
    for name, size in (("expert", "ep_size"), ("pipeline", "pp_size")):
        if (getattr(config, size, None) or 1) > 1:
            raise InputError(f"a model under {name} parallelism cannot be explained: {_ELSE}")
    if (getattr(model, "_tp_size", None) or 1) > 1:
        if "transformers.distributed.tensor_parallel" not in sys.modules:
            raise InputError(f"tensor parallelism of this version of transformers is not known: update it, or {_ELSE}")
        for style in (getattr(model, "_tp_plan", None) or {}).values():
            if style in _STYLES:
                raise InputError(
                    f"under tensor parallelism in the style {style} each process has {_STYLES[style]}, which cannot be "
                    "explained: load the model with FSDP or with device_map='auto'"
                )
        return True
    if not shares_weights(model):
        return False
    return all(cls.__name__ != "FSDPModule" for module in model.modules() for cls in type(module).__mro__)


def check_undivided(model: nn.Module, what: str) -> None:
    """Raise InputError where the layers of a model are split over processes: for what reads inside of them."""
    if is_parallel(model):
        raise InputError(
            f"{what} inside of the model's layers, which are split over several processes (tensor parallelism): load the model "
            "with FSDP or with device_map='auto'"
        )


def groups_of(t: Tensor) -> tuple[Group, ...]:
    """The groups of processes each of which has a part of a tensor or of its coefficient; none where all have the same.

    Nodes of the graph remember the answer, so that a forward pass is walked through once.
    """
    if t.grad_fn is None or is_distributed(t):
        return ()
    waiting: list[Any] = [t.grad_fn]
    while waiting:
        node = waiting[-1]
        found = _boundary(node) if _remembered(node) is None else _remembered(node)
        if found is None:
            parents = [parent for parent, _ in node.next_functions if parent is not None]
            if unknown := [parent for parent in parents if _remembered(parent) is None]:
                waiting.extend(unknown)
                continue
            found = tuple(dict.fromkeys(group for parent in parents for group in _remembered(parent) or ()))
        node.metadata[_GROUPS] = found
        waiting.pop()
    return _remembered(t.grad_fn) or ()


def _remembered(node: Any) -> tuple[Group, ...] | None:
    """What a node remembers; None if it was not walked through yet."""
    found: tuple[Group, ...] | None = node.metadata.get(_GROUPS)
    return found


def _boundary(node: Any) -> tuple[Group, ...] | None:
    """The groups behind a node by which a tensor becomes each process's own, or the same for all; None for other nodes."""
    function = getattr(type(node), "_forward_cls", None)
    name = f"{getattr(function, '__module__', '')}.{getattr(function, '__name__', '')}"
    if name == "torch.distributed.tensor._api._ToTorchTensor":
        mesh, placements = node.dtensor_spec.mesh, node.dtensor_spec.placements
        pairs = enumerate(zip(placements, node.grad_placements or placements, strict=True))
        return tuple(mesh.get_group(dim) for dim, pair in pairs if not all(p.is_replicate() for p in pair))
    if name == "transformers.distributed.parallel_utils._AllReduceBackward":
        return (node.process_group,)
    return () if name == "transformers.distributed.parallel_utils._AllReduceForward" else None


def summed(t: Tensor, groups: tuple[Group, ...]) -> Tensor:
    """The sum over all processes; `t` itself without groups."""
    for group in groups:
        t = t.clone()
        dist.all_reduce(t, group=group)
    return t


def gathered(t: Tensor, groups: tuple[Group, ...], dim: int) -> Tensor:
    """What all processes have, of equal shapes, in order along a dimension; `t` itself without groups."""
    for group in groups:
        parts = [torch.empty_like(t) for _ in range(dist.get_world_size(group))]
        dist.all_gather(parts, t.contiguous(), group=group)
        t = torch.cat(parts, dim)
    return t


def shares_weights(model: nn.Module) -> bool:
    """Whether several processes hold a model together, by FSDP or tensor parallelism, and so must do the same."""
    return any(is_distributed(parameter) for parameter in weights(model))


def agreed(number: int, model: nn.Module) -> int:
    """The least of what the processes say that share a model, so that all decide alike; of one process, what it says."""
    if not shares_weights(model):
        return number
    mesh: Any = next(p.device_mesh for p in model.parameters() if is_distributed(p))  # type: ignore[attr-defined]
    least = torch.tensor(number, device=mesh.device_type)
    for dim in range(mesh.ndim):
        dist.all_reduce(least, dist.ReduceOp.MIN, mesh.get_group(dim))
    return int(least)


def whole(t: Tensor) -> Tensor:
    """All of a DTensor, as a plain tensor; a plain one as it is."""
    if is_distributed(t):
        t = t.full_tensor()  # type: ignore[attr-defined]
    return t


def is_distributed(t: Tensor) -> bool:
    """Whether this is a DTensor."""
    return hasattr(t, "full_tensor")
