"""Options that several commands share: each named, explained and checked once."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from lxtlike.errors import InputError, one_of
from lxtlike.loading import BUNDLED, DTYPES
from lxtlike.recognition import SIMILARITY, TASKS


def among(option: str, allowed: tuple[str, ...]) -> Callable[[str | None], str | None]:
    """A callback that refuses what is not in `allowed` and says what is."""

    def check(value: str | None) -> str | None:
        if value is not None and value not in allowed:
            raise InputError(f"{option} {value!r} does not exist: {one_of(value, allowed)}")
        return value

    return check


def choice(option: str, allowed: tuple[str, ...], text: str) -> typer.models.OptionInfo:
    """An option with one of a few values."""
    info: typer.models.OptionInfo = typer.Option(
        option, metavar="|".join(allowed), callback=among(option, allowed), help=text
    )
    return info


_MODEL = f"A model folder, a hub id, or a bundled model ({', '.join(BUNDLED)})."

ModelOption = Annotated[str | None, typer.Option("--model", "-m", metavar="ID_OR_PATH", help=_MODEL)]
ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help=_MODEL)]
_TASKS = ("auto", *(task for task in TASKS if task != SIMILARITY))  # which has a command of its own
Task = Annotated[str, choice("--task", _TASKS, "What the model does; auto: as its config says.")]
Text = Annotated[str | None, typer.Argument(metavar="TEXT", help="The text; - reads stdin.", show_default=False)]
_TEXT_OR_IMAGE = "The text, or the path of an image if the model classifies images; - reads stdin."
TextOrImage = Annotated[str | None, typer.Argument(metavar="TEXT", help=_TEXT_OR_IMAGE, show_default=False)]
OBJECTIVES = ("logit", "centered", "logprob", "prob")
Chat = Annotated[
    bool, typer.Option("--chat", help="TEXT is a JSON list of messages, or one user turn, for the chat template.")
]
Position = Annotated[int | None, typer.Option("--position", metavar="N", help="At which token; else the last.")]
Layers = Annotated[bool, typer.Option("--layers", help="Relevance behind every layer as well (in JSON and HTML).")]
Heads = Annotated[bool, typer.Option("--heads", help="Relevance of every attention head as well (in JSON and HTML).")]
Positions = Annotated[
    bool, typer.Option("--positions", help="Relevance of what is added for where tokens stand as well (in JSON).")
]
Objective = Annotated[str, choice("--objective", OBJECTIVES, "Of the target, its:")]
Format = Annotated[
    str | None,
    choice(
        "--format",
        ("text", "json", "html", "csv", "png", "latex"),
        "Without it: as FILE is called, else text on a terminal and TSV in a pipe.",
    ),
]
Strict = Annotated[bool, typer.Option("--strict", help="Exit 3 when an operation has no rule.")]
Composite = Annotated[
    str,
    typer.Option(
        "--composite",
        metavar="NAME_OR_YAML",
        help="Which rules: a name (see `lxtlike composites`), name:parameter=value, or a YAML file.",
    ),
]
Quality = Annotated[str, choice("--quality", ("default", "high"), "high: up to 4 passes where that is known to help.")]
Method = Annotated[
    str | None,
    typer.Option(
        "--method",
        metavar="NAME",
        help="Another method than LRP under --composite, such as occlusion:by=word; see `lxtlike methods`.",
    ),
]
Device = Annotated[
    str | None, typer.Option("--device", help="Where the model runs, such as cuda:0; without it the CPU.")
]
DeviceMap = Annotated[
    str | None,
    typer.Option(
        "--device-map",
        metavar="auto|balanced|stream",
        help="auto, balanced: spread over what there is. stream: leave weights in their files, for models larger than memory.",
    ),
]
Dtype = Annotated[str | None, choice("--dtype", DTYPES, "Of the weights; auto: as they are stored.")]
CHECKPOINTING = {"auto": None, "on": True, "off": False}
Checkpointing = Annotated[
    str,
    choice(
        "--checkpointing",
        tuple(CHECKPOINTING),
        "Compute layers again instead of keeping their activations: less memory, more time. auto: where memory may not suffice.",
    ),
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write there instead of to stdout.")
]
TrustRemoteCode = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run Python code that comes with the model.")
]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks and the warnings of libraries.")]
Color = Annotated[
    str, choice("--color", ("auto", "always", "never"), "auto: where stdout is a terminal and NO_COLOR is not set.")
]
Top = Annotated[int, typer.Option("--top", min=0, metavar="N", help="How many tokens for and against to list.")]


def read(text: str | None, chat: bool = False) -> Any:
    """TEXT, or what stdin holds: a string, or for a `chat` the list of messages that it spells.

    Raises:
        InputError: there is none, it is not valid UTF-8, or messages that are no JSON.
    """
    said = decoded(given(text))
    if not chat:
        return said
    from lxtlike.text import read_messages

    return read_messages(said)


def given(text: str | None) -> str | bytes:
    """TEXT, or the bytes that stdin holds.

    Raises:
        InputError: nothing was given at a terminal, or TEXT is not valid UTF-8.
    """
    if text in (None, "-") and (sys.stdin is None or (text is None and sys.stdin.isatty())):
        raise InputError('no text was given: write lxtlike explain "your text", or pipe it into lxtlike explain -')
    if text is None or text == "-":
        return sys.stdin.buffer.read()
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:  # bytes that the shell passed and Python could not read
        raise InputError("TEXT is not valid UTF-8: convert it, for example with iconv") from error
    return text


def decoded(said: str | bytes) -> str:
    """What `given` found as text; of stdin without the newline at its end.

    Raises:
        InputError: stdin is not valid UTF-8.
    """
    if isinstance(said, str):
        return said
    try:
        return said.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        byte = f"byte {error.object[error.start]:#04x} at {error.start}"
        raise InputError(f"stdin is not valid UTF-8 ({byte}): convert it, for example with iconv") from error


def text_or_id(option: str, text: str | None, number: int | None) -> str | int | None:
    """A choice that is given as text by an option, or as an id by another; InputError if it is both."""
    if text is not None and number is not None:
        raise InputError(f"{option} and {option}-id were both given: choose one of them")
    return text if number is None else number
