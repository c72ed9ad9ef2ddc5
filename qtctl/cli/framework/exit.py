"""How a command line ends: whatever is raised becomes one line and an exit code."""

import contextlib
import errno
import os
import sys
import traceback
from collections.abc import Callable

import typer

from qtctl.cli.framework import process, prose
from qtctl.errors import QtctlError
from qtctl.text import escape

# Typer exports one class of its parser's errors; what that derives from is all usage errors.
ParserError: type[Exception] = typer.BadParameter.__bases__[0]

INTERRUPTED = 130
BROKEN_PIPE = 141
"""What a shell shows for a process that SIGPIPE ended: `qtctl plan list | head`."""
_CANNOT_WRITE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG, errno.EBADF})


def guarded(action: Callable[[], None], *, debug: bool) -> int:
    """Run `action`, flush stdout, and return the exit code; errors are reported on stderr, with
    `debug` behind their traceback. SystemExit goes through."""
    try:
        code = 0
        try:
            action()
        except typer.Exit as ended:
            code = ended.exit_code
        sys.stdout.flush()
        failure = process.failure()
        if failure is not None:
            raise failure  # Some code on the way caught it as an error of its own.
        return code
    except (KeyboardInterrupt, typer.Abort):
        process.hurry()
        return INTERRUPTED
    except BrokenPipeError:
        return BROKEN_PIPE
    except Exception as error:  # noqa: BLE001 - the border: whatever it is ends as one line
        if debug:
            _stderr(traceback.format_exc())
        return _report(error)
    finally:
        _settle_stdout()


def _report(error: Exception) -> int:
    """Report an error in one line (a usage error in two), and return its exit code."""
    if isinstance(error, QtctlError):
        _complain(str(error))
        return error.exit_code
    if isinstance(error, ParserError):
        return _report_usage(error)
    if isinstance(error, OSError) and (
        error is process.failure() or (error.errno in _CANNOT_WRITE and error.filename is None)
    ):
        _complain(f"cannot write the output: {error.strerror}")
        return 1
    if isinstance(error, FileNotFoundError) and "No usable temporary directory" in str(error):
        _complain("no folder for temporary files can be written: set TMPDIR to one that can")
        return 5
    _complain(f"internal error: {type(error).__name__}: {error} (--debug shows the traceback)")
    return 1


def _report_usage(error: Exception) -> int:
    """Typer's errors come with line breaks, capitals and a context that knows the command."""
    shown = error.format_message() if hasattr(error, "format_message") else str(error)
    message = " ".join(shown.split()).removesuffix(".")
    _complain(message[:1].lower() + message[1:])
    context = getattr(error, "ctx", None)
    if context is not None:
        _stderr(f"Try '{context.command_path} --help'.\n")
    return 2


def _complain(message: str) -> None:
    # Whatever was typed in the wrong place may be a URL with its password.
    from qtctl.settings.urls import mask_text

    _stderr(f"{prose.fitted(f'qtctl: {escape(mask_text(message))}')}\n")


def _stderr(text: str) -> None:
    # Where stderr is gone as well, the exit code is all that is left to say it with.
    with contextlib.suppress(OSError):
        sys.stderr.write(text)
        sys.stderr.flush()


def _settle_stdout() -> None:
    """Write what is buffered; where that fails, drop it, or the interpreter complains at exit."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
