"""A pager for what does not fit on the terminal, as git has it: `$QTCTL_PAGER`, else `$PAGER`, else
`less`, whose LESS is FRX unless set (with S for --wide); none where that is empty or `cat`, with
--no-pager, or where stdout is no terminal. It is started only when the screen is full."""

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TextIO

from qtctl.cli.framework.capture import captured, on_screen

if TYPE_CHECKING:
    from qtctl.cli.framework.context import Context

NONE = ("", "cat")


class _Quit(BaseException):
    """Whoever reads the pager has seen enough: the command ends where it is. Not an Exception, as
    KeyboardInterrupt is none: no `except Exception` may take it for an error."""


@contextmanager
def paged(ctx: "Context", *, pages: bool = True) -> Iterator[None]:
    """What is printed within goes through a pager where it is longer than the terminal. Quitting
    the pager ends the block quietly."""
    command = program(ctx.environ) if pages and ctx.pager and on_screen(ctx.environ) else ""
    if not command:
        yield
        return
    # F: quit where it fits one screen; R: colours; X: leave it on the screen; S: no wrapping.
    usual = {"LESS": "FRSX" if ctx.listing.wide else "FRX", "LV": "-c"}
    page = _Page(command, {**usual, **ctx.environ})
    try:
        with captured(page.write), suppress(_Quit):
            yield
    finally:
        page.end()


def program(environ: Mapping[str, str]) -> str:
    """The pager as a shell takes it, "" for none."""
    named = environ.get("QTCTL_PAGER", environ.get("PAGER", "less")).strip()
    # `LESS=-R less` sets a variable first.
    word = next((word for word in named.split() if "=" not in word), "")
    return "" if named in NONE or shutil.which(word) is None else named


class _Page:
    """Keeps what is printed while it fits on the screen; then starts the pager."""

    def __init__(self, command: str, environ: Mapping[str, str]) -> None:
        self._command = command
        self._environ = environ
        self._kept: list[tuple[TextIO, str]] = []
        self._size = shutil.get_terminal_size(fallback=(80, 24))
        self._lines = 0
        self._pager: subprocess.Popen[bytes] | None = None

    def write(self, stream: TextIO, text: str) -> None:
        if self._pager is not None:
            self._send(text)
            return
        self._kept.append((stream, text))
        self._lines += text.count("\n")
        # A line for the prompt that follows.
        if self._lines >= self._size.lines:
            self._start()

    def end(self) -> None:
        """Print what fits, or wait until the pager is quit."""
        if self._pager is None:
            for stream, text in self._kept:
                stream.write(text)
                stream.flush()
            return
        assert self._pager.stdin is not None
        with suppress(OSError):
            self._pager.stdin.close()
        if isinstance(sys.exc_info()[1], SystemExit):
            self._pager.terminate()  # By a signal: nobody waits for a reader then.
        while self._pager.poll() is None:
            # Ctrl-C is the pager's while it runs, as it stops a search there.
            with suppress(KeyboardInterrupt):
                self._pager.wait()

    def _start(self) -> None:
        self._pager = subprocess.Popen(
            self._command,
            shell=True,
            stdin=subprocess.PIPE,
            env=self._environ,
        )
        kept, self._kept = self._kept, []
        for _, text in kept:
            self._send(text)

    def _send(self, text: str) -> None:
        assert self._pager is not None
        assert self._pager.stdin is not None
        try:
            self._pager.stdin.write(text.encode("utf-8", "backslashreplace"))
            self._pager.stdin.flush()
        except BrokenPipeError:
            raise _Quit from None
