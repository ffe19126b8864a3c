"""Writing files that are either whole or not there."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_whole(path: Path, content: str | bytes) -> None:
    """Write bytes, or text in UTF-8, to a file that is there as a whole or not at all; see `replaced`."""
    with replaced(path) as place:
        place.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


@contextmanager
def replaced(path: Path, temporary: Path | None = None) -> Iterator[Path]:
    """A place to write to, which takes the place of `path` at once when the block has ended well.

    A file that is replaced hands on its permissions, a link keeps pointing to its file; a device or a pipe is written to
    directly. Raises OSError, and leaves nothing then.

    Args:
        temporary: the place, in the same folder; whatever is there is lost. None: a name of its own for each thread.
    """
    path = path.resolve()
    if path.exists() and not path.is_file():
        yield path
        return
    if temporary is None:  # no longer than a file may be called
        temporary = path.with_name(f".lxtlike-{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        temporary.touch()
        if path.exists():
            shutil.copymode(path, temporary)
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
