"""The texts in which a unit counts most, by relevance and by activation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from explaining import untouched
from looking import explainer

from lxtlike import InputError, latent

TEXTS = ["w5 w17 w33", "w8 w60 w7 w12", "w90 w2", "w44 w45 w46 w47 w48", "w5 w5 w6"]
ASKED: dict[str, Any] = {"target": 11, "contrast": 29}


@pytest.mark.parametrize("component", [latent.neurons(0, 7), latent.heads(1, 2), latent.experts(0, 1)])
def test_they_are_those_that_reading_every_text_finds(component: latent.Component) -> None:
    one = explainer("mixtral" if component.kind == "experts" else "llama")
    number = component.units[0]  # type: ignore[index]
    every: dict[str, list[tuple[float, str, int]]] = {"by_relevance": [], "by_activation": []}
    for text in TEXTS:
        found = latent.relevance(one, text, component, **ASKED)
        for by, read in (("by_relevance", found.relevance), ("by_activation", found.activation)):
            (values,) = read.values()
            own = values[:, number]
            every[by].append((float(own.max()), text, int(own.argmax())))
    with untouched(one.model):
        best = latent.examples(one, iter(TEXTS), component, k=2, **ASKED)
    for by, wanted in every.items():
        measure = by.removeprefix("by_")
        got = [(getattr(e.unit, measure), e.attribution.text, e.unit.position) for e in getattr(best, by)]
        expected = sorted(wanted, key=lambda entry: -entry[0])[:2]  # of equals the earlier text
        assert [entry[1:] for entry in got] == [entry[1:] for entry in expected]
        np.testing.assert_allclose([entry[0] for entry in got], [entry[0] for entry in expected], rtol=1e-5)
    first = best.by_relevance[0].attribution
    np.testing.assert_array_equal(first.relevance, latent.conditional(one, first.text, component, **ASKED).relevance)


def test_of_several_units_the_strongest_counts() -> None:
    one = explainer("llama")
    best = latent.examples(one, TEXTS, latent.neurons(0, range(3, 9)), k=1, **ASKED)
    single = [latent.examples(one, TEXTS, latent.neurons(0, n), k=1, **ASKED) for n in range(3, 9)]
    strongest = max((each.by_activation[0].unit for each in single), key=lambda unit: unit.activation)
    assert best.by_activation[0].unit == strongest


def test_they_can_be_printed_put_in_a_table_and_shown() -> None:
    one = explainer("llama")
    best = latent.examples(one, TEXTS, latent.neurons(0, 7), k=2, **ASKED)
    printed = repr(best)
    assert printed.startswith("neurons (layer 0; neuron 7)\nmost relevance\n  relevance ")
    assert all(repr(e.attribution.text) in printed for e in best.by_relevance + best.by_activation)
    table = best.to_pandas()
    assert list(table["by"]) == ["relevance"] * 2 + ["activation"] * 2
    assert table["relevance"][0] == best.by_relevance[0].unit.relevance
    page = best.to_html()
    assert page.count("most relevance") == 1
    assert all(word in page for word in best.by_relevance[1].attribution.text.split())


def test_what_is_wrong_is_refused() -> None:
    one = explainer("llama")
    for texts, component, k, sentence in (
        ([], latent.neurons(0), 1, "give one or more"),
        (TEXTS, latent.neurons(), 1, "model.layers.0 neurons, model.layers.1 neurons: choose one"),
        (TEXTS, latent.neurons(0), 0, "k must be at least 1"),
        (TEXTS, latent.neurons(0, 999), 1, "number 47"),
    ):
        with pytest.raises(InputError, match=sentence):
            latent.examples(one, texts, component, k)
