"""What is read of a backward pass, and against what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from lxtlike.composites import Composite
from lxtlike.errors import InputError
from lxtlike.methods.blend import blended
from lxtlike.methods.lrp import Explained, Read, lrp
from lxtlike.methods.passes import Progress, Scalar
from lxtlike.methods.path import path_lrp
from lxtlike.methods.reference import Way
from lxtlike.methods.room import within_memory
from lxtlike.methods.views import NO_VIEWS, Views


@dataclass(frozen=True)
class ReadOut:
    """What is read besides the relevance of the tokens, and what it is compared with.

    Attributes:
        views: layers and heads.
        positions: what is added to the tokens for where they stand.
        way: from a reference to the text; None: relevance is ``e c``.
        blend: another composite; relevance is the mean of that under the one that is explained with and that under this.

    Raises:
        InputError: views against a reference.
    """

    views: Views = NO_VIEWS
    positions: bool = False
    way: Way | None = None
    blend: Composite | None = None

    def __post_init__(self) -> None:
        if self.way is not None and any(self.views):
            raise InputError("layers and heads have no reference to compare with: leave them out, or the reference")

    def explained(
        self,
        model: nn.Module,
        inputs: Mapping[str, Any],
        read: Read,
        scalars: Sequence[Scalar],
        composite: Composite,
        *,
        checkpointing: bool | None = None,
        compare: bool = False,
        progress: Progress | None = None,
        **options: Any,
    ) -> list[Explained]:
        """`lrp`, or `path_lrp`, with their arguments; under both composites, where two are blended.

        Args:
            checkpointing: None also asks how much memory is left, see `within_memory`.
            progress: where two composites are blended, half of it is told for each.
        """

        def run(again: bool | None) -> list[Explained]:
            options.update(positions=self.positions, checkpointing=again)
            found, composites = [], [composite] if self.blend is None else [composite, self.blend]
            for number, rules in enumerate(composites):
                options["compare"] = compare and not number
                if progress is not None:
                    options["progress"] = partial(_part, progress, number, len(composites))
                if self.way is None:
                    found.append(lrp(model, inputs, read, scalars, rules, views=self.views, **options))
                else:
                    found.append(path_lrp(model, inputs, read, scalars, rules, way=self.way, **options))
            return found[0] if self.blend is None else [blended(runs) for runs in zip(*found, strict=True)]

        return within_memory(model, inputs, checkpointing, run)

    def stated(self, explained: Explained, item: int) -> Mapping[str, Any]:
        """What the result of one item states of it, as fields of its target."""
        if self.way is None:
            return {}
        return {"reference": self.way.reference.to_dict(), "path": explained.points[item] if explained.points else 0}

    def check(self, sequences: int) -> None:
        """Raise InputError if it cannot be read of texts that are so many sequences."""
        asked = {"layers and heads": any(self.views), "positions": self.positions, "a reference": self.way is not None}
        for name, wanted in asked.items():
            if wanted and sequences > 1:
                raise InputError(
                    f"{name} cannot be read of an encoder-decoder, whose tokens are in two places: leave them out"
                )


def _part(progress: Progress, number: int, parts: int, done: int, total: int) -> None:
    progress((number * total + done) // parts, total)


PLAIN = ReadOut()
