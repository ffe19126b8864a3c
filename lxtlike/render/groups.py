"""Tokens taken together for the page: words, sentences, and the parts (messages, documents) that a result names."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import groupby
from typing import Any, TypeAlias

from lxtlike.text.encoding import Token
from lxtlike.text.grouping import cut, group
from lxtlike.text.parts import Segment

Runs: TypeAlias = list[int | dict[str, Any]]
"""How many tokens each group has, in order; with its label ``{"length": ..., "label": ...}``."""


def runs(result: Mapping[str, Any]) -> dict[str, Runs]:
    """For each granularity the groups of neighbouring tokens, as the numbers of their tokens; every token is in one.

    Groups that are a part of the text (a message, a document) have its label. No group holds tokens of the prompt and of
    the continuation: what they explain differs.
    """
    text = result["text"]
    tokens = [Token(*(entry[key] for key in Token.__dataclass_fields__)) for entry in result["tokens"]]
    found = {name: cut(name, text, tokens) for name in ("word", "sentence")}
    if result.get("parts"):
        found["message"] = [Segment(**part) for part in result["parts"]]
    outputs = {output["position"] for output in result.get("outputs") or ()}
    return {name: _runs(tokens, segments, outputs) for name, segments in found.items()}


def _runs(tokens: Sequence[Token], segments: Sequence[Segment], outputs: Collection[int]) -> Runs:
    owner: dict[int, tuple[int, str | None]] = {}
    for place, (number, members) in enumerate(group(tokens, [(start, end) for _, start, end in segments])):
        label = None if number is None else segments[number].label
        owner |= dict.fromkeys(members, (place, label))
    keys = ((owner[index], index in outputs) for index in range(len(tokens)))
    counted = ((label, len(list(members))) for ((_, label), _), members in groupby(keys))
    return [count if label is None else {"length": count, "label": label} for label, count in counted]
