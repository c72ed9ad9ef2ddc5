"""Where a page goes: a file that appears when it is whole, or stdout."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from qtctl.cli.framework.context import Context
from qtctl.errors import QtctlError, UsageError

STDOUT = "-"


def refuse_bad(ctx: Context, target: str | None) -> None:
    """Before anything is computed. Errors: UsageError where the page can't go there."""
    if target is None:
        return
    if target == STDOUT:
        if ctx.output != "table":
            raise UsageError(f"--html - and -o {ctx.output} both want stdout: name a file")
        return
    path = Path(target)
    if path.is_dir() or not target or target.endswith("/"):
        raise UsageError(f"--html {target} is a folder: name a file in it")
    if path.exists() and not path.is_file():  # never in the place of /dev/null
        raise UsageError(f"--html {target} is a device or a pipe: name a file, or - for stdout")
    if not path.parent.is_dir():
        raise UsageError(f"--html {target}: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise QtctlError(f"{target} can't be written: no permission for {path.parent}")


def deliver(
    ctx: Context, target: str | None, page: Callable[[], str], otherwise: Callable[[], None]
) -> None:
    """Write the page to its file and print what is printed otherwise; to stdout, the page alone.
    Errors: QtctlError where the file can't be written."""
    if target == STDOUT:
        sys.stdout.flush()
        sys.stdout.buffer.write(page().encode())
        return
    if target is not None:
        write(Path(target), page())
        ctx.say(f"The page is in {target}.")
    otherwise()


def write(path: Path, page: str) -> None:
    """A file that appears under its name once it is whole. Errors: QtctlError."""
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        try:
            new.write_text(page, encoding="utf-8")
            new.replace(path)
        finally:
            new.unlink(missing_ok=True)
    except OSError as problem:
        raise QtctlError(f"{path} can't be written: {problem.strerror}") from problem
