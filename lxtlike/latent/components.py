"""What there is inside a model to ask about: the output or input of a module, layers, attention heads, neurons, experts."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from lxtlike.errors import InputError

Numbers = int | Iterable[int] | None
"""One number, several, or None for all."""


@dataclass(frozen=True)
class Component:
    """A kind of place in a model, perhaps narrowed down to some layers, units and positions; made by the functions below.

    Attributes:
        kind: ``outputs``, ``inputs``, ``layers``, ``heads``, ``neurons`` or ``experts``.
        module: of outputs and inputs: the module's name, with wildcards that stay between two dots.
        layer: numbers of layers, from 0 in the order in which they run; None for all.
        units: numbers of features, heads, neurons or experts, from 0; None for all.
        positions: of tokens, from 0, or from the end if negative; None for all.
    """

    kind: str
    module: str | None = None
    layer: tuple[int, ...] | None = None
    units: tuple[int, ...] | None = None
    positions: tuple[int, ...] | None = None

    def __str__(self) -> str:
        of = {"layer": self.layer, _UNITS[self.kind]: self.units, "position": self.positions}
        parts = [f"{name} {', '.join(map(str, numbers))}" for name, numbers in of.items() if numbers is not None]
        return " ".join(
            [self.kind, *([f"of {self.module}"] if self.module else []), *([f"({'; '.join(parts)})"] * bool(parts))]
        )

    @property
    def together(self) -> bool:
        """Whether its units are features of one vector, which are patched together."""
        return self.kind in ("outputs", "inputs", "layers")


Components = Component | str | Sequence["Component | str"]
"""One or several; a string is the name of modules whose output is meant."""

_UNITS = {
    "outputs": "feature",
    "inputs": "feature",
    "layers": "feature",
    "heads": "head",
    "neurons": "neuron",
    "experts": "expert",
}


def outputs(module: str, feature: Numbers = None, position: Numbers = None) -> Component:
    """What modules put out, ``outputs("model.layers.*.mlp")``; of several tensors the first."""
    return Component("outputs", module, None, _natural("feature", feature), _numbers(position))


def inputs(module: str, feature: Numbers = None, position: Numbers = None) -> Component:
    """What modules are given, ``inputs("model.layers.*")``; of several tensors the first."""
    return Component("inputs", module, None, _natural("feature", feature), _numbers(position))


def layers(layer: Numbers = None, feature: Numbers = None, position: Numbers = None) -> Component:
    """The hidden state behind layers; layer 0 is the first."""
    return Component("layers", None, _natural("layer", layer), _natural("feature", feature), _numbers(position))


def heads(layer: Numbers = None, head: Numbers = None, position: Numbers = None) -> Component:
    """What attention heads put out, before the output projection mixes them; numbered as in `Attribution.heads`."""
    return Component("heads", None, _natural("layer", layer), _natural("head", head), _numbers(position))


def neurons(layer: Numbers = None, neuron: Numbers = None, position: Numbers = None) -> Component:
    """Neurons of MLPs: the input of a linear layer that reads what an activation function puts out, gated or not."""
    return Component("neurons", None, _natural("layer", layer), _natural("neuron", neuron), _numbers(position))


def experts(layer: Numbers = None, expert: Numbers = None, position: Numbers = None) -> Component:
    """What the experts of a mixture put out, each times its router's weight."""
    return Component("experts", None, _natural("layer", layer), _natural("expert", expert), _numbers(position))


def listed(components: Components) -> tuple[Component, ...]:
    """One component or several as a tuple."""
    several: list[Any] = list(components) if isinstance(components, (list, tuple)) else [components]
    if not several:
        raise InputError("no component is named: give one, such as latent.heads() or a module's name")
    for one in several:
        if not isinstance(one, (Component, str)):
            raise InputError(f"a component is a module's name or made by latent.heads() and the like, not {one!r}")
    return tuple(outputs(one) if isinstance(one, str) else one for one in several)


def matching(model: nn.Module, pattern: str) -> dict[str, nn.Module]:
    """The modules whose names match a pattern, part by part.

    Raises:
        InputError: there is none; the nearest name is told.
    """
    parts = pattern.split(".")
    named = dict(model.named_modules(remove_duplicate=False))
    found = {
        name: module
        for name, module in named.items()
        if name and len(own := name.split(".")) == len(parts) and all(map(fnmatchcase, own, parts))
    }
    if not found:
        near = difflib.get_close_matches(pattern, list(named), 1, cutoff=0.0)
        raise InputError(f"{type(model).__name__} has no module {pattern!r}; did you mean {near[0] if near else ''!r}?")
    return found


def _numbers(given: Numbers) -> tuple[int, ...] | None:
    if given is None:
        return None
    numbers = (given,) if isinstance(given, int) else tuple(given)
    if not numbers or not all(type(number) is int for number in numbers):
        raise InputError(f"a number, or several in a list, is needed, not {given!r}")
    return numbers


def _natural(name: str, given: Numbers) -> tuple[int, ...] | None:
    numbers = _numbers(given)
    if numbers is not None and min(numbers) < 0:
        raise InputError(f"{name} {min(numbers)} does not exist: they are numbered from 0")
    return numbers
