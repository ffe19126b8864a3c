"""Encoder and decoder in one: the decoder's tokens behind the encoder's, for everything that shows a result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def joined(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """A result with `decoder_tokens` as one over a single text, with a line break between what both read; others as they are."""
    if "decoder_tokens" not in result:
        return result
    places, shift = len(result["tokens"]), len(result["text"]) + 1
    behind = [_shifted(token, shift) | {"index": places + token["index"]} for token in result["decoder_tokens"]]
    rest = {key: value for key, value in result.items() if key not in ("decoder_text", "decoder_tokens")}
    # What a page gives back when it is asked for the result.
    rest["own"] = {
        key: result[key] for key in ("text", "tokens", "decoder_text", "decoder_tokens", "units") if key in result
    }
    rest |= {"text": f"{result['text']}\n{result['decoder_text']}", "tokens": [*result["tokens"], *behind]}
    if result.get("units"):
        keys = ("text", "start", "end", "relevance")
        rest["units"] = [*result["units"], *({key: t[key] for key in keys} | {"tokens": [t["index"]]} for t in behind)]
    return rest


def _shifted(token: Mapping[str, Any], shift: int) -> dict[str, Any]:
    return {**token, "start": token["start"] + shift, "end": token["end"] + shift}
