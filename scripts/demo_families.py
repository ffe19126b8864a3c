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
ROOMS = _words("kitchen garden hall attic cellar library garage office barn tower")
NUMBERS = _words("two three four five six seven eight nine ten eleven twelve")
FRUITS = _words("apples plums pears grapes figs lemons melons cherries nuts beans")
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
                "the {thing} in the {place} is {colour}",
            ),
        ),
        _questions(
            "binding",
            ("the {thing} is", "colour"),
            ("the colour of the {thing} is", "colour"),
            ("what is in the {place} is", "colour"),
            ("look in the {place} for the", "thing"),
            ("the {thing} must be in the", "place"),
        ),
        (2, 3, 3, 4),
    ),
    Family(
        {"who": NAMES, "colour": COLOURS, "thing": THINGS},
        (
            (
                "{who} has a {colour} {thing}",
                "the {colour} {thing} belongs to {who}",
                "{who} bought a {thing} and painted it {colour}",
                "there is a {colour} {thing} for {who}",
            ),
        ),
        _questions(
            "binding",
            ("the {thing} is", "colour"),
            ("the {thing} of {who} is", "colour"),
            ("the colour of the {thing} is", "colour"),
            ("the {colour} one belongs to", "who"),
            ("the one who has the {thing} is", "who"),
        ),
        (2, 3, 3, 4),
    ),
    Family(
        {"who": NAMES, "city": CITIES},
        (("{who} lives in {city}", "{who} comes from {city}", "{city} is the home of {who}"),),
        _questions(
            "lookup", ("{who} lives in", "city"), ("the home of {who} is", "city"), ("the one from {city} is", "who")
        ),
        (3, 4, 5),
    ),
    Family(
        {"who": NAMES, "number": NUMBERS, "fruit": FRUITS},
        (
            (
                "{who} picked {number} {fruit}",
                "{number} {fruit} were picked by {who}",
                "the {fruit} of {who} are {number}",
            ),
        ),
        _questions(
            "lookup",
            ("{who} picked", "number"),
            ("the number of {fruit} is", "number"),
            ("the {fruit} were picked by", "who"),
        ),
        (2, 3, 4),
    ),
    Family(
        {"sign": SIGNS, "number": NUMBERS},
        (("{sign} means {number}", "{number} is the code for {sign}", "{sign} : {number}"),),
        _questions("lookup", ("{sign} :", "number"), ("{sign} means", "number"), ("the code for {sign} is", "number")),
        (3, 4, 5),
    ),
    Family(
        {"who": NAMES, "colour": COLOURS, "place": PLACES},
        (
            ("{who} has the {colour} key", "the {colour} key belongs to {who}"),
            ("the {colour} key opens the {place}", "the {place} needs the {colour} key"),
        ),
        (
            *_questions("two-step", ("{who} can open the", "place"), ("the {place} is opened by", "who")),
            *_questions("lookup", ("the key of {who} is", "colour"), ("with the {colour} key we open the", "place")),
        ),
        (2, 2, 3),
    ),
    Family(
        {"who": NAMES, "guide": NAMES, "room": ROOMS},
        (
            ("{who} follows {guide}", "{guide} leads {who}"),
            ("{guide} goes to the {room}", "the {room} is where {guide} goes"),
        ),
        (
            *_questions("two-step", ("{who} ends up in the", "room"), ("so we find {who} in the", "room")),
            *_questions("lookup", ("the guide of {who} is", "guide"), ("{guide} is in the", "room")),
        ),
        (2, 2, 3),
    ),
    Family(
        {"who": NAMES, "fruit": FRUITS, "number": NUMBERS},
        (
            ("{who} wants {fruit}", "the {fruit} are for {who}"),
            ("{fruit} cost {number} coins", "it takes {number} coins to buy {fruit}"),
        ),
        (
            *_questions("two-step", ("{who} has to pay", "number"), ("the price for {who} is", "number")),
            *_questions("lookup", ("{who} would like", "fruit"), ("the price of {fruit} is", "number")),
        ),
        (2, 2, 3),
    ),
)
OPENINGS = ("", "", "listen :", "today", "we know that", "it is said that")
JOINTS = (".", ".", "and", ",", ", and", "while")
ASIDES = ("", "", "", "so", "now", "then", "of course ,")
