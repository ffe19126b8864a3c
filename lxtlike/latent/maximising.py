"""The texts of a data set in which a component counts most: its relevance maximisation, beside activation maximisation."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from markupsafe import escape

from lxtlike.attribution import Attribution
from lxtlike.attribution.saved import pandas
from lxtlike.errors import InputError
from lxtlike.explainer import Explainer
from lxtlike.latent.components import Component, listed
from lxtlike.latent.probe import Probe
from lxtlike.latent.reading import Unit, conditional
from lxtlike.rules.primitives import wide


@dataclass(frozen=True, eq=False)
class Example:
    """A text in which a unit counts.

    Attributes:
        unit: which one, where, and how much.
        attribution: of the text, conditional on this unit: the tokens' relevance that flows through it.
    """

    unit: Unit
    attribution: Attribution


@dataclass(frozen=True, eq=False, repr=False)
class Examples:
    """The texts in which a component counts most; in a notebook, coloured by the relevance that flows through its units.

    Attributes:
        by_relevance: those of most relevance, the first one first.
        by_activation: for comparison, those of most activation.
    """

    component: Component
    by_relevance: tuple[Example, ...]
    by_activation: tuple[Example, ...]

    def __repr__(self) -> str:
        lines = [str(self.component)]
        for title, examples in self._lists():
            lines += [title, *(f"  {_line(e.unit)}: {e.attribution.text!r}" for e in examples)]
        return "\n".join(lines)

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame` with a row for each text of each list.

        Raises:
            LxtlikeError: pandas is not installed.
        """
        return pandas().DataFrame(
            [
                {"by": title.removeprefix("most "), "rank": rank, **e.unit._asdict(), "text": e.attribution.text}
                for title, examples in self._lists()
                for rank, e in enumerate(examples, 1)
            ]
        )

    def to_html(self) -> str:
        """A page with all texts, each coloured by the relevance that flows through its unit."""
        head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(self.component)}</title>'
        return f"{head}<body>{self._repr_html_()}</body></html>"

    def _repr_html_(self) -> str:
        parts = [f"<h2>{escape(self.component)}</h2>"]
        for title, examples in self._lists():
            parts.append(f"<h3>{title}</h3>")
            parts += [f"<p>{escape(_line(e.unit))}</p>{e.attribution._repr_html_()}" for e in examples]
        return "".join(parts)

    def _lists(self) -> Iterator[tuple[str, tuple[Example, ...]]]:
        yield "most relevance", self.by_relevance
        yield "most activation", self.by_activation


def examples(
    explainer: Explainer, texts: Iterable[str], component: Component | str, k: int = 10, **options: Any
) -> Examples:
    """The `k` texts in which a component has most relevance at some token, and those in which it has most activation.

    Relevance and activation are signed; of several units (all neurons of a layer) the strongest in each text counts.

    Args:
        explainer: its model and composite are used; it stays as it is.
        texts: any number; each takes a forward and a backward pass of its own, and only the best are kept.
        component: such as ``latent.neurons(2, 17)``.
        options: target, contrast, objective and all else that `Explainer.explain` takes; without a target, each text's own
            prediction is explained.

    Raises:
        InputError: no texts, no such component, k below 1.
    """
    if k < 1:
        raise InputError(f"k must be at least 1, not {k}")
    (asked,) = listed([component])
    probe = Probe(explainer, [asked])
    kept: dict[str, list[tuple[float, int, Unit, str]]] = {"relevance": [], "activation": []}
    for number, text in enumerate(texts):
        attribution = probe.explain(text, **options)
        for by, best in kept.items():
            unit = _strongest(probe, attribution, by)
            heapq.heappush(best, (getattr(unit, by), -number, unit, text))
            if len(best) > k:
                heapq.heappop(best)
    if not kept["relevance"]:
        raise InputError("examples are looked for in texts: give one or more")

    def shown(by: str) -> tuple[Example, ...]:
        found = []
        for _, _, unit, text in sorted(kept[by], reverse=True):
            found.append(Example(unit, conditional(explainer, text, replace(asked, units=(unit.unit,)), **options)))
        return tuple(found)

    return Examples(asked, shown("relevance"), shown("activation"))


def _strongest(probe: Probe, attribution: Attribution, by: str) -> Unit:
    """The chosen unit of most relevance or activation in the text that was explained last."""
    if len(probe.seen) != 1:
        names = ", ".join(seen.site.name for seen in probe.seen)
        raise InputError(f"examples are of a component at one place, {probe.components[0]} is at {names}: choose one")
    site, value = probe.seen[0].site, wide(probe.seen[0].value.detach())
    found = {"relevance": site.by_unit(probe.relevance(0))[0], "activation": site.sizes(value)[0]}
    place = int(found[by].masked_fill(site.selected()[0] == 0, -torch.inf).argmax())
    position, unit = divmod(place, site.count)
    token = attribution.tokens[position].token if len(found[by]) == len(attribution.tokens) else ""
    relevance, activation = (float(values[position, unit]) for values in found.values())
    return Unit(site.name, unit, position, token, relevance, activation)


def _line(unit: Unit) -> str:
    return (
        f"relevance {unit.relevance:+.4g}, activation {unit.activation:+.4g}, {unit.name} {unit.unit} at {unit.token!r} "
        f"#{unit.position}"
    )
