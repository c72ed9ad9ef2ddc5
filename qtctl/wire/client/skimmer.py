"""Replies with values of many megabytes, of which only the beginning is kept.

hiredis keeps all of a reply, twice while it comes in. This reads it bit by bit, and costs about a
microsecond per value, so that it is for replies that turned out to be large.
"""

import io
from collections.abc import Callable
from socket import socket
from typing import Any

import redis

from qtctl.errors import ReplyTooLarge

KEEP_BYTES = 262_144
"""What is kept of one value; longer texts are over 65,536 characters in any case."""
_PER_VALUE_BYTES = 64
"""What a value takes in memory, beside itself."""
_CHUNK_BYTES = 262_144
_ENDS = memoryview(b"\r\n")


class Head(bytes):
    """The beginning of a longer value, and a byte that is in no UTF-8 text: no number and no word
    is read from it. whole: the bytes of all of it."""

    whole = 0


class Part(list[Any]):
    """The first elements of an array, whose others were too much to keep."""


def length_of(value: bytes) -> int:
    """The bytes of all of it."""
    return value.whole if isinstance(value, Head) else len(value)


class Skimmer:
    """Reads replies from a socket, after what was received already."""

    def __init__(
        self, begun: bytes, connected: socket, error: Callable[[str], Exception], most_bytes: int,
        *, cut: bool,
    ) -> None:  # fmt: skip
        """most_bytes: of each reply. Where it holds more it is cut off, with ReplyTooLarge, or
        without `cut` read to its end, and what is too much of its arrays is dropped."""
        self._stream = io.BufferedReader(_Source(begun, connected), _CHUNK_BYTES)
        self._scratch = memoryview(bytearray(_CHUNK_BYTES))
        self._error = error
        self._most, self._cut = most_bytes, cut
        self._came = self._kept = 0

    def reply(self) -> Any:
        """The next reply, with types as from hiredis, and Head and Part. Errors: ReplyTooLarge;
        those of redis and of the socket."""
        self._came = self._kept = 0
        return self._value()

    def _value(self) -> Any:
        line = self._stream.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"$":
            return self._bulk(int(rest))
        if kind == b"*":
            return self._array(int(rest))
        if kind == b":":
            return int(rest)
        if kind == b"+":
            return rest
        if kind == b"-":
            return self._error(rest.decode("utf-8", "backslashreplace"))
        raise redis.InvalidResponse(f"Protocol Error: {line[:40]!r}")

    def _array(self, length: int) -> list[Any] | None:
        if length < 0:
            return None
        elements: list[Any] = []
        for _ in range(length):
            element = self._value()
            self._kept += _PER_VALUE_BYTES
            if self._kept <= self._most or isinstance(element, list):
                elements.append(element)
        return elements if len(elements) == length else Part(elements)

    def _bulk(self, length: int) -> bytes | None:
        if length < 0:
            return None
        self._came += length + _PER_VALUE_BYTES
        if self._cut and self._came > self._most:
            raise ReplyTooLarge(f"a reply holds more than {self._most:,} bytes")
        head = self._stream.read(min(length, KEEP_BYTES))
        if length > KEEP_BYTES:
            self._skip(length - KEEP_BYTES)
            head = Head(head + b"\xff")
            head.whole = length
        self._stream.read(len(_ENDS))
        self._kept += len(head)
        return head

    def _skip(self, count: int) -> None:
        while count:
            count -= self._stream.readinto1(self._scratch[: min(count, _CHUNK_BYTES)])


class _Source(io.RawIOBase):
    """What was received already, then what comes from the socket."""

    def __init__(self, begun: bytes, connected: socket) -> None:
        self._begun = memoryview(begun)
        self._socket = connected

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._begun:
            some = self._begun[: len(buffer)]
            buffer[: len(some)] = some
            self._begun = self._begun[len(some) :]
            return len(some)
        try:
            got = self._socket.recv_into(buffer)
        except TimeoutError as late:
            raise redis.TimeoutError("Timeout reading from socket") from late
        if not got:
            raise redis.ConnectionError("Connection closed by server.")
        return got
