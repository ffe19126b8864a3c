"""Pages, fragments, figures and terminals of an explained image: what is seen there is what was found."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from browsing import choose
from PIL import Image

from lxtlike import ImageAttribution, InputError
from lxtlike.attribution import ResolvedTarget
from lxtlike.render import image_page, scale
from lxtlike.render.raster import Raster

if TYPE_CHECKING:
    from playwright.sync_api import Page

HOSTILE = '</script><img src=x onerror="document.title=1">\x1b[31m'


@pytest.fixture
def signs(attribution: ImageAttribution) -> ImageAttribution:
    """Four quarters: strongly for, half against, nothing, strongly against."""
    channels = np.zeros((3, 32, 32), np.float32)
    channels[0, :16, :16], channels[1, :16, 16:], channels[2, 16:, 16:] = 2, -1, -2
    return replace(attribution, channels=channels, patch=(16, 16))


def test_the_heat_map_has_the_colours_of_the_scale(signs: ImageAttribution) -> None:
    raster = Raster.of(signs.to_dict())
    heat = np.asarray(Image.open(io.BytesIO(image_page.heat(raster))).convert("RGBA")).astype(int)
    assert heat.shape == (448, 448, 4)
    red, blue = (scale.STRONG.rgb(sign) for sign in (1, -1))
    assert set(map(tuple, heat[:224, :224].reshape(-1, 4))) == {(*red, 255)}
    assert set(map(tuple, heat[224:, :224].reshape(-1, 4)[:, 3:])) == {(0,)}
    strong, faint = sorted(set(map(tuple, heat[224:, 224:].reshape(-1, 4))), key=lambda colour: -colour[3])
    assert strong == (*blue, 255)
    assert faint[:3] == blue
    half = np.unique(heat[:224, 224:, 3])
    assert half.max() == pytest.approx(255 * 0.5**scale.GAMMA, abs=2)
    assert half.max() > 1.5 * half.min() > 0  # striped


def test_the_page_says_what_was_found(signs: ImageAttribution) -> None:
    page = signs.to_html()
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))
    assert "Class dog rather than newt" in text
    assert "explained by pixels" in text
    assert "against is striped" in text
    assert re.search(r"\+512\.0 patch at 1, 1", text)
    assert re.search(r"-512\.0 patch at 2, 2", text)
    assert "default-src 'none'; img-src data:;" in page
    assert not re.search(r"(?:src|href)=[\"']?http", page)


def test_the_page_in_a_browser(signs: ImageAttribution, opened: Callable[..., Page]) -> None:
    page = opened(signs.to_html())
    assert page.locator("#map").is_visible()
    assert not page.locator("#heat").is_visible()
    pixels = "() => [...document.querySelector('#map').getContext('2d').getImageData(0, 0, 448, 448).data]"
    drawn = np.array(page.evaluate(pixels)).reshape(448, 448, 4)
    assert drawn[9, 9].tolist() == [*scale.STRONG.rgb(1), 255]
    assert not drawn[300, 9].any()
    heat = np.asarray(Image.open(io.BytesIO(image_page.heat(Raster.of(signs.to_dict())))).convert("RGBA"))
    assert abs(drawn[:, :, 3] - heat[:, :, 3]).max() <= 3  # as without a script
    box = page.locator("#map").bounding_box() or {}
    page.mouse.move(box["x"] + 0.75 * box["width"], box["y"] + 0.25 * box["height"])
    assert page.locator("#now").inner_text() == "pixel 8, 24 -1.000"
    choose(page, "patch")
    page.locator("#map").focus()
    for key in ("ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
    assert page.locator("#now").inner_text() == "patch in row 2, column 2 (pixels 16 to 31, 16 to 31) -512.0"
    mark = page.locator("#mark").bounding_box() or {}
    assert mark["x"] == pytest.approx(box["x"] + box["width"] / 2, abs=1)
    assert mark["width"] == pytest.approx(box["width"] / 2, abs=1)
    page.locator("#copy").click()
    copied = json.loads(page.evaluate("copied"))
    assert copied["relevance"][8][24] == -1
    assert copied["target"] == signs.to_dict()["target"]


def test_the_views_of_the_page(signs: ImageAttribution, opened: Callable[..., Page]) -> None:
    page = opened(signs.to_html())
    assert page.locator("#under").is_visible()
    assert not page.locator("#plain").is_visible()
    choose(page, "side by side")
    assert not page.locator("#under").is_visible()
    assert page.locator("#plain").is_visible()
    page.locator("select[name=palette]").select_option("orange / purple")
    alpha = "() => [...document.querySelector('#map').getContext('2d').getImageData(9, 9, 1, 1).data].slice(0, 3)"
    assert page.evaluate(alpha) == list(bytes.fromhex(scale.PALETTES["orange / purple"][0][1][1:]))


def test_without_a_script_the_overlay_is_shown(signs: ImageAttribution, opened: Callable[..., Page]) -> None:
    page = opened(signs.to_html(), java_script_enabled=False)
    for name in ("#under", "#heat"):
        assert page.locator(name).is_visible()
    assert not page.locator("#map").is_visible()
    assert page.locator("#heat").evaluate("e => e.naturalWidth") == 448


def test_a_fragment_is_the_page_in_a_shadow_root(signs: ImageAttribution, opened: Callable[..., Page]) -> None:
    page = opened(signs._repr_html_() + signs.by("patch")._repr_html_())
    for number in range(2):
        root = page.locator(".lxtlike").nth(number)
        assert root.locator("#map").is_visible()
        assert root.locator("h1").inner_text() == "Class dog rather than newt"
    plain = opened(signs._repr_html_(), java_script_enabled=False)
    assert plain.locator(".lxtlike>div>img").count() == 2
    assert "blue against (striped)" in plain.locator("body").inner_text()


def test_labels_are_untrusted(signs: ImageAttribution, opened: Callable[..., Page]) -> None:
    hostile = replace(signs, target=ResolvedTarget(1, HOSTILE, None, "logit", None, 1.0), model=HOSTILE)
    for content in (hostile.to_html(), hostile._repr_html_()):
        page = opened(content)
        assert page.locator("h1").inner_text().startswith("Class </script><img src=x onerror=")
        assert page.title() != "1"
    assert "\x1b" not in hostile.to_text()
    assert hostile.to_figure()


def test_the_terminal_shows_a_map(signs: ImageAttribution) -> None:
    shown = signs.by("patch").to_text().splitlines()
    start = shown.index("┌────┐")
    assert shown[start : start + 5] == ["┌────┐", "│██▒▒│", "│  ▓▓│", "└────┘", "2 x 2, one patch each"]
    coarse = signs.by((1, 3)).to_text(width=60).splitlines()
    assert max(map(len, coarse)) <= 60
    coloured = signs.by("patch").to_text(color="truecolor")
    assert "\x1b[4;" in coloured
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured).count("│") == 4
    assert repr(signs) == signs.to_text().rstrip("\n")


def test_tables(signs: ImageAttribution) -> None:
    columns, *rows = (line.split(",") for line in signs.to_csv().splitlines())
    assert columns == ["y", "x", "relevance"]
    assert [float(value) for *_, value in rows] == signs.relevance.ravel().tolist()
    frame = signs.by((20, 32)).to_pandas()
    assert frame.to_numpy().tolist() == [
        [0, 0, 20, 32, 16 * 16 * 2 - 16 * 16 - 4 * 16 * 2],
        [20, 0, 12, 32, -12 * 16 * 2],
    ]
    with pytest.raises(InputError, match="one table"):
        signs.to_csv("layers")


def test_figures(signs: ImageAttribution) -> None:
    panels = signs.by("patch").plot().axes
    assert len(panels) == 4
    overlay = panels[2].images[1].get_array()
    np.testing.assert_allclose(overlay[0, 0], [*(c / 255 for c in scale.STRONG.rgb(1)), 1])
    assert overlay[1, 0, 3] == 0
    assert panels[1].get_xlim() == panels[0].get_xlim()
    assert Image.open(io.BytesIO(signs.to_figure())).size[0] > 1000
    assert signs.to_figure("pdf").startswith(b"%PDF")
    for wrong in ({"format": "gif"}, {"kind": "bars"}):
        with pytest.raises(InputError):
            signs.to_figure(**wrong) if "format" in wrong else signs.plot(**wrong)


def test_a_grey_picture_without_patches(attribution: ImageAttribution) -> None:
    zero = replace(attribution, picture=attribution.picture[..., 0], channels=np.zeros((1, 32, 32)), patch=None)
    assert "all relevance is zero" in zero.to_text()
    assert "all relevance is zero" in zero.to_html()
    assert zero.to_figure()
    assert Raster.of(zero.to_dict()).coarse.size == (2, 2)
