"""The words of the known-cause language, and its families of stories: how a fact may be told and what may be asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


COLOURS = _words("red blue green yellow white black brown pink grey purple")
THINGS = _words("ball hat cup coin book lamp ring rope stone spoon shell drum kite doll scarf glove boot mug bell")
PLACES = _words("box bag basket chest drawer jar bucket case sack tray crate trunk")
NAMES = _words("anna ben carl dora emil fay gus hana ivan june kim leo mia noah olga paul rosa sam tina vera")
CITIES = _words("paris rome oslo cairo lima delhi tokyo madrid vienna athens dublin lagos boston berlin")
NUMBERS = _words("two three four five six seven eight nine ten eleven twelve")
SIGNS = _words("star moon sun cloud arrow circle square cross heart leaf wave flame")
BEINGS = _words(
    "dog cat horse cow bird boy girl king queen farmer doctor sailor painter baker pilot singer driver guard"
)
SCENERY = _words(
    "gate house tree table cabinet door window wall bridge car boat field road fence river hill tower garden"
)
NEAR = _words("near behind beside under above")
DEEDS = _words("follow know see like help")
STATES = _words("old new big small quiet clean dark wet cold warm")


@dataclass(frozen=True)
class Question:
    task: str
    wording: str
    answer: str


@dataclass(frozen=True)
class Family:
    """Stories of several entries: an entry has a word per slot and is told in one sentence per group of wordings."""

    slots: Mapping[str, tuple[str, ...]]
    facts: tuple[tuple[str, ...], ...]
    questions: tuple[Question, ...]
    entries: tuple[int, ...]


def _questions(task: str, *pairs: tuple[str, str]) -> tuple[Question, ...]:
    return tuple(Question(task, wording, answer) for wording, answer in pairs)


FAMILIES: tuple[Family, ...] = (
    Family(
        {"place": PLACES, "colour": COLOURS, "thing": THINGS},
        (
            (
                "the {place} holds a {colour} {thing}",
                "a {colour} {thing} is in the {place}",
                "in the {place} there is a {colour} {thing}",
            ),
        ),
        _questions("binding", ("the {thing} is", "colour"), ("the colour of the {thing} is", "colour")),
        (2, 3, 4),
    ),
    Family(
        {"who": NAMES, "colour": COLOURS, "thing": THINGS},
        (
            (
                "{who} has a {colour} {thing}",
                "the {colour} {thing} belongs to {who}",
                "there is a {colour} {thing} for {who}",
            ),
        ),
        _questions("binding", ("the {thing} is", "colour"), ("the colour of the {thing} is", "colour")),
        (2, 3, 4),
    ),
    Family(
        {"who": NAMES, "city": CITIES},
        (("{who} lives in {city}", "{who} comes from {city}"),),
        _questions(
            "lookup", ("{who} lives in", "city"), ("{who} comes from", "city"), ("the home of {who} is", "city")
        ),
        (2, 3, 4),
    ),
    Family(
        {"sign": SIGNS, "number": NUMBERS},
        (("{sign} means {number}", "{sign} stands for {number}"),),
        _questions(
            "lookup", ("{sign} means", "number"), ("{sign} stands for", "number"), ("the code for {sign} is", "number")
        ),
        (2, 3, 4),
    ),
    Family(
        {"who": NAMES, "colour": COLOURS, "place": PLACES},
        (
            ("{who} has the {colour} key", "{who} took the {colour} key"),
            ("the {colour} key opens the {place}", "the {colour} key fits the {place}"),
        ),
        (
            *_questions("two-step", ("{who} can open the", "place"), ("{who} opens the", "place")),
            *_questions("lookup", ("the key of {who} is", "colour"), ("the {colour} key opens the", "place")),
        ),
        (2, 2, 3),
    ),
)
OPENINGS = ("", "", "listen :", "today", "we know that", "it is said that")
JOINTS = (".", ".", "and", ",", "while")
ASIDES = ("", "", "", "so", "now", "then")
