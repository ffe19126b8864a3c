"""``lxtlike generate``: continue a text and explain every token of the continuation."""

from __future__ import annotations

from typing import Annotated

import typer

from lxtlike.cli import options, output, session


def command(
    text: options.Text = None,
    chat: options.Chat = False,
    model: options.ModelOption = None,
    new: Annotated[
        int, typer.Option("--max-new-tokens", min=1, metavar="N", help="How many tokens to generate at most.")
    ] = 20,
    completion: Annotated[
        str | None, typer.Option("--completion", metavar="TEXT", help="Explain this continuation, generate none.")
    ] = None,
    objective: options.Objective = "logit",
    composite: options.Composite = "default",
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
    """Continue TEXT greedily and explain every token: which tokens before it speak for or against it."""
    file = file and output.checked(file)
    given = options.read(text, chat)

    with session.explaining(
        model,
        task="auto",
        composite=composite,
        device=device,
        device_map=device_map,
        dtype=dtype,
        checkpointing=checkpointing,
        strict=strict,
        trust_remote_code=trust_remote_code,
    ) as explainer:
        generation = explainer.generate(
            given, chat=chat, completion=completion, objective=objective, max_new_tokens=new
        )
    session.show(generation, format, file, top, color)
