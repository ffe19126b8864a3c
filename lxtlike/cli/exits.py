"""How a command ends: one exit code and, when it did not go well, one line."""

from __future__ import annotations

import difflib
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence

import typer

from lxtlike.errors import AuditError, InputError, LxtlikeError, one_of

FAILED, WRONG, AUDIT, INTERRUPTED = 1, 2, 3, 130

# typer brings click inside itself or beside it, depending on its version; its exceptions are found through this one.
_UsageError = typer.BadParameter.mro()[1]


def guarded(run: Callable[[Sequence[str]], object], words: Sequence[str]) -> int:
    """Run a command line; whatever it raises becomes an exit code and a line on stderr (``--debug``: a traceback too)."""
    debug = "--debug" in words
    try:
        with warnings.catch_warnings():
            if not debug:
                warnings.simplefilter("ignore")  # of libraries, for their developers; ours are log lines
            code = run(words)
        if code == INTERRUPTED:  # newer versions of typer turn the exception into this
            return _end("interrupted", INTERRUPTED, debug)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except BrokenPipeError:
        # Who read our output has gone. What is still buffered goes nowhere, or Python complains at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (KeyboardInterrupt, typer.Abort):
        return _end("interrupted", INTERRUPTED, debug)
    except InputError as error:
        return _end(str(error), WRONG, debug)
    except AuditError as error:
        return _end(str(error), AUDIT, debug)
    except LxtlikeError as error:
        return _end(str(error), FAILED, debug)
    except Exception as error:  # noqa: BLE001 - the last resort of the process
        if isinstance(error, _UsageError):
            return _end(_usage(error, words), WRONG, debug)
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # the latter is torch's
            return _end("out of memory: use a shorter text or a smaller --dtype", FAILED, debug)
        return _end(f"{type(error).__name__}: {error} (--debug shows where)", FAILED, debug)


def one_line(text: str) -> str:
    """`text` in one line that no terminal obeys: white space collapsed, control characters as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in " ".join(text.split()))


def _end(message: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    sys.stderr.write(f"error: {one_line(message).rstrip('.')}\n")
    return code


def _usage(error: Exception, words: Sequence[str]) -> str:
    """The parser's complaint as one sentence that names what is allowed."""
    message: str = error.format_message()  # type: ignore[attr-defined]
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "lxtlike"
    commands = tuple(getattr(context.command, "commands", ())) if context else ()
    if commands and message.startswith("Missing command"):
        return f"no command was given: choose one of {', '.join(commands)}"
    if commands and message.startswith("No such command"):
        given = next((word for word in words if not word.startswith("-")), "")
        return f"there is no command {given!r}: {one_of(given, commands)}"
    option = getattr(error, "option_name", None)
    if option and message.startswith("No such option"):
        options = [name for parameter in context.command.params for name in parameter.opts] if context else []
        nearest = difflib.get_close_matches(option, options, n=1)
        meant = f"did you mean {nearest[0]}? " if nearest else ""
        return (
            f"there is no option {option}: {meant}{path} --help lists all, and a text that starts with - goes after --"
        )
    if message.startswith("Got unexpected extra argument"):
        return f"g{message[1:].rstrip('.')}: put a text with spaces in quotes"
    return f"{message[:1].lower()}{message[1:]}"
