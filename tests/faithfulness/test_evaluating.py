"""A run over texts: its numbers are those of its parts, a bad text stops nothing, and an interrupted run goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch

import lxtlike
from lxtlike import Evaluation, Explainer, InputError
from lxtlike.dataset.rows import read
from lxtlike.faithfulness import evidence_scores, scored, statistics
from lxtlike.replacements import Replacement

METHODS = ("attnlrp", "input-x-gradient")
ROWS: list[Any] = [
    {
        "text": "the red ball is not good",
        "id": "a",
        "target": "good",
        "contrast": "bad",
        "evidence": [[16, 19], [20, 24]],
    },
    {"text": ""},
    "a very bad film",
    {"text": "the green hat", "target": "nowhere"},
    {"text": "a good film and a bad bag", "evidence": [[2, 6]]},
]


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return Explainer(tiny_models.model("sequence-classification"), tiny_models.tokenizer(), name="tiny")


@pytest.fixture(scope="module")
def whole(explainer: Explainer) -> Evaluation:
    return run(explainer)


def run(explainer: Explainer, rows: Any = ROWS, **options: Any) -> Evaluation:
    return lxtlike.evaluate(explainer, rows, METHODS, **{"replacements": ("delete", "random"), "steps": 4} | options)


def lasting(evaluation: Evaluation) -> str:
    """The JSON without what alone may differ from run to run."""
    return json.dumps({**evaluation.to_dict(), "costs": None})


def test_numbers_are_those_of_the_parts(explainer: Explainer, whole: Evaluation) -> None:
    assert [text.id for text in whole.texts] == ["a", 2, 4]
    row = ROWS[0]
    case = explainer.case(row["text"], row["target"], contrast=row["contrast"])
    relevance = {method: explainer.scores(case, method).relevance for method in METHODS}
    units = [(token.index,) for token in case.encoded.tokens]
    found = scored(case, relevance, [Replacement("delete"), Replacement("random")], units=units, steps=4)
    first = whole.texts[0]
    assert first.target == case.target
    assert first.probability == pytest.approx(case.probability)
    assert first.units == case.removable.sum() == 6
    gold = np.array([False, False, False, False, True, True])
    for method in METHODS:
        for name in ("delete", "random"):
            values = found[method][name].measures()
            assert first.scores[name][method] == pytest.approx({m: values[m] for m in first.scores[name][method]})
        scores = evidence_scores(relevance[method][case.removable], gold)
        assert first.others[method] == {m: scores[m] for m in ("pointing-game@1", "mrr", "auroc")}
    drawn = whole.curves[0]
    assert (drawn.method, drawn.replacement, drawn.order) == ("attnlrp", "delete", "morf")
    assert drawn.removed == (0, 0.25, 0.5, 0.75, 1)
    assert drawn.mean[0] == pytest.approx(np.mean([text.target.value for text in whole.texts]))
    assert all(
        low <= mean <= high for low, mean, high in zip(drawn.low or (), drawn.mean, drawn.high or (), strict=True)
    )


def test_what_is_said_of_all_texts_follows_from_each(whole: Evaluation) -> None:
    values = whole.values("abpc", "random")
    score = whole.score("input-x-gradient", "abpc", "random")
    over, pair = statistics.interval(values[1]), statistics.paired(values[1], values[0])
    assert (score.mean, score.low, score.high, score.n) == (over.mean, over.low, over.high, 3)
    assert (score.difference, score.difference_low, score.p) == (pair.difference, pair.low, pair.p)
    assert whole.score("attnlrp", "mrr").n == 2
    assert whole.score("attnlrp", "abpc", "delete").difference is None
    assert whole.costs["attnlrp"].forwards > 1


def test_a_text_that_fails_is_told_and_stops_nothing(whole: Evaluation) -> None:
    assert [failure.id for failure in whole.failures] == [1, 3]
    assert "empty" in whole.failures[0].error
    assert "nowhere" in whole.failures[1].error


def test_the_settings_are_told(whole: Evaluation) -> None:
    assert whole.settings["target"] == (
        "logit of a row's own target, or else the model's first choice minus that of its contrast, where it has one"
    )
    assert whole.measures["abpc"]["unit"] == "logit"
    assert whole.replacements == ("delete", "random")


@pytest.mark.parametrize("finished", range(len(ROWS) + 1))
def test_a_run_interrupted_at_any_text_goes_on_to_the_same(
    finished: int, explainer: Explainer, whole: Evaluation, tmp_path: Path
) -> None:
    journal = tmp_path / "journal"

    def interrupt(done: int, total: int) -> None:
        assert total == len(ROWS)
        if done >= finished:
            raise KeyboardInterrupt

    if finished:
        with pytest.raises(KeyboardInterrupt):
            run(explainer, journal=journal, progress=interrupt)
        assert len(journal.read_bytes().splitlines()) == finished + 1
    told: list[int] = []
    resumed = run(explainer, journal=journal, resume=True, progress=lambda done, total: told.append(done))
    assert told == list(range(finished + 1, len(ROWS) + 1))
    assert lasting(resumed) == lasting(whole)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"steps": 5}, "another steps"),
        ({"seed": 1}, "another seed"),
        ({"replacements": ("random", "delete")}, "another replacements"),
        ({"rows": ROWS[:3]}, "another texts"),
        ({"by": "word"}, "another by"),
        ({"measures": ("mrr",)}, "another measures"),
    ],
)
def test_another_run_does_not_go_on(options: dict[str, Any], says: str, explainer: Explainer, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    run(explainer, ROWS[:1], journal=journal)
    with pytest.raises(InputError, match=says):
        run(explainer, **{"rows": ROWS[:1], "journal": journal, "resume": True} | options)


def test_other_weights_do_not_go_on(explainer: Explainer, tmp_path: Path) -> None:
    run(explainer, ROWS[:1], journal=tmp_path / "journal")
    other = tiny_models.model("sequence-classification")
    with torch.no_grad():
        other.classifier.bias += 1
    with pytest.raises(InputError, match="another weights"):
        run(Explainer(other, tiny_models.tokenizer(), name="tiny"), ROWS[:1], journal=tmp_path / "journal", resume=True)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"measures": ("abcp",)}, "did you mean abpc"),
        ({"measures": ("randomisation",)}, "does not exist"),
        ({"replacements": ("nothing",)}, "delete or random"),
        ({"replacements": ()}, "at least one replacement"),
        ({"replacements": ("delete", "delete")}, "given twice"),
        ({"objective": "logits"}, "did you mean logit"),
        ({"by": "letter"}, "token, word, sentence"),
        ({"signs": "both"}, "signed, absolute"),
        ({"steps": 0}, "at least 1 step"),
        ({"baseline": "cp-lrp"}, "not among the methods"),
        ({"rows": []}, "at least one"),
        ({"rows": "nowhere.jsonl"}, "cannot read"),
        ({"rows": ["", ""]}, "none of the 2 texts.*empty"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_sentence(options: dict[str, Any], says: str, explainer: Explainer) -> None:
    with pytest.raises(InputError, match=says):
        run(explainer, **options)


@pytest.mark.parametrize(("by", "units"), [("word", [6, 4, 7]), ("sentence", [1, 1, 1])])
def test_words_and_sentences_are_removed_as_a_whole(by: str, units: list[int], explainer: Explainer) -> None:
    found = run(explainer, by=by)
    assert [text.units for text in found.texts] == units
    assert found.settings["units"] == by


def test_a_limit_draws_texts_under_the_seed(explainer: Explainer) -> None:
    rows = [f"the {word} ball" for word in tiny_models.WORDS.split()]
    drawn = [[t.id for t in run(explainer, rows, limit=3, seed=seed, steps=1).texts] for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0] == sorted(drawn[0]) != [0, 1, 2]
    assert len(run(explainer, rows[:2], limit=3, steps=1)) == 2


def test_everything_can_be_measured(explainer: Explainer) -> None:
    from lxtlike.faithfulness.evaluating import EVERY

    # Soft measures are undefined where the target gains by what is taken away, as one of two labels always does.
    rows = [ROWS[0] | {"target": target, "contrast": None} for target in ("good", "bad")]
    found = run(explainer, rows, measures=EVERY, signs="absolute", objective="prob")
    assert set(found.measures) == set(EVERY)
    assert found.measures["abpc"]["unit"] == "probability"


def test_the_bundled_sentences_with_their_causes() -> None:
    explainer = Explainer.from_pretrained("bindings")
    rows = read("known-cause")[::125]
    found = lxtlike.evaluate(explainer, rows, ("attnlrp",), ("delete",), by="word", steps=5)
    assert found.failures == ()
    assert [text.target.token.strip() for text in found.texts] == [row.target for row in rows]
    assert found.score("attnlrp", "auroc").mean > 0.7
    assert found.score("attnlrp", "abpc").mean > 1


@pytest.mark.parametrize("kind", ["causal-lm", "masked-lm", "seq2seq-lm"])
def test_other_kinds_of_models(kind: str) -> None:
    explainer = Explainer(tiny_models.model(kind), tiny_models.tokenizer(), name=kind)
    rows = [{"text": "the [MASK] ball is good" if kind == "masked-lm" else "the red ball is good"}]
    if kind == "causal-lm":
        rows += [{"text": "the red ball", "completion": " is not good"}]
    found = run(explainer, rows)
    assert found.failures == ()
    assert found.texts[0].units == (4 if kind == "masked-lm" else 5)
    if kind == "causal-lm":
        assert found.texts[1].units == 3
