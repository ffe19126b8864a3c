"""Where data goes: to stdout, or to a file that is either whole or not there."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lxtlike.errors import InputError
from lxtlike.files import write_whole

if TYPE_CHECKING:
    from lxtlike.attribution.saved import Saved

_BY_SUFFIX = {".htm": "html", ".tex": "latex"} | {
    f".{name}": name for name in ("json", "csv", "tsv", "html", "png", "svg", "pdf", "safetensors")
}


def checked(output: Path, *, make_folder: bool = False) -> Path:
    """`output`, after making sure that it can be written, before anything is computed.

    Raises:
        InputError: its folder does not exist or cannot be written to, or it is a folder itself.
    """
    output = output.expanduser()
    folder = output.resolve().parent
    if output.is_dir():
        raise InputError(f"output {str(output)!r} is a folder: give the path of a file in it")
    if make_folder:
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
    if not folder.is_dir():
        raise InputError(f"the output folder {str(folder)!r} does not exist: create it or choose another")
    if not os.access(folder, os.W_OK):
        raise InputError(f"the output folder {str(folder)!r} cannot be written to: choose another")
    return output


def write(data: str | bytes, output: Path | None) -> None:
    """Write `data` to the file `output` or, where that is None, to stdout; text ends with a newline.

    A file or pipe gets UTF-8 whatever the locale, a terminal what it can show. What cannot be encoded (half a surrogate
    pair in the name of a file) becomes an escape, which JSON reads back.
    """
    terminal = output is None and sys.stdout.isatty()
    if isinstance(data, bytes):
        if terminal:
            raise InputError("a picture is not for a terminal: give a file with -o FILE, or a pipe")
        content = data
    else:
        encoding = (terminal and sys.stdout.encoding) or "utf-8"
        content = (data if data.endswith("\n") else data + "\n").encode(encoding, "backslashreplace")
    if output is None:
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
    else:
        write_whole(output, content)


def colours(color: str, output: Path | None) -> bool | Literal["truecolor", "256"]:
    """What `render.terminal` takes as `color`, for ``--color auto|always|never``.

    ``always`` does not ask the environment whether there is a terminal, only how many colours it has.
    """
    if color == "always":
        return "truecolor" if os.environ.get("COLORTERM") in ("truecolor", "24bit") else "256"
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return color == "auto" and output is None and sys.stdout.isatty() and not plain


def columns() -> int:
    """Width for people: the terminal's, at most 120."""
    return min(shutil.get_terminal_size().columns, 120)


def format_of(file: Path | None) -> str:
    """As a file is called; without one, text for people and a table for programs."""
    if file is not None:
        return _BY_SUFFIX.get(file.suffix.lower(), "text")
    return "text" if sys.stdout.isatty() else "tsv"


def rendered(result: Saved, format: str, file: Path | None, top: int, color: str) -> str | bytes:
    """A result in one of the formats of ``--format``, or in one that only a file's name asks for.

    Raises:
        LxtlikeError: a picture is wanted and matplotlib is not installed, or a text is too long for safetensors.
    """
    if format == "json":
        return result.to_json()
    if format == "text":
        return result.to_text(color=colours(color, file), width=columns(), top=top)
    if format == "safetensors":
        return result.to_safetensors()
    if format in ("png", "svg", "pdf"):
        return result.to_figure(format, top=max(top, 1))
    return {"csv": result.to_csv, "tsv": result.to_tsv, "html": result.to_html, "latex": result.to_latex}[format]()
