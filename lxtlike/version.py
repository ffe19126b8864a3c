"""The version of the package, in one place, and those of what it computes with."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version

__version__ = "0.1.0"

SCHEMA = "lxtlike/attribution/1"
"""What the JSON object of one attribution says that it is."""

GENERATION_SCHEMA = "lxtlike/generation/1"
"""What the JSON object of an explained generation says that it is."""


IMAGE_SCHEMA = "lxtlike/image/1"
"""What the JSON object of one explained image says that it is."""


SIMILARITY_SCHEMA = "lxtlike/similarity/1"
"""What the JSON object of an explained similarity says that it is."""


TABLE_SCHEMA = "lxtlike/table/1"
"""What the JSON object of explained rows of a table says that it is."""


EVALUATION_SCHEMA = "lxtlike/evaluation/1"
"""What the JSON object of compared methods says that it is."""


TUNING_SCHEMA = "lxtlike/tuning/1"
"""What the JSON object of a choice among methods says that it is."""


def versions() -> dict[str, str]:
    """Library -> version, as results state them."""
    return {"lxtlike": __version__, **{name: _version(name) for name in ("torch", "transformers")}}


_version = cache(version)  # which reads a file and parses it each time: longer than a short explanation takes
