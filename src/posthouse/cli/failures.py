"""How a command fails: one clear line on standard error and an exit code, never a traceback."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Callable
from typing import Final

from posthouse.errors import PosthouseError

FAILED: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130
DEBUG_VARIABLE: Final = "POSTHOUSE_DEBUG"


class CommandError(PosthouseError):
    """What a command has to say about why it did not do what was asked."""


def guarded(work: Callable[[], object]) -> int:
    """Run ``work`` and turn however it ends into an exit code.

    An integer that it returns is the code. Errors become one line on standard error; with
    ``POSTHOUSE_DEBUG`` set, unexpected ones bring their traceback too.
    """
    try:
        result = work()
        sys.stdout.flush()
    except KeyboardInterrupt:
        complain("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        _silence_stdout()
        return FAILED
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else FAILED
    except BaseException as error:
        return _failed(error)
    if result == INTERRUPTED:  # the command-line parser's way to say it
        complain("interrupted")
    return result if isinstance(result, int) else 0


def complain(text: str) -> None:
    """Say one line on standard error, whatever is in the text."""
    line = " ".join(text.split())
    with contextlib.suppress(OSError, ValueError):
        print(f"posthouse: {line}", file=sys.stderr, flush=True)


def describe(error: BaseException) -> str:
    """The error as one line that says what was wrong, without its class where that says nothing."""
    if isinstance(error, BaseExceptionGroup):
        return describe(error.exceptions[0])
    if isinstance(error, PosthouseError):
        return str(error) or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return f"unexpected {type(error).__name__}: {error} (set {DEBUG_VARIABLE}=1 for a traceback)"


def _failed(error: BaseException) -> int:
    # The command-line parser's errors share no public base class; they share this method.
    message = getattr(error, "format_message", None)
    if message is not None:
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "posthouse"
        complain(f"{message().rstrip('.')}. Try '{command} --help'.")
        return USAGE
    if type(error).__name__ == "Abort":
        complain("aborted")
        return FAILED
    if os.environ.get(DEBUG_VARIABLE):
        traceback.print_exception(error)
    complain(describe(error))
    return FAILED


def _silence_stdout() -> None:
    # What is still buffered would raise again, with a traceback, when the interpreter flushes it.
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
