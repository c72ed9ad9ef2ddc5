"""The allocation loop through a window, pass by pass: a track for each symbol, and gross exposure
beside them. Only what changed is looked at."""

from array import array
from collections.abc import Callable, Collection, Iterable
from functools import cache

import msgspec

from qtctl.domain.names import PROOF_SYMBOLS, ascii_upper
from qtctl.domain.passes import Columns
from qtctl.domain.reasons import Reason
from qtctl.evidence.in_use import InUse
from qtctl.evidence.track import ONE, Clamps, Follow, Track
from qtctl.evidence.window import HOLE_PASSES, Window, interval_ms
from qtctl.history.day_reader import PassRead
from qtctl.history.reader import History

PARTS = 48
"""So many equal parts has the window, for trends."""
DEFAULT_INTERVAL_MS = 10_000
"""Where the rules of a pass are unknown; a note says so."""
_MOST_USD = 1e12
"""Above it sums are made anew: a huge target that comes and goes would leave its error in them."""


class Part(msgspec.Struct):
    """A part of the window. passes: made in it; ok: observed symbol time with a score that counts,
    of all; live, proposed: Σ over its passes of gross exposure, USD. permitted, blocked: plans;
    reasons: of the blocked."""

    from_ms: int
    passes: int = 0
    ok: int = 0
    rows: int = 0
    live: float = 0.0
    proposed: float = 0.0
    permitted: int = 0
    blocked: int = 0
    reasons: dict[str, int] = msgspec.field(default_factory=dict)

    def judged(self, reason: str) -> None:
        """A plan of this part; reason: `ok` for a permit."""
        if reason == Reason.OK:
            self.permitted += 1
        else:
            self.blocked += 1
            self.reasons[reason] = self.reasons.get(reason, 0) + 1


class Shadow:
    """Takes in the passes of a window, in their order. symbols: only these, any spelling; none is
    all; also: gets each pass as well. What proofs did is left out."""

    def __init__(
        self,
        history: History,
        window: Window,
        symbols: Collection[str] = (),
        follow: Follow = Follow(),  # noqa: B008 - frozen
        also: Callable[[PassRead], None] = lambda read: None,
    ) -> None:
        self._history, self.window = history, window
        self._wanted = {ascii_upper(symbol) for symbol in symbols}
        self._follow, self._also = follow, also
        self.tracks: dict[str, Track] = {}
        self.times: list[tuple[int, int]] = []
        """When each pass was made, and how often they were due then, ms."""
        self.gross = array("d")
        """Of each pass with live exposure: the change that the proposals mean, 0.1 for +10 %."""
        self.gross_at: tuple[float, int] | None = None
        self.without_gross = self.late = self.unknown_rules = self.last_interval = 0
        self.longest_pause_ms = 0
        self.last_ms: int | None = None
        self._in_use = InUse("allocation", "version", "rules")
        self.changes = self._in_use.changes
        self.clock = 0
        width = max(1, -(-(window.until_ms - window.since_ms) // PARTS))
        self._width = width
        self.parts = [Part(at) for at in range(window.since_ms, window.until_ms, width)]
        self._rows: list[Track | None] = []
        self._kept: list[int] = []
        self._live = self._proposed = 0.0
        self._ok = 0
        self._pending: set[Track] = set()
        self._ruled = cache(self._read_rules)
        self.rules = ""
        """The digest of the rules in force at the end; "" without passes."""

    def read(self) -> "Shadow":
        """All of the window."""
        for each in self._history.passes(self.window.since_ms, self.window.until_ms):
            self.add(each)
            self._also(each)
        self.end()
        return self

    def add(self, read: PassRead) -> None:
        """The next pass."""
        value = read.value
        interval, clamps = self._ruled(value.rules)
        self.times.append((value.ts_ms, interval))
        if read.late or (self.last_ms is not None and value.ts_ms < self.last_ms):
            self.late += 1
            return
        anew = self._advance(value.ts_ms, interval)
        self._in_use.note(value.ts_ms, value.instance, value.version, value.rules)
        # New symbols stand behind the others, and shift none.
        if read.shifted or len(value.columns) != len(self._rows):
            self._align(value.columns.symbol)
        # Under other rules a multiplier that stayed may be at a clamp.
        rows = self._changed(read) if value.rules == self.rules else self._kept
        self.rules = value.rules
        biggest = max(self._live, self._proposed)
        self._update(value.columns, rows, value.ts_ms, clamps, anew=anew)
        biggest = max(biggest, self._live, self._proposed)
        if read.shifted or not biggest < _MOST_USD:
            self._sum_up()
        self._note_gross(value.ts_ms)

    def _sum_up(self) -> None:
        present = [track for track in self._rows if track is not None]
        self._live = sum(track.live for track in present)
        self._proposed = sum(track.proposed for track in present)
        self._ok = sum(track.ok for track in present)

    def end(self) -> None:
        """No more passes: the last one stands until the window ends."""
        window = self.window
        # What can't be read shows only while it is read.
        gaps = self._history.gaps(window.since_ms, window.until_ms)
        self.window = msgspec.structs.replace(window, gaps=gaps)
        if self.last_ms is not None:
            self._advance(self.window.until_ms, self.last_interval)
        for track in self.tracks.values():
            track.leave(self.clock)

    def _changed(self, read: PassRead) -> Iterable[int]:
        if len(self._kept) == len(self._rows):
            return read.changed
        kept = self._rows
        return [row for row in read.changed if kept[row] is not None]

    def _advance(self, ts_ms: int, interval: int) -> bool:
        """Moves the clock on; True behind a hole."""
        if self.last_ms is None:
            self.last_ms, self.last_interval = ts_ms, interval
            missing = ts_ms - self.window.since_ms
            self.longest_pause_ms = missing if missing > HOLE_PASSES * interval else 0
            return True
        lasted, before = ts_ms - self.last_ms, self.last_interval
        hole = lasted > HOLE_PASSES * before
        self.longest_pause_ms = max(self.longest_pause_ms, lasted if hole else 0)
        self.clock += before if hole else lasted
        self.last_ms, self.last_interval = ts_ms, interval
        return hole

    def _read_rules(self, digest: str) -> tuple[int, Clamps | None]:
        """The interval of passes, ms, and the ends of the multiplier."""
        interval, rules = interval_ms(self._history, digest), self._history.rules(digest)
        self.unknown_rules += interval is None or rules is None
        clamps = None
        if rules is not None:
            clamps = Clamps(round(rules.min_mult * ONE), round(rules.max_mult * ONE), rules)
        return interval or DEFAULT_INTERVAL_MS, clamps

    def _align(self, symbols: list[str]) -> None:
        """Which track each row belongs to from here on."""
        there = {id(track) for track in self._rows if track is not None}
        self._rows = [self._track(symbol) for symbol in symbols]
        self._kept = [row for row, track in enumerate(self._rows) if track is not None]
        gone = there - {id(track) for track in self._rows}
        if gone:
            for track in self.tracks.values():
                if id(track) in gone:
                    track.leave(self.clock)
                    self._pending.discard(track)

    def _track(self, symbol: str) -> Track | None:
        if symbol.startswith(PROOF_SYMBOLS):
            return None
        if self._wanted and ascii_upper(symbol) not in self._wanted:
            return None
        found = self.tracks.get(symbol)
        if found is None:
            found = self.tracks[symbol] = Track()
        return found

    def _update(
        self, columns: Columns, rows: Iterable[int], ts_ms: int, clamps: Clamps | None, *,
        anew: bool,
    ) -> None:  # fmt: skip
        tracks, clock, follow, pending = self._rows, self.clock, self._follow, self._pending
        targets, scores = columns.target_usd, columns.score
        reasons, mults = columns.reason, columns.multiplier
        live, proposed, ok = self._live, self._proposed, self._ok
        waiting = set(pending)
        for row in rows:
            track = tracks[row]
            assert track is not None, "rows without a track are left out"
            live -= track.live
            proposed -= track.proposed
            ok -= track.ok
            more = track.update(
                clock, ts_ms, targets[row], scores[row], reasons[row], mults[row], clamps, follow,
                anew=anew,
            )  # fmt: skip
            live += track.live
            proposed += track.proposed
            ok += track.ok
            if more:
                pending.add(track)
            else:
                pending.discard(track)
            waiting.discard(track)
        pending.difference_update([each for each in waiting if not each.follow(follow)])
        self._live, self._proposed, self._ok = live, proposed, ok

    def _note_gross(self, ts_ms: int) -> None:
        part = self.part(ts_ms)
        part.passes += 1
        part.ok += self._ok
        part.rows += len(self._kept)
        part.live += self._live
        part.proposed += self._proposed
        if self._live <= 0:
            self.without_gross += 1
            return
        change = self._proposed / self._live - 1
        self.gross.append(change)
        if self.gross_at is None or abs(change) > abs(self.gross_at[0]):
            self.gross_at = (change, ts_ms)

    def part(self, at_ms: int) -> Part:
        """The part of the window with that time."""
        place = (at_ms - self.window.since_ms) // self._width
        return self.parts[min(len(self.parts) - 1, max(0, place))]
