"""How everything stands, looked at again and again, for `qtctl top`."""

from dataclasses import dataclass, field, replace
from typing import Any

from qtctl import clock
from qtctl.cli.framework.context import Context
from qtctl.cli.live.trends import Trend, Trends, nothing_known
from qtctl.cli.views import health, permits, targets
from qtctl.cli.views.health_record import Overall
from qtctl.errors import RedisUnreachable, WireError
from qtctl.wire.client.store import Store
from qtctl.wire.queries.status import Watch
from qtctl.wire.schema.records import text

Row = dict[str, Any]

SINCE_SEC = 3600.0
LATEST_EVENTS = 50
"""For a screen that has room for them; they are read anyway."""
REST_TIMES = 10
"""The comparison of all symbols is made again after so many times what it took."""
LEAST_REST_SEC = 1.0


@dataclass(frozen=True)
class TopSnapshot:
    """What was seen last. permits: the newest first; symbols: as `target list` has them.
    at: when (monotonic); problem: why the looks since then failed, away_since: since when; trends:
    the last half hour; events: the latest, the newest first (at, event, reason, plan_id)."""

    overall: Overall
    permits: list[Row]
    symbols: list[Row]
    at: float
    looks: int = 1
    problem: str = ""
    away_since: float | None = None
    trends: tuple[Trend, ...] = field(default_factory=nothing_known)
    events: list[Row] = field(default_factory=list)


class Poller:
    """Looks again and again. Errors of the first look: RedisUnreachable, WireError; later ones
    stand in the snapshot. symbols: compare them as well, which may take a second."""

    def __init__(self, ctx: Context, store: Store, *, symbols: bool = True) -> None:
        self._ctx = ctx
        self._store = store
        self._watch = Watch(store, ctx.settings, SINCE_SEC)
        self._with_symbols = symbols
        self._symbols: list[Row] = []
        self._symbols_due = 0.0
        self._trends = Trends(store)
        self.seen = self._look(0)

    def look(self) -> TopSnapshot:
        """Look again. While Redis is away what was seen last stays."""
        looks = self.seen.looks
        try:
            self.seen = self._look(looks)
        except (RedisUnreachable, WireError) as problem:
            since = self.seen.away_since
            self.seen = replace(
                self.seen,
                looks=looks + 1,
                problem=str(problem),
                away_since=clock.monotonic() if since is None else since,
            )
        return self.seen

    def _look(self, looks: int) -> TopSnapshot:
        found = self._watch.read()
        at = clock.monotonic()
        if self._with_symbols and at >= self._symbols_due:
            self._compare()
        overall = health.of(self._ctx, found)
        rows = permits.rows_of(found.permits.permits)[::-1]
        if looks and not self._trends.looked_back:
            # Not before the first picture: that is what somebody waits for.
            self._trends.look_back(found.now)
        trends = self._trends.of(found)
        events = [
            {"at": it.at, "event": it.event, "reason": it.reason, "plan_id": text(it.plan_id)}
            for it in reversed(found.events[-LATEST_EVENTS:])
        ]
        return TopSnapshot(
            overall, rows, self._symbols, at, looks + 1, trends=trends, events=events
        )

    def _compare(self) -> None:
        begun = clock.monotonic()
        self._symbols = targets.rows(self._store, ())
        ended = clock.monotonic()
        self._symbols_due = ended + max(LEAST_REST_SEC, REST_TIMES * (ended - begun))
