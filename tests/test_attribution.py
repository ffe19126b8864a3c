"""Results: sums over words and segments, what is written and read back, and what is refused."""

import copy
import json
import math
import pickle
import re
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lxtlike.attribution import Attribution, AuditSummary, Candidate, ResolvedTarget, load
from lxtlike.errors import InputError, LxtlikeError, NumericalError
from lxtlike.ledger import Ledger, Uncovered
from lxtlike.text import Segment, Token


def tokens_of(text: str, *spans: tuple[int, int]) -> tuple[Token, ...]:
    """A special token, one for each span, and a special token."""
    end = max((end for _, end in spans), default=0)
    places = [(0, 0, True), *((*span, False) for span in spans), (end, end, True)]
    return tuple(
        Token(
            index, 10 + index, "<s>" if special else text[max(start - 1, 0) : end], text[start:end], start, end, special
        )
        for index, (start, end, special) in enumerate(places)
    )


def attribution(text: str, tokens: tuple[Token, ...], relevance: Any, **changes: Any) -> Attribution:
    fields: dict[str, Any] = {
        "model": "org/model",
        "task": "causal-lm",
        "composite": "attnlrp",
        "text": text,
        "tokens": tokens,
        "relevance": relevance,
        "prediction": (Candidate(3, " Paris", 1.25, 0.5), Candidate(4, "<script>alert(1)</script>", -0.1, 0.1)),
        "target": ResolvedTarget(3, " Paris", len(tokens) - 1, "logit", {"id": 4, "token": " London"}, 1.35),
        "ledger": Ledger(
            explained=1.35, tokens=1.0, biases=0.25, softmax=0.1, special=0.5, bias_kinds={"linear": 0.15, "norm": 0.1}
        ),
        "audit": AuditSummary(1e-7, (Uncovered("torch.cumsum", "model.x", "add a rule", "x.py:3: y = x.cumsum(0)"),)),
        "versions": {"lxtlike": "0.1", "torch": "2.13"},
    }
    return Attribution(**fields | changes)


TEXT = "The capital isn't big. Really?"
TOKENS = tokens_of(TEXT, (0, 3), (4, 7), (7, 11), (12, 14), (14, 17), (18, 21), (21, 22), (22, 23), (23, 30))


@pytest.fixture
def result() -> Attribution:
    return attribution(TEXT, TOKENS, [9.0, 0.1, 0.2, 0.3, -0.5, -0.25, 0.0, 0.0625, 0.5, 0.75, -8.0])


def test_dict_is_the_published_object(result: Attribution) -> None:
    data = result.to_dict()
    assert list(data) == [
        *("schema", "model", "task", "composite", "text", "prediction"),
        *("target", "tokens", "ledger", "audit", "versions"),
    ]
    assert data["schema"] == "lxtlike/attribution/1"
    assert data["prediction"][0] == {"id": 3, "token": " Paris", "logit": 1.25, "prob": 0.5}
    assert data["target"] == {
        "id": 3,
        "token": " Paris",
        "position": 10,
        "objective": "logit",
        "contrast": {"id": 4, "token": " London"},
        "value": 1.35,
    }
    assert list(data["tokens"][4]) == ["index", "id", "token", "text", "start", "end", "special", "relevance"]
    assert list(data["tokens"][4].values()) == [4, 14, " is", "is", 12, 14, False, -0.5]
    assert set(data["ledger"]) == {
        *("explained", "tokens", "positions", "biases", "softmax", "epsilon", "router", "special"),
        *("biases.linear", "biases.norm", "rest", "relative_error"),
    }
    assert (data["ledger"]["biases.linear"], data["ledger"]["biases.norm"]) == (0.15, 0.1)
    assert data["audit"] == {
        "forward_deviation": 1e-7,
        "uncovered": [
            {
                "operation": "torch.cumsum",
                "module": "model.x",
                "remedy": "add a rule",
                "source": "x.py:3: y = x.cumsum(0)",
            }
        ],
    }
    assert data["versions"] == {"lxtlike": "0.1", "torch": "2.13"}
    assert json.loads(result.to_json()) == data


def test_relevance_cannot_be_changed(result: Attribution) -> None:
    given_array = np.zeros(len(TOKENS))
    ours = attribution(TEXT, TOKENS, given_array)
    given_array[0] = 5.0
    assert ours.relevance[0] == 0.0
    assert ours.relevance.dtype == np.float32
    for held in (result, result.by("word"), pickle.loads(pickle.dumps(result))):  # noqa: S301
        with pytest.raises(ValueError, match="read-only"):
            held.relevance[0] = 1.0


def test_words(result: Attribution) -> None:
    by = result.by("word")
    assert by.units is not None
    assert [(unit.text, unit.tokens) for unit in by.units] == [
        *[("", (0,)), ("The", (1,)), ("capital", (2, 3)), ("isn't", (4, 5)), ("big", (6,)), (".", (7,))],
        *[(" ", (8,)), ("Really?", (9,)), ("", (10,))],
    ]
    assert by.relevance.tolist() == pytest.approx([9.0, 0.1, 0.5, -0.75, 0.0, 0.0625, 0.5, 0.75, -8.0])
    data = by.to_dict()
    assert data["tokens"] == result.to_dict()["tokens"]
    assert data["units"][3] == {"text": "isn't", "start": 12, "end": 17, "tokens": [4, 5], "relevance": -0.75}
    assert by.by("sentence") == result.by("sentence")
    assert by.by("token") == result
    assert by != result


def test_sentences_and_segments(result: Attribution) -> None:
    units = result.by("sentence").units
    assert units is not None
    assert [(unit.text, unit.tokens) for unit in units] == [
        *[("", (0,)), ("The capital isn't big.", (1, 2, 3, 4, 5, 6, 7)), (" ", (8,)), ("Really?", (9,)), ("", (10,))]
    ]
    by = result.by([("rest", 12, 30), (np.int64(4), np.int64(11))])
    assert by.units is not None
    assert [(unit.label, unit.text, unit.tokens) for unit in by.units] == [
        *[(None, "", (0,)), (None, "The", (1,)), (None, "capital", (2, 3))],
        *[("rest", "isn't big. Really?", (4, 5, 6, 7, 8, 9)), (None, "", (10,))],
    ]
    assert by.to_dict()["units"][3]["label"] == "rest"
    assert Attribution.from_dict(by.to_dict()) == by


def test_parts(result: Attribution) -> None:
    parts = (("user 1", 0, 11), ("template", 11, 12), ("document 1", 12, 17), ("document 2", 17, 23))
    chat = replace(result, parts=tuple(Segment(*part) for part in parts))
    by = chat.by("message")
    assert by.units is not None
    assert [(unit.label, unit.text, unit.tokens) for unit in by.units] == [
        (None, "", (0,)),
        ("user 1", "The capital", (1, 2, 3)),
        ("template", " ", ()),
        ("document 1", "isn't", (4, 5)),
        ("document 2", " big. ", (6, 7, 8)),
        (None, "Really?", (9,)),
        (None, "", (10,)),
    ]
    documents = [(unit.label, unit.tokens) for unit in chat.by("document").units or () if unit.label]
    assert documents == [("document 1", (4, 5)), ("document 2", (6, 7, 8))]
    for summed in (by, chat.by("document"), chat.by("document 2")):
        assert math.fsum(summed.relevance) == pytest.approx(math.fsum(result.relevance))
    assert chat.to_dict()["parts"][0] == {"label": "user 1", "start": 0, "end": 11}
    assert Attribution.from_dict(json.loads(by.to_json())) == by
    assert by.by("token") == chat
    assert "parts" not in result.to_dict()
    with pytest.raises(InputError, match="use token, word, sentence, message, user 1, template, document 1"):
        chat.by("tool")
    with pytest.raises(InputError, match="a text has messages if it is given as a chat"):
        result.by("message")
    with pytest.raises(InputError, match="not within the text"):
        Attribution.from_dict(chat.to_dict() | {"parts": [{"label": "x", "start": 3, "end": 99}]})


def test_special_tokens_that_stand_in_the_text_are_no_words() -> None:
    text = "<|im_end|>\nno"
    tokens = tokens_of(text, (0, 10), (10, 11), (11, 13))
    tokens = (tokens[0], replace(tokens[1], special=True), *tokens[2:])
    result = attribution(text, tokens, [1.0, 2.0, 4.0, 8.0, 16.0])
    for granularity in ("word", "sentence"):
        assert [unit.text for unit in result.by(granularity).units or ()] == ["", "<|im_end|>", "\n", "no", ""]
    by = result.by([("mark", 0, 11)])
    assert [(unit.label, unit.tokens) for unit in by.units or ()] == [
        (None, (0,)),
        ("mark", (1, 2)),
        (None, (3,)),
        (None, (4,)),
    ]


@pytest.mark.parametrize(
    "granularity", ["syllable", "", [(0, 31)], [(5, 5)], [(-1, 4)], [("a", "b")], [(1.0, 2.0)], [3], [(1, 2, 3, 4)]]
)
def test_impossible_units_are_refused(result: Attribution, granularity: Any) -> None:
    with pytest.raises(InputError):
        result.by(granularity)


NUMBERS = st.floats(width=32, allow_nan=False, allow_infinity=False, min_value=-1e6, max_value=1e6)
PIECES = st.lists(st.sampled_from(["Ab", " c", "d", " ", "\n", "🙂", "日", "ש", "'s", ". ", "\u0301"]), max_size=20)


@settings(max_examples=100, deadline=None)
@given(pieces=PIECES, data=st.data())
def test_sums_are_preserved_and_results_come_back(pieces: list[str], data: st.DataObject) -> None:
    text = "".join(pieces)
    ends = np.cumsum([0, *map(len, pieces)]).tolist()
    tokens = tokens_of(text, *pairwise(ends))
    numbers = data.draw(st.lists(NUMBERS, min_size=len(tokens), max_size=len(tokens)))
    place = st.tuples(st.integers(0, max(len(text) - 1, 0)), st.integers(1, max(len(text), 1)))
    segments = [pair for pair in data.draw(st.lists(place, max_size=4)) if pair[0] < pair[1] <= len(text)]
    result = attribution(text, tokens, numbers)
    assert Attribution.from_dict(json.loads(result.to_json())) == result
    for by in (result.by("word"), result.by("sentence"), result.by(segments)):
        assert by.units is not None
        assert sorted(index for unit in by.units for index in unit.tokens) == list(range(len(tokens)))
        for unit in by.units:
            assert unit.relevance == math.fsum(numbers[index] for index in unit.tokens)
        starts = [unit.start for unit in by.units]
        assert starts == sorted(starts)
        assert Attribution.from_dict(json.loads(by.to_json())) == by


def test_top(result: Attribution) -> None:
    assert [(item.text, value) for item, value in result.top(3)] == [("Really?", 0.75), ("is", -0.5), (" ", 0.5)]
    assert [value for _, value in result.top(2, special=True)] == [9.0, -8.0]
    assert [item.text for item, _ in result.by("word").top(2)] == ["isn't", "Really?"]
    assert len(result.top(100)) == 9
    assert result.top(0) == []


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e300])
def test_numbers_that_are_none_are_refused(bad: float) -> None:
    with pytest.raises(NumericalError, match=re.escape("token 2 (' cap') is NaN or infinite")):
        attribution(TEXT, TOKENS, [0.0, 0.0, bad, *[0.0] * 8])
    if bad != 1e300:
        with pytest.raises(NumericalError, match="target's value"):
            attribution(TEXT, TOKENS, [0.0] * 11, target=ResolvedTarget(1, "a", 1, "logit", None, bad))
        with pytest.raises(NumericalError, match="ledger"):
            attribution(TEXT, TOKENS, [0.0] * 11, ledger=Ledger(1.0, bad))
        with pytest.raises(NumericalError, match="prediction"):
            attribution(TEXT, TOKENS, [0.0] * 11, prediction=(Candidate(1, "a", bad, 0.5),))


@pytest.mark.parametrize("relevance", [[0.0] * 10, [[0.0] * 11], 0.0])
def test_relevance_must_fit_the_tokens(relevance: Any) -> None:
    with pytest.raises(InputError, match="does not fit 11 tokens"):
        attribution(TEXT, TOKENS, relevance)


def test_no_infinity_in_json() -> None:
    ours = attribution(TEXT, TOKENS, [0.0] * 11, ledger=Ledger(explained=1.0, tokens=0.0))
    assert ours.ledger.relative_error > 0.5
    assert "Infinity" not in ours.to_json()
    assert Attribution.from_dict(ours.to_dict()) == ours


def test_copies_and_pickles_are_equal(result: Attribution) -> None:
    for ours in (result, result.by("word")):
        for other in (copy.deepcopy(ours), copy.copy(ours), pickle.loads(pickle.dumps(ours))):  # noqa: S301
            assert other == ours
            assert other.relevance.tolist() == ours.relevance.tolist()
    assert result != "something else"


def test_save_and_load(result: Attribution, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("older")
    result.save(path)
    assert load(path) == result
    result.by("word").save(str(path))
    assert load(str(path)) == result.by("word")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]  # no temporary file is left


def test_a_line_of_a_batch_is_a_result(result: Attribution) -> None:
    assert Attribution.from_dict({**result.to_dict(), "id": 7}) == result


def test_results_of_older_versions_load(result: Attribution) -> None:
    data = result.to_dict()
    del data["ledger"]["biases.linear"], data["ledger"]["biases.norm"], data["audit"]["uncovered"][0]["source"]
    old = Attribution.from_dict(data)
    assert old.ledger.biases == result.ledger.biases
    assert old.ledger.bias_kinds == {}
    assert [found.source for found in old.audit.uncovered] == [""]


def test_save_refuses_what_is_no_file(result: Attribution, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "none" / "a.json", tmp_path / "folder", tmp_path / "file" / "a.json", "", "a\0b"):
        with pytest.raises(InputError, match="cannot write"):
            result.save(path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "folder"]


def _damaged(data: dict[str, Any]) -> list[Any]:
    def change(*path: Any, to: Any) -> dict[str, Any]:
        changed = copy.deepcopy(data)
        place = changed
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = to
        return changed

    return [
        *([], 3, None, {}, {"schema": "other/1"}, change("schema", to="lxtlike/attribution/2")),
        *({key: value for key, value in data.items() if key != gone} for gone in data if gone != "units"),
        *(change(key, to=5) for key in data),
        *(
            change("tokens", 1, key, to=to)
            for key in data["tokens"][1]
            for to in (None, 0.5)
            if key not in ("special", "relevance")
        ),
        *(change("units", 1, key, to=to) for key in data["units"][1] for to in (None, [99])),
        *(
            change(*path, to=math.nan)
            for path in (("target", "value"), ("ledger", "tokens"), ("tokens", 0, "relevance"))
        ),
        *(
            change("tokens", 1, "token", to="\ud800"),
            change("tokens", 1, "end", to=4),
            change("tokens", 1, "id", to=1.5),
        ),
        change("tokens", 1, "relevance", to=1e300),
        change("ledger", "biases.norm", to=[0.25]),
        change("ledger", "biases.norm", to=math.inf),
    ]


def test_damaged_files_are_refused(result: Attribution, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for damaged in _damaged(result.by("word").to_dict()):
        path.write_text(json.dumps(damaged))
        with pytest.raises(InputError, match=r"cannot load '.*a\.json': this"):
            load(path)
    for content in (b"", b'{"schema": ', b"\xff\xfe\xfa", b"[" * 100_000, b"9" * 5000):
        path.write_bytes(content)
        with pytest.raises(InputError):
            load(path)
    for missing in (tmp_path / "none.json", tmp_path, "a\0b"):
        with pytest.raises(InputError):
            load(missing)


def test_pandas(result: Attribution) -> None:
    pytest.importorskip("pandas")
    frame = result.to_pandas()
    assert frame["relevance"].tolist() == result.relevance.tolist()
    assert frame["text"].tolist() == [token.text for token in TOKENS]
    assert result.by("word").to_pandas()["text"].tolist()[:3] == ["", "The", "capital"]
    assert result.by([("head", 0, 11)]).to_pandas()["label"].fillna("").tolist()[:2] == ["", "head"]
    layers = replace(result, layers=np.ones((3, len(TOKENS)))).to_pandas("layers")
    assert layers.groupby("layer")["relevance"].sum().tolist() == [float(len(TOKENS))] * 3


def test_without_pandas(result: Attribution, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(LxtlikeError, match=re.escape("pip install 'lxtlike[data]'")):
        result.to_pandas()


def test_views(result: Attribution) -> None:
    for ours in (result, result.by("word")):
        page = ours.to_html()
        assert page.lstrip().lower().startswith("<!doctype html>")
        assert "capital" in page
        assert "<script>alert" not in page + ours._repr_html_()
        assert len(ours.to_csv().splitlines()) == 1 + len(ours.relevance)
        assert "Paris" in repr(ours)
        assert "\x1b" not in repr(ours)


def test_terminal_escapes_in_a_text_are_not_obeyed() -> None:
    text = "a\x1b[31mb"
    assert "\x1b" not in repr(attribution(text, tokens_of(text, (0, 1), (1, 2), (2, 7)), [0.0, 1.0, -1.0, 2.0, 0.0]))


def test_plots_and_latex(result: Attribution) -> None:
    pytest.importorskip("matplotlib")
    assert type(result.plot()).__name__ == "Figure"
    with pytest.raises(InputError, match="has no layers"):
        result.plot("layers")
    assert "\\colorbox" in result.to_latex()
