"""``lxtlike generate``: continue a text and explain every token of the continuation, or some of them together."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from lxtlike.cli import options, output, progress, session
from lxtlike.errors import InputError

_SPAN = "Explain these outputs together instead of every one: 7, 3:9 (up to 8), from the end -1 or -3:"
_HOPS = "Lead what lies on earlier outputs on to what they came from, so many times; all: until it lies on TEXT."
_BY = "Relevance per (with --span):"


def command(
    text: options.Text = None,
    chat: options.Chat = False,
    model: options.ModelOption = None,
    task: options.Task = "auto",
    new: Annotated[
        int, typer.Option("--max-new-tokens", min=1, metavar="N", help="How many tokens to generate at most.")
    ] = 20,
    completion: Annotated[
        str | None, typer.Option("--completion", metavar="TEXT", help="Explain this continuation, generate none.")
    ] = None,
    objective: options.Objective = "logit",
    span: Annotated[str | None, typer.Option("--span", metavar="I|I:J", help=_SPAN)] = None,
    hops: Annotated[str | None, typer.Option("--hops", metavar="N|all", help=_HOPS)] = None,
    composite: options.Composite = "default",
    quality: options.Quality = "default",
    by: Annotated[str, options.choice("--by", ("token", "word", "sentence", "message"), _BY)] = "token",
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
    places, times = _places(span), _times(hops)
    if places is None and (times != 0 or by != "token"):
        raise InputError(f"{'--by' if times == 0 else '--hops'} is for one explanation: say which with --span")
    given = options.read(text, chat)

    with (
        session.explaining(
            model,
            task=task,
            composite=composite,
            device=device,
            device_map=device_map,
            dtype=dtype,
            checkpointing=checkpointing,
            strict=strict,
            trust_remote_code=trust_remote_code,
        ) as explainer,
        progress.told("token") as tell,
    ):
        generation = explainer.generate(
            given,
            chat=chat,
            completion=completion,
            objective=objective,
            quality=quality,
            max_new_tokens=new,
            progress=tell,
        )
    if places is None:
        session.show(generation, format, file, top, color)
        return
    start, stop, _ = places.indices(len(generation))
    if start >= stop:
        raise InputError(f"--span {span} holds no output: there are {len(generation)}, the first is 0")
    wanted = generation[start] if stop - start == 1 else generation.span(start, stop)
    session.show(generation.trace(wanted, times).by(by), format, file, top, color)


def _places(span: str | None) -> slice | None:
    """``7`` or ``3:9`` as a slice."""
    if span is None:
        return None
    found = re.fullmatch(r"(-?\d+)|(-?\d+)?:(-?\d+)?", span, re.ASCII)
    if found is None:
        raise InputError(f"--span {span!r} is no output and no range of them: write 7, -1 or 3:9")
    one, start, stop = (int(part) if part else None for part in found.groups())
    return slice(start, stop) if one is None else slice(one, one + 1 or None)


def _times(hops: str | None) -> int | None:
    """How many hops; None for all."""
    if hops == "all":
        return None
    if hops is not None and not hops.isdecimal():
        raise InputError(f"--hops must be 0, a number, or all, not {hops!r}")
    return int(hops or 0)
