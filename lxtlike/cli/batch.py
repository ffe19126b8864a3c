"""``lxtlike batch``: many texts, an explanation a line."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lxtlike.cli import evaluate, options, output, progress, session
from lxtlike.cli.exits import one_line
from lxtlike.errors import InputError

if TYPE_CHECKING:
    from lxtlike.dataset.explaining import Asking
    from lxtlike.dataset.keeping import Progress
    from lxtlike.dataset.processes import Processes
    from lxtlike.dataset.rows import Columns
    from lxtlike.dataset.writing import Tally
    from lxtlike.explainer import Explainer

_INPUT = "JSON lines, CSV, TSV, Parquet, or a text on each line of a .txt; - reads JSON lines from stdin."
_OUTPUT = "Write there (.jsonl or .parquet) when all is done, instead of line by line to stdout."
_CHAT = "A text is a list of messages, as such or spelt in JSON, or one user turn, for the chat template."
_TARGET = "What is explained of rows that have no target: a token's text or a label; else what the model puts first."
_CONTRAST = "Explain target minus this one where a row has no contrast; mean: minus all."
_TOKENS = "How many tokens are explained at once at most, padding included."
_RESUME = "Go on with what an interrupted run with these options kept beside -o FILE."


def command(
    source: Annotated[str, typer.Argument(metavar="INPUT", help=_INPUT, show_default=False)],
    chat: Annotated[bool, typer.Option("--chat", help=_CHAT)] = False,
    model: options.ModelOption = None,
    task: options.Task = "auto",
    target: Annotated[str | None, typer.Option("--target", "-t", metavar="TEXT", help=_TARGET)] = None,
    target_id: Annotated[int | None, typer.Option("--target-id", metavar="N", help="The same as an id.")] = None,
    contrast: Annotated[str | None, typer.Option("--contrast", metavar="TEXT", help=_CONTRAST)] = None,
    contrast_id: Annotated[int | None, typer.Option("--contrast-id", metavar="N", help="The same as an id.")] = None,
    objective: options.Objective = "logit",
    position: options.Position = None,
    layers: options.Layers = False,
    heads: options.Heads = False,
    positions: options.Positions = False,
    composite: options.Composite = "default",
    quality: options.Quality = "default",
    method: options.Method = None,
    by: Annotated[str, options.choice("--by", ("token", "word", "sentence", "message"), "Relevance per:")] = "token",
    text_column: evaluate.TextColumn = "text",
    target_column: evaluate.TargetColumn = "target",
    contrast_column: evaluate.ContrastColumn = "contrast",
    completion_column: evaluate.CompletionColumn = "completion",
    context_column: evaluate.ContextColumn = "context",
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, metavar="N", help="How many texts are explained at once at most.")
    ] = 32,
    batch_tokens: Annotated[int, typer.Option("--batch-tokens", min=1, metavar="N", help=_TOKENS)] = 1024,
    file: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help=_OUTPUT)] = None,
    resume: Annotated[bool, typer.Option("--resume", help=_RESUME)] = False,
    device: options.Device = None,
    device_map: options.DeviceMap = None,
    dtype: options.Dtype = None,
    checkpointing: options.Checkpointing = "auto",
    strict: options.Strict = False,
    trust_remote_code: options.TrustRemoteCode = False,
    debug: options.Debug = False,
) -> None:
    """Explain many texts: an object as of `explain --format json` for each row, with its id; {"id", "error"} if it fails."""
    file = file and output.checked(file)
    if method is not None and (composite != "default" or quality != "default"):
        raise InputError(
            "--method names its composite itself, as in --method attnlrp: leave --composite and --quality out"
        )

    from lxtlike.dataset.explaining import Asking
    from lxtlike.dataset.processes import launched
    from lxtlike.dataset.records import opened
    from lxtlike.dataset.rows import Columns, located
    from lxtlike.dataset.writing import check_output
    from lxtlike.quality import check_method

    asking = Asking(
        target=options.text_or_id("--target", target, target_id),
        contrast=options.text_or_id("--contrast", contrast, contrast_id),
        objective=objective,
        method=method or quality,
        by=by,
        position=position,
        chat=chat,
        layers=layers,
        heads=heads,
        positions=positions,
        batch_size=batch_size,
        batch_tokens=batch_tokens,
        strict=strict,
    )
    check_method(method or quality)
    columns = Columns(text_column, target_column, contrast_column, completion_column, context_column)
    path, columns = (None, columns) if source == "-" else located(source, columns)
    with opened(path):
        pass  # before the model: what is not there should not cost its loading
    if file is not None:
        check_output(file)
    processes = launched()
    if processes.count > 1 and (path is None or file is None):
        raise InputError("several processes share a file and write one: give INPUT as a file, and -o FILE")
    with (
        session.explaining(
            model,
            task=task,
            composite=composite,
            device=device or (processes.device if device_map is None else None),
            device_map=device_map,
            dtype=dtype,
            checkpointing=checkpointing,
            strict=strict,
            trust_remote_code=trust_remote_code,
        ) as explainer,
        progress.told("row") if processes.main else nullcontext() as tell,
    ):
        if file is None:
            found = _streamed(explainer, path, columns, asking, tell)
        else:
            found = _kept(explainer, path, file, columns, asking, resume, processes, tell)
    _warn(found)


def _streamed(
    explainer: Explainer, path: Path | None, columns: Columns, asking: Asking, tell: Progress | None
) -> Tally:
    """Write each result to stdout as soon as those before it are there."""
    from lxtlike.dataset.explaining import in_order
    from lxtlike.dataset.records import count, opened
    from lxtlike.dataset.rows import stream
    from lxtlike.dataset.writing import Tally, line

    tally, total = Tally(), count(path) if tell is not None and path is not None else None
    with opened(path) as (text, kind):
        for row in in_order(
            explainer, stream(text, kind, str(path or "stdin"), columns, chat=asking.chat is not False), asking
        ):
            output.write(line(tally.counted(row.to_dict())), None)
            if tell is not None:
                tell(tally.rows, total)
    sys.stdout.flush()
    return tally


def _kept(
    explainer: Explainer,
    path: Path | None,
    file: Path,
    columns: Columns,
    asking: Asking,
    resume: bool,
    processes: Processes,
    tell: Progress | None,
) -> Tally:
    """Write all results to a file in the end, from a journal beside it."""
    from lxtlike.dataset.keeping import explain_file

    try:
        return explain_file(
            explainer, path, file, asking, columns=columns, resume=resume, processes=processes, progress=tell
        )
    except KeyboardInterrupt:
        sys.stderr.write(f"what is finished is kept beside {one_line(str(file))}: --resume goes on with it\n")
        raise


def _warn(found: Tally) -> None:
    """Say on stderr how many rows failed, and why the first one did, and which operations no rule covers."""
    for uncovered in found.uncovered:
        sys.stderr.write(f"warning: {one_line(uncovered)}\n")
    if found.first is not None:
        reason = one_line(f"row {found.first['id']}: {found.first['error']}")
        sys.stderr.write(f"warning: {found.failed} of {found.rows} rows have an error; {reason}\n")
