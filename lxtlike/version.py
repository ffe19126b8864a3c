"""The version of the package, in one place."""

__version__ = "0.1.0"

SCHEMA = "lxtlike/attribution/1"
"""What the JSON object of one attribution says that it is."""

GENERATION_SCHEMA = "lxtlike/generation/1"
"""What the JSON object of an explained generation says that it is."""
