"""Relevance by layer: measured wherever a tensor is used in another layer than the one that made it.

It does not matter how the tensor got there (argument, keyword, tuple, cache, closure): its first use in a layer goes through
a copy, and the coefficient of this copy is what the layer's own use of the tensor passes on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from lxtlike.ledger import Layer, LayerLedger
from lxtlike.propagation.book import ARRIVES, CROSSINGS, PASSES, AccountBook
from lxtlike.rules.call import Activated, tensors, transform
from lxtlike.rules.primitives import wide

BEFORE, BETWEEN, BEHIND = "(before)", "(between)", "(behind)"
"""What places outside of all layers are called."""

_INPUT = -1


def layers_of(model: nn.Module) -> dict[str, nn.Module]:
    """The repeated blocks: members of the model's outermost `ModuleList`s, else `Sequential`s, else its own children."""
    for kind in (nn.ModuleList, nn.Sequential):
        found = dict(_members(model, kind, "", isinstance(model, kind)))
        if found:
            return found
    return dict(model.named_children())


def _members(module: nn.Module, kind: type[nn.Module], path: str, inside: bool) -> Iterator[tuple[str, nn.Module]]:
    for name, child in module.named_children():
        if inside and not isinstance(child, kind):
            yield path + name, child
        else:
            yield from _members(child, kind, f"{path}{name}.", isinstance(child, kind))


class Layers:
    """Which place of the model the forward is at, and what crosses from place to place.

    Attributes:
        places: the names of the places, in the order in which they ran; `AccountBook.place` is an index into it.
    """

    def __init__(self, book: AccountBook, activated: MutableMapping[Tensor, Activated]) -> None:
        self.book = book
        self.places: list[str] = []
        self._activated = activated
        self._calls: Counter[str] = Counter()
        self._origins: MutableMapping[Tensor, int] = WeakTensorKeyDictionary()
        self._copies: MutableMapping[Tensor, tuple[int, Tensor]] = WeakTensorKeyDictionary()

    def begin(self, *inputs: Any) -> None:
        """The model's forward starts, with these arguments."""
        self._calls.clear()
        self._open(BEFORE)
        for t in tensors(*inputs):
            if t.requires_grad:
                self._origins[t] = _INPUT

    @contextmanager
    def within(self, name: str) -> Iterator[None]:
        """The forward of a layer runs in the block."""
        before = self.book.place
        self._calls[name] += 1
        self._open(name if self._calls[name] == 1 else f"{name} ({self._calls[name]})")
        try:
            yield
        finally:
            if self.places[before] in (BEFORE, BETWEEN):
                self._open(BETWEEN)
            else:
                self.book.place = before
                self._copies.clear()

    def end(self, outputs: Any) -> Any:
        """The model's forward ends; its outputs, of which every use is watched."""
        if self.places[-1] == BETWEEN:
            self.places[-1] = BEHIND
        self.book.place = _INPUT  # what the target keeps is no layer's
        if isinstance(outputs, dict):
            outputs = copy(outputs)  # it may be the model's own
            for key, value in outputs.items():
                outputs[key] = transform(value, self._leaving)
            return outputs
        return transform(outputs, self._leaving)

    def receive(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], changed: Tensor | None = None
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arguments of an operation, with copies in place of the tensors that come from elsewhere.

        Args:
            changed: the argument that the operation changes in place: it stays itself, overwritten with its copy.
        """
        if not torch.is_grad_enabled():
            return args, dict(kwargs)
        if changed is not None and changed.requires_grad and self._origin(changed) != self.book.place:
            changed.copy_(self._copy(changed))
            self._origins[changed] = self.book.place
        return (
            tuple(transform(value, self._own) for value in args),
            {key: transform(value, self._own) for key, value in kwargs.items()},
        )

    def made(self, result: Any) -> Any:
        """`result`, remembered as made here."""
        for t in tensors(result):
            if t.requires_grad:
                self._origins[t] = self.book.place
        return result

    def ledger(self, item: int | None = None) -> LayerLedger:
        """What came to every place in the latest backward pass, and where it went."""
        rows = []
        for place, amounts in self.book.places(item).items():
            if place != _INPUT:
                arrives, passes = (amounts.pop(crossing, 0.0) for crossing in CROSSINGS)
                rows.append(Layer(self.places[place], arrives, passes, amounts))
        return LayerLedger(tuple(rows))

    def _open(self, name: str) -> None:
        self.book.place = len(self.places)
        self.places.append(name)
        self._copies.clear()

    def _origin(self, t: Tensor) -> int:
        return self._origins.get(t, _INPUT if t.is_leaf else self.book.place)

    def _own(self, t: Tensor) -> Tensor:
        return self._copy(t) if t.requires_grad and self._origin(t) != self.book.place else t

    def _copy(self, t: Tensor) -> Tensor:
        here, version = self.book.place, t._version
        known = self._copies.get(t)
        if known is not None and known[0] == version:
            return known[1]
        own = t.clone()
        self._measure(own, (here, PASSES), (self._origin(t), ARRIVES))
        self._origins[own] = here
        self._copies[t] = version, own
        remembered = self._activated.get(t)
        if remembered is not None and remembered.holds(t):
            self._activated[own] = replace(remembered, output_version=own._version)
        return own

    def _leaving(self, t: Tensor) -> Tensor:
        if not t.requires_grad:
            return t
        own = t.clone()  # unlike `t` itself, not used inside the model
        self._measure(own, (self._origins.get(t, len(self.places) - 1), ARRIVES))
        return own

    def _measure(self, t: Tensor, *entries: tuple[int, str]) -> None:
        value = t.detach().clone()  # the model may change what it gets

        def measure(c: Tensor) -> Tensor:
            return (value * c.conj()).real if value.is_complex() else wide(value) * wide(c)

        self.book.watch(t, measure, *entries)
