"""The last layer, run only for the queries that the target reads: what it makes at other positions goes nowhere.

As in generation: it is called for all positions until it hands their keys and values to a cache, and then for the wanted
positions, which find them there. All else in a layer is position by position, and is spared elsewhere in both passes.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from lxtlike.propagation.recompute import marked
from lxtlike.propagation.surroundings import forwarded, watched
from lxtlike.rules.call import tensors, transform
from lxtlike.rules.primitives import wide

_AXES = {
    "hidden_states": 1,
    "attention_mask": -2,
    "position_embeddings": -2,
    "position_ids": -1,
    "cache_position": -1,
}
"""What a layer is given for each of its queries, and along which axis. A layer that is given other tensors is left alone."""

_CACHES = ("past_key_values", "layer_past")
"""How layers call the cache that they are given."""

_right: MutableMapping[nn.Module, dict[bool, bool]] = WeakKeyDictionary()
"""Layers that were tried -> for the last queries of a text, and for others: whether the model's output was what it is without.

A matter of their code: once tells for all. The last queries are what a cache is made for; a layer may know of no others.
"""


class OtherQueries(Exception):  # noqa: N818 - no error: how an attempt is left
    """The target reads other positions than those for which the last layer ran."""


class Queried:
    """What became of the last layer in a `queried` block.

    Attributes:
        layer: the last layer of the model; None if it has none that can be told.
        positions: of the wanted queries.
        last: whether these are the last ones of the text.
        narrowed: whether it ran for these only.
        again: whether it ran once more in the same forward pass, and so was not the last one.
    """

    def __init__(self, layer: nn.Module | None, positions: Sequence[int]) -> None:
        self.layer = layer
        self.positions = positions
        self.last = self.narrowed = self.again = False

    def check(self, rows: Tensor, plain: Callable[[], Tensor]) -> None:
        """Raise OtherQueries unless the rows of logits that came out are the model's own.

        Args:
            plain: the model's forward and what is read of it, to be compared with a layer that was not tried before.
        """
        if self.layer is None or not self.narrowed:
            return
        known = _right.setdefault(self.layer, {})
        if self.again or self.last not in known:
            with torch.no_grad():
                whole = wide(plain())
            difference = (whole - wide(rows)).abs().max()
            rounding = torch.finfo(rows.dtype).eps ** 0.5 * whole.abs().max()
            known[self.last] = not self.again and bool(difference <= rounding)
        if not known[self.last]:
            raise OtherQueries

    def _arrives(self, coefficient: Tensor) -> None:
        """Raise OtherQueries when the target reads positions of the last layer's output for which it did not run.

        What is right of one text need not be of the next: which position a model reads may depend on the text.
        """
        if bool(coefficient.index_fill(1, self._index(coefficient), 0).any()):
            raise OtherQueries

    def run(self, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """The layer's forward; zeros come out at the positions that are not wanted."""
        given, cache = _by_name(forward, args, kwargs), _Cache()
        hidden = given.get("hidden_states")
        if not isinstance(hidden, Tensor) or not hidden.requires_grad:
            return forward(*args, **kwargs)
        self.again |= self.narrowed
        name = next((name for name in _CACHES if name in given), None)
        narrow = None if self.again or name is None else self._narrow(given, hidden.shape[1])
        if name is None or narrow is None:
            return forward(*args, **kwargs)
        try:
            try:
                return forward(**{**given, name: cache})  # to its end, where it has no use for a cache
            except _Handed:
                output = forward(**{**narrow, name: cache})
        except Exception:  # noqa: BLE001 - whatever a layer raises that wants another cache, or other arguments with it
            return forward(*args, **kwargs)
        self.narrowed = True
        return transform(output, lambda t: self._placed(t, hidden))

    def _placed(self, output: Tensor, hidden: Tensor) -> Tensor:
        """A state [B, Q, D] among zeros [B, T, D]; all else (attention weights) as it is."""
        if output.dim() != 3 or output.shape[1] != len(self.positions):
            return output
        with torch._C.DisableTorchFunction():  # no operation of the model: zeros absorb nothing
            whole = output.new_zeros(len(output), hidden.shape[1], output.shape[2])
            whole = whole.index_copy(1, self._index(output), output)
            if whole.requires_grad:
                whole.register_hook(self._arrives)  # type: ignore[no-untyped-call]
            return whole

    def _narrow(self, given: dict[str, Any], length: int) -> dict[str, Any] | None:
        """What the layer is given, for the wanted queries only; None if that cannot be told."""
        mask, causal = given.get("attention_mask"), self._causal()
        others = [name for name, value in given.items() if name not in _AXES and tensors(value)]
        shaped = given["hidden_states"].dim() == 3 and (mask is None or (isinstance(mask, Tensor) and mask.dim() == 4))
        if causal is None or others or not shaped or any(given.get(name) is not None for name in _CACHES):
            return None
        if not max(self.positions) < length > 2 * len(self.positions):
            return None
        self.last = self.positions == list(range(length - len(self.positions), length))
        if not self._hopeful():
            return None
        if mask is None and causal and self.positions != [length - 1]:
            columns = torch.arange(length, device=given["hidden_states"].device)
            mask = columns <= self._index(columns)[:, None]
            given = {**given, "attention_mask": mask[None, None]}
        return {
            name: transform(value, lambda t, name=name: self._rows(t, _AXES[name], length))  # type: ignore[misc]
            for name, value in given.items()
        }

    def _causal(self) -> bool | None:
        """Whether the layer's attention looks back only where it is given no mask; None if that cannot be told."""
        assert self.layer is not None
        attention = [module for module in self.layer.modules() if hasattr(module, "is_causal")]
        kinds = {getattr(getattr(module, "config", None), "_attn_implementation", None) for module in attention}
        if not kinds or not kinds <= {"sdpa", "eager"}:
            return None
        return "sdpa" in kinds and any(module.is_causal for module in attention)

    def _hopeful(self) -> bool:
        """Whether such queries have not been wrong, and need not be: a mask of the layer's own is cut to its end (GPT-Neo)."""
        assert self.layer is not None
        masked = any(t.dim() > 1 and t.shape[-1] == t.shape[-2] for t in self.layer.buffers())
        return (self.last or not masked) and _right.get(self.layer, {}).get(self.last, True)

    def _rows(self, t: Tensor, axis: int, length: int) -> Tensor:
        return t.index_select(axis, self._index(t)) if t.shape[axis] == length else t

    def _index(self, t: Tensor) -> Tensor:
        return torch.tensor(self.positions, device=t.device)


def _by_name(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a call, defaults included, by their names; empty if some have none."""
    signature = inspect.signature(function)
    kinds = {parameter.kind: name for name, parameter in signature.parameters.items()}
    if inspect.Parameter.VAR_POSITIONAL in kinds or inspect.Parameter.POSITIONAL_ONLY in kinds:
        return {}
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    named = dict(bound.arguments)
    others = named.pop(kinds.get(inspect.Parameter.VAR_KEYWORD, ""), {})
    return {**named, **others}


class _Handed(Exception):  # noqa: N818 - no error: how a layer is left
    """Keys and values of all positions have been handed over."""


class _Cache:
    """What a layer takes for transformers' `Cache`: keeps what it is handed first, and hands it out from then on."""

    def __init__(self) -> None:
        self.held: tuple[Tensor, Tensor] | None = None

    def update(self, keys: Tensor, values: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        if self.held is None:
            self.held = keys, values
            raise _Handed
        return self.held


@contextmanager
def queried(model: nn.Module, positions: Sequence[int] | None) -> Iterator[Queried]:
    """Within the block, the model's last layer runs only for the queries at `positions` where that can be done.

    It can be where the layer is one that transformers can call with a cache, and nobody's hooks watch it. Its output
    elsewhere is zero, so the model's output is right only if it depends on no other position: see `Queried.check`.

    Args:
        positions: of the tokens whose output is read, in ascending order; None leaves the model as it is.
    """
    layer = None if positions is None else next(reversed(list(marked(model))), None)
    if layer is not None and watched(layer):
        layer = None
    state, owner = Queried(layer, list(positions or ())), threading.get_ident()
    if layer is None:
        yield state
        return
    with forwarded(layer, state.run, lambda: threading.get_ident() == owner):
        yield state
