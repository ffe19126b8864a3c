"""``lxtlike composites``: which there are, what one of them says, and what that comes to on a model."""

from __future__ import annotations

from typing import Annotated

import typer

from lxtlike.cli import options, output
from lxtlike.cli.exits import one_line


def command(
    name: Annotated[str | None, typer.Argument(metavar="NAME_OR_YAML", show_default=False)] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="MODEL", help="Say what runs where on this model.", show_default=False),
    ] = None,
    task: options.Task = "auto",
    trust_remote_code: options.TrustRemoteCode = False,
    debug: options.Debug = False,
) -> None:
    """List the composites, print one as YAML (which rule each family of operations gets), or say what it does to a model."""
    from lxtlike.composites import COMPOSITES, Composite

    if name is None and model is None:
        width = max(map(len, COMPOSITES))
        output.write("".join(f"{key:{width}}  {value.summary}\n" for key, value in sorted(COMPOSITES.items())), None)
        return
    composite = Composite.parse(name or "default")
    if model is None:
        output.write(composite.to_yaml(), None)
        return

    from lxtlike.cli.verify import checked, inputs_of
    from lxtlike.loading import load, quiet
    from lxtlike.propagation.report import rules_by_module

    loaded = load(model, task=task, trust_remote_code=trust_remote_code, need_tokenizer=False)
    with quiet():
        audit, _ = checked(loaded, inputs_of(loaded), composite)
    head = f"{one_line(loaded.name)} · {loaded.task} · {composite.name}"
    output.write("\n".join([head, "", *rules_by_module(audit.rules())]), None)
