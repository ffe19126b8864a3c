"""The account book: what operations absorb, collected by hooks during the backward pass."""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor

from lxtlike.rules.primitives import Measure


class AccountBook:
    """Sums of absorbed relevance per account and batch item, for the latest backward pass.

    Attributes:
        items: batch size B of the explained input; known once the first tracked tensor is seen.
    """

    def __init__(self) -> None:
        self.items = 1
        self._pass: int | None = None
        self._per_item: dict[str, Tensor] = {}
        self._shared: dict[str, Tensor] = {}

    def absorb(self, account: str, output: Tensor, measure: Measure) -> None:
        """See `lxtlike.rules.primitives.Book`."""
        if output.requires_grad:
            output.register_hook(lambda c: self._write(account, measure(c)))  # type: ignore[no-untyped-call]

    def _write(self, account: str, measured: Tensor) -> None:
        number = torch._C._current_graph_task_id()
        if number != self._pass:
            self._pass, self._per_item, self._shared = number, {}, {}
        dtype = torch.float32 if measured.device.type == "mps" else torch.float64
        rows = measured.shape[0] if measured.dim() else 0
        if rows and rows % self.items == 0:
            total, accounts = measured.reshape(self.items, -1).sum(1, dtype=dtype), self._per_item
        else:
            # Rows that no longer belong to one item each (tokens sorted by expert): known for the whole batch only.
            total, accounts = measured.sum(dtype=dtype), self._shared
        accounts[account] = accounts[account] + total.to(accounts[account].device) if account in accounts else total

    def accounts(self, item: int | None = None) -> dict[str, float]:
        """Account -> absorbed relevance of one batch item, or of the whole batch."""
        totals: dict[str, float] = defaultdict(float)
        for account, values in self._per_item.items():
            totals[account] += float(values.sum() if item is None else values[item])
        if item is None or self.items == 1:
            for account, value in self._shared.items():
                totals[account] += float(value)
        return dict(totals)
