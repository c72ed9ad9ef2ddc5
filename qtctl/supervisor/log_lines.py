r"""Log records as plain lines, as JSON, and back.

::

    2026-01-28T00:00:00.123Z INFO  governor plan permitted plan_id=p1 symbol=BTCUSDT reason=ok
    {"time": "2026-01-28T00:00:00.123Z", "level": "info", "source": "governor",
     "message": "plan permitted", "fields": {"plan_id": "p1", "symbol": "BTCUSDT", "reason": "ok"}}

Messages and fields may hold text from Redis; it is data, never markup or terminal control, and
can't break a line in two.
"""

import json
import logging
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from qtctl.logs import Fields, Line
from qtctl.text import escape

# Five letters at most, so that what follows stands in one column.
_LEVEL_WORDS = {"WARNING": "WARN", "CRITICAL": "FATAL"}
_LEVELS = {"WARN": "warning", "FATAL": "critical"}

# Printable ASCII but for blank, quote, equals sign and backslash.
_bare = re.compile(r"[!#-<>-\[\]-~]*").fullmatch
_plain = re.compile(r"(\d{4}-\d\d-\d\dT\S+Z) ([A-Z]+) +(\S+) (.*)").fullmatch
_FIELD = r' ([a-z][a-z0-9_]*)=("(?:[^"\\]|\\.)*"|[^\s"=\\]*)'
_field = re.compile(_FIELD)
_fields = re.compile(rf"(?:{_FIELD})*$")


class PlainFormatter(logging.Formatter):
    """A record as plain text: a line per message, then its traceback, indented and escaped."""

    def format(self, record: logging.LogRecord) -> str:
        head = f"{stamp(record.created)} {level_of(record):<5} {source_of(record)} "
        lines = [head + with_fields(*line) for line in lines_of(record)]
        return "\n".join(lines + traceback_of(self, record))


class JsonFormatter(logging.Formatter):
    """A record as one JSON object a line, ASCII alone; a traceback is its `traceback`."""

    def format(self, record: logging.LogRecord) -> str:
        head = {
            "time": stamp(record.created),
            "level": record.levelname.lower(),
            "source": source_of(record),
        }
        trace = traceback_of(self, record)
        tail = {"traceback": trace} if trace else {}
        return "\n".join(
            json.dumps({**head, "message": message, "fields": texts(fields), **tail})
            for message, fields in lines_of(record)
        )


def with_fields(message: str, fields: Fields) -> str:
    """One message with its fields behind it: `plan permitted plan_id=p1`."""
    return escape(message) + "".join(f" {key}={quote(fields[key])}" for key in fields)


def quote(value: object) -> str:
    r"""A field's value as one word: `ok`, `1.5`, `"two words"`; unknown (None) is empty.

    Quoted where it holds a blank, `"`, `=`, a backslash or something invisible; inside quotes
    `"` and `\` have a backslash before them, so that a value can't pass for another field.
    """
    text = text_of(value)
    if _bare(text) or (escape(text) == text and not re.search(r'[\s"=\\]', text)):
        return text
    return '"' + escape(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'


class Parsed(NamedTuple):
    """A line that was read back. level: a word in lower case; time: as written."""

    time: str
    level: str
    source: str
    message: str
    fields: dict[str, str]


def parse(line: str) -> Parsed | None:
    """A plain line or a JSON one, read back; None for anything else. What was invisible in a value
    stays escaped."""
    if line.startswith("{"):
        return _of_json(line)
    found = _plain(line)
    if found is None:
        return None
    time, word, source, rest = found.groups()
    # Fields stand at the end, one behind the other; what looks like one before a word is prose.
    behind = _fields.search(rest)
    tail = behind[0] if behind else ""
    fields = {each[1]: _unquoted(each[2]) for each in _field.finditer(tail)}
    return Parsed(time, _LEVELS.get(word, word.lower()), source, rest.removesuffix(tail), fields)


def _of_json(line: str) -> Parsed | None:
    try:
        found = json.loads(line)
        time, level, source, message = (
            str(found[name]) for name in ("time", "level", "source", "message")
        )
        fields = {str(key): str(value) for key, value in found["fields"].items()}
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        return None
    return Parsed(time, level, source, message, fields)


def _unquoted(word: str) -> str:
    return re.sub(r'\\(["\\])', r"\1", word[1:-1]) if word[:1] == '"' else word


def text_of(value: object) -> str:
    """A field's value as text; unknown (None) is empty."""
    return "" if value is None else str(value)


def texts(fields: Fields) -> dict[str, str]:
    """Fields with their values as text."""
    return {key: text_of(value) for key, value in fields.items()}


def lines_of(record: logging.LogRecord) -> Sequence[Line]:
    """The messages of a record with their fields: one, or those of a batch."""
    batch: Sequence[Line] | None = getattr(record, "batch", None)
    if batch is not None:
        return batch
    fields: Fields = getattr(record, "fields", None) or {}
    try:
        return [(record.getMessage(), fields)]
    except (TypeError, ValueError, KeyError):
        # The arguments don't fit the message: log both.
        return [(f"{record.msg} {record.args!r}", fields)]


def traceback_of(formatter: logging.Formatter, record: logging.LogRecord) -> list[str]:
    """The lines of a record's traceback, if it has one."""
    if not record.exc_info:
        return []
    # The bar keeps a line of an exception's message from looking like a log line.
    text = formatter.formatException(record.exc_info)
    return [f"  | {escape(line)}" for line in text.split("\n")]


def stamp(created: float) -> str:
    """Epoch seconds as `2026-01-28T00:00:00.123Z`."""
    moment = datetime.fromtimestamp(created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def level_of(record: logging.LogRecord) -> str:
    """`INFO`, `WARN`, …: five letters at most."""
    return _LEVEL_WORDS.get(record.levelname, record.levelname)


def source_of(record: logging.LogRecord) -> str:
    """The source of a record: `governor` for `qtctl.services.governor`, other loggers in full."""
    name = record.name
    return name.rpartition(".")[2] if name.startswith("qtctl.") else name
