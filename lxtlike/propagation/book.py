"""The account book: what operations absorb, collected by hooks during the backward pass."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, MutableMapping

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from lxtlike.propagation.parallel import Group, groups_of, summed, whole
from lxtlike.rules.first import read_from
from lxtlike.rules.primitives import Measure, wide

ARRIVES, PASSES = CROSSINGS = ("arrives", "passes")
"""Written beside the accounts: what comes to a place at its outputs, and what it hands on at its inputs."""

_POSITIONS = "positions"

Entry = tuple[int, str]
"""A place in the model (a layer, see `lxtlike.propagation.layers`) and an account (with the kind of bias) or a crossing."""


Written = defaultdict[Entry, list[Tensor]]
"""Sums over one operation each, of every item [B] or of the whole batch []; what adds them up waits until they are read."""


class AccountBook:
    """Sums of absorbed relevance per place, account and batch item, for the latest backward pass.

    Attributes:
        items: batch size B of the explained input; known once the first tracked tensor is seen.
        place: number of the place where the forward is; what operations absorb is booked there.
        scale: what the target was multiplied by for the backward pass; entries are divided by it.
        text: shape [B, T] of a text whose `by_position` is wanted; None for none.
        shared_out: whether several processes share the model's operations (see `lxtlike.propagation.parallel`).
    """

    def __init__(self) -> None:
        self.items = 1
        self.shared_out = False
        self.place = 0
        self.scale = 1.0
        self.text: torch.Size | None = None
        self._positions: Tensor | None = None
        self._pass: int | None = None
        self._per_item: Written = defaultdict(list)
        self._shared: Written = defaultdict(list)
        self._deposits: MutableMapping[Tensor, Tensor] = WeakTensorKeyDictionary()
        self._moving = False

    def absorb(self, account: str, output: Tensor, measure: Measure) -> None:
        """See `lxtlike.rules.primitives.Book`."""
        if output.requires_grad:
            self.watch(output, measure, (self.place, account))

    def watch(self, t: Tensor, measure: Measure, *entries: Entry) -> None:
        """Write ``measure(coefficient of t)`` to these entries whenever a backward pass comes by."""
        groups = groups_of(t) if self.shared_out else ()
        t.register_hook(lambda c: self.write(measure(c), *entries, groups=groups))  # type: ignore[no-untyped-call]

    def is_part(self, t: Tensor) -> bool:
        """See `lxtlike.rules.primitives.Book`."""
        return self.shared_out and bool(groups_of(t))

    def deposit(self, x: Tensor) -> Callable[[Tensor], None]:
        """See `lxtlike.rules.primitives.Book`."""
        leaf, entry = read_from(x), (self.place, PASSES)
        if leaf is None:
            raise ValueError("relevance is deposited at inputs only")

        def put(relevance: Tensor) -> None:
            self.write(relevance, entry)
            if leaf is not x:
                self._moving = True  # what this pass back to the leaf meets is no account's
                try:
                    (relevance,) = torch.autograd.grad(x, leaf, relevance.to(x.dtype), retain_graph=True)
                finally:
                    self._moving = False
            before = self._deposits.get(leaf)
            self._deposits[leaf] = wide(relevance) if before is None else before + wide(relevance)

        return put

    def deposited(self, leaf: Tensor) -> Tensor | float:
        """Relevance that the latest backward pass has deposited at an input; divided by `scale`."""
        found = self._deposits.get(leaf)
        return 0.0 if found is None else found / self.scale

    def write(self, measured: Tensor, *entries: Entry, groups: tuple[Group, ...] = ()) -> None:
        """Add relevance that the backward pass has just measured, a tensor as `Measure` gives it.

        Args:
            groups: of processes each of which has measured a part.
        """
        if self._moving:
            return
        number = torch._C._current_graph_task_id()
        if number != self._pass:
            self._pass, self._positions = number, None
            self._per_item, self._shared = defaultdict(list), defaultdict(list)
            self._deposits.clear()
        measured = whole(measured)
        rows = measured.shape[0] if measured.dim() else 0
        if rows and rows % self.items == 0:
            total, written = measured.reshape(self.items, -1).sum(1), self._per_item
        else:
            # Rows that no longer belong to one item each (tokens sorted by expert): known for the whole batch only.
            total, written = measured.sum(), self._shared
        if self.text == measured.shape[:2] and measured.dim() == 3 and any(name == _POSITIONS for _, name in entries):
            own = summed(measured.sum(-1), groups) / self.scale
            self._positions = own if self._positions is None else self._positions + own
        if groups:
            total = summed(total.to(torch.float32 if total.device.type == "mps" else torch.float64), groups)
        for entry in entries:
            written[entry].append(total)

    @property
    def by_position(self) -> Tensor | None:
        """What the account *positions* holds for each position of the `text` [B, T], of constants added to its tokens."""
        return self._positions

    def entries(self, item: int | None = None) -> dict[Entry, float]:
        """Relevance of one batch item, or of the whole batch, by place and account."""
        totals: dict[Entry, float] = defaultdict(float)
        for entry, parts in self._per_item.items():
            values = _summed_up(parts) / self.scale
            totals[entry] += float(values.sum() if item is None else values[item])
        if item is None or self.items == 1:
            for entry, parts in self._shared.items():
                totals[entry] += float(_summed_up(parts)) / self.scale
        return dict(totals)

    def accounts(self, item: int | None = None) -> dict[str, float]:
        """Account -> absorbed relevance of one batch item, or of the whole batch."""
        totals: dict[str, float] = defaultdict(float)
        for amounts in self.places(item).values():
            for account, value in amounts.items():
                if account not in CROSSINGS:
                    totals[account] += value
        return dict(totals)

    def kinds(self, item: int | None = None) -> dict[str, float]:
        """Kind of bias -> absorbed relevance."""
        totals: dict[str, float] = defaultdict(float)
        for (_, account), value in self.entries(item).items():
            name, _, kind = account.partition(".")
            if name == "biases":
                totals[kind or "other"] += value
        return dict(totals)

    def places(self, item: int | None = None) -> dict[int, dict[str, float]]:
        """Place -> account, or crossing -> relevance."""
        totals: dict[int, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        for (place, account), value in self.entries(item).items():
            totals[place][account.partition(".")[0]] += value
        return {place: dict(totals[place]) for place in sorted(totals)}


def _summed_up(parts: list[Tensor]) -> Tensor:
    """The sum of all parts in float64, on the CPU, of which it is the only part from now on.

    torch sums in a tree, so nothing is lost where one operation's relevance is summed in float32; here it would be. An
    accelerator is waited for once.
    """
    if len(parts) == 1 and parts[0].device.type == "cpu":
        return parts[0].double()
    devices: dict[torch.device, list[Tensor]] = defaultdict(list)
    for part in parts:
        devices[part.device].append(part)
    sums = [torch.stack(found).cpu().double().sum(0) for found in devices.values()]
    parts[:] = [torch.stack(sums).sum(0)]
    return parts[0]
