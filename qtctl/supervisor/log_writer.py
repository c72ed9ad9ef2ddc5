"""Writes log lines from a thread of its own, so that no loop waits for whoever reads them.

A pipe that nobody reads, or a journal that hangs, fills this buffer and then costs lines, never a
pass. Lines that were lost are counted (`qtctl.logs.dropped`), and a line says how many as soon as
there is room again, at the place where they are missing.
"""

import contextlib
import os
import select
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from qtctl import clock, logs

LIMIT_BYTES: Final = 8 * 1024 * 1024
"""What may wait to be written: some 10,000 decisions."""

FLUSH_SEC: Final = 0.8
"""How long the end of the process may wait for lines to be written; and without any progress."""
STALLED_SEC: Final = 0.4

_AT_ONCE = 1_048_576


class LogWriter:
    """A bounded queue of lines for one file descriptor. Thread safe; never waits in `write`.
    notice: makes the line about a number of lines that are lost."""

    def __init__(
        self, descriptor: int, notice: Callable[[int], bytes], limit: int = LIMIT_BYTES
    ) -> None:
        self.descriptor = descriptor
        self.notice = notice
        self._limit = limit
        self._changed = threading.Condition()
        self._queue: deque[tuple[bytes, int]] = deque()  # a notice with its count, else 0
        self._size = 0
        self._lost = 0  # since the last notice; while above 0, no more lines are taken
        self._thread: threading.Thread | None = None

    def shares(self, other: "LogWriter") -> bool:
        """True if another writes to the same place."""
        return type(other) is type(self) and other.descriptor == self.descriptor

    def write(self, lines: bytes) -> None:
        """Queue whole lines; where there is no room they are lost, and counted."""
        with self._changed:
            if self._lost and not self._queue:
                self._admit()  # A disk that was full may have room again.
            if self._lost or self._size + len(lines) > self._limit:
                self._lose(lines)
                return
            self._add(lines)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="log", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def flush(self) -> None:
        """Wait until everything is written, but not for a reader that has stopped."""
        begun = progress = clock.monotonic()
        with self._changed:
            size = self._size
            while size and (now := clock.monotonic()) < min(
                begun + FLUSH_SEC, progress + STALLED_SEC
            ):
                self._changed.wait(min(begun + FLUSH_SEC, progress + STALLED_SEC) - now)
                if self._size != size:
                    size, progress = self._size, clock.monotonic()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._queue:
                    self._changed.wait()
                count, notice_of = self._next()
                lines = b"".join([self._queue[at][0] for at in range(count)])
            written = self._put(lines)
            with self._changed:
                for _ in range(count):
                    self._queue.popleft()
                self._size -= len(lines)
                if not written and notice_of:
                    self._lost += notice_of
                elif not written:
                    self._lose(lines)
                # Not at the first free byte: each notice should stand for many lines.
                elif self._lost and self._size <= self._limit // 2:
                    self._admit()
                self._changed.notify_all()

    def _next(self) -> tuple[int, int]:
        """How many of the queue to write at once, and the count of a notice, which goes alone.

        Each write may cost a wait for the interpreter, which a busy loop holds.
        """
        if self._queue[0][1]:
            return 1, self._queue[0][1]
        size, count = 0, 0
        for lines, notice_of in self._queue:
            size += len(lines)
            if notice_of or (count and size > _AT_ONCE):
                break
            count += 1
        return count, 0

    def _put(self, lines: bytes) -> bool:
        """Write it all, however long that takes; False if nobody can ever read it."""
        rest = memoryview(lines)
        while rest:
            try:
                rest = rest[os.write(self.descriptor, rest) :]
            except BlockingIOError:
                # Somebody who shares the pipe has made it non-blocking.
                with contextlib.suppress(OSError, ValueError):
                    select.select([], [self.descriptor], [], 1.0)
            except OSError:
                return False
        return True

    def _admit(self) -> None:
        """Take lines again, behind a notice of how many are lost."""
        lost, self._lost = self._lost, 0
        self._add(self.notice(lost), lost)

    def _add(self, lines: bytes, notice_of: int = 0) -> None:
        self._queue.append((lines, notice_of))
        self._size += len(lines)

    def _lose(self, lines: bytes) -> None:
        count = self._count(lines)
        self._lost += count
        logs.count_dropped(count)

    def _count(self, lines: bytes) -> int:
        return lines.count(b"\n")
