"""Exceptions. Each message is one sentence: what is wrong, what is allowed, what to do."""


class LxtlikeError(Exception):
    """Base of every exception that lxtlike raises on purpose."""


class InputError(LxtlikeError, ValueError):
    """Something the caller passed cannot be used (command line: exit code 2)."""


class NumericalError(LxtlikeError, ArithmeticError):
    """The model's output or the relevance is NaN or infinite (command line: exit code 1)."""


class AuditError(LxtlikeError):
    """The audit failed under ``strict`` (command line: exit code 3)."""
