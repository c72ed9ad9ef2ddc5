"""Log lines on stderr: coloured on a terminal, plain otherwise. Nobody waits for them to be read.

::

    2026-01-28T00:00:00.123Z INFO  governor plan permitted plan_id=p1 symbol=BTCUSDT reason=ok

Facts travel as fields: `log.info("plan permitted", extra={"fields": {"plan_id": "p1"}})`, many
lines at once with `qtctl.logs.log_batch`. Messages and fields may hold text from Redis; it is
data, never markup or terminal control, and can't break a line in two.
"""

import io
import logging
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TextIO

from qtctl.errors import ConfigError
from qtctl.logs import Fields, Line
from qtctl.supervisor.log_writer import LogWriter
from qtctl.text import escape

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("auto", "plain", "rich")

# Five letters at most, so that what follows stands in one column.
_LEVEL_WORDS = {"WARNING": "WARN", "CRITICAL": "FATAL"}
_LEVEL_STYLES = {"DEBUG": "dim", "INFO": "green", "WARN": "yellow", "ERROR": "bold red"}

# Printable ASCII but for blank, quote, equals sign and backslash.
_bare = re.compile(r"[!#-<>-\[\]-~]*").fullmatch


def configure(
    level: str = "info", fmt: str = "auto", stream: TextIO | None = None
) -> logging.Handler:
    """Send every logger's lines to `stream` (stderr); a second call replaces the first.

    `level` (one of `LEVELS`) is for qtctl; other libraries log from warning on. `fmt` is `plain`,
    `rich`, or `auto`, which is rich if the stream is a terminal. Returns the handler. Raises
    ConfigError for an unknown level or format.
    """
    if level not in LEVELS:
        raise ConfigError(f"[logging] level: {level!r} must be one of {', '.join(LEVELS)}")
    if fmt not in FORMATS:
        raise ConfigError(f"[logging] format: {fmt!r} must be one of {', '.join(FORMATS)}")
    stream = sys.stderr if stream is None else stream
    root = logging.getLogger()
    handler = _Handler(stream)
    for old in [handler for handler in root.handlers if isinstance(handler, _Handler)]:
        root.removeHandler(old)
        handler.follow(old)
    if fmt == "rich" or (fmt == "auto" and stream.isatty()):
        handler.setFormatter(_RichFormatter(stream))
    else:
        handler.setFormatter(_PlainFormatter())
    root.addHandler(handler)
    logging.getLogger("qtctl").setLevel(level.upper())
    return handler


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
        if mine is not None and theirs is not None and mine.descriptor == theirs.descriptor:
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
        record = logging.makeLogRecord(
            {
                "name": "qtctl.supervisor.logs",
                "levelname": "WARNING",
                "msg": "lines of this log were dropped here, since nobody read it",
                "fields": {"lines": lost},
            }
        )
        return self._encoded(record)


class _PlainFormatter(logging.Formatter):
    """A record as plain text: a line per message, then its traceback, indented and escaped."""

    def format(self, record: logging.LogRecord) -> str:
        head = f"{_stamp(record.created)} {_level(record):<5} {_source(record)} "
        lines = [
            head + escape(message) + "".join(f" {key}={quote(fields[key])}" for key in fields)
            for message, fields in _lines(record)
        ]
        return "\n".join(lines + _traceback(self, record))


class _RichFormatter(logging.Formatter):
    """The same with colours. Everything is `Text`, so nothing is interpreted as markup."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console

        super().__init__()
        # Rich only formats, it never writes; from the stream it learns which colours there are.
        file = stream if stream.isatty() else io.StringIO()
        self._console = Console(
            file=file, markup=False, highlight=False, emoji=False, soft_wrap=True
        )

    def format(self, record: logging.LogRecord) -> str:
        from rich.text import Text

        level = _level(record)
        with self._console.capture() as captured:
            for message, fields in _lines(record):
                line = Text()
                line.append(f"{_stamp(record.created)[11:]} ", style="dim")
                line.append(f"{level:<5} ", style=_LEVEL_STYLES.get(level, "bold red"))
                line.append(f"{_source(record)} ", style="cyan")
                line.append(escape(message))
                for key, value in fields.items():
                    line.append(f" {key}=", style="dim")
                    line.append(quote(value))
                self._console.print(line)
            for text in _traceback(self, record):
                self._console.print(Text(text, style="dim"))
        return captured.get().removesuffix("\n")


def quote(value: object) -> str:
    r"""A field's value as one word: `ok`, `1.5`, `"two words"`; unknown (None) is empty.

    Quoted where it holds a blank, `"`, `=`, a backslash or something invisible; inside quotes
    `"` and `\` have a backslash before them, so that a value can't pass for another field.
    """
    text = "" if value is None else str(value)
    if _bare(text) or (escape(text) == text and not re.search(r'[\s"=\\]', text)):
        return text
    return '"' + escape(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def _lines(record: logging.LogRecord) -> Sequence[Line]:
    batch: Sequence[Line] | None = getattr(record, "batch", None)
    if batch is not None:
        return batch
    fields: Fields = getattr(record, "fields", None) or {}
    try:
        return [(record.getMessage(), fields)]
    except (TypeError, ValueError, KeyError):
        # The arguments don't fit the message: log both.
        return [(f"{record.msg} {record.args!r}", fields)]


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> list[str]:
    if not record.exc_info:
        return []
    # The bar keeps a line of an exception's message from looking like a log line.
    text = formatter.formatException(record.exc_info)
    return [f"  | {escape(line)}" for line in text.split("\n")]


def _stamp(created: float) -> str:
    moment = datetime.fromtimestamp(created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _level(record: logging.LogRecord) -> str:
    return _LEVEL_WORDS.get(record.levelname, record.levelname)


def _source(record: logging.LogRecord) -> str:
    """The source of a record: `governor` for `qtctl.services.governor`, other loggers in full."""
    name = record.name
    return name.rpartition(".")[2] if name.startswith("qtctl.") else name
