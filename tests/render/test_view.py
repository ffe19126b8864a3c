from __future__ import annotations

import examples
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxtlike.errors import InputError
from lxtlike.render.scale import number
from lxtlike.render.view import View


@given(
    st.text(max_size=30),
    st.lists(st.tuples(st.integers(0, 32), st.integers(0, 6), st.booleans()), max_size=12),
)
def test_pieces_are_the_text_and_every_token_once(text: str, spans: list[tuple[int, int, bool]]) -> None:
    """Also for offsets that overlap, go back, or leave the text."""
    tokens = [
        examples.token(i, text[s : s + n], s, 1.0, special=special) | {"end": s + n}
        for i, (s, n, special) in enumerate(spans)
    ]
    view = View.of(examples.result(text, tokens))
    assert "".join(piece.text for piece in view.pieces) == text
    assert sorted(i for piece in view.pieces for i in piece.rows) == list(range(len(tokens)))
    assert sum(piece.relevance or 0.0 for piece in view.pieces) == len(tokens)


def test_bytes_of_one_emoji_are_one_piece() -> None:
    view = View.of(examples.hostile())
    (emoji,) = [piece for piece in view.pieces if piece.text == "🎉"]
    assert emoji.rows == (10, 11, 12)
    assert emoji.relevance == pytest.approx(0.5 + 1.5 + 2.5)
    assert "<0x1'\"&> +1.500" in view.tooltip(emoji)


def test_special_tokens_are_outside_the_scale() -> None:
    loud = examples.classifier()
    loud["tokens"][0]["relevance"] = 1e6
    assert View.of(loud).scale == View.of(examples.classifier()).scale
    assert View.of(loud).ranked(1, 99)[0].text == "gorgeous"


def test_units_are_shown_instead_of_tokens() -> None:
    view = View.of(examples.words())
    assert [piece.text for piece in view.pieces if piece.rows][1:4] == ["A", "gorgeous,", "witty"]
    first, last = view.rows[0], view.rows[-1]
    assert (first.special, first.label, last.label) == (True, "[CLS]", "[SEP]")
    assert view.ranked(1, 1)[0].label == "gorgeous,"


def test_headlines() -> None:
    def title(task: str, **target: object) -> str:
        made = examples.next_token() | {"task": task}
        made["target"] |= target
        return View.of(made).title

    assert title("causal-lm") == "Next token “ Paris”"
    assert title("causal-lm", contrast="mean") == "Next token “ Paris” rather than the average one"
    assert title("causal-lm", contrast={"id": 4, "token": " Rome"}) == "Next token “ Paris” rather than “ Rome”"
    assert title("causal-lm", position=3) == "Next token “ Paris” after “ Seine”"
    assert title("causal-lm", id=None, ids=[1, 2], position=None) == "Continuation “ Paris”"
    assert title("token-classification", token="PLACE", position=3) == "Label “PLACE” for “ Seine”"


def test_facts() -> None:
    assert dict(View.of(examples.classifier()).facts) == {
        "logit difference": "7.904",
        "probability": "95.7%",
        "composite": "attnlrp",
        "explained by tokens": "58.0%",
    }
    nothing = examples.zero()
    nothing["ledger"]["explained"] = 0.0
    nothing["target"]["id"] = 99
    assert [name for name, _ in View.of(nothing).facts] == ["logit", "composite"]


@pytest.mark.parametrize("error", [0.2, float("inf"), float("nan")])
def test_warnings(error: float) -> None:
    assert View.of(examples.next_token()).warnings == ()
    assert "erfinv in bert.encoder.layer.1.output: name a rule" in View.of(examples.classifier()).warnings[0]
    open_ledger = examples.next_token()
    open_ledger["ledger"] |= {"relative_error": error, "rest": 3.5}
    assert "3.500" in View.of(open_ledger).warnings[0]


def test_another_schema_is_refused() -> None:
    with pytest.raises(InputError, match="'lxtlike/report/1'; what can be shown is 'lxtlike/attribution/1' and"):
        View.of({"schema": "lxtlike/report/1"})


def test_a_generation_is_the_sum_of_its_outputs() -> None:
    made = examples.generation()
    view = View.of(made)
    rows = [output["relevance"] for output in made["outputs"]]
    assert [row.relevance for row in view.rows] == pytest.approx([sum(column) for column in zip(*rows, strict=True)])
    assert view.title.startswith("Generated “The keeper Anna Lind")
    assert view.result["ledger"]["explained"] == pytest.approx(sum(o["value"] for o in made["outputs"]))
    assert view.result["ledger"]["relative_error"] < 1e-12
    assert dict(view.facts)["logit, sum of 12 tokens"] == number(sum(o["value"] for o in made["outputs"]))
    made["outputs"][3]["ledger"] = None
    without = View.of(made)
    assert (without.ledger, without.share, without.warnings) == ((), None, ())
