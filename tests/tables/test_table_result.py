"""The result: rows of it, summaries, JSON and back."""

from __future__ import annotations

import dataclasses
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from small_network import FEATURES

import lxtlike
from lxtlike import InputError, NumericalError, TableAttribution


def test_some_rows_of_it(explained: TableAttribution) -> None:
    assert len(explained) == 5
    one, some = explained[-1], explained[1:3]
    assert (len(one), len(some)) == (1, 2)
    np.testing.assert_array_equal(one.relevance[0], explained.relevance[4])
    np.testing.assert_array_equal(some.values, explained.values[1:3])
    assert one.rows == explained.rows[4:]
    assert explained[:] == explained
    with pytest.raises(IndexError):
        explained[5]
    with pytest.raises(InputError, match="at least one row"):
        explained[5:]


def test_summaries(explained: TableAttribution) -> None:
    np.testing.assert_allclose(explained.importance, np.abs(explained.relevance).mean(0), rtol=1e-6)
    names, sizes = zip(*explained.top(), strict=True)
    assert sorted(names) == sorted(FEATURES)
    assert list(sizes) == sorted(sizes, reverse=True)
    assert len(explained.top(2)) == 2
    assert explained.ledger.explained == pytest.approx(sum(row.target.value for row in explained.rows))
    assert explained.ledger.bias_kinds.keys() == {"linear"}


def test_it_comes_back(explained: TableAttribution, tmp_path: Path) -> None:
    for name in ("a.json", "a.safetensors"):
        explained.save(tmp_path / name)
        again = lxtlike.load(tmp_path / name)
        assert again == explained
        assert again.relevance.tobytes() == explained.relevance.tobytes()
        assert again.values.tobytes() == explained.values.tobytes()
    assert pickle.loads(pickle.dumps(explained)) == explained  # noqa: S301
    assert explained.to_dict()["schema"] == "lxtlike/table/1"
    with pytest.raises(ValueError, match="read-only"):
        explained.values[0] = 0.0


def test_damage_is_found(explained: TableAttribution) -> None:
    for change, says in {
        "d['rows'][0]['relevance'].pop()": "damaged",
        "d['rows'].clear()": "damaged|at least one",
        "d['features'].pop()": "do not fit",
        "d['rows'][1]['values'][0] = 'old'": "damaged",
        "del d['rows'][1]['ledger']": "ledger",
        "d['schema'] = 'lxtlike/table/3'": "newer",
        "d['rows'][1]['relevance'][0] = 1e300": "NaN or infinite",
    }.items():
        data = json.loads(explained.to_json())
        exec(change, {"d": data})
        with pytest.raises(InputError, match=says):
            TableAttribution.from_dict(data)
    with pytest.raises(NumericalError, match="relevance are NaN"):
        dataclasses.replace(explained, relevance=np.full((5, 4), np.nan))


def test_tables(explained: TableAttribution) -> None:
    frame = explained.to_pandas()
    assert list(frame.columns) == ["row", "target", "explained", *FEATURES]
    np.testing.assert_array_equal(frame[FEATURES].to_numpy(np.float32), explained.relevance)
    features = explained.to_pandas("features")
    np.testing.assert_allclose(features.importance, explained.importance, rtol=1e-6)
    np.testing.assert_allclose(features["for"] + features.against, explained.relevance.mean(0), rtol=1e-5)
    long = explained.to_pandas("long")
    assert len(long) == 20
    np.testing.assert_array_equal(long.value.to_numpy().reshape(5, 4), explained.values)
    assert explained.to_csv().splitlines()[0] == ",".join(["row", "target", "explained", *FEATURES])
    assert "'=1+1" in explained.to_csv("features", spreadsheet=True)
    with pytest.raises(InputError, match="features, long"):
        explained.to_csv("pairs")
