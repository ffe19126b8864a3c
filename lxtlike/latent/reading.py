"""Relevance of components for one text, and relevance of tokens by way of components."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lxtlike.attribution import Attribution
from lxtlike.errors import InputError
from lxtlike.explainer import Explainer
from lxtlike.latent.components import Components, listed
from lxtlike.latent.probe import Probe
from lxtlike.rules.primitives import wide


class Unit(NamedTuple):
    """One unit (feature, head, neuron, expert) of a component at one token, with its relevance and its activation."""

    name: str
    unit: int
    position: int
    token: str
    relevance: float
    activation: float


@dataclass(frozen=True, eq=False, repr=False)
class Reading:
    """What one explanation says of components.

    Attributes:
        attribution: the explanation of the text itself.
        relevance: name of the place (a module, or such as ``model.layers.1 heads``) -> float32 [T, U], of each unit at each
            token; in the order in which the places ran.
        activation: the same of their values: of heads and experts, vectors, their lengths.
    """

    attribution: Attribution
    relevance: Mapping[str, NDArray[np.float32]]
    activation: Mapping[str, NDArray[np.float32]]

    def top(self, n: int = 10) -> list[Unit]:
        """The `n` units of largest absolute relevance, each at its token."""
        found = sorted(self._strongest(n), key=lambda unit: -abs(unit.relevance))
        return found[: max(n, 0)]

    def _strongest(self, n: int) -> Iterator[Unit]:
        tokens = self.attribution.tokens
        for name, values in self.relevance.items():
            for place in np.argsort(-np.abs(values), axis=None)[: max(n, 0)]:
                position, unit = map(int, np.unravel_index(place, values.shape))
                token = tokens[position].token if len(values) == len(tokens) else ""
                activation = float(self.activation[name][position, unit])
                yield Unit(name, unit, position, token, float(values[position, unit]), activation)

    def __repr__(self) -> str:
        rows = [f"{u.relevance:+.4g}  {u.name} {u.unit} at {u.token!r} #{u.position}" for u in self.top()]
        return "\n".join([f"{self.attribution.target.token!r} = {self.attribution.target.value:.4g}", *rows])


def relevance(
    explainer: Explainer, text: Any, components: Components, *, through: Components | None = None, **options: Any
) -> Reading:
    """Explain a text and read the relevance of components of the model, ``R = h c`` of every value h of theirs.

    Units and positions that a component does not name are 0.

    Args:
        explainer: its model and composite are used; it stays as it is.
        text: as for `Explainer.explain`, but one text only.
        through: as in `conditional`.
        options: target, contrast, objective, completion and all else that `Explainer.explain` takes.

    Raises:
        InputError: no such component, or what `Explainer.explain` raises.
    """
    asked = listed(components)
    probe = Probe(explainer, asked, () if through is None else listed(through))
    attribution = _one(probe.explain(text, **options))
    shared = attribution.target.positions[0] if attribution.target.positions else len(attribution.tokens)
    relevances: dict[str, NDArray[np.float32]] = {}
    activations: dict[str, NDArray[np.float32]] = {}
    for number, seen in enumerate(probe.seen):
        if seen.site.component not in asked:
            continue
        chosen = seen.site.selected()
        activation = seen.site.sizes(wide(seen.value.detach()))
        for found_so_far, own in (
            (relevances, seen.site.by_unit(probe.relevance(number))),
            (activations, activation[:1]),
        ):
            values, before = _together(own * chosen, shared), found_so_far.get(seen.site.name)
            found_so_far[seen.site.name] = values if before is None else np.where(before, before, values)
    return Reading(attribution, relevances, activations)


def conditional(explainer: Explainer, text: Any, through: Components, **options: Any) -> Attribution:
    """Explain a text by what flows through components only.

    The relevance that arrives at the chosen units and positions goes on to the tokens, all else stops there: the ledger's
    account ``masked`` holds it. Several components are conditions one behind the other: only what flows through all of
    them counts. What flows through the parts of a whole (all heads of an attention, all positions behind a layer) adds up
    to what flows through the whole.

    Args:
        explainer: its model and composite are used; it stays as it is.
        text: as for `Explainer.explain`, but one text only.
        through: each at one place, such as ``latent.heads(1, 0)``.
        options: target, contrast, objective, completion and all else that `Explainer.explain` takes.

    Raises:
        InputError: no such component, one at several places, one that nothing flows through.
    """
    return _one(Probe(explainer, (), listed(through)).explain(text, **options))


def _one(found: Any) -> Attribution:
    if not isinstance(found, Attribution):
        raise InputError("components are looked at in one text at a time: give one, not a list")
    return found


def _together(values: Tensor, shared: int) -> NDArray[np.float32]:
    """Of a text [B, T, U]; what a second continuation adds counts in the prompt that it shares with the first."""
    total = values[0].clone()
    for other in values[1:]:
        total[:shared] += other[:shared]
    array: NDArray[np.float32] = total.float().cpu().numpy()
    return array
