"""What `explain` and `generate` share: from options to an explainer, and from its result to what is written."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lxtlike.cli import options, output
from lxtlike.cli.exits import one_line

if TYPE_CHECKING:
    from lxtlike.attribution import Attribution, GenerationAttribution
    from lxtlike.explainer import Explainer


@contextmanager
def explaining(
    model: str | None,
    *,
    task: str,
    composite: str,
    device: str | None,
    device_map: str | None,
    dtype: str | None,
    checkpointing: str,
    strict: bool,
    trust_remote_code: bool,
) -> Iterator[Explainer]:
    """The explainer that the options ask for; libraries keep quiet within the block.

    Raises:
        InputError: for whatever is wrong with an option or the model.
    """
    from lxtlike.composites import Composite
    from lxtlike.loading import load, quiet

    rules = Composite.parse(composite)  # before the model: a typing error should not cost its loading
    loaded = load(
        model, task=task, dtype=dtype, device=device, device_map=device_map, trust_remote_code=trust_remote_code
    )

    from lxtlike.explainer import Explainer

    with quiet():
        yield Explainer(
            loaded.model,
            loaded.tokenizer,
            composite=rules,
            task=loaded.task,
            strict=strict,
            checkpointing=options.CHECKPOINTING[checkpointing],
            name=loaded.name,
        )


def show(
    result: Attribution | GenerationAttribution, format: str | None, file: Path | None, top: int, color: str
) -> None:
    """Warn of operations without a rule, and write the result."""
    for uncovered in result.audit.uncovered:
        sys.stderr.write(f"warning: {one_line(str(uncovered))}\n")
    output.write(output.rendered(result, format or output.format_of(file), file, top, color), file)
