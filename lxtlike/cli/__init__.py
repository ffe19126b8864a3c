"""The command line: words in, words out. Each command imports torch and transformers only when it runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from lxtlike.cli import batch, composites, demo, evaluate, explain, generate, methods, serve, similarity, tune, verify
from lxtlike.cli.exits import guarded
from lxtlike.version import __version__

app = typer.Typer(
    name="lxtlike",
    help="Explain predictions of HuggingFace transformers by Layer-wise Relevance Propagation.",
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
for module in (explain, generate, batch, similarity, evaluate, tune, serve, verify, composites, methods, demo):
    app.command(module.__name__.rpartition(".")[2])(module.command)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"lxtlike {__version__}")
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """What stands before the command."""


def _is_spare(words: Sequence[str]) -> bool:
    """Whether another process of the same launch (torchrun, accelerate) does this: only `batch` is work for several."""
    launched = "TORCHELASTIC_RUN_ID" in os.environ and os.environ.get("RANK", "0") != "0"
    return launched and "batch" not in words


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (default: this process's) and return its exit code.

    0 done; 1 failed while running; 2 wrong usage or input; 3 the audit failed; 130 interrupted. With 2, stderr gets exactly
    one line. ``--debug`` among the words shows the traceback of whatever went wrong.
    """
    command = typer.main.get_command(app)
    words = list(sys.argv[1:] if argv is None else argv)
    if _is_spare(words):
        return 0
    return guarded(lambda words: command.main(list(words), prog_name="lxtlike", standalone_mode=False), words)
