"""The result of one explanation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lxtlike.attribution import parts
from lxtlike.attribution.agreement import Agreement
from lxtlike.attribution.decoded import Decoded, decoded
from lxtlike.attribution.parts import AuditSummary, Candidate, ResolvedTarget, Unit
from lxtlike.attribution.saved import Saved
from lxtlike.errors import InputError, NumericalError
from lxtlike.ledger import Ledger
from lxtlike.text import Given, Segment, Token, cut, group
from lxtlike.version import SCHEMA


@dataclass(frozen=True, eq=False, repr=False)
class Attribution(Saved):
    """The relevance of every token of one text for one target. Immutable, picklable, equal if `to_dict` is.

    Attributes:
        tokens: [T], special tokens included.
        relevance: raw (never normalised), read-only float32 [T]; of a result by units [U], theirs.
        layers: read-only float32 [L + 1, T], the tokens' relevance at the embeddings and behind every layer, where that
            was asked for.
        heads: read-only float32 [L, H], the relevance of what every attention head puts out, where that was asked for; 0
            where a layer has no attention, or fewer heads than another.
        positions: read-only float32 [T], the relevance of what is added to every token for where it stands, where that was
            asked for.
        errors: read-only float32 [T], the standard error of every token's relevance, of a method that draws samples.
        agreement: with a second method, where that was asked for.
        parts: what the text consists of (messages, documents), where that is known.
        decoder: what the decoder of an encoder-decoder had read; `text`, `tokens` and `relevance` are the encoder's then.
        units: [U] in reading order, or None for a result by token.
        token_relevance: read-only float32 [T], the tokens' relevance also of a result by units.

    Raises:
        NumericalError: a relevance, logit, value or account is NaN or infinite.
        InputError: relevance and tokens do not fit together.
    """

    schema: ClassVar[str] = SCHEMA
    kind: ClassVar[str] = "attribution"
    arrays: ClassVar[tuple[str, ...]] = (
        "tokens.relevance",
        "decoder_tokens.relevance",
        "layers",
        "heads",
        "positions",
        "errors",
    )

    model: str
    task: str
    composite: str
    text: str
    tokens: tuple[Token, ...]
    relevance: NDArray[np.float32]
    prediction: tuple[Candidate, ...]
    target: ResolvedTarget
    ledger: Ledger
    audit: AuditSummary
    versions: Mapping[str, str]
    parts: tuple[Segment, ...] = ()
    layers: NDArray[np.float32] | None = None
    heads: NDArray[np.float32] | None = None
    positions: NDArray[np.float32] | None = None
    errors: NDArray[np.float32] | None = None
    agreement: Agreement | None = None
    decoder: Decoded | None = None
    units: tuple[Unit, ...] | None = None
    token_relevance: NDArray[np.float32] = None  # type: ignore[assignment]  # filled in below

    def __post_init__(self) -> None:
        given = self.token_relevance if self.units is not None and self.token_relevance is not None else self.relevance
        names = [token.token for token in self.tokens]
        object.__setattr__(self, "token_relevance", _read_only(given, names, "token"))
        if self.units is not None:
            own = _read_only([unit.relevance for unit in self.units], [unit.text for unit in self.units], "unit")
            object.__setattr__(self, "relevance", own)
        else:
            object.__setattr__(self, "relevance", self.token_relevance)
        if self.layers is not None:
            rows = [_read_only(row, names, "token") for row in self.layers]
            object.__setattr__(self, "layers", _read_only_matrix(rows))
        if self.heads is not None:
            object.__setattr__(self, "heads", _read_only_heads(self.heads))
        for name in ("positions", "errors"):
            if (values := getattr(self, name)) is not None:
                object.__setattr__(self, name, _read_only(values, names, "token"))
        parts.check_finite(self.target, self.prediction, self.ledger, self.audit)

    @property
    def cautions(self) -> tuple[str, ...]:
        """Reasons to be careful with this result that its own numbers tell, as sentences; see `lxtlike.render.cautions`."""
        from lxtlike.render.view import View

        return View.of(self.to_dict()).cautions

    @property
    def decoder_tokens(self) -> tuple[Token, ...]:
        """The tokens of an encoder-decoder's decoder; their relevance is `decoder.relevance`."""
        return () if self.decoder is None else self.decoder.tokens

    def by(self, granularity: str | Iterable[Given]) -> Attribution:
        """The same result summed over words, sentences, parts or own segments of the text (``"token"``: undone).

        ``"word"``, ``"sentence"``; ``"message"`` for all `parts`; the name of some parts, numbered or not
        (``"document"``); or segments, ``(start, end)`` or ``(label, start, end)`` in characters of `text`, which may
        overlap. Every token goes to exactly one unit (see `lxtlike.text.group`), so the sum is preserved. Special
        tokens without characters, and tokens outside every segment, are units of their own; a segment without tokens
        has relevance 0. Neighbouring words that one token says together are one unit.

        Raises:
            InputError: an unknown granularity, or a segment that is not within the text.
        """
        if granularity == "token":
            return self if self.units is None else replace(self, relevance=self.token_relevance, units=None)
        segments = cut(granularity, self.text, self.tokens, self.parts)
        relevance = self.token_relevance.tolist()
        units = []
        for number, indices in group(self.tokens, [(start, end) for _, start, end in segments]):
            if number is None:
                label, start, end = None, self.tokens[indices[0]].start, self.tokens[indices[0]].end
            else:
                label, start, end = segments[number]
            total = math.fsum(relevance[index] for index in indices)
            units.append(Unit(self.text[start:end], start, end, indices, total, label))
        return replace(self, units=tuple(units))

    def top(self, n: int = 10, *, special: bool = False) -> list[tuple[Token | Unit, float]]:
        """The `n` tokens (or units) of largest absolute relevance with it; special tokens only if asked for."""
        items: tuple[Token | Unit, ...] = self.tokens if self.units is None else self.units
        ranked = sorted(
            ((item, value) for item, value in zip(items, self.relevance.tolist(), strict=True)),
            key=lambda pair: -abs(pair[1]),
        )
        return [pair for pair in ranked if special or not self._is_special(pair[0])][: max(n, 0)]

    def _is_special(self, item: Token | Unit) -> bool:
        if isinstance(item, Token):
            return item.special
        return bool(item.tokens) and all(self.tokens[number].special for number in item.tokens)

    def to_dict(self) -> dict[str, Any]:
        """The JSON object ``lxtlike/attribution/1``; with `units`, if the result has them, beside the tokens."""
        relevance = self.token_relevance.tolist()
        named: dict[str, Any] = {"parts": [part._asdict() for part in self.parts]} if self.parts else {}
        if self.layers is not None:
            named["layers"] = self.layers.tolist()
        if self.heads is not None:
            named["heads"] = self.heads.tolist()
        if self.positions is not None:
            named["positions"] = self.positions.tolist()
        if self.errors is not None:
            named["errors"] = self.errors.tolist()
        if self.agreement is not None:
            named["agreement"] = vars(self.agreement).copy()
        units = {} if self.units is None else {"units": [unit.to_dict() for unit in self.units]}
        return {
            "schema": SCHEMA,
            "model": self.model,
            "task": self.task,
            "composite": self.composite,
            "text": self.text,
            "prediction": [vars(candidate).copy() for candidate in self.prediction],
            "target": self.target.to_dict(),
            "tokens": [{**vars(t), "relevance": value} for t, value in zip(self.tokens, relevance, strict=True)],
            **named,
            **units,
            **({} if self.decoder is None else self.decoder.to_dict()),
            "ledger": self.ledger.to_dict(),
            "audit": self.audit.to_dict(),
            "versions": dict(self.versions),
        }

    @classmethod
    def _read(cls, data: Mapping[str, Any]) -> Attribution:
        text = parts.string(data["text"])
        tokens = tuple(parts.token(text, index, token) for index, token in enumerate(data["tokens"]))
        return cls(
            model=parts.string(data["model"]),
            task=parts.string(data["task"]),
            composite=parts.string(data["composite"]),
            text=text,
            tokens=tokens,
            relevance=parts.numbers([token["relevance"] for token in data["tokens"]]),
            prediction=tuple(map(parts.candidate, data["prediction"])),
            target=parts.target(data["target"]),
            ledger=parts.ledger(data["ledger"]),
            audit=parts.audit(data["audit"]),
            versions=parts.versions(data["versions"]),
            parts=parts.segments(text, data),
            layers=parts.numbers(data["layers"]) if "layers" in data else None,
            heads=parts.numbers(data["heads"]) if "heads" in data else None,
            positions=parts.numbers(data["positions"]) if "positions" in data else None,
            errors=parts.numbers(data["errors"]) if "errors" in data else None,
            agreement=parts.agreement(data["agreement"]) if "agreement" in data else None,
            decoder=decoded(data),
            units=tuple(parts.unit(text, len(tokens), u) for u in data["units"]) if "units" in data else None,
        )


def _read_only(values: Any, names: Sequence[str], kind: str) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        array = np.array(values, dtype=np.float32)
    if array.shape != (len(names),):
        raise InputError(f"relevance of shape {array.shape} does not fit {len(names)} {kind}s: one number for each")
    bad = np.flatnonzero(~np.isfinite(array))
    if len(bad):
        which = f"{kind} {bad[0]} ({names[bad[0]]!r})"
        raise NumericalError(f"the relevance of {which} is NaN or infinite: it overflows here; try dtype float32")
    array.setflags(write=False)
    return array


def _read_only_matrix(rows: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    matrix = np.stack(rows)
    matrix.setflags(write=False)
    return matrix


def _read_only_heads(values: Any) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        matrix = np.array(values, dtype=np.float32)
    if matrix.ndim != 2 or not matrix.size:
        raise InputError(f"relevance of heads of shape {matrix.shape}: a row for each layer, a column for each head")
    if not np.isfinite(matrix).all():
        raise NumericalError("the relevance of a head is NaN or infinite: it overflows here; try dtype float32")
    matrix.setflags(write=False)
    return matrix
