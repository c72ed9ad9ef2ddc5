"""The plan stream as the governors' consumer group sees it."""

from collections.abc import Sequence
from typing import Any

import msgspec

from qtctl import errors
from qtctl.domain.entry_ids import ms_of
from qtctl.domain.plans import GIVEN_TWICE
from qtctl.wire.client import xinfo
from qtctl.wire.client.connect import is_denied, is_error, reply_error
from qtctl.wire.client.pipe import Large
from qtctl.wire.client.store import Store
from qtctl.wire.client.xinfo import GroupInfo, StreamInfo
from qtctl.wire.governor.paging import LARGE_BYTES, LargeEntry, Paging, size_of
from qtctl.wire.governor.rejection import rejected
from qtctl.wire.governor.tries import Tries, count_of
from qtctl.wire.schema.ids import order, unit_of
from qtctl.wire.schema.keys import GROUP
from qtctl.wire.schema.records import text

START_AGO_MS = 3_600_000
"""A new group starts one hour back, so that a first start on an old stream is cheap."""
DEAD_AFTER_MS = 3_600_000
"""A live governor reads every second."""
CLAIM_START = "0-0"
"""The cursor of XAUTOCLAIM before the first pending entry, and after the last."""


class Entry(msgspec.Struct, frozen=True):
    """One delivered entry. raw: name, value, name, value, … unchanged (see Skimmer for what is too
    long or too much), or None where it was trimmed while it was pending; deliveries: 2 where the
    server does not tell; tries: those before, after it came again, that are not known to have
    finished."""

    id: str
    raw: Sequence[bytes] | None
    deliveries: int = 1
    tries: int = 0

    @property
    def source(self) -> str:
        """Who published it, "" for unknown."""
        raw = self.raw or ()
        for name, value in zip(raw[::2], raw[1::2], strict=False):
            if name == b"source":
                return text(value)
        return ""

    def fields(self) -> dict[str, str]:
        """Its fields, decoded with `surrogateescape`; a field that occurs twice with different
        values is GIVEN_TWICE."""
        raw = self.raw or ()
        # One decoding for all of them, unless one has a NUL in it.
        decoded = b"\0".join(raw).decode("utf-8", "surrogateescape").split("\0")
        if len(decoded) != len(raw):
            decoded = [part.decode("utf-8", "surrogateescape") for part in raw]
        found = dict(zip(decoded[::2], decoded[1::2], strict=False))
        if len(found) * 2 != len(decoded):
            for name, value in zip(decoded[::2], decoded[1::2], strict=False):
                if found[name] != value:
                    found[name] = GIVEN_TWICE
        return found


class SetBack(msgspec.Struct, frozen=True):
    """A group that lay ahead of the stream: its last id, and that now, "" where it could not be set
    back; problem: why not, or why there is no event of it."""

    was: str
    now: str
    problem: str


class Trimmed(msgspec.Struct, frozen=True):
    """Entries that were cut from the stream unread: how many, and after which one."""

    count: int
    after: str


class QueueLook(msgspec.Struct, frozen=True):
    """The group and its stream at one moment: group None where either is missing, stream None also
    where Redis refuses to tell."""

    group: GroupInfo | None
    stream: StreamInfo | None

    @property
    def lies_ahead(self) -> bool | None:
        """True if the group's last id is beyond the stream's, so that it sees no plan; None for
        unknown."""
        if self.group is None or self.stream is None:
            return None
        return order(self.group.last_id) > order(self.stream.last_id)

    def trimmed_unread(self) -> Trimmed | None:
        """What was cut from the stream before the group had read it, None for nothing. Unknown,
        and so nothing, before Redis 7.0 and until the group's place is known (lag NULL)."""
        group, info = self.group, self.stream
        if group is None or group.read is None or info is None or info.added is None:
            return None
        if order(group.last_id) >= order(info.last_id):
            return (
                None  # At the end all is read, whatever Redis 7.0 counts on from after a restart.
            )
        if info.length and order(info.first) <= order(group.last_id):
            return None
        count = info.added - group.read - info.length
        return Trimmed(count, group.last_id) if count > 0 else None


class PlanQueue:
    """Reads and acknowledges as one consumer of the group."""

    def __init__(self, store: Store, reader: Store, consumer: str) -> None:
        self.store = store
        self._reader = reader
        self._consumer = consumer
        self._stream = store.keys.plans
        self.tries = Tries(store)
        self._paging = Paging()
        self._page, self._left = 0, 0  # How many were asked for, and how many more may be read.
        self._large: list[LargeEntry] = []
        self._unsized: list[Entry] = []  # Whose sizes are looked at before the next read.

    def ensure_group(self) -> bool:
        """Creates stream and group where missing, starting one hour back or at the stream's last
        id, if that is smaller: ahead of the stream it would see nothing. True if it did."""
        last = self._last_generated()
        start = min(f"{self._start(last)}-0", last, key=order)
        try:
            self.store.run("XGROUP", "CREATE", self._stream, GROUP, start, "MKSTREAM")
        except errors.ServerRefusedError as problem:
            if "BUSYGROUP" in str(problem):
                return False
            raise
        return True

    def _start(self, last_id: str) -> int:
        """One hour back, in the unit of the stream's ids as far as they go by seconds."""
        now_ms = self.store.now_ms()
        hour_ago = now_ms - START_AGO_MS
        return hour_ago // 1000 if unit_of(ms_of(last_id), now_ms) == "s" else hour_ago

    def state(self) -> GroupInfo | None:
        """The state of the group, None where stream or group is missing."""
        return group_state(self.store)

    def look(self) -> QueueLook:
        """The group and its stream, in one round trip. Errors: RedisUnreachable, WireError."""
        asks = [("XINFO", "GROUPS", self._stream), ("XINFO", "STREAM", self._stream)]
        try:
            groups, stream = self.store.batch(asks, atomic=True, large=Large.SKIM)
        except errors.WireError:
            return QueueLook(self.state(), None)  # One of them was refused, the other need not be.
        if is_error(groups):
            if not xinfo.is_missing(groups):
                raise reply_error(groups, self._stream)
            return QueueLook(None, None)
        found = next((it for it in xinfo.groups_of(groups) if it.name == GROUP), None)
        whole = None if is_error(stream) else xinfo.stream(stream)
        if found is not None and whole is not None:
            found = msgspec.structs.replace(found, lag=found.lag_before(whole.last_id))
        return QueueLook(found, whole)

    def set_back(self, actor: str, events_maxlen: int) -> SetBack | None:
        """Sets a group back that lies ahead of the stream; None where it does not. What it has seen
        before and sees again changes nothing: the decision stands. Errors: RedisUnreachable,
        WireError."""
        keys = (self._stream, self.store.keys.events)
        reply = self.store.script(
            "set_back_group", keys, (GROUP, START_AGO_MS, actor, events_maxlen)
        )
        return None if reply is None else SetBack(*map(text, reply))

    def _last_generated(self) -> str:
        """The highest id that the stream has given, "0-0" where there is none."""
        (reply,) = self.store.batch([("XINFO", "STREAM", self._stream)], large=Large.SKIM)
        if not is_error(reply):
            return xinfo.stream(reply).last_id
        if xinfo.is_missing(reply):
            return "0-0"
        raise reply_error(reply, self._stream)

    def skipped_at_start(self) -> int:
        """The number of entries before the group's start; −1 where there are some and counting them
        would take a walk through the stream."""
        length, oldest = self.store.batch(
            [("XLEN", self._stream), ("XRANGE", self._stream, "-", "+", "COUNT", 1)],
            large=Large.SKIM,
        )
        start_ms = self._start(self._last_generated())
        if not length or not oldest or ms_of(oldest[0][0]) >= start_ms:
            return 0
        newer = self.store.reply(("XRANGE", self._stream, start_ms, "+", "COUNT", 1), Large.SKIM)
        return -1 if newer else int(length)

    def new(self, count: int) -> list[Entry]:
        """Entries never delivered before, fewer where they are large; does not wait for one."""
        page = self._first(count)
        found = fresh(self._read(self._read_group(">", page), page))
        self._left = count - len(found) if len(found) == page else 0
        return found + self.rest(found)

    def rest(self, found: Sequence[Entry]) -> list[Entry]:
        """The new entries that belong to the last read; found: those that came first. Costs no
        round trip where these were all."""
        if not self._left:
            self._unsized += found
            return []
        behind: list[Entry] = []
        sizes = self._sizes_of(found)
        while page := self._paging.next(sizes, self._left):
            more = fresh(self._read(self._read_group(">", page), page))
            behind += more
            sizes += self._sizes_of(more)
            self._left = self._left - page if len(more) == page else 0
        self._left = 0
        return behind

    def _first(self, count: int) -> int:
        """How many entries a read of up to `count` begins with."""
        self._size()
        return self._paging.first(count)

    def _size(self) -> None:
        """Looks at the sizes of what was read. A plan alone must not wait for that."""
        if self._unsized:
            self._paging.next(self._sizes_of(self._unsized), 0)
            self._unsized.clear()

    def _read(self, command: Sequence[Any], page: int) -> Any:
        """The reply to a command that reads up to so many entries. What does not fit into memory
        breaks off: the entries stay pending. Errors: RedisUnreachable, also ReplyTooLarge;
        WireError."""
        with self._paging.reading(page):
            return self.store.reply(tuple(command), Large.CUT if page > 1 else Large.SKIM)

    def _sizes_of(self, entries: Sequence[Entry]) -> list[int]:
        sizes = [size_of(entry.raw or ()) for entry in entries]
        if max(sizes, default=0) > LARGE_BYTES:
            self._large += [
                LargeEntry(entry.id, size, entry.source)
                for entry, size in zip(entries, sizes, strict=True)
                if size > LARGE_BYTES
            ]
        return sizes

    def large(self) -> list[LargeEntry]:
        """The large entries that were read since this was last called."""
        self._size()
        found, self._large = self._large, []
        return found

    def ask(self, count: int, block_sec: float) -> None:
        """Asks for new entries; the server waits up to block_sec for the first. Other commands may
        be sent meanwhile, but the answer must be taken before the next `ask`."""
        block_ms = max(1, int(block_sec * 1000))
        self._page = self._first(count)
        self._left = count - self._page
        asks = self._read_group(">", self._page, "BLOCK", block_ms)
        with self._paging.reading(self._page):
            self._reader.ask(asks, Large.CUT if self._page > 1 else Large.SKIM)

    @property
    def asked(self) -> bool:
        """True while there is an answer to come."""
        return self._reader.asked

    def answer(self, within_sec: float) -> list[Entry] | None:
        """The first of the new entries that were asked for, None where there is no answer within
        that time; `rest` reads the others."""
        try:
            reply = self._reader.answer(within_sec)
        except errors.RedisUnreachable as problem:
            self._paging.broken(self._page, problem)
            raise
        if reply is None:
            return None
        found = fresh(reply[0])
        if len(found) < self._page:
            self._left = 0
        return found

    def own_pending(self, after: str, count: int) -> list[Entry]:
        """Entries delivered to this consumer and not acknowledged, after an id ("0" for all); fewer
        where they are large."""
        found: list[Entry] = []
        sizes: list[int] = []
        page = self._first(count)
        while page > 0:
            reply = self._read(self._read_group(found[-1].id if found else after, page), page)
            more = fresh(reply)
            found += more
            sizes += self._sizes_of(more)
            left = count - len(found) if len(more) == page else 0
            page = self._paging.next(sizes, left)
        return self._with_deliveries(found)

    def claim(self, cursor: str, idle_ms: int, count: int) -> tuple[str, list[Entry]]:
        """Takes over what other consumers have held for that long: the next cursor (CLAIM_START
        after the last entry) and the entries, those trimmed from the stream meanwhile included.
        (Redis 6.2 leaves these pending, and does not name them.)"""
        found: list[Entry] = []
        trimmed: list[Entry] = []
        sizes: list[int] = []
        page = self._first(count)
        while page > 0:
            reply = self._read(
                ("XAUTOCLAIM", self._stream, GROUP, self._consumer, idle_ms, cursor, "COUNT", page),
                page,
            )
            cursor = text(reply[0])
            more = [Entry(text(each[0]), each[1]) for each in reply[1] if each is not None]
            found += more
            sizes += self._sizes_of(more)
            trimmed += [Entry(text(id_), None) for gone in reply[2:] for id_ in gone]
            count = 0 if cursor == CLAIM_START else count - page
            page = self._paging.next(sizes, count)
        return cursor, self._with_deliveries(found) + trimmed

    def _read_group(self, after: str, count: int, *wait: Any) -> tuple[Any, ...]:
        group = ("GROUP", GROUP, self._consumer, "COUNT", count, *wait)
        return ("XREADGROUP", *group, "STREAMS", self._stream, after)

    def _with_deliveries(self, found: Sequence[Entry]) -> list[Entry]:
        if not found:
            return []
        ids = [entry.id for entry in found]
        rows, *tries = self.store.batch(
            [("XPENDING", self._stream, GROUP, ids[0], ids[-1], len(ids), self._consumer)]
            + [("GET", self.tries.key(id_)) for id_ in ids]
        )
        if is_error(rows) and not is_denied(rows):
            raise reply_error(rows, self._stream)
        unknown = 2 if is_error(rows) else 1
        times = {} if is_error(rows) else {row.id: row.deliveries for row in xinfo.pending(rows)}
        return [
            Entry(entry.id, entry.raw, times.get(entry.id, unknown), count_of(tried))
            for entry, tried in zip(found, tries, strict=True)
        ]

    def last_id(self) -> str:
        """The id of the newest entry, "0-0" where there is none."""
        newest = self.store.reply(("XREVRANGE", self._stream, "+", "-", "COUNT", 1), Large.SKIM)
        return text(newest[0][0]) if newest else "0-0"

    def last_id_and_state(self) -> tuple[str, GroupInfo | None]:
        """Both in one round trip."""
        asks = [
            ("XREVRANGE", self._stream, "+", "-", "COUNT", 1), ("XINFO", "GROUPS", self._stream),
        ]  # fmt: skip
        newest, found = self.store.batch(asks, large=Large.SKIM)
        if is_error(newest):
            raise reply_error(newest, self._stream)
        if is_error(found) and not xinfo.is_missing(found):
            raise reply_error(found, self._stream)
        groups = [] if is_error(found) else xinfo.groups_of(found)
        state = next((each for each in groups if each.name == GROUP), None)
        return text(newest[0][0]) if newest else "0-0", state

    def acknowledge(self, ids: Sequence[str]) -> None:
        """Acknowledges entries without writing a record for each."""
        if ids:
            self.store.run("XACK", self._stream, GROUP, *ids)

    def drop_dead_consumers(self) -> list[str]:
        """Removes consumers that have not read for DEAD_AFTER_MS and hold nothing; their names."""
        dropped = self.store.script(
            "drop_consumers", (self._stream,), (GROUP, self._consumer, DEAD_AFTER_MS)
        )
        return [text(name) for name in dropped]

    def reject(self, entries: Sequence[tuple[Entry, str]], maxlen: int) -> list[Any]:
        """Stores unreadable plans (entry, problem) and acknowledges each in the same atomic step;
        the replies in their order, a WireError where one was refused."""
        keys = (self.store.keys.rejected, self._stream)
        calls = [
            (keys, (GROUP, entry.id, maxlen, *rejected(entry.id, entry.raw or (), problem)))
            for entry, problem in entries
        ]
        replies = self.store.scripts("reject_plan", calls)
        return [reply_error(r) if isinstance(r, Exception) else r for r in replies]


def fresh(reply: Any) -> list[Entry]:
    """From the reply to XREADGROUP."""
    found: list[Entry] = []
    for id_, raw in reply[0][1] if reply else ():
        found.append(Entry(id_.decode() if type(id_) is bytes else text(id_), raw))
    return found


def group_state(store: Store) -> GroupInfo | None:
    """The state of the governors' group, None where stream or group is missing."""
    found = xinfo.groups(store, store.keys.plans)
    ours = next((each for each in found if each.name == GROUP), None)
    if ours is None or not ours.lag:
        return ours
    (whole,) = store.batch([("XINFO", "STREAM", store.keys.plans)], large=Large.SKIM)
    lag = ours.lag if is_error(whole) else ours.lag_before(xinfo.stream(whole).last_id)
    return msgspec.structs.replace(ours, lag=lag)
