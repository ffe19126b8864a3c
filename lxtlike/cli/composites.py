"""``lxtlike composites``: which there are, or what one of them says."""

from __future__ import annotations

from typing import Annotated

import typer

from lxtlike.cli import options, output


def command(
    name: Annotated[str | None, typer.Argument(metavar="NAME_OR_YAML", show_default=False)] = None,
    debug: options.Debug = False,
) -> None:
    """List the composites (which rule each family of operations gets), or print one as YAML."""
    from lxtlike.composites import COMPOSITES, Composite

    if name is not None:
        output.write(Composite.parse(name).to_yaml(), None)
        return
    width = max(map(len, COMPOSITES))
    output.write("".join(f"{key:{width}}  {value.summary}\n" for key, value in sorted(COMPOSITES.items())), None)
