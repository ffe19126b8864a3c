"""A small English in which the cause of the answer is known.

A story states some facts, then asks about them; the answer is one word, and exactly one word of the text decides it:

- binding      "the box holds a red ball and the bag holds a blue hat . the hat is" -> blue, because of `blue`
- agreement    "the keys near the cabinet" -> are, because of `keys`
- induction    "star , stone , lamp , star ," -> stone, because of `stone`
- lookup       "anna lives in rome . ben lives in oslo . the home of ben is" -> oslo, because of `oslo`
- two-step     "anna has the red key . the red key opens the box . anna can open the" -> box: `box`, via `red`

Wording, order, and which fact is asked for are drawn at random, so that no position gives the answer away. Stories
whose facts hash to the held-out side are never trained on, in whatever wording or order they are told.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from demo_families import (
    ASIDES,
    BEINGS,
    CITIES,
    COLOURS,
    DEEDS,
    FAMILIES,
    JOINTS,
    NAMES,
    NEAR,
    NUMBERS,
    OPENINGS,
    PLACES,
    SCENERY,
    SIGNS,
    STATES,
    THINGS,
    Family,
)

LONGEST = 72  # words of a story
TASKS = ("binding", "agreement", "induction", "lookup", "two-step")


@dataclass(frozen=True)
class Answer:
    """A word that the words before it decide. Numbers are word indices of the story."""

    task: str
    at: int
    cause: tuple[int, ...]
    via: tuple[int, ...] = ()  # the intermediate values of a two-step lookup
    cue: tuple[int, ...] = ()  # the words that say which fact is meant, in the question and in the fact
    rivals: tuple[int, ...] = ()  # words of the cause's kind that would decide otherwise


@dataclass(frozen=True)
class Story:
    facts: str  # canonical: the same for every wording and order; decides training or held-out
    words: tuple[str, ...]
    answers: tuple[Answer, ...]

    @property
    def held_out(self) -> bool:
        return zlib.crc32(self.facts.encode()) % 8 == 0

    def example(self) -> dict[str, object]:
        """The text up to the first answer, with character spans."""
        answer = self.answers[0]
        starts = [0]
        for word in self.words:
            starts.append(starts[-1] + len(word) + 1)

        def spans(indices: Sequence[int]) -> list[list[int]]:
            return [[starts[i], starts[i + 1] - 1] for i in sorted(indices)]

        return {
            "task": answer.task,
            "text": " ".join(self.words[: answer.at]),
            "answer": self.words[answer.at],
            "cause": spans(answer.cause),
            "via": spans(answer.via),
            "cue": spans(answer.cue),
            "rivals": spans(answer.rivals),
        }


@dataclass
class _Draft:
    """Words written so far, and where the word of each (entry, slot) stands."""

    words: list[str] = field(default_factory=list)
    places: dict[tuple[int, str], list[int]] = field(default_factory=dict)
    sentences: list[set[int]] = field(default_factory=list)  # the words of each wording

    def write(self, wording: str, entry: Mapping[str, str] | None = None, number: int = 0) -> None:
        start = len(self.words)
        for word in wording.split():
            if word.startswith("{"):
                slot = word[1:-1]
                self.places.setdefault((number, slot), []).append(len(self.words))
                word = (entry or {})[slot]
            self.words.append(word)
        self.sentences.append(set(range(start, len(self.words))))


def _told(rng: random.Random, family: Family, asked: int) -> Story:
    count = rng.choice(family.entries)
    columns: dict[str, list[str]] = {}
    for slot, pool in family.slots.items():
        taken = {word for column in columns.values() for word in column}
        columns[slot] = rng.sample([word for word in pool if word not in taken], count)
    entries = [{slot: columns[slot][i] for slot in columns} for i in range(count)]

    draft = _Draft()
    draft.write(rng.choice(OPENINGS))
    facts = [(group, number) for group in family.facts for number in range(count)]
    rng.shuffle(facts)
    for index, (group, number) in enumerate(facts):
        if index:
            draft.write(rng.choice(JOINTS))
        draft.write(rng.choice(group), entries[number], number)
    draft.write(".")

    answers = []
    told = {place: tuple(indices) for place, indices in draft.places.items()}
    sentences = list(draft.sentences)
    questions = [(number, question) for number in range(count) for question in family.questions]
    rng.shuffle(questions)
    known: set[tuple[int, str]] = set()  # no answer is asked for twice: it could be copied from the first time
    for number, question in questions:
        if len(answers) == asked or len(draft.words) > LONGEST - 12:
            break
        if (number, question.answer) in known:
            continue
        known.add((number, question.answer))
        draft.write(rng.choice(ASIDES))
        before = len(draft.words)
        draft.write(question.wording, entries[number], number)
        given = {slot for slot in columns if "{" + slot + "}" in question.wording}
        asked_for = {i for slot in given for i in told[number, slot]}
        cause = told[number, question.answer]
        if question.task == "two-step":
            bridges = [slot for slot in columns if len(told[number, slot]) > 1]
        else:  # the sentence that speaks of what is asked; another may have the answer's word for another reason
            bridges, here = [], set().union(*(sentence for sentence in sentences if sentence & asked_for))
            cause = tuple(i for i in cause if i in here)
        answers.append(
            Answer(
                question.task,
                at=len(draft.words),
                cause=cause,
                via=tuple(i for slot in bridges for i in told[number, slot]),
                cue=tuple(asked_for | {i for slot in given for i in draft.places[number, slot] if i >= before}),
                rivals=tuple(i for other in range(count) if other != number for i in told[other, question.answer]),
            )
        )
        draft.words += [entries[number][question.answer], "."]
    return Story(str(sorted(sorted(e.items()) for e in entries)), tuple(draft.words), tuple(answers))


def _agreement(rng: random.Random) -> Story:
    """One subject, one or two attractors. Trained on any numbers; asked with every attractor of the other number."""
    being = rng.choice(BEINGS)
    subject = rng.choice([noun for noun in (*BEINGS, *THINGS, "key") if noun != being])
    plural = rng.random() < 0.5
    near = rng.sample(SCENERY, 2)
    other = [rng.random() < 0.7 for _ in near]

    def numbered(noun: str, many: bool) -> str:
        return noun + "s" if many else noun

    draft = _Draft()
    opening = rng.choice(("", "", "today", "yesterday", "last night", "we know that", "it is said that"))
    past = opening in ("yesterday", "last night")
    draft.write(opening)
    cue = tuple(range(len(draft.words))) if past else ()
    entry = {
        "subject": numbered(subject, plural),
        "being": numbered(being, plural != other[0]),
        "first": numbered(near[0], plural != other[0]),
        "second": numbered(near[1], plural != other[1]),
        "deed": rng.choice(DEEDS) + ("" if plural != other[0] else "s"),
        "state": rng.choice(STATES),
        "near": rng.choice(NEAR),
        "by": rng.choice(NEAR),
    }
    wording = rng.choice(
        (
            "the {subject} {near} the {first}",
            "the {state} {subject} {near} the {first}",
            "{near} the {first} the {subject}",
            "{near} the {first} the {state} {subject}",
            "the {subject} {near} the {first} {by} the {second}",
            "{near} the {first} the {subject} {by} the {second}",
            "{near} the {first} and {by} the {second} the {subject}",
            "the {subject} that the {being} {deed} {by} the {first}",
            "the {subject} that the {being} {deed}",
            "{near} the {second} the {subject} that the {being} {deed}",
        )
    )
    draft.write(wording, entry)
    at = len(draft.words)
    verb = ("were" if plural else "was") if past else ("are" if plural else "is")
    draft.words += [verb, rng.choice([state for state in STATES if state != entry["state"]]), "."]
    nouns = [slot for slot in ("being", "first", "second") if (0, slot) in draft.places]
    answer = Answer(
        "agreement",
        at,
        cause=tuple(draft.places[0, "subject"]),
        cue=cue,
        rivals=tuple(draft.places[0, slot][0] for slot in nouns),
    )
    return Story(f"{subject} {sorted(near)}", tuple(draft.words), (answer,))


def _induction(rng: random.Random, asked: int) -> Story:
    """A list of words, then one of them again: the next word is what followed it the first time."""
    pools = (COLOURS, THINGS, PLACES, NAMES, CITIES, NUMBERS, SIGNS, BEINGS, STATES)
    listed = rng.sample(sorted({word for pool in pools for word in pool}), rng.randint(4, 10))
    joint = rng.choice(((), (), (",",), ("then",), ("and",)))
    draft = _Draft()
    draft.write(rng.choice(OPENINGS))
    start, stride = len(draft.words), 1 + len(joint)
    for word in listed:
        draft.words += [word, *joint]
    if rng.random() < 0.5:
        draft.write(".")
    answers: list[Answer] = []
    # The last word has no follower. No word is asked for twice: there would be two places to take the answer from.
    for first in rng.sample(range(len(listed) - 1), min(asked, len(listed) - 1)):
        if len(draft.words) > LONGEST - 5:
            break
        draft.words += [listed[first], *joint]
        here = start + first * stride
        answers.append(
            Answer(
                "induction",
                at=len(draft.words),
                cause=(here + stride,),
                cue=(here, len(draft.words) - stride),
                rivals=tuple(start + i * stride for i in range(len(listed)) if i not in (first, first + 1)),
            )
        )
        draft.words += [listed[first + 1], "."]
    return Story(" ".join(listed), tuple(draft.words), tuple(answers))


def story(rng: random.Random, asked: int = 1) -> Story:
    """A story with at most `asked` questions (at least one)."""
    kind = rng.choices(("one step", "two steps", "agreement", "induction"), (6, 4, 2, 3))[0]
    if kind == "agreement":
        return _agreement(rng)
    if kind == "induction":
        return _induction(rng, asked)
    groups = ("one step", "two steps").index(kind) + 1
    return _told(rng, rng.choice([family for family in FAMILIES if len(family.facts) == groups]), asked)


def training_stories(rng: random.Random, total: int) -> Iterator[Story]:
    """`total` stories, none from the held-out side."""
    for _ in range(total):
        while (told := story(rng, rng.choice((2, 50)))).held_out:
            continue
        yield told


def _singular(noun: str) -> str:
    return noun.removesuffix("s") if noun.removesuffix("s") in {*BEINGS, *THINGS, "key", *SCENERY} else noun


def held_out_examples(seed: int, per_task: int) -> list[dict[str, object]]:
    """`per_task` examples of each task, no text twice; in agreement no attractor has the subject's number."""
    rng = random.Random(f"held out {seed}")
    found: dict[str, dict[str, dict[str, object]]] = {task: {} for task in TASKS}
    while any(len(examples) < per_task for examples in found.values()):
        told = story(rng)
        examples = found[told.answers[0].task]
        if not told.held_out or len(examples) >= per_task:
            continue
        if told.answers[0].task == "agreement":
            plural = [told.words[i] != _singular(told.words[i]) for i in told.answers[0].cause + told.answers[0].rivals]
            if plural[0] in plural[1:]:
                continue
        example = told.example()
        examples.setdefault(str(example["text"]), example)
    return [example for task in TASKS for example in found[task].values()]


def vocabulary() -> list[str]:
    """Every word the language can write, in a fixed order: function words first."""
    wordings = [*OPENINGS, *JOINTS, *ASIDES, "is are was were then yesterday last night that"]
    for family in FAMILIES:
        wordings += [wording for group in family.facts for wording in group]
        wordings += [question.wording for question in family.questions]
    function = dict.fromkeys(word for wording in wordings for word in wording.split() if not word.startswith("{"))
    content = [*COLOURS, *THINGS, *PLACES, *NAMES, *CITIES, *NUMBERS, *SIGNS, *NEAR, *STATES]
    content += [form for noun in (*BEINGS, *THINGS, "key", *SCENERY, *DEEDS) for form in (noun, noun + "s")]
    return list(dict.fromkeys([*function, *content]))
