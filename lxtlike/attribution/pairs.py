"""The result of explaining how similar two texts are: which tokens of one meet which of the other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lxtlike.attribution import parts
from lxtlike.attribution.pair_ledger import PairLedger
from lxtlike.attribution.parts import AuditSummary
from lxtlike.attribution.saved import Saved
from lxtlike.errors import InputError, NumericalError
from lxtlike.text import Token, cut, group
from lxtlike.text.parts import Segment
from lxtlike.version import SIMILARITY_SCHEMA


@dataclass(frozen=True)
class Group:
    """Some tokens of a text taken together, as a word: the stretch ``[start, end)`` and the tokens' indices."""

    text: str
    start: int
    end: int
    tokens: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Side:
    """One of the two texts.

    Attributes:
        tokens: [T], special tokens included.
        relevance: read-only float32 [T], of the tokens for the similarity with the other text's embedding held fixed.
        groups: what rows or columns of the matrix stand for, where that is not single tokens.
    """

    text: str
    tokens: tuple[Token, ...]
    relevance: NDArray[np.float32]
    groups: tuple[Group, ...] | None = None

    @property
    def items(self) -> Sequence[Token | Group]:
        """The tokens, or the groups that they were taken together to."""
        return self.tokens if self.groups is None else self.groups

    def is_special(self, number: int) -> bool:
        """Whether an item consists of special tokens only."""
        indices = (number,) if self.groups is None else self.groups[number].tokens
        return bool(indices) and all(self.tokens[index].special for index in indices)

    def by(self, granularity: str) -> Side:
        """The same text in words or sentences, or in tokens again."""
        if granularity == "token":
            return replace(self, groups=None)
        segments: list[Segment] = cut(granularity, self.text, self.tokens)
        groups = []
        for number, indices in group(self.tokens, [(start, end) for _, start, end in segments]):
            if number is None:
                start, end = self.tokens[indices[0]].start, self.tokens[indices[0]].end
            else:
                _, start, end = segments[number]
            groups.append(Group(self.text[start:end], start, end, indices))
        return replace(self, groups=tuple(groups))

    def to_dict(self) -> dict[str, Any]:
        """The JSON object; with `units`, if tokens were taken together."""
        values = self.relevance.tolist()
        units = {} if self.groups is None else {"units": [{**vars(g), "tokens": list(g.tokens)} for g in self.groups]}
        return {
            "text": self.text,
            "tokens": [{**vars(token), "relevance": value} for token, value in zip(self.tokens, values, strict=True)],
            **units,
        }

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Side:
        """From its JSON object; errors as in `lxtlike.attribution.parts`."""
        text = parts.string(data["text"])
        tokens = tuple(parts.token(text, index, token) for index, token in enumerate(data["tokens"]))
        relevance = parts.numbers([token["relevance"] for token in data["tokens"]])
        groups = None
        if "units" in data:
            units = (parts.unit(text, len(tokens), {"relevance": 0.0, **unit}) for unit in data["units"])
            groups = tuple(Group(unit.text, unit.start, unit.end, unit.tokens) for unit in units)
        return cls(text, tokens, relevance, groups)


@dataclass(frozen=True, eq=False, repr=False)
class PairAttribution(Saved):
    """The relevance of every pair of tokens of two texts for their similarity. Immutable, equal if `to_dict` is.

    Attributes:
        form: how it was computed, ``bilrp`` or ``tokens``.
        similarity: ``cosine`` or ``dot``; its value is ``ledger.explained``.
        pooling: how the embeddings are made of the last layer's states: ``mean``, ``cls`` or ``last``.
        first, second: the two texts.
        token_matrix: raw, read-only float32 [Ta, Tb].

    Raises:
        NumericalError: a number is NaN or infinite.
        InputError: matrix and tokens do not fit together.
    """

    schema: ClassVar[str] = SIMILARITY_SCHEMA
    kind: ClassVar[str] = "similarity"
    arrays: ClassVar[tuple[str, ...]] = ("matrix",)
    renderer: ClassVar[str] = "lxtlike.render.pairs"

    model: str
    composite: str
    form: str
    similarity: str
    pooling: str
    first: Side
    second: Side
    token_matrix: NDArray[np.float32]
    ledger: PairLedger
    audit: AuditSummary
    versions: Mapping[str, str]

    def __post_init__(self) -> None:
        sizes = len(self.first.tokens), len(self.second.tokens)
        object.__setattr__(self, "token_matrix", _read_only(self.token_matrix, sizes, "the matrix"))
        for name, size in zip(("first", "second"), sizes, strict=True):
            side: Side = getattr(self, name)
            own = _read_only(side.relevance, (size,), f"the relevance of the {name} text's tokens")
            object.__setattr__(self, name, replace(side, relevance=own))
        if not all(map(math.isfinite, (*self.ledger.numbers(), self.audit.forward_deviation or 0.0))):
            raise NumericalError(
                "a number of the ledger is NaN or infinite: the model overflows here; try dtype float32"
            )

    @cached_property
    def matrix(self) -> NDArray[np.float32]:
        """Relevance of every pair: rows are the items of the first text (tokens, or words), columns those of the second."""
        matrix = _summed(_summed(self.token_matrix, self.first).T, self.second).T
        return _read_only(matrix, matrix.shape, "the matrix")

    def by(self, granularity: str) -> PairAttribution:
        """The same with both texts in words or sentences (``"token"``: undone); sums are preserved.

        Raises:
            InputError: an unknown granularity.
        """
        return replace(self, first=self.first.by(granularity), second=self.second.by(granularity))

    def top(self, n: int = 10, *, special: bool = False) -> list[tuple[Token | Group, Token | Group, float]]:
        """The `n` pairs of largest absolute relevance; those with special tokens only if asked for."""
        found: list[tuple[Token | Group, Token | Group, float]] = []
        for flat in np.argsort(-np.abs(self.matrix), axis=None, kind="stable").tolist():
            i, j = divmod(flat, self.matrix.shape[1])
            if len(found) >= max(n, 0):
                break
            if special or not (self.first.is_special(i) or self.second.is_special(j)):
                found.append((self.first.items[i], self.second.items[j], float(self.matrix[i, j])))
        return found

    def to_dict(self) -> dict[str, Any]:
        """The JSON object ``lxtlike/similarity/1``; its `matrix` is of tokens, `units` say what was taken together."""
        return {
            "schema": SIMILARITY_SCHEMA,
            "model": self.model,
            "composite": self.composite,
            "form": self.form,
            "similarity": self.similarity,
            "pooling": self.pooling,
            "value": self.ledger.explained,
            "first": self.first.to_dict(),
            "second": self.second.to_dict(),
            "matrix": self.token_matrix.tolist(),
            "ledger": self.ledger.to_dict(),
            "audit": self.audit.to_dict(),
            "versions": dict(self.versions),
        }

    @classmethod
    def _read(cls, data: Mapping[str, Any]) -> PairAttribution:
        return cls(
            **{name: parts.string(data[name]) for name in ("model", "composite", "form", "similarity", "pooling")},
            first=Side.read(data["first"]),
            second=Side.read(data["second"]),
            token_matrix=parts.numbers(data["matrix"]),
            ledger=PairLedger.read(data["ledger"]),
            audit=parts.audit(data["audit"]),
            versions=parts.versions(data["versions"]),
        )


def _summed(rows: NDArray[Any], side: Side) -> NDArray[np.float64]:
    """Rows of tokens as rows of the side's items."""
    wide = rows.astype(np.float64)
    return wide if side.groups is None else np.stack([wide[list(g.tokens)].sum(0) for g in side.groups])


def _read_only(values: Any, shape: tuple[int, ...], what: str) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        array = np.array(values, dtype=np.float32)
    if array.shape != shape:
        raise InputError(f"{what} of shape {array.shape} does not fit the tokens: {shape} is needed")
    if not np.isfinite(array).all():
        raise NumericalError(f"{what} is NaN or infinite: it overflows here; try dtype float32")
    array.setflags(write=False)
    return array
