"""What the decoder of an encoder-decoder had read when it made the explained prediction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lxtlike.attribution import parts
from lxtlike.errors import InputError, NumericalError
from lxtlike.text import Token


@dataclass(frozen=True, eq=False)
class Decoded:
    """The decoder's text so far and its tokens, the special ones with which it starts included.

    Attributes:
        relevance: raw, read-only float32 [D].

    Raises:
        InputError: relevance and tokens do not fit together.
        NumericalError: a relevance is NaN or infinite.
    """

    text: str
    tokens: tuple[Token, ...]
    relevance: NDArray[np.float32]

    def __post_init__(self) -> None:
        with np.errstate(over="ignore"):
            array = np.array(self.relevance, dtype=np.float32)
        if array.shape != (len(self.tokens),):
            raise InputError(f"relevance of shape {array.shape} does not fit {len(self.tokens)} tokens of the decoder")
        if not np.isfinite(array).all():
            raise NumericalError("the relevance of a decoder's token is NaN or infinite: try dtype float32")
        array.setflags(write=False)
        object.__setattr__(self, "relevance", array)

    def to_dict(self) -> dict[str, Any]:
        """The two keys of the result's JSON object, ``decoder_text`` and ``decoder_tokens``."""
        pairs = zip(self.tokens, self.relevance.tolist(), strict=True)
        return {"decoder_text": self.text, "decoder_tokens": [{**vars(t), "relevance": value} for t, value in pairs]}


def decoded(data: Mapping[str, Any]) -> Decoded | None:
    """From the result's JSON object, which may have none."""
    if "decoder_tokens" not in data:
        return None
    text, tokens = parts.string(data["decoder_text"]), data["decoder_tokens"]
    return Decoded(
        text,
        tuple(parts.token(text, index, token) for index, token in enumerate(tokens)),
        parts.numbers([token["relevance"] for token in tokens]),
    )
