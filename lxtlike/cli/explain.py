"""``lxtlike explain``: one text, one target."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lxtlike.cli import options, output
from lxtlike.cli.exits import one_line
from lxtlike.errors import InputError

if TYPE_CHECKING:
    from lxtlike.attribution import Attribution

FORMATS = ("text", "json", "csv", "html")
OBJECTIVES = ("logit", "centered", "logprob", "prob")
_BY_SUFFIX = {".json": "json", ".csv": "csv", ".html": "html", ".htm": "html"}

_TARGET = "What is explained: a token's text or a label; without it, what the model puts first."


def command(
    text: Annotated[
        str | None, typer.Argument(metavar="TEXT", help="The text; - reads stdin.", show_default=False)
    ] = None,
    model: options.ModelOption = None,
    task: options.Task = "auto",
    target: Annotated[str | None, typer.Option("--target", "-t", metavar="TEXT", help=_TARGET)] = None,
    target_id: Annotated[int | None, typer.Option("--target-id", metavar="N", help="The same as an id.")] = None,
    contrast: Annotated[
        str | None, typer.Option("--contrast", metavar="TEXT", help="Explain target minus this one; mean: minus all.")
    ] = None,
    contrast_id: Annotated[int | None, typer.Option("--contrast-id", metavar="N", help="The same as an id.")] = None,
    objective: Annotated[str, options.choice("--objective", OBJECTIVES, "Of the target, its:")] = "logit",
    position: Annotated[
        int | None, typer.Option("--position", metavar="N", help="At which token; else the last.")
    ] = None,
    composite: options.Composite = "default",
    by: Annotated[str, options.choice("--by", ("token", "word", "sentence"), "Relevance per:")] = "token",
    format: Annotated[
        str | None,
        options.choice(
            "--format", FORMATS, "Without it: as FILE is called, else text on a terminal and TSV in a pipe."
        ),
    ] = None,
    file: options.Output = None,
    device: options.Device = None,
    device_map: options.DeviceMap = None,
    dtype: options.Dtype = None,
    checkpointing: options.Checkpointing = "auto",
    strict: Annotated[bool, typer.Option("--strict", help="Exit 3 when an operation has no rule.")] = False,
    top: options.Top = 5,
    color: options.Color = "auto",
    trust_remote_code: options.TrustRemoteCode = False,
    debug: options.Debug = False,
) -> None:
    """Explain one prediction: how much each token of TEXT speaks for or against it."""
    file = file and output.checked(file)
    chosen_target = _text_or_id("--target", target, target_id)
    chosen_contrast = _text_or_id("--contrast", contrast, contrast_id)
    given = _read(text)

    from lxtlike.composites import Composite
    from lxtlike.loading import load, quiet

    rules = Composite.parse(composite)
    loaded = load(
        model, task=task, dtype=dtype, device=device, device_map=device_map, trust_remote_code=trust_remote_code
    )

    from lxtlike.explainer import Explainer

    with quiet():
        explainer = Explainer(
            loaded.model,
            loaded.tokenizer,
            composite=rules,
            task=loaded.task,
            strict=strict,
            checkpointing=options.CHECKPOINTING[checkpointing],
            name=loaded.name,
        )
        attribution = explainer.explain(
            given, chosen_target, contrast=chosen_contrast, objective=objective, position=position
        )
    if by != "token":
        attribution = attribution.by(by)
    for uncovered in attribution.audit.uncovered:
        sys.stderr.write(f"warning: {one_line(str(uncovered))}\n")
    output.write(_rendered(attribution, format or _format(file), file, top, color), file)


def _read(text: str | None) -> str:
    """TEXT, or what stdin holds, without the newline at its end.

    Raises:
        InputError: nothing was given at a terminal, or it is not valid UTF-8.
    """
    if text in (None, "-") and (sys.stdin is None or (text is None and sys.stdin.isatty())):
        raise InputError('no text was given: write lxtlike explain "your text", or pipe it into lxtlike explain -')
    if text is None or text == "-":
        try:
            return sys.stdin.buffer.read().decode("utf-8").removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError as error:
            byte = f"byte {error.object[error.start]:#04x} at {error.start}"
            raise InputError(f"stdin is not valid UTF-8 ({byte}): convert it, for example with iconv") from error
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:  # bytes that the shell passed and Python could not read
        raise InputError("TEXT is not valid UTF-8: convert it, for example with iconv") from error
    return text


def _text_or_id(option: str, text: str | None, number: int | None) -> str | int | None:
    if text is not None and number is not None:
        raise InputError(f"{option} and {option}-id were both given: choose one of them")
    return text if number is None else number


def _format(file: Path | None) -> str:
    if file is not None:
        return _BY_SUFFIX.get(file.suffix.lower(), "text")
    return "text" if sys.stdout.isatty() else "tsv"


def _rendered(attribution: Attribution, format: str, file: Path | None, top: int, color: str) -> str:
    from lxtlike import render

    result = attribution.to_dict()
    if format == "json":
        return attribution.to_json()
    if format == "text":
        return render.terminal(result, color=output.colours(color, file), width=output.columns(), top=top)
    return {"csv": render.csv, "tsv": render.tsv, "html": render.html}[format](result)
