"""How far the work is: a bar on a terminal, nothing elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

DELAY = 1.0
"""Seconds until a bar shows: short work needs none."""


@contextmanager
def told(unit: str) -> Iterator[Callable[[int, int | None], None] | None]:
    """What is told how many of the units are done, and how many there are (None: nobody knows); None without a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm

    with tqdm(desc="explaining", unit=unit, delay=DELAY, leave=False, file=sys.stderr, dynamic_ncols=True) as bar:

        def tell(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield tell
