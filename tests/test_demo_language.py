"""The known-cause language: what it calls the cause decides the answer, and nothing else gives the answer away."""

from __future__ import annotations

import json
import random
import re
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

import demo_language  # noqa: E402
from demo_families import FAMILIES, Family  # noqa: E402

Example = dict[str, Any]
ASSETS = ROOT / "lxtlike" / "assets"
TOLD = ("binding", "lookup", "two-step")


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    lines = (ASSETS / "known_cause.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def pattern(family: Family, wording: str, *, fresh: str) -> re.Pattern[str]:
    """`fresh` is a word that may stand in any slot."""
    slots = {slot: f"(?P<{slot}>{'|'.join((*pool, fresh))})" for slot, pool in family.slots.items()}
    return re.compile(r"\b" + re.sub(r"\\?{(\w+)\\?}", lambda m: slots[m[1]], re.escape(wording)) + r"(?= |$)")


def read(family: Family, text: str, *, fresh: str = "zebra") -> list[list[dict[str, str]]]:
    """The facts that a text states, per group of wordings: read from the text alone."""
    return [
        [match.groupdict() for wording in group for match in pattern(family, wording, fresh=fresh).finditer(text)]
        for group in family.facts
    ]


def solve(text: str) -> set[str]:
    """Every answer that some reading of a text allows. Where one question ends like another, the longest is asked."""
    answers: dict[int, set[str]] = {}
    for family in FAMILIES:
        for question in family.questions:
            asked = re.search(pattern(family, question.wording, fresh="zebra").pattern + "$", text)
            if asked is None:
                continue
            known = [asked.groupdict()]
            groups = read(family, text[: asked.start()])
            for _ in groups:  # as many steps as there are groups
                for fact in (fact for group in groups for fact in group):
                    if any(fact.items() & one.items() for one in known):
                        known.append(fact)
            found = {fact[question.answer] for fact in known[1:] if question.answer in fact}
            answers.setdefault(asked.start(), set()).update(found)
    return answers[min(answers)]


def replaced(example: Example, word: str) -> str:
    text = example["text"]
    for start, end in reversed(example["cause"]):
        text = text[:start] + word + text[end:]
    return text


def test_spans_cut_words_and_the_cause_is_the_answer(examples: list[Example]) -> None:
    assert {task: sum(e["task"] == task for e in examples) for task in demo_language.TASKS} == dict.fromkeys(
        demo_language.TASKS, 100
    )
    for example in examples:
        text = example["text"]
        marked = {key: [text[a:b] for a, b in example[key]] for key in ("cause", "via", "cue", "rivals")}
        assert all(word and " " not in word for words in marked.values() for word in words)
        assert len(marked["cause"]) == 1
        assert marked["rivals"], "something must compete with the cause"
        assert set(marked["cause"]).isdisjoint(marked["rivals"])
        if example["task"] != "agreement":
            assert marked["cause"] == [example["answer"]]
        if example["task"] == "two-step":
            assert len(marked["via"]) == 2
            assert len(set(marked["via"])) == 1


def test_a_reader_who_knows_the_wordings_finds_the_answer_and_follows_a_changed_cause(examples: list[Example]) -> None:
    for example in examples:
        if example["task"] in TOLD:
            assert solve(example["text"]) == {example["answer"]}, example["text"]
            assert solve(replaced(example, "zebra")) == {"zebra"}, example["text"]


def test_agreement_follows_the_subject_and_every_attractor_speaks_against_it(examples: list[Example]) -> None:
    for example in examples:
        if example["task"] == "agreement":
            plural = {key: [example["text"][a:b].endswith("s") for a, b in example[key]] for key in ("cause", "rivals")}
            assert plural["cause"] == [example["answer"] in ("are", "were")]
            assert plural["cause"][0] not in plural["rivals"]
            past = example["text"].split()[0] in ("yesterday", "last")
            assert past == (example["answer"] in ("was", "were"))


def test_induction_repeats_what_followed_the_first_time(examples: list[Example]) -> None:
    joints = {",", "then", "and"}
    for example in examples:
        if example["task"] == "induction":
            words = [word for word in example["text"].split() if word not in joints]
            assert words[words.index(words[-1]) + 1] == example["answer"]
            assert words.count(words[-1]) == 2


def facts(text: str) -> set[str]:
    """What a text states, in whatever wording and order, one string per family of stories."""
    stated = ((index, read(family, text)) for index, family in enumerate(FAMILIES))
    return {
        f"{index} {sorted(sorted(fact.items()) for group in groups for fact in group)}"
        for index, groups in stated
        if all(groups)
    }


def test_held_out_facts_are_never_trained_on(examples: list[Example]) -> None:
    held_out = {statement for example in examples for statement in facts(example["text"])}
    prompts = {example["text"] for example in examples}
    for story in demo_language.training_stories(random.Random(0), 600):
        assert facts(" ".join(story.words)).isdisjoint(held_out)
        assert prompts.isdisjoint(" ".join(story.words[: answer.at]) for answer in story.answers)


def test_the_side_of_a_story_depends_on_its_facts_only() -> None:
    """Two tellings of the same facts in other words share the side, so no paraphrase of a held-out text is trained."""
    sides: dict[str, set[bool]] = {}
    rng = random.Random(0)
    for _ in range(3000):
        story = demo_language.story(rng)
        sides.setdefault(story.facts, set()).add(story.held_out)
    assert all(len(seen) == 1 for seen in sides.values())
    share = sum(True in seen for seen in sides.values()) / len(sides)
    assert 0.09 < share < 0.16


@pytest.mark.parametrize("task", demo_language.TASKS)
def test_no_position_gives_the_answer_away(examples: list[Example], task: str) -> None:
    """Always pointing at the k-th word, or the k-th candidate, counted from either end, misses the cause often."""
    hits: dict[tuple[str, int], int] = {}
    chosen = [example for example in examples if example["task"] == task]
    for example in chosen:
        starts = [0, *(match.end() for match in re.finditer(" ", example["text"]))]
        candidates = sorted(start for start, _ in example["cause"] + example["rivals"])
        cause = example["cause"][0][0]
        for name, places in (("word", starts), ("candidate", candidates)):
            for k in {places.index(cause), places.index(cause) - len(places)}:
                hits[name, k] = hits.get((name, k), 0) + 1
    assert max(hits.values()) / len(chosen) <= 0.65


def test_the_vocabulary_has_every_word(examples: list[Example]) -> None:
    vocabulary = demo_language.vocabulary()
    assert len(vocabulary) == len(set(vocabulary))
    rng = random.Random(1)
    assert {word for _ in range(2000) for word in demo_language.story(rng).words} <= set(vocabulary)
    assert {example["answer"] for example in examples} <= set(vocabulary)


def test_the_committed_sentences_are_what_the_generator_writes(examples: list[Example]) -> None:
    assert demo_language.held_out_examples(seed=1, per_task=100) == examples


def test_the_bundled_model_gives_the_answers(examples: list[Example]) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = ASSETS / "models" / "bindings"
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    famous = {"text": "the box holds a red ball and the bag holds a blue hat . the hat is", "answer": "blue"}
    chosen = [famous, *examples[::4]]
    inputs = tokenizer([example["text"] for example in chosen], padding=True, return_tensors="pt")
    last = inputs["attention_mask"].sum(-1) - 1
    with torch.no_grad():
        logits = model(**inputs).logits[torch.arange(len(chosen)), last]
    guesses = tokenizer.convert_ids_to_tokens(logits.argmax(-1).tolist())
    right = [guess == example["answer"] for guess, example in zip(guesses, chosen, strict=True)]
    assert right[0]
    assert sum(right) / len(right) >= 0.97
