"""The result of explaining rows of a table: the relevance of every feature for every row's target."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lxtlike.attribution import parts
from lxtlike.attribution.parts import AuditSummary, Candidate, ResolvedTarget
from lxtlike.attribution.saved import Saved
from lxtlike.errors import InputError, NumericalError
from lxtlike.ledger import ACCOUNTS, Ledger
from lxtlike.version import TABLE_SCHEMA


@dataclass(frozen=True)
class ExplainedRow:
    """What was explained of one row.

    Attributes:
        prediction: what the model puts first; empty where it has one output.
        ledger: where the target's value went; `tokens` are the features.
    """

    target: ResolvedTarget
    prediction: tuple[Candidate, ...]
    ledger: Ledger


@dataclass(frozen=True, eq=False, repr=False)
class TableAttribution(Saved):
    """The relevance of every feature of some rows of a table. Immutable, picklable, equal if `to_dict` is.

    ``a[3]`` and ``a[10:20]`` are the same of fewer rows.

    Attributes:
        features: [F], their names.
        values: the rows as they were given, read-only float64 [N, F].
        relevance: raw (never normalised), read-only float32 [N, F].
        rows: [N], each row's target, prediction and ledger.

    Raises:
        NumericalError: a number is NaN or infinite.
        InputError: relevance, values, features and rows do not fit together.
    """

    schema: ClassVar[str] = TABLE_SCHEMA
    kind: ClassVar[str] = "table attribution"
    arrays: ClassVar[tuple[str, ...]] = ("rows.relevance",)
    renderer: ClassVar[str] = "lxtlike.render.features"

    model: str
    composite: str
    features: tuple[str, ...]
    values: NDArray[np.float64]
    relevance: NDArray[np.float32]
    rows: tuple[ExplainedRow, ...]
    audit: AuditSummary
    versions: Mapping[str, str]

    def __post_init__(self) -> None:
        size = len(self.rows), len(self.features)
        if 0 in size:
            raise InputError("a table needs at least one row and one feature")
        for name, dtype in (("values", np.float64), ("relevance", np.float32)):
            with np.errstate(over="ignore"):
                array = np.array(getattr(self, name), dtype=dtype)
            if array.shape != size:
                raise InputError(f"{name} of shape {array.shape} do not fit {size[0]} rows of {size[1]} features")
            if not np.isfinite(array).all():
                raise NumericalError(f"{name} are NaN or infinite: the model overflows here; try dtype float32")
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        for row in self.rows:
            parts.check_finite(row.target, row.prediction, row.ledger, self.audit)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int | slice) -> TableAttribution:
        """The same of one row, or of some; IndexError where there is none."""
        rows = self.rows[place] if isinstance(place, slice) else (self.rows[place],)
        some = place if isinstance(place, slice) else slice(place, place + 1 or None)
        return replace(self, values=self.values[some], relevance=self.relevance[some], rows=rows)

    @property
    def importance(self) -> NDArray[np.float64]:
        """Mean |relevance| of each feature over the rows, [F]."""
        sizes: NDArray[np.float64] = np.abs(self.relevance, dtype=np.float64).mean(0)
        return sizes

    @property
    def ledger(self) -> Ledger:
        """The ledgers of all rows added up."""
        ledgers = [row.ledger for row in self.rows]
        names = ("explained", *ACCOUNTS, "special")
        kinds = dict.fromkeys(kind for ledger in ledgers for kind in ledger.bias_kinds)
        return Ledger(
            **{name: math.fsum(getattr(ledger, name) for ledger in ledgers) for name in names},
            bias_kinds={kind: math.fsum(ledger.bias_kinds.get(kind, 0.0) for ledger in ledgers) for kind in kinds},
        )

    def top(self, n: int = 10) -> list[tuple[str, float]]:
        """The `n` features of largest mean |relevance|, with it."""
        order = np.argsort(-self.importance, kind="stable")[: max(n, 0)].tolist()
        return [(self.features[place], float(self.importance[place])) for place in order]

    def to_dict(self) -> dict[str, Any]:
        """The JSON object ``lxtlike/table/1``."""
        return {
            "schema": TABLE_SCHEMA,
            "model": self.model,
            "composite": self.composite,
            "features": list(self.features),
            "rows": [
                {
                    "target": row.target.to_dict(),
                    "prediction": [vars(candidate).copy() for candidate in row.prediction],
                    "values": values,
                    "relevance": relevance,
                    "ledger": row.ledger.to_dict(),
                }
                for row, values, relevance in zip(self.rows, self.values.tolist(), self.relevance.tolist(), strict=True)
            ],
            "audit": self.audit.to_dict(),
            "versions": dict(self.versions),
        }

    @classmethod
    def _read(cls, data: Mapping[str, Any]) -> TableAttribution:
        rows: Sequence[Mapping[str, Any]] = data["rows"]
        return cls(
            model=parts.string(data["model"]),
            composite=parts.string(data["composite"]),
            features=tuple(map(parts.string, data["features"])),
            values=parts.numbers([row["values"] for row in rows]),
            relevance=parts.numbers([row["relevance"] for row in rows]),
            rows=tuple(
                ExplainedRow(
                    parts.target(row["target"]),
                    tuple(map(parts.candidate, row["prediction"])),
                    parts.ledger(row["ledger"]),
                )
                for row in rows
            ),
            audit=parts.audit(data["audit"]),
            versions=parts.versions(data["versions"]),
        )
