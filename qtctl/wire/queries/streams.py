"""Reading a stream from its end, and following it without a gap or a repeat."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from math import ceil
from typing import Any

import msgspec

from qtctl import errors
from qtctl.domain.entry_ids import time_of
from qtctl.wire.client import xinfo
from qtctl.wire.client.connect import is_error
from qtctl.wire.client.store import Store
from qtctl.wire.schema.ids import order
from qtctl.wire.schema.records import pairs, text

PAGE = 500


class StreamEntry(msgspec.Struct, frozen=True):
    """An entry with its fields as text (a bad byte is a visible escape); raw: name, value, … to the
    byte, empty where only the fields are known."""

    id: str
    fields: dict[str, str]
    raw: Sequence[bytes] = ()


Wanted = Callable[[StreamEntry], bool]


def last(store: Store, stream: str, count: int, wanted: Wanted) -> list[StreamEntry]:
    """The last entries that are wanted, oldest first; goes back as far as it must."""
    found: list[StreamEntry] = []
    for page in pages(store, stream) if count else ():
        found += [entry for entry in page if wanted(entry)]
        if len(found) >= count:
            break
    return found[:count][::-1]


def pages(
    store: Store,
    stream: str,
    *,
    after: float | None = None,
    before: float | None = None,
    size: int = PAGE,
) -> Iterator[list[StreamEntry]]:
    """A stream from its end, newest first, a page at a time: the first has `size` entries, later
    ones more, up to PAGE. after, before: times (epoch seconds) that bound it, by the ids. Nothing
    where there is no such stream."""
    end = "+" if before is None else str(max(0, int(before * 1000)))
    start = "-" if after is None else str(max(0, ceil(after * 1000)))
    size = max(1, min(size, PAGE))
    while True:
        try:
            page = _entries(store.run("XREVRANGE", stream, end, start, "COUNT", size))
        except errors.WrongTypeError:
            raise xinfo.not_a_stream(stream) from None
        if page:
            yield page
        if len(page) < size:
            return
        end = f"({page[-1].id}"
        size = min(PAGE, 4 * size)


def at(store: Store, stream: str, entry_id: str) -> list[StreamEntry]:
    """The entry of this id, none where it is gone. Errors: RedisUnreachable, WireError."""
    return _entries(store.run("XRANGE", stream, entry_id, entry_id))


class Window(msgspec.Struct, frozen=True):
    """The entries of a stream since a time, newest first. back_to: the time (epoch seconds) where
    a cap cut it off, None where it goes back all the way."""

    entries: tuple[StreamEntry, ...]
    back_to: float | None


def begins(store: Store, stream: str, window: Window) -> float:
    """Since when this window has every entry there was, epoch seconds: the cap cut it off, or the
    stream was trimmed; 0 where neither is so."""
    if window.back_to is not None:
        return window.back_to
    (reply,) = store.batch([("XINFO", "STREAM", stream)])
    found = None if is_error(reply) else xinfo.stream(reply)
    if found is None or not found.first or found.added == found.length:
        return 0.0
    return time_of(found.first)


def since(store: Store, stream: str, at: float, cap: int, page: int = PAGE) -> Window:
    """What was added since a time (epoch seconds), the newest `cap` of it. Empty where there is no
    such stream. Errors: RedisUnreachable; WrongTypeError naming the key."""
    found, back_to = raw_since(store, stream, at, cap, page)
    return Window(tuple(_entries(found)), back_to)


def raw_since(
    store: Store, stream: str, at: float, cap: int, page: int = PAGE, after: str = ""
) -> tuple[list[Any], float | None]:
    """The same as it came: pairs of an id and its fields (name, value, …) in bytes, and back_to as
    in Window. after: from this entry on instead. Making text of thousands of entries takes most of
    the time."""
    found: list[Any] = []
    before, start = "+", after or str(max(0, int(at * 1000)))
    while len(found) < cap:
        count = min(page, cap - len(found))
        try:
            reply = store.run("XREVRANGE", stream, before, start, "COUNT", count)
        except errors.WrongTypeError:
            raise xinfo.not_a_stream(stream) from None
        found += reply
        if len(reply) < count:
            return found, None
        before = f"({text(found[-1][0])}"
    return found, time_of(found[-1][0])


class News(msgspec.Struct, frozen=True):
    """What a follower read: entries, oldest first; how many were trimmed before they could be read;
    anew: the stream was deleted and made anew; cut: its newest entries are gone (a server that lost
    the end of its file)."""

    entries: Sequence[StreamEntry] = ()
    lost: int = 0
    anew: bool = False
    cut: bool = False

    def __bool__(self) -> bool:
        return bool(self.entries or self.lost or self.anew or self.cut)


class Follower:
    """A place in a stream. It survives a lost connection, and a stream that is made anew: nothing
    is returned twice, and what was trimmed before it could be read is counted."""

    def __init__(self, store: Store, stream: str, block_sec: float = 1.0) -> None:
        self._store = store
        self._waiter = store.reader(block_sec)
        self._stream = stream
        self._block_ms = int(block_sec * 1000)
        self._last = "0-0"
        # How many entries, of all that were ever added, lie behind this place.
        self._position: int | None = None
        # Entries that were there: none of them is in a stream that was made anew.
        self._known: deque[str] = deque(maxlen=PAGE)

    def to_end(self) -> None:
        """Puts the place behind what is there now. Errors: RedisUnreachable, WireError."""
        try:
            info = xinfo.stream(self._store.run("XINFO", "STREAM", self._stream))
            self._position, self._last = info.added, info.last_id
            self._known.extend(id_ for id_ in (info.first, info.last) if id_)
        except errors.ServerRefusedError:
            # No such stream yet: everything in it will be new.
            self._position, self._last = 0, "0-0"

    def is_behind(self, entry: StreamEntry) -> bool:
        """True for an entry behind this place: `read` will not return it."""
        return order(entry.id) <= order(self._last)

    def wait(self) -> None:
        """Until there is something new, at most block_sec."""
        block = ("BLOCK", self._block_ms)
        self._waiter.run("XREAD", "COUNT", 1, *block, "STREAMS", self._stream, self._last)

    def read(self) -> News:
        """What is new, at most PAGE entries. Errors: RedisUnreachable."""
        newer = ("XRANGE", self._stream, f"({self._last}", "+", "COUNT", PAGE)
        info, page = self._store.batch([("XINFO", "STREAM", self._stream), newer], atomic=True)
        if isinstance(info, Exception) or isinstance(page, Exception):
            return News()  # The stream is not there (yet).
        found = xinfo.stream(info)
        if order(found.last_id) < order(self._last):
            return self._gone_back(found)
        lost = self._lost(found)
        entries = _entries(page)
        if entries:
            self._last = entries[-1].id
            self._known.extend(entry.id for entry in entries)
            if self._position is not None:
                self._position += len(entries)
        return News(entries, lost)

    def _gone_back(self, info: xinfo.StreamInfo) -> News:
        """The stream is behind this place: made anew, where it has none of the known entries."""
        known = [id_ for id_ in self._known if order(id_) <= order(info.last_id)]
        there = self._store.batch([("XRANGE", self._stream, id_, id_) for id_ in known])
        if any(isinstance(reply, list) and reply for reply in there):
            self._last, self._position = info.last_id, info.added
            return News(cut=True)
        self._last, self._position = "0-0", 0
        self._known.clear()
        return News(anew=True)

    def close(self) -> None:
        """Lets the waiting connection go."""
        self._waiter.close()

    def _lost(self, info: xinfo.StreamInfo) -> int:
        if info.added is None or self._position is None:
            return 0
        removed = info.added - info.length
        if order(info.first or "0-0") <= order(self._last) or removed <= self._position:
            return 0
        lost = removed - self._position
        self._position = removed
        return lost


def _entries(reply: Any) -> list[StreamEntry]:
    return [StreamEntry(text(id_), pairs(raw), raw) for id_, raw in reply or ()]
