"""The result: words, the strongest pairs, JSON and back."""

from __future__ import annotations

import dataclasses
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from two_texts import FIRST, SECOND

import lxtlike
from lxtlike import InputError, NumericalError, PairAttribution


def test_words_keep_the_sum(explained: PairAttribution) -> None:
    whole = explained.by("sentence")
    assert whole.matrix.shape == (3, 3)  # [CLS] and [SEP] stand alone
    assert whole.matrix.sum() == pytest.approx(float(explained.matrix.sum()), abs=1e-5)
    assert whole.matrix[1, 1] == pytest.approx(float(explained.matrix[1:-1, 1:-1].sum()), abs=1e-5)
    assert [group.text for group in whole.first.items] == ["", FIRST, ""]
    assert whole.by("token") == explained
    with pytest.raises(InputError, match="wrod"):
        explained.by("wrod")


def test_the_strongest_pairs(explained: PairAttribution) -> None:
    found = explained.top(5)
    sizes = [abs(value) for _, _, value in found]
    assert sizes == sorted(sizes, reverse=True)
    inner = np.abs(explained.matrix[1:-1, 1:-1])
    assert sizes == np.sort(inner, axis=None)[::-1][:5].tolist()
    one, other, value = found[0]
    assert explained.matrix[one.index, other.index] == value
    assert len(explained.top(10_000)) == inner.size
    assert len(explained.top(10_000, special=True)) == explained.matrix.size
    assert explained.top(0) == []
    assert explained.by("word").top(1)[0][2] == value  # every word is a token here


@pytest.mark.parametrize("granularity", ["token", "word"])
def test_it_comes_back(explained: PairAttribution, granularity: str, tmp_path: Path) -> None:
    result = explained.by(granularity)
    assert result.to_dict()["schema"] == "lxtlike/similarity/1"
    assert ("units" in result.to_dict()["first"]) == (granularity == "word")
    for name in ("a.json", "a.safetensors"):
        result.save(tmp_path / name)
        again = lxtlike.load(tmp_path / name)
        assert again == result
        assert again.matrix.tobytes() == result.matrix.tobytes()
    assert pickle.loads(pickle.dumps(result)) == result  # noqa: S301


def test_it_cannot_be_changed(explained: PairAttribution) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        explained.form = "other"  # type: ignore[misc]
    for array in (explained.matrix, explained.token_matrix, explained.first.relevance):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0.0


def test_damage_is_found(explained: PairAttribution, tmp_path: Path) -> None:
    def damaged(change: str, says: str, kind: type[Exception] = InputError) -> None:
        data = json.loads(explained.to_json())
        exec(change, {"d": data})
        with pytest.raises(kind, match=says):
            PairAttribution.from_dict(data)

    damaged("d['matrix'].pop()", "damaged")
    damaged("d['first']['text'] = 'another text altogether, as long'", "damaged")
    damaged("del d['ledger']['table']['tokens']['tokens']", "tokens")
    damaged("d['ledger']['table']['tokens']['biases'] = 'much'", "should be a number")
    damaged("d['second']['tokens'][0]['relevance'] = None", "damaged")
    damaged("d['schema'] = 'lxtlike/similarity/2'", "newer")
    damaged("d['matrix'][0][0] = 1e300", "NaN or infinite")
    (tmp_path / "a.json").write_text(json.dumps({**explained.to_dict(), "schema": "lxtlike/similarity/9"}))
    with pytest.raises(InputError, match="newer"):
        lxtlike.load(tmp_path / "a.json")


def test_nan_is_refused(explained: PairAttribution) -> None:
    matrix = explained.token_matrix.copy()
    matrix[0, 0] = np.nan
    with pytest.raises(NumericalError, match="the matrix is NaN"):
        dataclasses.replace(explained, token_matrix=matrix)
    with pytest.raises(InputError, match="does not fit"):
        dataclasses.replace(explained, token_matrix=matrix[1:])
    with pytest.raises(NumericalError, match="ledger"):
        dataclasses.replace(explained, ledger=dataclasses.replace(explained.ledger, explained=float("inf")))


def test_a_table_of_pairs(explained: PairAttribution) -> None:
    frame = explained.to_pandas()
    assert list(frame.columns) == ["first", "first_text", "second", "second_text", "special", "relevance"]
    assert len(frame) == explained.matrix.size
    assert frame.relevance.sum() == pytest.approx(float(explained.matrix.sum()), abs=1e-5)
    ordinary = frame[~frame.special]
    strongest = ordinary.loc[ordinary.relevance.abs().idxmax()]
    one, other, value = explained.top(1)[0]
    assert (strongest.first_text, strongest.second_text) == (one.text, other.text)
    assert strongest.relevance == value
    assert explained.to_csv().count("\n") == explained.matrix.size + 1
    with pytest.raises(InputError, match="one table"):
        explained.to_csv("layers")
    assert SECOND.split()[0] in repr(explained)
