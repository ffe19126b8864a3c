"""Reading a stored result of any kind."""

from __future__ import annotations

import json
import os
from pathlib import Path

from lxtlike.attribution.generation import GenerationAttribution
from lxtlike.attribution.result import Attribution
from lxtlike.errors import InputError

_KINDS = {kind.schema: kind for kind in (Attribution, GenerationAttribution)}


def load(path: str | os.PathLike[str]) -> Attribution | GenerationAttribution:
    """The result that `Attribution.save` or `GenerationAttribution.save` wrote.

    Raises:
        InputError: there is no such file, or it holds something else or something damaged.
    """
    name = str(path)
    try:
        data = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise InputError(f"cannot read {name!r}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name!r} is not JSON in UTF-8 ({error}); give a file that Attribution.save wrote") from error
    schema = data.get("schema") if isinstance(data, dict) else None
    try:
        kind = _KINDS.get(schema, Attribution) if isinstance(schema, str) else Attribution
        return kind.from_dict(data)
    except InputError as error:
        raise InputError(f"cannot load {name!r}: {error}") from error
