from __future__ import annotations

import math

import pytest

from lxtlike.render.scale import DARK, LIGHT, Scale, contrast, number, percent, quantile


def test_quantile_is_linear_between_neighbours() -> None:
    assert quantile([3.0, 1.0, 2.0, 4.0], 0.5) == 2.5
    assert quantile([float(i) for i in range(101)], 0.99) == pytest.approx(99.0)
    assert quantile([], 0.99) == 0.0
    assert quantile([math.nan, 2.0, math.inf], 0.99) == 2.0


def test_scale_is_symmetric_and_clips() -> None:
    scale = Scale.of([-10.0] + [1.0] * 999)
    assert scale.limit == 1.0
    assert "99th percentile" in scale.rule
    assert [scale.ratio(x) for x in (-10.0, -0.5, 0.0, 0.5, 7.0)] == [-1.0, -0.5, 0.0, 0.5, 1.0]


def test_scale_without_anything_to_colour() -> None:
    assert Scale.of([]).ratio(3.0) == 0.0
    assert Scale.of([0.0, 0.0]).ratio(0.0) == 0.0
    assert "zero" in Scale.of([0.0]).rule
    assert Scale.of([1.0]).ratio(math.nan) == 0.0


def test_a_single_token_among_many_still_has_colour() -> None:
    scale = Scale.of([0.0] * 1000 + [-2.0])
    assert (scale.limit, scale.ratio(-2.0)) == (2.0, -1.0)
    assert "largest" in scale.rule


def test_text_is_readable_on_every_background() -> None:
    for theme in (LIGHT, DARK):
        for step in range(-20, 21):
            assert contrast(theme.ink, theme.background(step / 20)) > 4.5
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)


def test_zero_is_the_page_and_one_the_full_colour() -> None:
    assert LIGHT.background(0.0) == LIGHT.paper
    assert LIGHT.background(1.0) == LIGHT.favour
    assert DARK.background(-1.0) == DARK.against


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0"),
        (12.3456, "12.35"),
        (1234.5678, "1235"),
        (-0.5, "-0.500"),
        (0.012345, "0.0123"),
        (1e-9, "1.00e-09"),
        (2.5e7, "2.50e+07"),
        (math.nan, "nan"),
    ],
)
def test_number(value: float, shown: str) -> None:
    assert number(value) == shown


def test_signs_and_percentages() -> None:
    assert number(3.0, sign=True) == "+3.000"
    assert number(-3.0, sign=True) == "-3.000"
    assert [percent(x) for x in (0.5, 0.0, 1e-6, -1.4, math.inf)] == ["50.0%", "0.0%", "<0.1%", "-140.0%", "–"]
