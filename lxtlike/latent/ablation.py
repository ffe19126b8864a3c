"""Components taken away, weakened or strengthened, to check what an explanation claims of them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lxtlike.errors import InputError
from lxtlike.explainer import Explainer
from lxtlike.feeding import check_length, model_inputs
from lxtlike.latent.components import Component, Components, listed
from lxtlike.latent.sites import Site
from lxtlike.latent.visits import visited
from lxtlike.propagation.surroundings import frozen, owned
from lxtlike.recognition import unwrapped
from lxtlike.rules.primitives import wide
from lxtlike.text import Encoded

Means = Mapping[str, Tensor]
"""Name of a place -> mean of its units [U, F]."""


@contextmanager
def ablated(model: Any, components: Components, factor: float = 0.0, to: Means | None = None) -> Iterator[None]:
    """Within the block, components put out `factor` times what they would: nothing, if it is 0.

    It holds for whatever runs the model in this thread (its own forward, `generate`, an explainer), and afterwards the model
    is what it was.

    Args:
        model: a transformers model.
        components: what is changed; each at the units and positions that it names.
        factor: of what they put out; 0 takes them away, 0.5 halves them, 2 doubles them, 1 changes nothing.
        to: what they put out at factor 0 instead of zeros, such as their `means`: ``to + factor (h - to)``.

    Raises:
        InputError: no such component (of layers and units when the model runs), no mean of it, a factor that is no number.
    """
    if not isinstance(factor, (int, float)) or not math.isfinite(factor):
        raise InputError(f"factor must be a number, not {factor!r}")

    def change(site: Site) -> Tensor:
        weights = site.over(site.selected()).to(site.tensor.dtype)
        scaled = site.tensor * (1 - (1 - factor) * weights)
        return scaled if to is None else scaled + (1 - factor) * weights * _rest(site, to)

    with visited(unwrapped(model), listed(components), change):
        yield


def means(explainer: Explainer, texts: Iterable[str], components: Components) -> dict[str, Tensor]:
    """The mean of each unit of components over all tokens of some texts, for `ablated`.

    Raises:
        InputError: no texts, no such component, or experts, which do not see every token.
    """
    asked = listed(components)
    if any(component.kind == "experts" for component in asked):
        raise InputError(
            "experts have no mean: each of them sees some tokens only; take that of the whole module's output"
        )
    sums: dict[str, Tensor] = {}
    counts: Counter[str] = Counter()
    for text in texts:
        for site in forward_sites(explainer, explainer._encode(text, False, None), asked):
            values = wide(site.shaped(site.tensor)).flatten(0, 1)
            sums[site.name] = values.sum(0) + sums.get(site.name, 0.0)
            counts[site.name] += len(values)
    if not sums:
        raise InputError("a mean is taken over texts: give one or more")
    return {name: total / counts[name] for name, total in sums.items()}


def forward_sites(explainer: Explainer, encoded: Encoded, components: Sequence[Component]) -> list[Site]:
    """The sites of a forward pass of one text, without gradients."""
    found: list[Site] = []

    def note(site: Site) -> Tensor:
        site.selected()  # refuses units that are not there
        found.append(site)
        return site.tensor

    check_length(encoded, explainer.model, explainer.tokenizer)
    model: nn.Module = explainer.model
    with owned(model), visited(model, components, note), frozen(model), torch.no_grad():
        model(**model_inputs([encoded], model, explainer.tokenizer))
    return found


def _rest(site: Site, to: Means) -> Tensor:
    if site.name not in to:
        raise InputError(f"there is no mean of {site.name}: give those of the components that are changed")
    shape = site.shaped(site.tensor.detach()).shape
    mean = to[site.name].to(site.tensor)
    if mean.shape != shape[2:]:
        raise InputError(f"the mean of {site.name} has shape {list(mean.shape)}, not {list(shape[2:])}")
    return site.as_made(mean.expand(shape))
