"""What a stream got lately, read back over a bounded window; read again, only what is new is read.

Of an entry only what is counted is kept, and no text is made of the rest: thousands of entries are
read while an operator waits.
"""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Generic, NamedTuple, TypeVar

from qtctl.domain.entry_ids import time_of
from qtctl.domain.reasons import Reason, Verdict
from qtctl.wire.client.store import Store
from qtctl.wire.queries.streams import raw_since
from qtctl.wire.schema.records import text

MOST = 10_000
"""The newest entries of a stream that are looked at."""
MINUTE_SEC = 60.0
LEAST_SPAN_SEC = MINUTE_SEC
"""A rate is an average over at least this long, however short a time the cap left: a thousand plans
within a millisecond are no million a second."""
_VERDICTS = (Verdict.PERMITTED.value, Verdict.BLOCKED.value)
_IN_THEIR_PLACES = (b"event", b"plan_id", b"reason")

T = TypeVar("T")


class Event(NamedTuple):
    """Of an entry of the event stream: its time (epoch seconds), event and reason ("" for none) and
    the plan that it is about."""

    at: float
    event: str
    reason: str
    plan_id: bytes

    @property
    def is_verdict(self) -> bool:
        """True if a plan was judged."""
        return self.event in _VERDICTS


class Rate(NamedTuple):
    """Entries per minute. at_least: there were more than are looked at, within less than a minute:
    how many more is not known."""

    per_minute: float
    at_least: bool = False


class Recent(Generic[T]):
    """What a stream got over the last keep_sec seconds, the newest `most` of it. keep: what is kept
    of an entry (id, fields); when: the time of what was kept."""

    def __init__(
        self, stream: str, keep_sec: float, keep: Callable[[bytes, Sequence[bytes]], T],
        when: Callable[[T], float], most: int = MOST,
    ) -> None:  # fmt: skip
        self._stream = stream
        self._keep_sec = keep_sec
        self._keep = keep
        self._when = when
        self._most = most
        self._kept: deque[T] = deque()
        self._last = ""
        self._back_to: float | None = None

    def read(self, store: Store, now: float) -> tuple[list[T], float | None]:
        """Oldest first; and the time where a cap cut it off, None where it goes back all the way.
        Errors: RedisUnreachable, WireError."""
        begin = now - self._keep_sec
        if self._last and time_of(self._last) > now:
            # Ids of a clock that was ahead: the stream may have been made anew behind them.
            self._kept.clear()
            self._last = ""
        most = self._most + bool(self._last)
        entries, back_to = raw_since(store, self._stream, begin, most, after=self._last)
        if self._last and entries and text(entries[-1][0]) == self._last:
            entries = entries[:-1]
        elif self._last and back_to is None:
            # What was read last is gone: made anew, or trimmed, behind it.
            self._kept.clear()
            self._back_to, self._last = None, ""
            return self.read(store, now)
        if back_to is not None:
            self._kept.clear()
            self._back_to = back_to
        self._kept.extend(self._keep(*entry) for entry in reversed(entries))
        if entries:
            self._last = text(entries[0][0])
        while len(self._kept) > self._most:
            self._kept.popleft()
            self._back_to = self._when(self._kept[0])
        while self._kept and self._when(self._kept[0]) < begin:
            self._kept.popleft()
        if self._back_to is not None and self._back_to < begin:
            self._back_to = None
        return list(self._kept), self._back_to


def times(stream: str, keep_sec: float, most: int = MOST) -> Recent[float]:
    """When entries came, epoch seconds; nothing else of them is kept."""
    return Recent(stream, keep_sec, lambda entry_id, _: _time(entry_id), float, most)


def events(stream: str, keep_sec: float, most: int = MOST) -> Recent[Event]:
    """What the governors did."""
    return Recent(stream, keep_sec, _event, attrgetter("at"), most)


def _event(entry_id: bytes, fields: Sequence[bytes]) -> Event:
    if len(fields) > 7 and (fields[0], fields[2], fields[6]) == _IN_THEIR_PLACES:
        event, plan_id, reason = fields[1], fields[3], fields[7]
    else:
        found = dict(zip(fields[::2], fields[1::2], strict=False))
        event, plan_id, reason = (found.get(name, b"") for name in _IN_THEIR_PLACES)
    return Event(_time(entry_id), _word(event), _word(reason), plan_id)


@lru_cache(1_000)
def _word(raw: bytes) -> str:
    """One of few words, over and over again."""
    return text(raw)[:64]


def _time(entry_id: bytes) -> float:
    """As `time_of`, of an id that came from Redis: it has two numbers."""
    return int(entry_id.partition(b"-")[0]) / 1000


def rate(
    count: int, now: float, back_to: float | None, span: float, begun: float | None = None
) -> Rate:
    """The average over a window of `span` seconds, or over as much of it as a cap left. begun: when
    the first of all came, where that is known: before it there was nothing to count."""
    if back_to is None:
        since = span if begun is None else now - begun
        return Rate(count * 60 / min(span, max(since, LEAST_SPAN_SEC)))
    covered = now - back_to
    least = min(span, LEAST_SPAN_SEC)
    return Rate(count * 60 / min(span, max(covered, least)), covered < least)


class RecentVerdicts(NamedTuple):
    """Verdicts in the events since a time (epoch seconds); cut: a cap left out older ones.
    rate: over the last rate_sec; blocks: reason to count, the most frequent first. fresh: verdicts
    of that last time, fresh_stale: those for which the plan was too old; last_minute: of 60 s."""

    since: float
    cut: bool
    permitted: int
    blocked: int
    rate: Rate
    blocks: dict[str, int]
    fresh: int
    fresh_stale: int
    last_minute: int


def verdicts(
    found: Sequence[Event], back_to: float | None, now: float, since_sec: float, rate_sec: float
) -> RecentVerdicts:
    """The verdicts of a window of since_sec, and how many a minute came in its last rate_sec."""
    listed = [it for it in found if it.at >= now - since_sec]
    cut = back_to is not None and back_to > now - since_sec
    kinds = Counter(it.event for it in listed)
    blocks = Counter(it.reason for it in listed if it.event == Verdict.BLOCKED)
    fresh = [it for it in found if it.is_verdict and it.at >= now - rate_sec]
    return RecentVerdicts(
        since=back_to if cut and back_to is not None else now - since_sec,
        cut=cut,
        permitted=kinds[Verdict.PERMITTED.value],
        blocked=kinds[Verdict.BLOCKED.value],
        rate=rate(len(fresh), now, back_to, rate_sec, found[0].at if found else None),
        blocks=dict(blocks.most_common()),
        fresh=len(fresh),
        fresh_stale=sum(it.reason == Reason.STALE_PLAN for it in fresh),
        last_minute=sum(it.at >= now - MINUTE_SEC for it in fresh),
    )
