"""The ledger: where every unit of the explained value went, as plain numbers.

A ledger is what `propagation` measured during one backward pass, item by item. It knows no torch, so that results can be
stored, compared and shown without it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Ledger:
    """``explained = tokens + positions + biases + softmax + epsilon + router + rest`` (all in units of the target).

    Attributes:
        explained: the target's value F, read from the patched forward in float32 or wider.
        tokens: sum of the relevance of all tokens.
        positions: relevance of learned position (and segment) embeddings and of position-dependent attention biases.
        biases: what biases of linear layers, betas of norms and any other additive constant absorbed.
        softmax: what the Taylor bias of softmaxes absorbed (AttnLRP; 0 for CP-LRP).
        epsilon: what the stabiliser of the epsilon rule absorbed.
        router: kept for what routers of mixtures of experts absorb; so far their softmaxes are part of `softmax`.
        special: the part of ``tokens`` that lies on special tokens; shown beside it, not added.
    """

    explained: float
    tokens: float
    positions: float = 0.0
    biases: float = 0.0
    softmax: float = 0.0
    epsilon: float = 0.0
    router: float = 0.0
    special: float = 0.0

    @property
    def accounts(self) -> dict[str, float]:
        """The accounts that add up to `explained` when `rest` is zero."""
        return {name: getattr(self, name) for name in ("tokens", "positions", "biases", "softmax", "epsilon", "router")}

    @property
    def rest(self) -> float:
        """What no account explains: rounding, or an operation that no rule covers."""
        return self.explained - sum(self.accounts.values())

    @property
    def relative_error(self) -> float:
        """``|rest|`` over the sum of the absolute accounts; where all are empty, 0 without and 1 with a rest."""
        total = sum(abs(value) for value in self.accounts.values())
        if total == 0.0:
            return float(self.rest != 0.0)
        return abs(self.rest) / total

    def to_dict(self) -> dict[str, float]:
        """The fields with `rest` and `relative_error`, as written to JSON."""
        return {**asdict(self), "rest": self.rest, "relative_error": self.relative_error}


@dataclass(frozen=True)
class Uncovered:
    """An operation on the way from the inputs to the target that no rule of the composite covers."""

    operation: str
    module: str
    remedy: str

    def __str__(self) -> str:
        return f"no rule covers {self.operation} in {self.module or 'the model'}: {self.remedy}"

    def to_dict(self) -> dict[str, str]:
        """The three fields, as written to JSON."""
        return asdict(self)
