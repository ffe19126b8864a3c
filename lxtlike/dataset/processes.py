"""The processes that share a run: those that `accelerate launch` or torchrun has started, or this one alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

_PATIENCE = timedelta(days=30)
"""How long one waits for the others: their shares may take long, and one that dies ends all."""


def _alone() -> None:
    """There is nobody to wait for."""


@dataclass(frozen=True)
class Processes:
    """This process among those that share a run.

    Attributes:
        number: of this one; 0 is the main one, which writes the output.
        count: how many there are.
        device: the one that is this process' own; None where nobody has said.
        wait: returns when all have called it.
    """

    number: int = 0
    count: int = 1
    device: str | None = None
    wait: Callable[[], None] = _alone

    @property
    def main(self) -> bool:
        """Whether this is the main one."""
        return self.number == 0


def launched() -> Processes:
    """The processes that were started together with this one."""
    if int(os.environ.get("WORLD_SIZE", "1")) <= 1:
        return Processes()
    import torch
    from accelerate import PartialState

    asked = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes")
    state = PartialState(cpu=asked or not torch.accelerator.is_available(), timeout=_PATIENCE)
    return Processes(state.process_index, state.num_processes, str(state.device), state.wait_for_everyone)
