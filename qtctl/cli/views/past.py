"""What the history adds where Redis has forgotten, for all commands that read through.

past = Past(ctx, store)
rows = past.listed(redis_rows, listing, symbols)     # opens the history when they are not enough
…
past.report()                                        # says on stderr what came from it
"""

import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import cached_property
from heapq import merge
from itertools import islice
from typing import Any, TypeVar

from qtctl.cli.framework.context import Context
from qtctl.cli.framework.listing import Listing
from qtctl.cli.output import format
from qtctl.domain import numbers
from qtctl.domain.entry_ids import ms_of
from qtctl.domain.gates import Limits
from qtctl.domain.reasons import Reason, Verdict
from qtctl.errors import NotFoundError, QtctlError, WireError
from qtctl.history import latest
from qtctl.history.decisions import Decision
from qtctl.history.reader import History
from qtctl.history.rows import Entry
from qtctl.settings.places import history_to_read
from qtctl.wire.client.store import Store
from qtctl.wire.queries import decisions, history_streams
from qtctl.wire.schema.decision import DECISION_FIELDS
from qtctl.wire.schema.keys import DECISION_TTL_SEC

Row = Mapping[str, str]
T = TypeVar("T")
UNREADABLE = (QtctlError, OSError, sqlite3.Error)
"""What keeps a history, or a part of it, from being read."""
FROM, HISTORY = "from", "history"
"""The field that marks a row of the history; the others are Redis's."""
ABOUT_ANOTHER = (Reason.DUPLICATE_PLAN.value, Reason.PLAN_CONFLICT.value)
_FIELDS = dict.fromkeys(("verdict", "reason", *(name for name, _ in DECISION_FIELDS)))
_OTHER_GAPS = ("pass_numbers", "loop_restarted", "two_loops", "day_damaged")
"""Gaps in the passes, where no decision is missing; and damage, which has lines of its own."""
_MOST_NAMED = 3
_OVERLAP_SEC = 1.0
_WITHDRAWN_WITHIN_MS = 3_600_000


class Past:
    """The history beside a Redis (None where that can't be reached), opened when it is needed.

    problem: why it can't be read, or not in full. Nothing here fails for it: what there is, is
    shown.
    """

    def __init__(self, ctx: Context, store: Store | None) -> None:
        self._ctx, self._store = ctx, store
        self.problem = ""
        self.missing = False
        self._count = 0
        self._window: tuple[float | None, float] | None = None

    @cached_property
    def history(self) -> History | None:
        """None where there is none, or it may not be read."""
        try:
            folder = history_to_read(self._ctx.settings.history, self._ctx.environ)
            history = History(folder, lenient=True)
            own, there = history_streams.stream_keys(self._ctx.keys()), history.streams()
        except UNREADABLE as problem:
            self.missing, self.problem = isinstance(problem, NotFoundError), str(problem)
            return None
        if there and own["decisions"] not in there:
            self.problem = (
                f"the history in {history.folder} is of other streams: {own['decisions']} is not "
                "among them; [history] dir says where another is"
            )
            return None
        return history

    def _tried(self, read: Callable[[], T], otherwise: T) -> T:
        """What this reads of the history; what keeps it from being read is reported."""
        try:
            return read()
        except UNREADABLE as problem:
            self.problem = str(problem)
            return otherwise

    @cached_property
    def known_since(self) -> float:
        """Since when Redis has every decision, epoch seconds; without Redis since never."""
        if self._store is None:
            return float("inf")
        return decisions.known_since(self._store, self._store.now_ms())

    # Lists -----------------------------------------------------------------------------------

    def listed(
        self,
        rows: Iterator[Row],
        listing: Listing,
        symbols: Collection[str],
        matches: Callable[[Any], bool],
    ) -> Iterator[Row]:
        """Redis's decisions, the latest first, and behind them those that it has forgotten. Where
        Redis has as many as are asked for, the history stays closed."""
        most = None if listing.order else listing.limit
        if most is not None:
            first = list(islice(rows, most + 1))
            if len(first) > most:
                yield from first
                return
            rows = iter(first)
        if listing.after is not None and listing.after >= self.known_since:
            yield from rows
            return
        old: list[Row] = []
        for row in rows:
            if _at(row) >= self.known_since + _OVERLAP_SEC:
                yield row
            else:
                old.append(row)
        known = {(row.get("plan_id"), row.get("entry_id")) for row in old}
        old.sort(key=_at, reverse=True)
        past = (
            row
            for row in self._older(listing, symbols)
            if (row["plan_id"], row["entry_id"]) not in known and matches(row)
        )
        both = merge(old, past, key=_at, reverse=True)
        # One more than is shown is read, to know whether there are more.
        yield from self._counted(both, most)

    def _older(self, listing: Listing, symbols: Collection[str]) -> Iterator[Row]:
        """The decisions of the history before those that Redis knows, the latest first."""
        until = self.known_since + _OVERLAP_SEC
        if listing.before is not None:
            until = min(until, listing.before + _OVERLAP_SEC)
        self._window = (listing.after, until)
        only = {name: words for name, words in listing.only.items() if words}
        for each in self.latest(listing.after, until, symbols, only):
            if each.reason not in ABOUT_ANOTHER:
                yield record(each)

    def latest(
        self,
        since: float | None,
        until: float,
        symbols: Collection[str] = (),
        only: Mapping[str, Collection[str]] | None = None,
    ) -> Iterator[Decision]:
        """Decisions of the history of a window (epoch seconds), the latest first."""
        history = self.history
        if history is None:
            return
        low, high = _ms(since), None if until == float("inf") else _ms(until)
        yield from self.guarded(latest.decisions(history, low, high, symbols, only))

    def _counted(self, rows: Iterable[Row], most: int | None) -> Iterator[Row]:
        for place, row in enumerate(rows):
            self._count += row.get(FROM) == HISTORY and (most is None or place < most)
            yield row

    def guarded(self, rows: Iterable[T]) -> Iterator[T]:
        """What keeps a day from being read ends the reading, and is reported."""
        try:
            yield from rows
        except UNREADABLE as problem:
            self.problem = str(problem)

    # One plan ----------------------------------------------------------------------------------

    def decision(self, plan_id: str) -> tuple[Row, int] | None:
        """The last decision on a plan that the history has, and how many it has in all."""
        history = self.history
        if history is None:
            return None
        found: list[Decision] = self._tried(lambda: history.decisions_on(plan_id), [])
        own = [each for each in found if each.reason not in ABOUT_ANOTHER]
        if not own:
            return None
        last = max(own, key=lambda each: each.number)
        return self.whole(last), len(own)

    def whole(self, of: Decision) -> dict[str, str]:
        """A decision as Redis would have it now: with the time its permit was withdrawn, which an
        event says."""
        return record(of) | self._withdrawn(of)

    def _withdrawn(self, of: Decision) -> dict[str, str]:
        history = self.history
        if history is None or of.verdict != Verdict.PERMITTED:
            return {}
        events = history.events(of.at_ms, of.at_ms + _WITHDRAWN_WITHIN_MS)
        for event in self.guarded(events):
            fields = event.fields
            if fields.get("event") == "withdrawn" and fields.get("plan_id") == of.plan_id:
                return {"withdrawn_at": f"{ms_of(event.id) / 1000:.3f}"}
        return {}

    def rejected(self, since: float, until: float) -> Iterator[Entry]:
        """Plans of a window that could not be read, the oldest first."""
        if self.history is not None:
            yield from self.guarded(self.history.rejected(_ms(since), _ms(until)))

    def limits(self, digests: Iterable[str]) -> dict[str, Limits | None]:
        """The limits with these digests: Redis's, else the history's; None for unknown ones."""
        wanted = set(digests)
        found: dict[str, Limits | None] = (
            dict.fromkeys(wanted)
            if self._store is None
            else decisions.limits_by_digest(self._store, wanted)
        )
        for digest in [digest for digest, limits in found.items() if limits is None]:
            found[digest] = self._limits(digest)
        return found

    def _limits(self, digest: str) -> Limits | None:
        history = self.history
        return None if history is None else self._tried(lambda: history.limits(digest), None)

    # What is said ------------------------------------------------------------------------------

    def note(self, count: int, since: float | None, until: float) -> None:
        """That so many rows of a window came from the history."""
        self._count += count
        self._window = (since, until)

    def report(self) -> None:
        """One line about what came from the history, and one for each thing that is missing."""
        for line in self.lines():
            self._ctx.say(line)

    def lines(self) -> Iterator[str]:
        """The same as text."""
        if "history" not in self.__dict__:
            return
        utc, (since, until) = self._ctx.utc, self._window or (None, float("inf"))
        history = self.history
        if history is None:
            # Without a recorder nothing is missing but what is older than Redis ever keeps.
            if not self.missing or (since is not None and self._is_forgotten(since)):
                yield f"qtctl: warning: older decisions are not shown: {self.problem}"
            return
        if self._count:
            made_up = ", SYNTHETIC" if self._is_synthetic(history) else ""
            redis = "" if until == float("inf") else f", before {format.moment(until, utc)}"
            yield f"{self._count:,} from the history in {history.folder}{redis}{made_up}"
        problems = [each.problem for each in history.damage[:_MOST_NAMED]]
        for problem in (*problems, *filter(None, (self.problem,))):
            yield f"qtctl: warning: the history could not be read in full: {problem}"
        yield from self._missing(history, since, until)
        more = len(history.damage) - _MOST_NAMED
        if more > 0:
            yield f"qtctl: warning: so were {more:,} more parts: 'qtctl history verify'"
        if self._count and not self._is_synthetic(history) and self._is_foreign(history):
            yield (
                "qtctl: warning: the recorder never saw this Redis server: is that history of "
                "another one? ([history] dir, 'qtctl history show')"
            )

    def _is_synthetic(self, history: History) -> bool:
        try:
            return history.synthetic()
        except UNREADABLE:
            return False

    def _is_forgotten(self, since: float) -> bool:
        """True if a time is older than anything Redis keeps."""
        if self._store is None:
            return True
        return bool(since < self._store.now_ms() / 1000 - DECISION_TTL_SEC)

    def _missing(self, history: History, since: float | None, until: float) -> Iterator[str]:
        """Where the history begins later than was asked for, and its gaps in the window."""
        try:
            span, gaps = history.span(), history.gaps(_ms(since), _ms(min(until, 1e11)))
        except UNREADABLE:
            return
        if since is not None and span is not None and span[0] / 1000 > since + 60:
            yield f"The history begins at {format.moment(span[0] / 1000, self._ctx.utc)}"
        if since is None and not self._count:
            return
        own = history_streams.stream_keys(self._ctx.keys())
        streams = ("", own["decisions"], own["events"])
        found = [gap for gap in gaps if gap.kind not in _OTHER_GAPS and gap.stream in streams]
        if found:
            longest = max(found, key=lambda gap: gap.to_ms - gap.from_ms)
            at = format.moment(longest.from_ms / 1000, self._ctx.utc)
            yield (
                f"qtctl: warning: {format.count(len(found), 'gap')} in it: {longest.kind} for "
                f"{format.span((longest.to_ms - longest.from_ms) / 1000)} from {at}"
                f"{' is the longest' if len(found) > 1 else ''}; "
                "'qtctl history query \"SELECT * FROM gaps\"'"
            )

    def _is_foreign(self, history: History) -> bool:
        """True if the recorder has seen servers, and this was none of them."""
        if self._store is None:
            return False
        try:
            seen = {each.run_id for each in history.servers()}
            return bool(seen) and self._store.server().run_id not in seen
        except (WireError, QtctlError, sqlite3.Error):
            return False


def record(decision: Decision) -> dict[str, str]:
    """A decision of the history as Redis would have it, marked."""
    found = decision.record()
    return {name: found[name] for name in _FIELDS if name in found} | {FROM: HISTORY}


def _at(row: Row) -> float:
    return numbers.number(row.get("decided_at", "")) or 0.0


def _ms(at: float | None) -> int | None:
    return None if at is None else max(0, int(at * 1000))
