"""Matrices: a generation's rows summed to one result, and rows of numbers as few bytes."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lxtlike.ledger import ACCOUNTS

STEPS = 127
"""Steps between zero and the largest number of a packed row."""


def summed(generation: Mapping[str, Any]) -> dict[str, Any]:
    """A ``lxtlike/generation/1`` object with the sums over its outputs where an attribution has its numbers.

    Relevance is linear, so this is the explanation of all outputs together. `outputs` stays; `ledger` is None unless every
    output has one.
    """
    outputs = generation["outputs"]
    totals = [math.fsum(column) for column in zip(*(output["relevance"] for output in outputs), strict=True)]
    tokens = [
        {**token, "relevance": total}
        for token, total in zip(generation["tokens"], totals or [0.0] * len(generation["tokens"]), strict=True)
    ]
    places = [generation["tokens"][output["position"]] for output in outputs]
    text = generation["text"][places[0]["start"] : places[-1]["end"]] if places else ""
    target = {
        "id": None,
        "ids": [output["id"] for output in outputs],
        "token": text or "".join(output["token"] for output in outputs),
        "position": None,
        "objective": generation["objective"],
        "contrast": None,
        "value": math.fsum(output["value"] for output in outputs),
    }
    ledgers = [output["ledger"] for output in outputs]
    ledger = total_ledger(ledgers) if ledgers and all(ledgers) else None
    return {**generation, "tokens": tokens, "target": target, "prediction": [], "ledger": ledger}


def total_ledger(ledgers: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The sum of ledgers, with the `rest` and `relative_error` of the sum."""
    names = ("explained", "special", *ACCOUNTS)
    total = {name: math.fsum(ledger.get(name, 0.0) for ledger in ledgers) for name in names}
    rest = total["explained"] - math.fsum(total[name] for name in ACCOUNTS)
    size = math.fsum(abs(total[name]) for name in ACCOUNTS)
    return {**total, "rest": rest, "relative_error": abs(rest) / size if size else float(rest != 0.0)}


def packed(rows: Sequence[Sequence[float]], share: float = 1.0) -> dict[str, Any]:
    """Rows of equal length as one byte a number, base64, each row with the float that is one step.

    What rounding takes from a number goes to the next one, so that the sum of any neighbours is right to one step. With
    `share` below 1 only the largest entries that hold this share of a row's magnitude are kept, as pairs of bytes: how
    many places to skip, and the number there.
    """
    scales, content = [], bytearray()
    for row in rows:
        numbers = [float(x) if math.isfinite(x) else 0.0 for x in row]
        scale = max(map(abs, numbers), default=0.0) / STEPS
        scales.append(float(f"{scale:.6g}"))
        if not scale:
            steps = [0] * len(numbers)
        elif share == 1.0:
            steps = _diffused(numbers, scale)
        else:
            kept = _largest(numbers, share)
            steps = [round(x / scale) if i in kept else 0 for i, x in enumerate(numbers)]
        content += bytes(step % 256 for step in steps) if share == 1.0 else _skipping(steps)
    width = len(rows[0]) if rows else 0
    return {"bytes": base64.b64encode(content).decode(), "scales": scales, "width": width, "sparse": share < 1.0}


def _diffused(numbers: Iterable[float], scale: float) -> list[int]:
    steps, carry = [], 0.0
    for number in numbers:
        wanted = number / scale + carry
        step = max(-STEPS, min(STEPS, round(wanted)))
        carry = wanted - step
        steps.append(step)
    return steps


def _largest(numbers: Sequence[float], share: float) -> set[int]:
    """The places of the largest numbers that together hold `share` of the summed magnitudes."""
    left = share * math.fsum(map(abs, numbers))
    kept = set()
    for i in sorted(range(len(numbers)), key=lambda i: -abs(numbers[i])):
        if left <= 0.0:
            break
        kept.add(i)
        left -= abs(numbers[i])
    return kept


def _skipping(steps: Sequence[int]) -> bytes:
    pairs, gap = bytearray(), 0
    for place, step in enumerate(steps):
        if step or gap == 255 or place == len(steps) - 1:
            pairs += bytes((gap, step % 256))
            gap = 0
        else:
            gap += 1
    return bytes(pairs)
