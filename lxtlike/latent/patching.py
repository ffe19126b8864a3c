"""What changes when a component does what it does on another text: estimated by relevance, or tried out.

Relevance patching (RelP, 2508.21258) multiplies the difference of the two activations by the component's LRP coefficient;
with plain gradients for coefficients it is attribution patching. Activation patching runs the model for every place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lxtlike.errors import InputError
from lxtlike.explainer import Explainer
from lxtlike.feeding import model_inputs
from lxtlike.latent.ablation import forward_sites
from lxtlike.latent.components import Component, Components, listed
from lxtlike.latent.probe import Probe
from lxtlike.latent.sites import Site
from lxtlike.latent.visits import Visit, visited
from lxtlike.propagation.book import AccountBook
from lxtlike.propagation.surroundings import frozen, owned
from lxtlike.rules.primitives import wide
from lxtlike.targets import Chosen, Target, resolve, values
from lxtlike.text import Encoded, Token


@dataclass(frozen=True, eq=False, repr=False)
class Effects:
    """By how much the target of a text changes when a component does there what it does on another text.

    Attributes:
        tokens: of the text [T].
        value: the target's, unchanged.
        effects: name of the place -> float32 [T, U], of each head or neuron at each token; of outputs, inputs and layers
            [T, 1], of all features together.
    """

    tokens: tuple[Token, ...]
    value: float
    effects: Mapping[str, NDArray[np.float32]]

    def top(self, n: int = 10) -> list[tuple[str, int, int, float]]:
        """The `n` largest effects, of either sign: name of the place, position, unit, effect."""
        found = [
            (name, int(position), int(unit), float(array[position, unit]))
            for name, array in self.effects.items()
            for position, unit in np.ndindex(*array.shape)
        ]
        return sorted(found, key=lambda entry: -abs(entry[-1]))[: max(n, 0)]

    def __repr__(self) -> str:
        rows = [f"{e:+.4g}  {name} {u} at {self.tokens[p].token!r} #{p}" for name, p, u, e in self.top()]
        return "\n".join([f"{self.value:.4g}, and when patched:", *rows])


def relevance_patching(explainer: Explainer, text: str, other: str, components: Components, **options: Any) -> Effects:
    """Estimate all effects by two forward passes and one backward pass: ``(h_other - h) c``, c the coefficient on `text`.

    Noising patches a corrupt text into a clean one (`text` is the clean one), denoising a clean one into a corrupt one.
    The explainer's composite should be ``relp``; with ``input-x-gradient`` this is attribution patching.

    Args:
        explainer: its model and composite are used; it stays as it is.
        other: as many tokens as `text`.
        options: target, contrast (tokens or labels), objective and all else that `Explainer.explain` takes.

    Raises:
        InputError: the texts have different numbers of tokens, no such component, experts.
    """
    asked = _patchable(components)
    probe = Probe(explainer, asked)
    attribution = probe.explain(text, **options)
    others = _matched(
        [seen.site for seen in probe.seen], forward_sites(explainer, explainer._encode(other, False, None), asked)
    )
    effects: dict[str, NDArray[np.float32]] = {}
    for number, seen in enumerate(probe.seen):
        site = seen.site
        difference = wide(others[site.key].tensor) - wide(seen.value.detach())
        effect = site.by_unit(probe.relevance(number, difference)) * site.selected()
        effects[site.name] = _array(effect[0].sum(-1, keepdim=True) if site.component.together else effect[0])
    return Effects(attribution.tokens, attribution.target.value, effects)


def activation_patching(
    explainer: Explainer,
    text: str,
    other: str,
    components: Components,
    target: str | int | None = None,
    *,
    contrast: str | int | None = None,
    objective: str = "logit",
    position: int | None = None,
    batch_size: int = 64,
) -> Effects:
    """Measure all effects: a run of the model for each unit at each token, `batch_size` of them in one forward pass.

    Where a unit has the same value on both texts its effect is 0, without a run.

    Args:
        other: as many tokens as `text`.
        target, contrast, objective, position: as for `Explainer.explain`, but one token or label each.

    Raises:
        InputError: the texts have different numbers of tokens, no such component, experts.
    """
    asked = _patchable(components)
    encoded = explainer._encode(text, False, None)
    run = _Copies(explainer, encoded, Target(target, contrast, objective, position))
    own = forward_sites(explainer, encoded, asked)
    others = _matched(own, forward_sites(explainer, explainer._encode(other, False, None), asked))
    places = [(site, *place) for site in own for place in _places(site, others[site.key])]
    effects = {site.name: np.zeros(_size(site), np.float32) for site in own}
    step = max(1, batch_size) if explainer._reading.pads else 1
    for start in range(0, len(places), step):
        batch = places[start : start + step]

        def patch(site: Site, batch: list[tuple[Site, int, int | None]] = batch) -> Tensor:
            here = [(item, *place) for item, (there, *place) in enumerate(batch) if there.key == site.key]
            if not here:
                return site.tensor
            source, changed = others[site.key], site.shaped(site.tensor).clone()
            for item, position, unit in here:
                units = slice(None) if unit is None else unit
                changed[item, position, units] = source.shaped(source.tensor)[0, position, units]
            return site.as_made(changed)

        changes = run(len(batch), asked, patch) - run.value
        for (site, position, unit), change in zip(batch, changes.tolist(), strict=True):
            effects[site.name][position, unit or 0] = change
    return Effects(encoded.tokens, run.value, effects)


class _Copies:
    """Runs of copies of one text, each perhaps changed, that measure one target.

    Attributes:
        value: the target's on the text itself.
    """

    def __init__(self, explainer: Explainer, encoded: Encoded, target: Target) -> None:
        self.explainer, self.encoded = explainer, encoded
        self.place = explainer._reading.place(encoded, target.position)
        self.chosen: Chosen | None = None
        row = self._rows(1)
        self.chosen = resolve(target, row[0], explainer._reading.choices(encoded))
        self.value = float(values(row, [self.chosen], AccountBook())[0])

    def __call__(self, count: int, components: tuple[Component, ...], visit: Visit) -> Tensor:
        """The target [N] of so many copies, whose components are visited."""
        assert self.chosen is not None
        with visited(self.explainer.model, components, visit):
            return values(self._rows(count), [self.chosen] * count, AccountBook())

    def _rows(self, count: int) -> Tensor:
        """The rows of logits [N, V]; where the model itself says which of them, as it does on the unchanged text."""
        model, reading = self.explainer.model, self.explainer._reading
        batch, places = [self.encoded] * count, [self.place] * count
        inputs = model_inputs(batch, model, self.explainer.tokenizer, reading.kept(places))
        with owned(model), frozen(model), torch.no_grad():
            rows = reading.rows(model(**inputs), places, batch)
        self.place = places[0]
        return rows


def _patchable(components: Components) -> tuple[Component, ...]:
    asked = listed(components)
    if any(component.kind == "experts" for component in asked):
        raise InputError("experts see other tokens in another text: patch the output of their module")
    return asked


def _matched(own: list[Site], others: list[Site]) -> dict[Any, Site]:
    """The sites of another text by their keys; it must be as long."""
    found = {site.key: site for site in others}
    if any(site.key not in found or site.tensor.shape != found[site.key].tensor.shape for site in own):
        raise InputError("the two texts have different numbers of tokens: patching needs as many in both")
    return found


def _places(site: Site, other: Site) -> Iterator[tuple[int, int | None]]:
    """The positions and units that are patched, one at a time; None for all features of a vector.

    Those that are equal on both texts (all before the first other token, in a causal model) need no run.
    """
    differ = (site.shaped(site.tensor) != other.shaped(other.tensor))[0].any(-1)
    for position, row in enumerate((differ & site.selected()[0].bool()).tolist()):
        if site.component.together:
            yield from [(position, None)] * any(row)
        else:
            yield from ((position, unit) for unit, is_chosen in enumerate(row) if is_chosen)


def _size(site: Site) -> tuple[int, int]:
    return site.selected().shape[1], 1 if site.component.together else site.count


def _array(values: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = values.float().cpu().numpy()
    return array
