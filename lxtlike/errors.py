"""Exceptions. Each message is one sentence: what is wrong, what is allowed, what to do."""

import difflib


class LxtlikeError(Exception):
    """Base of every exception that lxtlike raises on purpose."""


class InputError(LxtlikeError, ValueError):
    """Something the caller passed cannot be used (command line: exit code 2)."""


class NumericalError(LxtlikeError, ArithmeticError):
    """The model's output or the relevance is NaN or infinite (command line: exit code 1)."""


class ExhaustedError(LxtlikeError, MemoryError):
    """Memory ran out, with layers computed again in the backward pass, too (command line: exit code 1)."""


class AuditError(LxtlikeError):
    """The audit failed under ``strict`` (command line: exit code 3)."""


def one_of(given: str, allowed: tuple[str, ...]) -> str:
    """The end of an error sentence: what is allowed, and the nearest to what was given."""
    nearest = difflib.get_close_matches(given, allowed, n=1)
    return f"choose one of {', '.join(allowed)}" + (f" (did you mean {nearest[0]}?)" if nearest else "")


def reason(error: Exception) -> str:
    """What is told of an error that stops one text of many, in one line that can be written."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # the latter is torch's
        said = "out of memory: use a shorter text or a smaller dtype"
    else:
        said = str(error) if isinstance(error, LxtlikeError) else f"{type(error).__name__}: {error}"
    return " ".join(said.split()).encode(errors="replace").decode()
