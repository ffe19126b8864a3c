"""The ledger of a similarity: where every unit went when each of two texts has accounts of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lxtlike.attribution import parts


@dataclass(frozen=True)
class PairLedger:
    """``explained = pairs + first + second + neither + rest`` (all in units of the similarity).

    A similarity is a sum of products ``phi_k(a) phi_k(b)``, and the ledger of each factor says ``phi_k = tokens + positions
    + biases + ...``. Multiplied out and summed over k this is a table, accounts of a x accounts of b, whose sum is the
    similarity.

    Attributes:
        explained: the similarity, from the patched forward.
        table: account of the first text -> account of the second one -> amount.
    """

    explained: float
    table: Mapping[str, Mapping[str, float]] = field(hash=False)

    @property
    def pairs(self) -> float:
        """What pairs of tokens explain: the sum of the matrix."""
        return self.table["tokens"]["tokens"]

    @property
    def first(self) -> float:
        """Tokens of the first text with what no token of the second one accounts for (its biases, ...)."""
        return math.fsum(amount for own, other, amount in self._entries() if own == "tokens" != other)

    @property
    def second(self) -> float:
        """Tokens of the second text with what no token of the first one accounts for."""
        return math.fsum(amount for own, other, amount in self._entries() if own != "tokens" == other)

    @property
    def neither(self) -> float:
        """What no token of either text accounts for: it would be there whatever they say."""
        return math.fsum(amount for own, other, amount in self._entries() if own != "tokens" != other)

    @property
    def rest(self) -> float:
        """What no account explains: rounding, or an operation that no rule covers."""
        return self.explained - math.fsum(amount for _, _, amount in self._entries())

    @property
    def relative_error(self) -> float:
        """``|rest|`` over the sum of the absolute amounts; where all are empty, 0 without and 1 with a rest."""
        total = math.fsum(abs(amount) for _, _, amount in self._entries())
        return abs(self.rest) / total if total else float(self.rest != 0.0)

    def _entries(self) -> list[tuple[str, str, float]]:
        return [(own, other, amount) for own, row in self.table.items() for other, amount in row.items()]

    def numbers(self) -> list[float]:
        """Every number that the ledger holds."""
        return [self.explained, *(amount for _, _, amount in self._entries())]

    def to_dict(self) -> dict[str, Any]:
        """The sums, the table, `rest` and `relative_error`, as written to JSON."""
        names = ("explained", "pairs", "first", "second", "neither", "rest", "relative_error")
        sums = {name: getattr(self, name) for name in names}
        return {**sums, "table": {own: dict(row) for own, row in self.table.items()}}

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> PairLedger:
        """From its JSON object, whose sums follow from the table; errors as in `lxtlike.attribution.parts`."""
        table = {
            parts.string(own): {parts.string(other): parts.number(amount) for other, amount in row.items()}
            for own, row in data["table"].items()
        }
        ledger = cls(parts.number(data["explained"]), table)
        _ = ledger.pairs  # which every ledger has
        return ledger
