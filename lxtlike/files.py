"""Writing files that are either whole or not there."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path


def write_whole(path: Path, content: str | bytes) -> None:
    """Write bytes, or text in UTF-8, under a temporary name beside `path`, then rename it; what is there is replaced at once.

    A file that is replaced hands on its permissions, a link keeps pointing to its file; a device or a pipe is written to
    directly. Raises OSError, and leaves nothing then.
    """
    path = path.resolve()
    data = content.encode("utf-8") if isinstance(content, str) else content
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    # A name of its own for each thread, and no longer than a file may be called.
    temporary = path.with_name(f".lxtlike-{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        temporary.touch()
        if path.exists():
            shutil.copymode(path, temporary)
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
