"""``lxtlike explain``: one text or one image, one target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lxtlike.cli import options, output, session
from lxtlike.errors import InputError

if TYPE_CHECKING:
    from lxtlike.attribution import Attribution, ImageAttribution

GRANULARITIES = ("token", "word", "sentence", "message", "pixel", "patch")

_REFERENCE = "Compare with the text of this token alone: mask, pad, unk, mean, zero, or a token's text."
_TARGET = "What is explained: a token's text or a label; without it, what the model puts first."


def command(
    text: options.TextOrImage = None,
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
    position: options.Position = None,
    context: Annotated[
        str | None, typer.Option("--context", metavar="TEXT", help="Where the answer to a question stands.")
    ] = None,
    layers: options.Layers = False,
    heads: options.Heads = False,
    positions: options.Positions = False,
    reference: Annotated[str | None, typer.Option("--reference", metavar="TEXT", help=_REFERENCE)] = None,
    path: Annotated[
        int | None, typer.Option("--path", metavar="N", help="Average over N points between reference and text.")
    ] = None,
    composite: options.Composite = "default",
    quality: options.Quality = "default",
    method: options.Method = None,
    check: Annotated[
        bool, typer.Option("--check", help="Explain once more, by CP-LRP, and say how far both agree.")
    ] = False,
    by: Annotated[
        str | None, options.choice("--by", GRANULARITIES, "Relevance per (pixel, patch: of an image):")
    ] = None,
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
    """Explain one prediction: how much each token of TEXT, or each pixel of an image, speaks for or against it."""
    file = file and output.checked(file)
    if method is not None and composite != "default":
        raise InputError("--method names its composite itself, as in --method attnlrp: leave --composite out")
    chosen_target = options.text_or_id("--target", target, target_id)
    chosen_contrast = options.text_or_id("--contrast", contrast, contrast_id)
    given: Any = options.read(text, chat) if chat else options.given(text)

    for_text: dict[str, Any] = {
        "chat": chat,
        "completion": completion,
        "position": position,
        "context": context,
        "layers": layers,
        "heads": heads,
        "positions": positions,
        "reference": reference,
        "path": path,
        "method": method,
        "check": check,
    }
    if quality != "default":
        for_text["quality"] = quality
    attribution: Attribution | ImageAttribution
    with session.opened(
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
        from lxtlike.vision import ImageExplainer

        asked: dict[str, Any] = {"contrast": chosen_contrast, "objective": objective}
        if isinstance(explainer, ImageExplainer):
            _refuse(explainer.name, for_text)
            attribution = explainer.explain(given, chosen_target, **asked)
        else:
            given = given if chat else options.decoded(given)
            attribution = explainer.explain(given, chosen_target, **asked, **for_text)
    if by is not None:
        attribution = attribution.by(by)
    session.show(attribution, format, file, top, color)


def _refuse(model: str, for_text: Mapping[str, object]) -> None:
    """Raise InputError if an option that is for texts was given."""
    for name, value in for_text.items():
        if value is not None and value is not False:
            raise InputError(f"--{name} is for texts, and {model!r} classifies images: leave it out")
