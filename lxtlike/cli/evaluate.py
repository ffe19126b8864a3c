"""``lxtlike evaluate``: methods compared on a file of texts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lxtlike.cli import options, output, progress, session
from lxtlike.cli.exits import one_line
from lxtlike.errors import InputError
from lxtlike.render import FIGURES

if TYPE_CHECKING:
    from lxtlike.attribution import Evaluation
    from lxtlike.dataset.rows import Row

_FILE = "JSON lines, CSV, TSV, or a text on each line of a .txt; - reads stdin; known-cause: sentences for bindings."
_METHOD = "What to compare, such as attnlrp, attnlrp:reference=mask,path=4 or occlusion; give it again for each."
_REPLACEMENT = (
    "What stands where something is taken away: delete, random, mask, pad, unk, mean, zero, a token; for each."
)
_MEASURE = "What to measure beside ABPC, such as comprehensiveness or auroc; for each."
_FIGURE = "Draw the curves there, too (.png, .svg or .pdf)."
_RESUME = "Go on with what an interrupted run with these options kept beside -o FILE."

File = Annotated[str, typer.Argument(metavar="FILE", help=_FILE, show_default=False)]
Replacements = Annotated[list[str] | None, typer.Option("--replacement", metavar="NAME", help=_REPLACEMENT)]
By = Annotated[str, options.choice("--by", ("token", "word", "sentence"), "What is removed as a whole:")]
Signs = Annotated[
    str, options.choice("--signs", ("signed", "absolute"), "Rank by relevance, or by its size whatever the sign:")
]
Steps = Annotated[int, typer.Option("--steps", min=1, metavar="N", help="Into how many parts a ranking is divided.")]
Seed = Annotated[int, typer.Option("--seed", min=0, metavar="N", help="Of whatever is random.")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, metavar="N", help="Only N texts, drawn at random.")]
TextColumn = Annotated[str, typer.Option("--text-column", metavar="KEY", help="What the text is called in FILE.")]
TargetColumn = Annotated[
    str, typer.Option("--target-column", metavar="KEY", help="The target, where a row has one; else the first choice.")
]
ContrastColumn = Annotated[str, typer.Option("--contrast-column", metavar="KEY", help="What it is compared with.")]
CompletionColumn = Annotated[
    str, typer.Option("--completion-column", metavar="KEY", help="A whole continuation as target.")
]
ContextColumn = Annotated[str, typer.Option("--context-column", metavar="KEY", help="A second text.")]
EvidenceColumn = Annotated[
    str, typer.Option("--evidence-column", metavar="KEY", help="Character spans of what should be relevant.")
]


def command(
    source: File,
    model: options.ModelOption = None,
    task: options.Task = "auto",
    methods: Annotated[list[str] | None, typer.Option("--method", metavar="NAME", help=_METHOD)] = None,
    baseline: Annotated[
        str | None, typer.Option("--baseline", metavar="NAME", help="Compare with this method; else with the first.")
    ] = None,
    replacements: Replacements = None,
    measures: Annotated[list[str] | None, typer.Option("--measure", metavar="NAME", help=_MEASURE)] = None,
    objective: options.Objective = "logit",
    by: By = "token",
    signs: Signs = "signed",
    steps: Steps = 20,
    seed: Seed = 0,
    limit: Limit = None,
    text_column: TextColumn = "text",
    target_column: TargetColumn = "target",
    contrast_column: ContrastColumn = "contrast",
    completion_column: CompletionColumn = "completion",
    context_column: ContextColumn = "context",
    evidence_column: EvidenceColumn = "evidence",
    format: options.Format = None,
    file: options.Output = None,
    figure: Annotated[Path | None, typer.Option("--figure", metavar="FILE", help=_FIGURE)] = None,
    resume: Annotated[bool, typer.Option("--resume", help=_RESUME)] = False,
    device: options.Device = None,
    device_map: options.DeviceMap = None,
    dtype: options.Dtype = None,
    checkpointing: options.Checkpointing = "auto",
    color: options.Color = "auto",
    trust_remote_code: options.TrustRemoteCode = False,
    debug: options.Debug = False,
) -> None:
    """Measure how faithful methods are to a model: remove what they call relevant, and see what the model says then."""
    file, figure = file and output.checked(file), figure and output.checked(figure)
    format = format or output.format_of(file)
    _drawable(figure, format)
    if resume and file is None:
        raise InputError("--resume needs -o FILE, beside which an interrupted run keeps what is finished")
    rows = rows_of(
        source,
        text=text_column,
        target=target_column,
        contrast=contrast_column,
        completion=completion_column,
        context=context_column,
        evidence=evidence_column,
    )

    from lxtlike.faithfulness.evaluating import METHODS, USUAL, evaluate
    from lxtlike.quality import check_method

    for method in (asked := methods or list(METHODS)):
        check_method(method)  # before the model: a typing error should not cost its loading
    journal = file and file.with_name(f"{file.name}.journal")
    with (
        session.explaining(
            model,
            task=task,
            composite="default",
            device=device,
            device_map=device_map,
            dtype=dtype,
            checkpointing=checkpointing,
            strict=False,
            trust_remote_code=trust_remote_code,
        ) as explainer,
        progress.told("text") as tell,
    ):
        try:
            result = evaluate(
                explainer,
                rows,
                asked,
                replacements or None,
                measures=measures or USUAL,
                objective=objective,
                by=by,
                signs=signs,
                steps=steps,
                seed=seed,
                limit=limit,
                baseline=baseline,
                journal=journal,
                resume=resume,
                progress=tell,
            )
        except KeyboardInterrupt:
            if journal is not None:
                sys.stderr.write(f"what is finished is kept in {one_line(str(journal))}: --resume goes on with it\n")
            raise
    _written(result, format, file, figure, color)
    if journal is not None:
        journal.unlink(missing_ok=True)


def rows_of(source: str, **columns: str) -> list[Row]:
    """The rows of FILE, or of stdin, whose columns are called so.

    Raises:
        InputError: as `lxtlike.dataset.rows.read`.
    """
    from lxtlike.dataset.rows import Columns, read

    content = options.given(source) if source == "-" else None
    return read(source, content if isinstance(content, bytes) else None, Columns(**columns))


def warn(result: Evaluation) -> None:
    """Say on stderr how many texts were left out, and why the first one was."""
    if result.failures:
        first = result.failures[0]
        total = len(result.failures) + len(result)
        reason = one_line(f"text {first.id}: {first.error}")
        sys.stderr.write(f"warning: {len(result.failures)} of {total} texts were left out; {reason}\n")


def _drawable(figure: Path | None, format: str) -> None:
    """Refuse a figure that could not be drawn in the end, before anything is computed."""
    if figure is not None and figure.suffix.lower().lstrip(".") not in FIGURES:
        raise InputError(f"--figure {figure.name!r} must end in {', '.join(f'.{name}' for name in FIGURES)}")
    if figure is not None or format in FIGURES:
        from lxtlike.render.canvas import matplotlib

        matplotlib("figure")


def _written(result: Evaluation, format: str, file: Path | None, figure: Path | None, color: str) -> None:
    if format != "text":
        warn(result)
    if figure is not None:
        output.write(result.to_figure(figure.suffix.lower().lstrip(".")), figure)
    output.write(output.rendered(result, format, file, 20, color), file)
