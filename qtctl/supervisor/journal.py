"""Log records in systemd's journal, with their fields as the journal's own.

Each line is one datagram of `FIELD=value`: MESSAGE and PRIORITY, LOGGER, and each field of the line
as QTCTL_{NAME}, so that `journalctl QTCTL_PLAN_ID=p1` finds all about a plan. Source:
systemd.io/JOURNAL_NATIVE_PROTOCOL.
"""

import contextlib
import errno
import functools
import logging
import os
import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePath
from typing import TextIO

from qtctl.logs import Fields
from qtctl.supervisor import log_lines, log_words
from qtctl.supervisor.log_lines import text_of
from qtctl.supervisor.log_writer import LogWriter

SOCKET = "/run/systemd/journal/socket"
STREAM = "JOURNAL_STREAM"
"""Where systemd says which device and inode its journal has given to this process."""
PREFIX = "QTCTL_"
SOURCE, MESSAGE = "LOGGER", "LOGGER_MESSAGE"
"""Not under PREFIX: a line may have a field called source."""
IDENTIFIER = "qtctl"
CGROUPS = Path("/proc/self/cgroup")
MOST_BYTES = 8_192
"""Of one value, where a datagram is too large as a whole."""
_LENGTH, _SIZE = struct.Struct("<I"), struct.Struct("<Q")


def is_stream(environ: Mapping[str, str], stream: TextIO) -> bool:
    """True if what is written to this stream goes to the journal."""
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError, AttributeError):
        return False
    return environ.get(STREAM) == f"{found.st_dev}:{found.st_ino}"


def identifier(cgroups: Path = CGROUPS) -> str:
    """What stands before each line of the journal: the unit's name without its suffix, which is the
    SyslogIdentifier of our units (systemd tells that to nobody); outside a unit `qtctl`."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        for line in cgroups.read_text("utf-8").splitlines():
            unit = PurePath(line.rpartition(":")[2])
            if unit.suffix == ".service":
                return unit.stem
    return IDENTIFIER


def connected(path: str = SOCKET) -> socket.socket | None:
    """A socket to the journal; None where there is none."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        made.connect(path)
    except OSError:
        made.close()
        return None
    return made


class JournalFormatter(logging.Formatter):
    """A record as datagrams, each behind its length."""

    def __init__(self) -> None:
        super().__init__()
        self._identifier = identifier()

    def encoded(self, record: logging.LogRecord) -> bytes:
        """All lines of a record; a traceback stands behind the message."""
        source, trace = log_lines.source_of(record), log_lines.traceback_of(self, record)
        priority = str(_priority(record.levelno))
        parts: list[bytes] = []
        for message, fields in log_lines.lines_of(record):
            if source == log_words.LOGGER:
                shown = log_words.words(message, log_lines.texts(fields))
            else:
                shown = log_lines.with_fields(message, fields)
            datagram = _datagram(
                {
                    "MESSAGE": "\n".join((shown, *trace)) if trace else shown,
                    "PRIORITY": priority,
                    "SYSLOG_IDENTIFIER": self._identifier,
                    SOURCE: source,
                    MESSAGE: message,
                },
                fields,
            )
            parts += [_LENGTH.pack(len(datagram)), datagram]
        return b"".join(parts)


class JournalWriter(LogWriter):
    """Sends datagrams from a thread of its own; `path`: the journal's socket. One that is away, or
    hangs, costs lines."""

    def __init__(self, path: str, notice: Callable[[int], bytes], made: socket.socket) -> None:
        super().__init__(made.fileno(), notice)
        self.path = path
        self._socket = made

    def shares(self, other: LogWriter) -> bool:
        return isinstance(other, JournalWriter) and other.path == self.path

    def _put(self, lines: bytes) -> bool:
        sent = [self._send(each) for each in datagrams(lines)]  # the rest may be taken
        return all(sent)

    def _count(self, lines: bytes) -> int:
        return sum(1 for _ in datagrams(lines))

    def _send(self, datagram: bytes) -> bool:
        for again in (True, False):
            try:
                self._socket.send(datagram)
            except OSError as problem:
                if problem.errno == errno.EMSGSIZE:
                    datagram = _smaller(datagram)
                elif again:
                    self._reconnect()  # the journal was started anew
                continue
            return True
        return False

    def _reconnect(self) -> None:
        made = connected(self.path)
        if made is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
            self._socket = made


def datagrams(lines: bytes) -> Iterator[bytes]:
    """The datagrams in what a formatter encoded."""
    at = 0
    while at < len(lines):
        (size,) = _LENGTH.unpack_from(lines, at)
        at += _LENGTH.size
        yield lines[at : at + size]
        at += size


def _datagram(own: Mapping[str, str], fields: Fields) -> bytes:
    """Made for every decision, so that a text without line breaks is encoded as a whole."""
    known = [(f"{name}=", value) for name, value in own.items()]
    known += [(_head(name), text_of(value)) for name, value in fields.items()]
    if not any("\n" in value for _, value in known):
        return _raw("".join([f"{head}{value}\n" for head, value in known]))
    return b"".join(_field(head[:-1].encode(), _raw(value)) for head, value in known)


@functools.cache
def _head(name: str) -> str:
    """`QTCTL_PLAN_ID=`; services have some hundred names."""
    return f"{PREFIX}{name.upper()}="


def _raw(value: str) -> bytes:
    return value.encode("utf-8", "backslashreplace")


def _field(name: bytes, value: bytes) -> bytes:
    """A field as the protocol has it; a value of several lines goes behind its length."""
    if b"\n" not in value:
        return b"%s=%s\n" % (name, value)
    return b"%s\n%s%s\n" % (name, _SIZE.pack(len(value)), value)


def _smaller(datagram: bytes) -> bytes:
    """The same with each value cut."""
    cut, at = b"", 0
    while at < len(datagram):
        end = datagram.index(b"\n", at)
        name, equals, value = datagram[at:end].partition(b"=")
        at = end + 1
        if not equals:
            (size,) = _SIZE.unpack_from(datagram, at)
            value = datagram[at + _SIZE.size : at + _SIZE.size + size]
            at += _SIZE.size + size + 1
        cut += _field(name, value[:MOST_BYTES])
    return cut


def _priority(level: int) -> int:
    """Syslog's numbers: 7 debug, 6 info, 4 warning, 3 error, 2 critical."""
    steps = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
    return next((priority for least, priority in steps if level >= least), 7)
