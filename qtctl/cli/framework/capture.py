"""What a command prints, kept for a moment: for a pager, and for a screen that is drawn again."""

import io
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TextIO


class _Captured(io.TextIOBase):
    """Stands for a stream, and passes on what is written to it."""

    def __init__(self, stream: TextIO, write: Callable[[TextIO, str], None]) -> None:
        self._stream = stream
        self._write = write

    def write(self, text: str, /) -> int:
        self._write(self._stream, text)
        return len(text)

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding


def on_screen(environ: Mapping[str, str]) -> bool:
    """True where stdout is a terminal that says what it is and can do more than print lines."""
    return sys.stdout.isatty() and environ.get("TERM", "") not in ("", "dumb", "unknown")


@contextmanager
def captured(write: Callable[[TextIO, str], None]) -> Iterator[None]:
    """All that goes to stdout, and to stderr where that is a terminal too, goes to `write`, with
    the stream it was meant for."""
    out, err = sys.stdout, sys.stderr
    out.flush()
    sys.stdout = _Captured(out, write)
    if err.isatty():
        sys.stderr = _Captured(err, write)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = out, err
