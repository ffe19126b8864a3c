"""``lxtlike explain``: one text, one target."""

from __future__ import annotations

from typing import Annotated

import typer

from lxtlike.cli import options, output, session
from lxtlike.errors import InputError

_TARGET = "What is explained: a token's text or a label; without it, what the model puts first."


def command(
    text: options.Text = None,
    chat: options.Chat = False,
    model: options.ModelOption = None,
    task: options.Task = "auto",
    target: Annotated[str | None, typer.Option("--target", "-t", metavar="TEXT", help=_TARGET)] = None,
    target_id: Annotated[int | None, typer.Option("--target-id", metavar="N", help="The same as an id.")] = None,
    contrast: Annotated[
        str | None, typer.Option("--contrast", metavar="TEXT", help="Explain target minus this one; mean: minus all.")
    ] = None,
    contrast_id: Annotated[int | None, typer.Option("--contrast-id", metavar="N", help="The same as an id.")] = None,
    completion: Annotated[
        str | None,
        typer.Option("--completion", metavar="TEXT", help="Explain this whole continuation; contrast: another one."),
    ] = None,
    objective: options.Objective = "logit",
    position: Annotated[
        int | None, typer.Option("--position", metavar="N", help="At which token; else the last.")
    ] = None,
    context: Annotated[
        str | None, typer.Option("--context", metavar="TEXT", help="Where the answer to a question stands.")
    ] = None,
    layers: Annotated[
        bool, typer.Option("--layers", help="Relevance behind every layer as well (in JSON and HTML).")
    ] = False,
    heads: Annotated[
        bool, typer.Option("--heads", help="Relevance of every attention head as well (in JSON and HTML).")
    ] = False,
    composite: options.Composite = "default",
    by: Annotated[str, options.choice("--by", ("token", "word", "sentence", "message"), "Relevance per:")] = "token",
    format: options.Format = None,
    file: options.Output = None,
    device: options.Device = None,
    device_map: options.DeviceMap = None,
    dtype: options.Dtype = None,
    checkpointing: options.Checkpointing = "auto",
    strict: options.Strict = False,
    top: options.Top = 5,
    color: options.Color = "auto",
    trust_remote_code: options.TrustRemoteCode = False,
    debug: options.Debug = False,
) -> None:
    """Explain one prediction: how much each token of TEXT speaks for or against it."""
    file = file and output.checked(file)
    chosen_target = _text_or_id("--target", target, target_id)
    chosen_contrast = _text_or_id("--contrast", contrast, contrast_id)
    given = options.read(text, chat)

    with session.explaining(
        model,
        task=task,
        composite=composite,
        device=device,
        device_map=device_map,
        dtype=dtype,
        checkpointing=checkpointing,
        strict=strict,
        trust_remote_code=trust_remote_code,
    ) as explainer:
        attribution = explainer.explain(
            given,
            chosen_target,
            chat=chat,
            completion=completion,
            contrast=chosen_contrast,
            objective=objective,
            position=position,
            context=context,
            layers=layers,
            heads=heads,
        )
    if by != "token":
        attribution = attribution.by(by)
    session.show(attribution, format, file, top, color)


def _text_or_id(option: str, text: str | None, number: int | None) -> str | int | None:
    if text is not None and number is not None:
        raise InputError(f"{option} and {option}-id were both given: choose one of them")
    return text if number is None else number
