"""An explainer that looks at components of its model, and relevance on condition that it flows through them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge

from lxtlike.errors import InputError
from lxtlike.explainer import Explainer
from lxtlike.latent.components import Component
from lxtlike.latent.sites import Site
from lxtlike.latent.visits import visited
from lxtlike.methods import Explained
from lxtlike.methods.lrp import Read
from lxtlike.methods.passes import SCALES, Scalar
from lxtlike.rules.primitives import Book, wide


@dataclass(frozen=True, eq=False)
class Seen:
    """A site of the forward pass that is explained.

    Attributes:
        value: an own copy of its tensor, from which a way leads back to it.
        edge: where the coefficient of the tensor comes by.
    """

    site: Site
    value: Tensor
    edge: GradientEdge


class Probe(Explainer):
    """An explainer that also looks at components of its model, one text at a time.

    Attributes:
        components: whose sites are seen.
        conditions: of these, the ones that all relevance must flow through.
        seen: the sites of the latest forward pass, in the order in which they came.
        coefficients: of those, in the latest backward pass; one is missing where nothing came to a site.
        latest: what the method gave back.
    """

    def __init__(
        self, explainer: Explainer, components: Sequence[Component], conditions: Sequence[Component] = ()
    ) -> None:
        vars(self).update(vars(explainer))
        self.checkpointing = False  # what is seen must be that of the forward pass
        self.components, self.conditions = tuple(dict.fromkeys([*components, *conditions])), tuple(conditions)
        self.seen: list[Seen] = []
        self.coefficients: dict[int, Tensor] = {}
        self.latest: Explained | None = None

    def explained(
        self, inputs: Mapping[str, Any], read: Read, scalars: Sequence[Scalar], *, strict: bool, **options: Any
    ) -> list[Explained]:
        """As every explainer, with the components in sight."""
        if "decoder_input_ids" in inputs:
            raise InputError("components of an encoder-decoder, whose tokens are in two places, are not looked at")
        if self.conditions:
            scalars = [partial(self._conditional, scalar) for scalar in scalars]
        self.seen.clear()
        self.coefficients.clear()
        options["queries"] = None  # all positions are looked at
        with visited(self.model, self.components, self._see):
            found = super().explained(inputs, read, scalars, strict=strict, **options)
        self.latest = found[-1]
        return found

    def relevance(self, number: int, value: Tensor | None = None) -> Tensor:
        """Relevance of a site in its own shape, in float32 or wider, from the latest backward pass.

        Args:
            value: the values to be multiplied by the coefficient; without it, those of the site.
        """
        value = self.seen[number].value.detach() if value is None else value
        coefficient = self.coefficients.get(number)
        if coefficient is None or self.latest is None:
            return torch.zeros_like(wide(value))
        return self.latest.audit.relevance(value, coefficient)

    def _see(self, site: Site) -> Tensor:
        if not site.tensor.requires_grad:  # the plain forward pass that deviation is measured against
            return site.tensor
        site.selected()  # refuses units that are not there
        with torch._C.DisableTorchFunction():  # no operation of the model
            self.seen.append(Seen(site, site.tensor.clone(), get_gradient_edge(site.tensor)))
            site.tensor.register_hook(partial(self.coefficients.__setitem__, len(self.seen) - 1))  # type: ignore[no-untyped-call]
        return site.tensor

    def _conditional(self, scalar: Scalar, rows: Tensor, book: Book) -> Tensor:
        """The target, of which a backward pass takes along only what flows through every condition.

        Relevance that flows through a component is that component's own, so each step makes it the target of the next.
        """
        explained = scalar(rows, book)
        through = explained
        for number in sorted(map(self._place, self.conditions), reverse=True):
            through = self._step(self.seen[number], through)
        passed_by = (explained - through).detach()
        values = through + passed_by
        book.absorb("masked", values, lambda c: passed_by * c)
        self.coefficients.clear()  # of the steps
        return values

    def _place(self, condition: Component) -> int:
        """Where in the forward pass a condition came."""
        places = [number for number, seen in enumerate(self.seen) if seen.site.component == condition]
        if len(places) != 1:
            names = ", ".join(self.seen[number].site.name for number in places)
            raise InputError(f"a condition is at one place, {condition} at {len(places)}: choose one of {names}")
        return places[0]

    def _step(self, seen: Seen, target: Tensor) -> Tensor:
        """Relevance [B] of the chosen part of a site for a target [B]."""
        scale = SCALES.get(seen.value.dtype, (1.0,))[0]
        (found,) = torch.autograd.grad(target.sum() * scale, [seen.edge], retain_graph=True, allow_unused=True)
        if found is None:
            raise InputError(f"nothing flows from what is explained through {seen.site.component}")
        chosen = seen.site.over(seen.site.selected()) * (wide(found) / scale)
        return (wide(seen.value) * chosen).reshape(len(target), -1).sum(1).to(target)
