"""How many entries of plans a read asks for, so that what is read fits into memory.

Nobody knows how large the entries are that come next. So reads begin with a few, and go on with
more while these are small. What turns out too large all the same is cut off, or the server drops
the connection: then reads ask for fewer, down to one, which is never cut, and what was read is
served before more is.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec

from qtctl.errors import RedisUnreachable, ReplyTooLarge
from qtctl.wire.client.skimmer import KEEP_BYTES, length_of

FIRST_PAGE, GROWTH = 4, 16
"""Entries that are read before it is known how large they are; and how many times as many as those
known are read next."""
READ_BYTES = 16_777_216
"""What is read at once, by the largest entry known; one entry at least."""
LARGE_BYTES = 65_536
"""No sane plan is larger: in an open not even one field may be."""
FEWER = 8
"""How many times fewer entries a read asks for, after one that broke off."""
CALM_READS, MORE = 8, 4
"""After so many reads that went well, so many times as many again."""
RECOVERED = 1_000


class LargeEntry(msgspec.Struct, frozen=True):
    """An entry that was read and is over LARGE_BYTES; source: who published it, "" for unknown."""

    id: str
    size: int
    source: str


class Paging:
    """For all reads of one consumer."""

    def __init__(self) -> None:
        self._fitting = FIRST_PAGE  # By the largest entry of the last read.
        self._most: int | None = None  # Entries in a read, since one broke off.
        self._calm = 0  # Reads that went well since.
        self._lost = 0  # Reads that were lost with their connection, one after the other.

    def first(self, count: int) -> int:
        """How many entries a read of up to `count` begins with."""
        return min(count, self._fitting, FIRST_PAGE if self._most is None else self._most)

    def next(self, sizes: Sequence[int], left: int) -> int:
        """How many may be read behind those whose sizes are known, 0 for none; left: of those that
        are wanted."""
        largest = max(sizes, default=1)
        self._fitting = max(1, READ_BYTES // largest)
        if sizes:
            self._lost = 0
        if self._most is not None:
            self._recover(self._most)
            return 0
        room = (READ_BYTES - sum(sizes)) // largest
        return max(0, min(left, GROWTH * max(1, len(sizes)), room))

    def _recover(self, most: int) -> None:
        """More again, after a while in which more would have fitted."""
        more = most * MORE
        self._calm = self._calm + 1 if self._fitting >= more else 0
        if self._calm >= CALM_READS:
            self._calm, self._most = 0, more if more <= RECOVERED else None

    @contextmanager
    def reading(self, page: int) -> Iterator[None]:
        """A read of up to so many entries; errors of the block are raised."""
        try:
            yield
        except RedisUnreachable as problem:
            self.broken(page, problem)
            raise

    def broken(self, page: int, problem: RedisUnreachable) -> None:
        """A read of up to so many entries that ended so."""
        if isinstance(problem, ReplyTooLarge):
            self._broke_off(page)
            return
        # Once is nothing; the server may drop a connection because of what it would have sent.
        self._lost += 1
        if page > FIRST_PAGE or self._lost > 1:
            self._broke_off(page)

    def _broke_off(self, page: int) -> None:
        self._most, self._calm = max(1, page // FEWER), 0


def size_of(raw: Sequence[bytes]) -> int:
    """About what an entry takes on the wire, in bytes."""
    size = sum(map(len, raw)) + 1
    return size if size <= KEEP_BYTES else sum(map(length_of, raw)) + 1
