"""The result of explaining every token of a continuation: a matrix outputs x tokens, its sums, and what it leads back to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from operator import index as integer
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lxtlike.attribution import parts
from lxtlike.attribution.parts import AuditSummary, Candidate, ResolvedTarget
from lxtlike.attribution.result import Attribution
from lxtlike.attribution.saved import Saved, pandas
from lxtlike.errors import InputError, NumericalError
from lxtlike.ledger import Ledger
from lxtlike.text import Segment, Token
from lxtlike.version import GENERATION_SCHEMA

STEADY = 1e-3
"""Mass on an output is traced on only if the output's value is at least this part of its summed absolute accounts."""


@dataclass(frozen=True)
class Output:
    """One token of the continuation.

    Attributes:
        index: counts outputs from 0.
        position: its place among the result's tokens.
        value: what was explained of it: its logit, log-probability, ...
        prediction: what the model would rather have said here, the most probable first.
    """

    index: int
    id: int
    token: str
    position: int
    value: float
    prediction: tuple[Candidate, ...]
    ledger: Ledger


@dataclass(frozen=True, eq=False, repr=False)
class GenerationAttribution(Saved):
    """The relevance of every token of prompt and continuation for every token of the continuation.

    ``g[i]`` is an `Attribution`, and so is ``g.span(3, 9)``: relevance is linear in what is explained.

    Attributes:
        text: prompt and continuation.
        tokens: [T], of both.
        outputs: [N], those of the continuation.
        relevance: raw, read-only float32 [N, T]; zero from an output's own position on.
        parts: what the text consists of (messages, documents), where that is known.

    Raises:
        NumericalError: a number is NaN or infinite.
        InputError: relevance, outputs and tokens do not fit together.
    """

    schema: ClassVar[str] = GENERATION_SCHEMA
    kind: ClassVar[str] = "generation"
    arrays: ClassVar[tuple[str, ...]] = ("outputs.relevance",)

    model: str
    task: str
    composite: str
    text: str
    objective: str
    tokens: tuple[Token, ...]
    outputs: tuple[Output, ...]
    relevance: NDArray[np.float32]
    audit: AuditSummary
    versions: Mapping[str, str]
    parts: tuple[Segment, ...] = ()

    def __post_init__(self) -> None:
        with np.errstate(over="ignore"):
            matrix = np.array(self.relevance, dtype=np.float32)
        if matrix.shape != (len(self.outputs), len(self.tokens)):
            sizes = f"{len(self.outputs)} outputs and {len(self.tokens)} tokens"
            raise InputError(f"relevance of shape {matrix.shape} does not fit {sizes}: a row for each output is needed")
        numbers = [n for o in self.outputs for n in (o.value, *o.ledger.numbers(), *_flat(o.prediction))]
        if not np.isfinite(matrix).all() or not np.isfinite(numbers).all():
            raise NumericalError("a relevance, value or account is NaN or infinite: try dtype float32")
        if any(not 0 <= o.position < len(self.tokens) for o in self.outputs):
            raise InputError(f"an output's position is not one of the {len(self.tokens)} tokens")
        matrix.setflags(write=False)
        object.__setattr__(self, "relevance", matrix)

    def __len__(self) -> int:
        return len(self.outputs)

    def __iter__(self) -> Iterator[Attribution]:
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, index: int) -> Attribution:
        """The explanation of one output.

        Raises:
            IndexError: there is no such output.
        """
        output = self.outputs[index]
        target = ResolvedTarget(output.id, output.token, output.position - 1, self.objective, None, output.value)
        return self._attribution(self.relevance[index], output.prediction, target, output.ledger)

    def span(self, start: int, stop: int, weights: Sequence[float] | None = None) -> Attribution:
        """The explanation of the outputs ``start`` to ``stop - 1`` together: of the sum of their values.

        Args:
            weights: one for each output of the span, instead of 1.

        Raises:
            InputError: an empty span, one that is not within the outputs, or weights that do not fit.
        """
        if not 0 <= start < stop <= len(self):
            raise InputError(f"span {start} to {stop} is not within the outputs: 0 <= start < stop <= {len(self)}")
        given = [1.0] * (stop - start) if weights is None else [float(weight) for weight in weights]
        if len(given) != stop - start:
            raise InputError(f"{len(given)} weights for a span of {stop - start} outputs: one for each is needed")
        outputs = self.outputs[start:stop]
        target = ResolvedTarget(
            id=None,
            token=self.text[self.tokens[outputs[0].position].start : self.tokens[outputs[-1].position].end],
            position=None,
            objective=self.objective,
            contrast=None,
            value=sum(weight * output.value for weight, output in zip(given, outputs, strict=True)),
            ids=tuple(output.id for output in outputs),
            positions=tuple(output.position for output in outputs),
        )
        relevance = np.asarray(given) @ self.relevance[start:stop].astype(np.float64)
        ledger = sum_of([(weight, output.ledger) for weight, output in zip(given, outputs, strict=True)])
        return self._attribution(relevance, (), target, ledger)

    def trace(self, attribution: Attribution, hops: int | None = None) -> Attribution:
        """An explanation of this generation with the mass on earlier outputs led on to what they came from.

        An output j that holds relevance m gives it on in the proportions of its own explanation: every token t receives
        ``m * R_jt / F_j`` and every account its part, so that all of m is accounted for, with signs, after every hop. Without
        `hops` this goes on until nothing is left on outputs, and everything lies on the prompt. Mass stays where an
        output's value nearly cancels (below `STEADY` of its accounts): its proportions would mean nothing.

        Args:
            attribution: ``g[i]`` or ``g.span(...)``.
            hops: how many times to lead mass on.

        Raises:
            InputError: negative hops, or an explanation of other tokens.
        """
        if attribution.tokens != self.tokens:
            raise InputError("this explanation is not one of this generation: pass g[i] or g.span(...)")
        if hops is not None and hops < 0:
            raise InputError(f"hops must be 0 or more, not {hops}")
        relevance = attribution.token_relevance.astype(np.float64)
        taken = [(1.0, attribution.ledger)]
        for _ in range(len(self) if hops is None else hops):
            led = [o for o in self.outputs if relevance[o.position] != 0.0 and _steady(o.ledger)]
            if not led:
                break
            masses = [relevance[o.position] for o in led]
            relevance[[o.position for o in led]] = 0.0
            for mass, output in zip(masses, led, strict=True):
                share = mass / output.ledger.explained
                relevance += share * self.relevance[output.index].astype(np.float64)
                # The mass itself leaves the tokens, what the output's explanation holds comes in.
                taken.append((share, replace(output.ledger, explained=0.0)))
        ledger = sum_of(taken)
        special = sum(relevance[token.index] for token in self.tokens if token.special)
        ledger = replace(ledger, tokens=float(relevance.sum()), special=float(special))
        return self._attribution(relevance, attribution.prediction, attribution.target, ledger)

    def _attribution(
        self, relevance: NDArray[Any], prediction: tuple[Candidate, ...], target: ResolvedTarget, ledger: Ledger
    ) -> Attribution:
        return Attribution(
            model=self.model,
            task=self.task,
            composite=self.composite,
            text=self.text,
            tokens=self.tokens,
            relevance=relevance,
            prediction=prediction,
            target=target,
            ledger=ledger,
            audit=self.audit,
            versions=self.versions,
            parts=self.parts,
        )

    def to_dict(self) -> dict[str, Any]:
        """The JSON object ``lxtlike/generation/1``."""
        named = {"parts": [part._asdict() for part in self.parts]} if self.parts else {}
        return {
            "schema": self.schema,
            "model": self.model,
            "task": self.task,
            "composite": self.composite,
            "text": self.text,
            "objective": self.objective,
            "tokens": [vars(token).copy() for token in self.tokens],
            "outputs": [
                {
                    **vars(output),
                    "prediction": [vars(candidate).copy() for candidate in output.prediction],
                    "ledger": output.ledger.to_dict(),
                    "relevance": row,
                }
                for output, row in zip(self.outputs, self.relevance.tolist(), strict=True)
            ],
            **named,
            "audit": self.audit.to_dict(),
            "versions": dict(self.versions),
        }

    @classmethod
    def _read(cls, data: Mapping[str, Any]) -> GenerationAttribution:
        text = parts.string(data["text"])
        return cls(
            model=parts.string(data["model"]),
            task=parts.string(data["task"]),
            composite=parts.string(data["composite"]),
            text=text,
            objective=parts.string(data["objective"]),
            tokens=tuple(parts.token(text, index, token) for index, token in enumerate(data["tokens"])),
            outputs=tuple(_output(index, output) for index, output in enumerate(data["outputs"])),
            relevance=parts.numbers([output["relevance"] for output in data["outputs"]]).reshape(
                -1, len(data["tokens"])
            ),
            audit=parts.audit(data["audit"]),
            versions=parts.versions(data["versions"]),
            parts=parts.segments(text, data),
        )

    def to_pandas(self, kind: str | None = None) -> Any:
        """A `pandas.DataFrame` of the matrix, a row for each output, a column for each token; or ``pairs`` in long form.

        Raises:
            InputError: an unknown kind, or one that the result has no numbers for.
            LxtlikeError: pandas is not installed.
        """
        if kind is not None:
            return super().to_pandas(kind)
        names = [output.token for output in self.outputs], [token.token for token in self.tokens]
        return pandas().DataFrame(self.relevance, index=names[0], columns=names[1])


def sum_of(parts: Sequence[tuple[float, Ledger]]) -> Ledger:
    """The weighted sum of ledgers: that of the weighted sum of what they explain."""
    names = [field.name for field in fields(Ledger) if field.name != "bias_kinds"]
    kinds = sorted({kind for _, ledger in parts for kind in ledger.bias_kinds})
    return Ledger(
        **{name: sum(weight * getattr(ledger, name) for weight, ledger in parts) for name in names},
        bias_kinds={kind: sum(weight * ledger.bias_kinds.get(kind, 0.0) for weight, ledger in parts) for kind in kinds},
    )


def _steady(ledger: Ledger) -> bool:
    return abs(ledger.explained) > STEADY * sum(abs(value) for value in ledger.accounts.values())


def _flat(candidates: Sequence[Candidate]) -> list[float]:
    return [number for candidate in candidates for number in (candidate.logit, candidate.prob)]


def _output(index: int, data: Mapping[str, Any]) -> Output:
    if data["index"] != index:
        raise ValueError(f"output {index} has index {data['index']!r}")
    return Output(
        index=index,
        id=integer(data["id"]),
        token=parts.string(data["token"]),
        position=integer(data["position"]),
        value=parts.number(data["value"]),
        prediction=tuple(map(parts.candidate, data["prediction"])),
        ledger=parts.ledger(data["ledger"]),
    )
