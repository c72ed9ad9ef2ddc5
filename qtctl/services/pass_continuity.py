"""Whether the passes that the recorder reads follow each other without a gap.

Each loop numbers its passes from 1: a number that jumps is passes that are missing, one that begins
anew is a loop that restarted. Source: docs/history.md#gaps.
"""

from collections.abc import Mapping

import msgspec

from qtctl.history.rows import Gap, PassEntry

AGAIN_MS = 600_000
"""Two loops that propose at once are reported when they begin, and again so often."""
BOTH_WITHIN = 5
"""Intervals within which the passes of another loop count as at the same time."""


class _Last(msgspec.Struct, frozen=True):
    number: int
    ts_ms: int


class PassContinuity:
    """Remembers the last pass of each loop, by its instance."""

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._last: dict[str, _Last] = {}
        self._before: str | None = None
        self._both_until_ms = self._told_ms = 0

    def recall(self, cursors: Mapping[str, str]) -> None:
        """Takes up what `cursors` gave before a restart."""
        for name, value in cursors.items():
            stream, _, instance = name.partition(" ")
            if stream == self._stream and instance:
                ts_ms, _, number = value.partition("-")
                self._last[instance] = _Last(int(number), int(ts_ms))

    def cursors(self) -> dict[str, str]:
        """The last pass of each loop, to be kept with the cursors of the streams: the name of the
        stream and of the instance, and ts_ms and number as an id."""
        return {
            f"{self._stream} {instance}": f"{last.ts_ms}-{last.number}"
            for instance, last in self._last.items()
        }

    def note(self, entry: PassEntry, interval_ms: int, now_ms: int) -> list[Gap]:
        """The gaps before this pass; interval_ms: of its loop; now_ms: the server's clock."""
        value = entry.value
        last = self._last.get(value.instance)
        found = [] if last is None else self._before_it(last, entry, now_ms)
        found += self._both(entry, interval_ms, now_ms)
        self._last[value.instance] = _Last(value.number, value.ts_ms)
        self._before = value.instance
        return found

    def _before_it(self, last: _Last, entry: PassEntry, now_ms: int) -> list[Gap]:
        value = entry.value
        if value.number == last.number + 1:
            return []
        if value.number > last.number:
            missing = value.number - last.number - 1
            kind = "pass_numbers"
            detail = (
                f"passes {last.number + 1} to {value.number - 1} of {value.instance} are missing"
            )
        else:
            missing, kind = value.number - 1, "loop_restarted"
            detail = (
                f"the loop {value.instance} restarted after its pass {last.number}; its first pass "
                f"here is number {value.number}"
            )
        return [Gap(kind, last.ts_ms, value.ts_ms, self._stream, missing, detail, now_ms)]

    def _both(self, entry: PassEntry, interval_ms: int, now_ms: int) -> list[Gap]:
        """Reports A, B, A: two loops write the same proposals."""
        value, other = entry.value, self._before
        mine = self._last.get(value.instance)
        if other is None or other == value.instance or mine is None:
            return []
        if value.ts_ms - mine.ts_ms > BOTH_WITHIN * interval_ms:
            return []
        begun = value.ts_ms > self._both_until_ms
        self._both_until_ms = value.ts_ms + BOTH_WITHIN * interval_ms
        if not begun and value.ts_ms - self._told_ms < AGAIN_MS:
            return []
        since = mine.ts_ms if begun else self._told_ms
        self._told_ms = value.ts_ms
        detail = f"the loops {other} and {value.instance} propose at the same time"
        return [Gap("two_loops", since, value.ts_ms, self._stream, 0, detail, now_ms)]
