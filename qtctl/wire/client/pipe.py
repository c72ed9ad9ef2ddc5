"""Many commands sent ahead of their replies, so that the server works while we do.

redis-py's own pipeline costs several times as much per command. This one uses private parts of
redis-py (`_sock`, `_parser.parse_error`), so pyproject.toml caps redis at what was tested.
"""

import select
import ssl
from collections import deque
from collections.abc import Sequence
from enum import Enum
from typing import Any

import hiredis
import redis
from redis.exceptions import ResponseError

from qtctl.wire.client import shapes
from qtctl.wire.client.connect import is_elsewhere, not_serving
from qtctl.wire.client.shapes import Command
from qtctl.wire.client.skimmer import Skimmer
from qtctl.wire.schema.packing import packed, without_numbers

_MULTI, _EXEC = packed(("MULTI",)), packed(("EXEC",))
_READ_BYTES, _MORE_BYTES = 32_768, 262_144
"""Taken from the socket at once, and of a reply that is larger. What is left of a buffer of 64 KB
would have malloc tidy up each time."""
_INCOMPLETE = object()
_PACKED = frozenset({bytes})


class Large(Enum):
    """How replies are read that may be larger than memory allows: what comes in beyond LARGE_BYTES
    is read by a Skimmer, which keeps of long values the beginning."""

    SKIM = "read to its end; what is too much of its arrays is dropped"
    CUT = "cut off where it is too much, and the connection with it"


LARGE_BYTES = 1_048_576
"""What comes in for a pipe as ever, before its replies count as large."""
MOST_BYTES = 33_554_432
"""The most that is kept, or where it is cut let in, of one such reply."""


class Pipe:
    """Commands sent over one connection whose replies have not been received yet, in order. All
    must be received (or drained) before the connection is used for anything else. Errors: those of
    redis and of the socket, after which the connection's state is unknown."""

    def __init__(
        self, client: "redis.Redis", *, roams: bool = False, decoded: bool = False,
        large: Large | None = None,
    ) -> None:  # fmt: skip
        """roams: a reply that names another server as primary breaks the connection; decoded:
        replies are text, as `records.text` makes it, instead of bytes; large: bytes that may be
        large."""
        connection: Any = client.connection
        assert connection is not None, "made with single_connection_client"
        self._connection = connection
        self._due: deque[tuple[Sequence[Command], bool]] = deque()
        self._held: list[bytes] = []
        self._roams, self._decoded = roams, decoded
        self._elsewhere: Exception | None = None
        self._reader: Any = None
        self._large = large
        self._came: list[bytes] = []
        self._done = 0
        self._skimmer: Skimmer | None = None

    def send(
        self, commands: Sequence[Command], *, atomic: bool = False, hold: bool = False
    ) -> None:
        """Send commands, in a MULTI if atomic; their replies come later. hold: send them together
        with the next ones, in one write."""
        whole = b"".join(
            commands  # type: ignore[arg-type]
            if _PACKED.issuperset(map(type, commands))
            else [
                each if isinstance(each, bytes) else packed(without_numbers(each))
                for each in commands
            ]
        )
        if atomic:
            whole = _MULTI + whole + _EXEC
        self._held.append(whole)
        self._due.append((commands, atomic))
        if not hold:
            self._connection.send_packed_command([b"".join(self._held)], check_health=False)
            self._held.clear()

    def receive(self) -> list[Any]:
        """The replies to the oldest commands still unanswered; an error reply is an exception.
        Errors: ResponseError if a MULTI was refused, which then did nothing; OddReplyError."""
        commands, atomic = self._due.popleft()
        count = len(commands)
        replies = self._replies(count + 2 if atomic else count)
        if atomic:
            for reply in replies:
                if isinstance(reply, ResponseError):
                    raise reply  # Refused while it was queued: nothing was done.
            done = replies[-1]
            if not shapes.is_list(done) or len(done) != count:
                raise shapes.odd("EXEC", done)
            replies = done
        if count == 1:
            shapes.check(commands[0], replies[0])
        else:
            shapes.check_all(commands, replies)
        return replies

    def arrived(self, within_sec: float) -> bool:
        """True once there is something to receive; waits that long for it."""
        socket = self._connection._sock
        if self._reader is None and self._skimmer is None:
            self._reader = self._made()  # A plan that comes must not wait for it.
        if isinstance(socket, ssl.SSLSocket) and socket.pending():
            return True
        poll = select.poll()
        poll.register(socket, select.POLLIN)
        return bool(poll.poll(within_sec * 1000))

    @property
    def outstanding(self) -> bool:
        """True while there are replies to come."""
        return bool(self._due)

    def drain(self) -> None:
        """Receive all outstanding replies, and discard them."""
        while self._due:
            commands, atomic = self._due.popleft()
            self._replies(len(commands) + 2 * atomic)

    def _replies(self, count: int) -> list[Any]:
        replies = self._skimmed(count) if self._skimmer is not None else self._parsed(count)
        if not self._due:
            self._reader = self._skimmer = None  # Both hold on to what was read, and to this pipe.
        if self._elsewhere is not None:
            raise redis.ConnectionError(str(self._elsewhere)) from self._elsewhere
        return replies

    def _parsed(self, count: int) -> list[Any]:
        reader = self._reader
        if reader is None:
            reader = self._reader = self._made()
        socket = self._connection._sock
        replies: list[Any] = []
        most = _READ_BYTES
        while len(replies) < count:
            reply = reader.gets()
            if reply is not _INCOMPLETE:
                replies.append(reply)
                continue
            try:
                data = socket.recv(most)
            except TimeoutError as late:
                raise redis.TimeoutError("Timeout reading from socket") from late
            if not data:
                raise redis.ConnectionError("Connection closed by server.")
            if self._large is not None:
                self._came.append(data)
                if sum(map(len, self._came)) > LARGE_BYTES:
                    self._skim(self._large, self._done + len(replies))
                    return replies + self._skimmed(count - len(replies))
            reader.feed(data)
            most = _MORE_BYTES if len(data) == most else most
        self._done += count
        return replies

    def _made(self) -> Any:
        return hiredis.Reader(
            protocolError=redis.InvalidResponse,
            replyError=self._error,
            notEnoughData=_INCOMPLETE,
            encoding="utf-8" if self._decoded else None,
            errors="backslashreplace",
        )

    def _skim(self, large: Large, done: int) -> None:
        """The same replies from their beginning, but for those that are done with."""
        came = b"".join(self._came)
        cut = large is Large.CUT
        self._skimmer = Skimmer(came, self._connection._sock, self._error, MOST_BYTES, cut=cut)
        self._reader = None
        self._came.clear()
        self._skimmed(done)

    def _skimmed(self, count: int) -> list[Any]:
        assert self._skimmer is not None
        return [self._skimmer.reply() for _ in range(count)]

    def _error(self, line: str) -> Exception:
        problem: Exception = self._connection._parser.parse_error(line)
        if (self._roams and is_elsewhere(problem)) or not_serving(problem) is not None:
            self._elsewhere = problem
        return problem
