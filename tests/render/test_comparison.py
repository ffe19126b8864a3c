from __future__ import annotations

import random
import warnings
from pathlib import Path

import examples
import pytest

import lxtlike
from lxtlike.errors import InputError
from lxtlike.render import comparison
from lxtlike.render.scale import Scale, number

matplotlib = pytest.importorskip("matplotlib")


def varied(made: examples.Result, seed: int = 1, **changes: object) -> examples.Result:
    draw = random.Random(seed)
    tokens = [{**token, "relevance": token["relevance"] * 3 + draw.gauss(0.0, 0.2)} for token in made["tokens"]]
    return made | {"tokens": tokens} | changes


def labels(axis: object) -> list[str]:
    return [label.get_text() for label in axis.get_ticklabels()]  # type: ignore[attr-defined]


def test_a_row_for_each_method_on_its_own_scale() -> None:
    made = examples.next_token()
    drawn = comparison([made, varied(made, composite="cp-lrp")])
    panel = drawn.axes[0]
    assert labels(panel.yaxis) == ["attnlrp", "cp-lrp"]
    assert labels(panel.xaxis)[:3] == ["The", "river", "Seine"], "the special token is left out"
    cells = panel.images[0].get_array()
    assert cells.shape == (2, len(made["tokens"]) - 1)
    assert abs(cells).max(axis=1).tolist() == [1.0, 1.0]
    scale = Scale.of(token["relevance"] for token in made["tokens"][1:])
    assert panel.texts[0].get_text() == f"± {number(scale.limit)}"
    assert drawn.get_suptitle() == "Next token “ Paris” · example/tiny-llama · logit"


def test_names_say_what_differs() -> None:
    made = examples.classifier()
    other = made | {"target": made["target"] | {"token": "negative", "contrast": None}}
    assert labels(comparison([made, other]).axes[0].yaxis) == [
        "Label “positive” rather than “negative”…",
        "Label “negative” · logit",
    ]
    assert labels(comparison([made, made]).axes[0].yaxis) == ["1", "2"]
    assert labels(comparison([made, made], ["$a$", "b"]).axes[0].yaxis) == ["$a$", "b"]


def test_long_texts_go_on_in_panels() -> None:
    made = examples.thousand()
    made["tokens"] = made["tokens"][:100]
    drawn = comparison([made, varied(made, composite="other")])
    panels = [axes for axes in drawn.axes if labels(axes.yaxis) == ["attnlrp", "other"]]
    assert [axes.images[0].get_array().shape[1] for axes in panels] == [34, 34, 32]
    assert len(comparison([examples.thousand()] * 2).axes) == 12 + 1


def test_hostile_text_and_no_warning(tmp_path: Path) -> None:
    made = examples.hostile()
    made["tokens"][0]["text"] = made["text"] = "$\\frac{1"
    made["tokens"] = made["tokens"][:1]
    made["tokens"][0]["end"] = len(made["text"])
    made["target"]["token"] = r"$\frac{$ ꙮ" * 99
    before = dict(matplotlib.rcParams)
    with warnings.catch_warnings(), matplotlib.rc_context({"svg.fonttype": "none"}):
        warnings.simplefilter("error")
        drawn = comparison([made, made], ["$x$", "<b>\x1b[31m"])
        drawn.draw_without_rendering()
    assert labels(drawn.axes[0].xaxis) == ["$\\frac{1"]
    assert labels(drawn.axes[0].yaxis) == ["$x$", "<b>^[[31m"]
    assert drawn.get_suptitle().endswith("…")
    assert dict(matplotlib.rcParams) == before


def test_titles_end_where_the_figure_does() -> None:
    made = examples.next_token()
    made["target"]["token"] = "WWWW " * 30
    drawn = comparison([made, made])
    assert drawn.get_suptitle().startswith("Next token “WWWW")
    assert drawn._suptitle.get_window_extent().x1 < drawn.bbox.width


def test_words_make_tokenizers_comparable() -> None:
    made = examples.words()
    pieces = [made["units"][0], *({**unit, "tokens": [1]} for unit in made["units"][1:-1])]
    other = made | {"units": pieces, "model": "other"}
    assert labels(comparison([made, other]).axes[0].xaxis)[1] == "gorgeous,"
    with pytest.raises(InputError, match=r"result 2 has other tokens than result 1: compare by words, a.by\('word'\)"):
        comparison([made, examples.classifier()])


def test_what_cannot_be_compared() -> None:
    made = examples.next_token()
    with pytest.raises(InputError, match="needs two or more results, not 1"):
        comparison([made])
    with pytest.raises(InputError, match="result 2 is about another text"):
        comparison([made, examples.zero()])
    with pytest.raises(InputError, match="1 names for 2 results"):
        comparison([made, made], ["one"])
    with pytest.raises(InputError, match="nothing to compare"):
        comparison([examples.result("", [examples.token(0, "", 0, 1.0, name="<s>", special=True)])] * 2)


def test_compare_takes_results() -> None:
    a = lxtlike.Attribution.from_dict(examples.classifier())
    b = lxtlike.Attribution.from_dict(varied(examples.classifier(), composite="cp-lrp"))
    assert labels(lxtlike.compare([a, b]).axes[0].yaxis) == ["attnlrp", "cp-lrp"]
    assert labels(lxtlike.compare({"one": a.by("word"), "two": b.by("word")}).axes[0].yaxis) == ["one", "two"]
