"""Log lines on stderr or in the journal. Nobody waits for them to be read.

Facts travel as fields: `log.info("plan permitted", extra={"fields": {"plan_id": "p1"}})`, many
lines at once with `qtctl.logs.log_batch`. What is made of them depends on who reads:

- a terminal: a decision in a few words, one line of at most its width (`short`)
- systemd's journal: the same words as the message, every field as a field (`journal`)
- anything else: one line each with every field (`plain`)

`rich` (all fields, in colours) and `json` (an object a line) have to be asked for.
"""

import logging
import sys
from collections.abc import Mapping
from socket import socket as Socket  # noqa: N812 - `socket` is a parameter here
from typing import TextIO

from qtctl.errors import ConfigError
from qtctl.supervisor import journal
from qtctl.supervisor.log_lines import JsonFormatter, PlainFormatter
from qtctl.supervisor.log_terminal import RichFormatter, ShortFormatter
from qtctl.supervisor.log_writer import LogWriter

log = logging.getLogger("qtctl.supervisor.logs")
LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("auto", "plain", "rich", "short", "json", "journal")
NOWHERE: Mapping[str, str] = {}


def configure(
    level: str = "info",
    fmt: str = "auto",
    stream: TextIO | None = None,
    environ: Mapping[str, str] = NOWHERE,
    socket: str = journal.SOCKET,
) -> logging.Handler:
    """Send every logger's lines to `stream` (stderr) or the journal; a second call replaces the
    first.

    `level` (one of `LEVELS`) is for qtctl; other libraries log from warning on. `fmt` is one of
    `FORMATS`; `auto` is short on a terminal, journal where `environ` says that the stream leads
    there, else plain. `socket` is the journal's. Returns the handler. Raises ConfigError for an
    unknown level or format.
    """
    if level not in LEVELS:
        raise ConfigError(f"[logging] level: {level!r} must be one of {', '.join(LEVELS)}")
    if fmt not in FORMATS:
        raise ConfigError(f"[logging] format: {fmt!r} must be one of {', '.join(FORMATS)}")
    stream = sys.stderr if stream is None else stream
    chosen = _chosen(stream, environ) if fmt == "auto" else fmt
    made = journal.connected(socket) if chosen == "journal" else None
    lacking = chosen == "journal" and made is None
    handler = _Handler(stream) if made is None else _JournalHandler(stream, socket, made)
    handler.setFormatter(_formatter(chosen, stream))
    root = logging.getLogger()
    for old in [each for each in root.handlers if isinstance(each, _Handler)]:
        root.removeHandler(old)
        handler.follow(old)
    root.addHandler(handler)
    logging.getLogger("qtctl").setLevel(level.upper())
    if lacking:
        extra = {"fields": {"socket": socket}}
        log.warning("there is no journal here: plain lines instead", extra=extra)
    return handler


def _chosen(stream: TextIO, environ: Mapping[str, str]) -> str:
    if stream.isatty():
        return "short"
    return "journal" if journal.is_stream(environ, stream) else "plain"


def _formatter(fmt: str, stream: TextIO) -> logging.Formatter:
    if fmt == "short":
        return ShortFormatter(stream)
    if fmt == "rich":
        return RichFormatter(stream)
    return JsonFormatter() if fmt == "json" else PlainFormatter()


class _Handler(logging.StreamHandler[TextIO]):
    """Never raises into a loop, nor keeps it waiting: a stream that is closed, or that nobody
    reads, costs lines, not passes. A stream without a file behind it (tests) is written directly.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        try:
            self._writer: LogWriter | None = LogWriter(stream.fileno(), self._notice)
        except (OSError, ValueError, AttributeError):
            self._writer = None

    def follow(self, before: "_Handler") -> None:
        """Take over where another left off, with the lines that it has not written yet."""
        mine, theirs = self._writer, before._writer
        if mine is not None and theirs is not None and mine.shares(theirs):
            self._writer = theirs
            theirs.notice = self._notice

    def emit(self, record: logging.LogRecord) -> None:
        """Hand a record's lines to the writer."""
        if self._writer is None:
            super().emit(record)
            return
        try:
            lines = self._encoded(record)
        except Exception:  # noqa: BLE001 - as logging's own handlers
            self.handleError(record)
        else:
            self._writer.write(lines)

    def flush(self) -> None:
        """Wait, within a bound, until what was logged is written; called when the process ends."""
        if self._writer is None:
            super().flush()
        else:
            self._writer.flush()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        pass

    def _encoded(self, record: logging.LogRecord) -> bytes:
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        return f"{self.format(record)}\n".encode(encoding, "backslashreplace")

    def _notice(self, lost: int) -> bytes:
        what = "lines of this log were dropped here, since nobody read it"
        extra = {"fields": {"lines": lost}}
        record = log.makeRecord(log.name, logging.WARNING, "", 0, what, (), None, extra=extra)
        return self._encoded(record)


class _JournalHandler(_Handler):
    """The same with the journal instead of the stream."""

    def __init__(self, stream: TextIO, path: str, made: Socket) -> None:
        super().__init__(stream)
        self._datagrams = journal.JournalFormatter()
        self._writer = journal.JournalWriter(path, self._notice, made)

    def _encoded(self, record: logging.LogRecord) -> bytes:
        return self._datagrams.encoded(record)
