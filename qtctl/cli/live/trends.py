"""The trend lines of `qtctl top`: half an hour of permits, blocks and lag, a cell a minute."""

from contextlib import suppress
from dataclasses import dataclass

from qtctl.errors import WireError
from qtctl.wire.client.store import Store
from qtctl.wire.queries import trends
from qtctl.wire.queries.status import Status
from qtctl.wire.queries.trends import MINUTES, PerMinute


@dataclass(frozen=True)
class Trend:
    """What happened in each of the last minutes, oldest first, the current one last; None is
    unknown."""

    name: str
    values: tuple[int | None, ...]

    @property
    def most(self) -> int | None:
        """The largest value, None where none is known."""
        return max((value for value in self.values if value is not None), default=None)


class Trends:
    """Keeps what was seen: a minute that is over stays known, also when the streams forget it.
    looked_back: True once the past was asked for."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: dict[str, PerMinute] = {"permits": {}, "blocks": {}, "lag": {}}
        self.looked_back = False

    def of(self, found: Status) -> tuple[Trend, ...]:
        """With one more look. Errors: RedisUnreachable, WireError."""
        now = found.now
        begin = trends.begins_at(self._store, self._store.keys.events)
        known_from = max(found.events_from, now if begin is None else begin)
        for name, event in (("permits", "permitted"), ("blocks", "blocked")):
            self._kept[name] |= trends.counted(found.events, event, known_from, now)
        self._sample(found)
        window = trends.minutes(now)
        for name, known in self._kept.items():
            self._kept[name] = {at: known[at] for at in window if at in known}
        return tuple(
            Trend(name, tuple(known.get(at) for at in window)) for name, known in self._kept.items()
        )

    def look_back(self, now: float) -> None:
        """How long the queue was before the first look. Errors: RedisUnreachable."""
        self.looked_back = True
        with suppress(WireError):  # What can't be read is not known, and costs no picture.
            self._kept["lag"] = trends.queued(self._store, now) | self._kept["lag"]

    def _sample(self, found: Status) -> None:
        group = found.group
        lag = None if group is None else group.lag if group.lag is not None else group.behind
        if lag is not None:
            minute, known = int(found.now // 60), self._kept["lag"]
            known[minute] = max(known.get(minute, 0), lag)


def nothing_known() -> tuple[Trend, ...]:
    """Before the first look."""
    return tuple(Trend(name, (None,) * MINUTES) for name in ("permits", "blocks", "lag"))
