"""``lxtlike generate``: continue a text and explain every token of the continuation."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from lxtlike.cli import options, output
from lxtlike.cli.exits import one_line


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

    from lxtlike.composites import Composite
    from lxtlike.loading import load, quiet

    rules = Composite.parse(composite)
    loaded = load(
        model, task="auto", dtype=dtype, device=device, device_map=device_map, trust_remote_code=trust_remote_code
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
        generation = explainer.generate(
            given, chat=chat, completion=completion, objective=objective, max_new_tokens=new
        )
    for uncovered in generation.audit.uncovered:
        sys.stderr.write(f"warning: {one_line(str(uncovered))}\n")
    output.write(output.rendered(generation, format or output.format_of(file), file, top, color), file)
