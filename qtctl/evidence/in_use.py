"""When something else came into use: another version, other rules, limits or settings."""

from qtctl.evidence.window import Change

RECENT_MS = 3_600_000
"""For so long after its last sign an instance counts as running."""


class InUse:
    """What the instances of a service work by.

    Several may run at once, each by its own: that is no change in itself. A change is an instance
    that goes over to something else, or one that appears (or comes back) with what no other that
    runs has. who: for the words; names: of what is compared. recent_ms: see RECENT_MS; None for
    services whose end is noted.
    """

    def __init__(self, who: str, *names: str, recent_ms: int | None = RECENT_MS) -> None:
        self._who, self._names, self._recent_ms = who, names, recent_ms
        self._at: dict[str, tuple[tuple[str, ...], int]] = {}
        self._last: tuple[str, ...] | None = None
        self.changes: list[Change] = []

    def note(self, at_ms: int, instance: str, *now: str) -> None:
        """A sign of an instance, in the order of time."""
        before = self._at.get(instance)
        self._at[instance] = (now, at_ms)
        last, self._last = self._last, now
        if before is None or not self._runs(before[1], at_ms):
            was = self._others(instance, at_ms, now, last)
        else:
            was = before[0]
        if was != now:
            self.changes += [
                Change(at_ms, f"{self._who}: other {name}")
                for name, old, new in zip(self._names, was, now, strict=True)
                if old != new
            ]

    def _others(
        self, instance: str, at_ms: int, now: tuple[str, ...], last: tuple[str, ...] | None
    ) -> tuple[str, ...]:
        """What an instance that appears is compared with."""
        running = [
            own
            for name, (own, seen_ms) in self._at.items()
            if name != instance and self._runs(seen_ms, at_ms)
        ]
        if running:
            return now if now in running else running[-1]
        return now if last is None else last

    def _runs(self, seen_ms: int, at_ms: int) -> bool:
        return self._recent_ms is None or at_ms - seen_ms <= self._recent_ms

    def ended(self, instance: str) -> None:
        """An instance is gone."""
        self._at.pop(instance, None)
