"""Tokens taken together for the page: words, sentences, and the parts (messages, documents) that a result names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any

from lxtlike.text.encoding import Token
from lxtlike.text.grouping import group
from lxtlike.text.offsets import Span
from lxtlike.text.segments import sentences, words

Runs = list[int]
"""How many tokens each group has, in order."""


def runs(result: Mapping[str, Any]) -> dict[str, Runs]:
    """For each granularity the groups of neighbouring tokens, as the numbers of their tokens; every token is in one.

    No group holds tokens of the prompt and of the continuation: what they explain differs.
    """
    text = result["text"]
    parts = [(part["start"], part["end"]) for part in result.get("parts") or ()]
    found = {"word": words(text), "sentence": sentences(text), **({"message": parts} if parts else {})}
    return {name: _runs(result, spans) for name, spans in found.items()}


def _runs(result: Mapping[str, Any], spans: Iterable[Span]) -> Runs:
    tokens = [Token(*(entry[key] for key in Token.__dataclass_fields__)) for entry in result["tokens"]]
    outputs = {output["position"] for output in result.get("outputs") or ()}
    owner: dict[int, Any] = {}
    for number, (_, members) in enumerate(group(tokens, list(spans))):
        owner |= dict.fromkeys(members, number)
    keys = ((owner[index], index in outputs) for index in range(len(tokens)))
    return [len(list(members)) for _, members in groupby(keys)]
