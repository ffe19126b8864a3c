"""The result for an image: sums, regions, files."""

from __future__ import annotations

import base64
import io
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

import lxtlike
from lxtlike import ImageAttribution, InputError, NumericalError, png
from lxtlike.attribution import Region


def test_cells_keep_the_sum(attribution: ImageAttribution) -> None:
    total = float(attribution.relevance.sum(dtype=np.float64))
    np.testing.assert_allclose(attribution.relevance, attribution.channels.sum(0), atol=1e-6)
    for cell, shape in (("patch", (4, 4)), ((5, 32), (7, 1)), (7, (5, 5)), ((100, 1), (1, 32)), ("pixel", (32, 32))):
        grouped = attribution.by(cell)
        assert grouped.relevance.shape == shape
        assert float(grouped.relevance.sum(dtype=np.float64)) == pytest.approx(total, abs=1e-5)
    assert attribution.by(5).relevance[1, 2] == pytest.approx(attribution.relevance[5:10, 10:15].sum(), abs=1e-6)
    assert attribution.by("patch").by("pixel") == attribution


@pytest.mark.parametrize("cell", ["word", 0, (3, 0), (3, 3, 3), (2.0, 2.0), -1])
def test_cells_that_are_none(cell: Any, attribution: ImageAttribution) -> None:
    with pytest.raises(InputError):
        attribution.by(cell)


def test_models_without_patches(attribution: ImageAttribution) -> None:
    from dataclasses import replace

    with pytest.raises(InputError, match="no patches: give the height"):
        replace(attribution, patch=None).by("patch")


def test_top_is_the_strongest_region(attribution: ImageAttribution) -> None:
    (region, value), *others = attribution.by((5, 6)).top(100)
    cut = attribution.relevance[region.top : region.bottom, region.left : region.right]
    assert value == pytest.approx(cut.sum(), abs=1e-6)
    assert len(others) == 7 * 6 - 1
    assert all(abs(value) >= abs(other) for _, other in others)
    assert Region(30, 30, 32, 32) in [region for region, _ in others]
    assert sum(value for _, value in attribution.by((5, 6)).top(100)) == pytest.approx(
        attribution.relevance.sum(), abs=1e-4
    )


@pytest.mark.parametrize("name", ["a.json", "a.safetensors"])
@pytest.mark.parametrize("cell", ["pixel", "patch"])
def test_files_give_back_everything(name: str, cell: str, attribution: ImageAttribution, tmp_path: Path) -> None:
    stored = attribution.by(cell)
    stored.save(tmp_path / name)
    read = lxtlike.load(tmp_path / name)
    assert read == stored
    assert read.channels.tobytes() == stored.channels.tobytes()
    assert read.picture.tobytes() == stored.picture.tobytes()
    assert pickle.loads(pickle.dumps(stored)) == stored  # noqa: S301


def test_json_is_read_without_us(attribution: ImageAttribution) -> None:
    data = json.loads(attribution.by("patch").to_json())
    assert data["schema"] == "lxtlike/image/1"
    assert np.array(data["relevance"]).shape == (4, 4)
    raw = np.frombuffer(base64.b64decode(data["channels"]["float32"]), "<f4").reshape(data["channels"]["shape"])
    np.testing.assert_array_equal(raw, attribution.channels)
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(data["image"]["png"]))))
    np.testing.assert_array_equal(shown, attribution.picture)


def test_json_by_others_needs_no_channels(attribution: ImageAttribution) -> None:
    data = attribution.to_dict()
    del data["channels"]
    read = ImageAttribution.from_dict(data)
    np.testing.assert_array_equal(read.relevance, attribution.relevance)
    assert read.channels.shape == (1, 32, 32)
    data["channels"] = attribution.channels.tolist()
    assert ImageAttribution.from_dict(data) == attribution


@pytest.mark.parametrize(
    "changes",
    [
        {"channels": {"shape": [3, 32, 31], "float32": "AAAA"}},
        {"channels": {"shape": [3, 32, 32], "float32": "*"}},
        {"channels": [[1]]},
        {"image": {"png": "AAAA"}},
        {"image": {}},
        {"cell": [1]},
        {"cell": ["1", "1"]},
        {"patch": [0, 4]},
        {"target": None},
    ],
)
def test_damaged_objects(changes: dict[str, Any], attribution: ImageAttribution) -> None:
    with pytest.raises(InputError):
        ImageAttribution.from_dict({**attribution.to_dict(), **changes})


def test_the_result_cannot_be_changed_or_be_nan(attribution: ImageAttribution) -> None:
    from dataclasses import replace

    with pytest.raises(ValueError, match="read-only"):
        attribution.channels[0, 0, 0] = 1
    broken = attribution.channels.copy()
    broken[0, 0, 0] = np.nan
    with pytest.raises(NumericalError, match="relevance of a pixel"):
        replace(attribution, channels=broken)
    with pytest.raises(InputError, match="does not fit a picture"):
        replace(attribution, picture=attribution.picture[:5])


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3]))))
def test_png_is_png_and_comes_back(picture: np.ndarray[Any, Any]) -> None:
    height, width, samples = picture.shape
    rows = [row.tobytes() for row in picture]
    file = png.encoded(rows, width, height)
    assert png.decoded(file) == (rows, samples)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(file))).reshape(picture.shape), picture)


def test_png_of_others_is_refused_and_damage_found() -> None:
    buffer = io.BytesIO()
    Image.new("P", (4, 4)).save(buffer, "PNG")
    for data in (b"", b"\x89PNG\r\n\x1a\n", buffer.getvalue()):
        with pytest.raises(ValueError, match="PNG"):
            png.decoded(data)
    whole = png.encoded([bytes(range(9))] * 3, 3, 3)
    for place in range(8, len(whole)):
        broken = bytearray(whole)
        broken[place] ^= 1
        with pytest.raises(ValueError, match=r"PNG|picture"):
            png.decoded(bytes(broken))
