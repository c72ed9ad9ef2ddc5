"""`--watch`: the same command again and again; on a terminal in the same place, in a pipe one
behind the other. A lost connection is reported and waited out; Ctrl-C ends it."""

import shutil
import sys
from collections.abc import Callable
from copy import copy
from typing import TYPE_CHECKING, TextIO

from qtctl import clock
from qtctl.cli.framework.capture import captured, on_screen
from qtctl.errors import RedisUnreachable, UsageError

if TYPE_CHECKING:
    from qtctl.cli.framework.context import Context

_HOME, _CLEAR, _REST_OF_LINE, _REST = "\x1b[H", "\x1b[2J", "\x1b[K", "\x1b[J"


def repeat(ctx: "Context", command: Callable[["Context"], None]) -> None:
    """Run a command every `watch_sec` seconds, until it is interrupted. Errors: those of the
    command, except that it waits for Redis; UsageError for JSON and CSV, which have an end."""
    every = ctx.listing.watch_sec or 0.0
    if ctx.output in ("json", "csv"):
        raise UsageError(
            f"--output {ctx.output} can't go with --watch, since it has an end: use ndjson"
        )
    first = True
    while True:
        began = clock.monotonic()
        if on_screen(ctx.environ):
            _draw(ctx, command, first=first)
        else:
            if not first and ctx.output == "table":
                sys.stdout.write("\n")
            _once(ctx, command)
            sys.stdout.flush()
        first = False
        clock.sleep(max(0.0, began + every - clock.monotonic()))


def _once(ctx: "Context", command: Callable[["Context"], None]) -> None:
    try:
        command(ctx)
    except RedisUnreachable as problem:
        ctx.say(f"{problem}; waiting for it")


def _draw(ctx: "Context", command: Callable[["Context"], None], *, first: bool) -> None:
    """One screen, written at once over the one before."""
    parts: list[str] = []

    def keep(stream: TextIO, text: str) -> None:
        parts.append(text)

    with captured(keep):
        # A copy: what is halted stands on every screen; the settings stay read.
        _once(copy(ctx), command)
    lines = "".join(parts).splitlines()
    room = shutil.get_terminal_size(fallback=(80, 24)).lines - 1
    if len(lines) > room:
        hidden = len(lines) - room + 1
        lines = [*lines[: room - 1], f"{hidden:,} more lines: -n shows fewer rows"]
    body = "".join(f"{line}{_REST_OF_LINE}\n" for line in lines)
    sys.stdout.write(f"{_CLEAR if first else ''}{_HOME}{body}{_REST}")
    sys.stdout.flush()
