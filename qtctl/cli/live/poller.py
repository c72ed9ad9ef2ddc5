"""Looks at Redis, one after the other, for `qtctl top`; on a screen in a thread of their own, so
that a key is answered at once whatever Redis does."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from qtctl import clock
from qtctl.cli.framework.context import Context
from qtctl.cli.views import health, permits, targets
from qtctl.cli.views.health_record import Overall
from qtctl.errors import RedisUnreachable, WireError
from qtctl.wire.client.store import Store
from qtctl.wire.queries.status import Watch

Row = dict[str, Any]

SINCE_SEC = 3600.0
REST_TIMES = 10
"""The comparison of all symbols is made again after so many times what it took."""
LEAST_REST_SEC = 1.0


@dataclass(frozen=True)
class TopSnapshot:
    """What was seen last. permits: the newest first; symbols: as `target list` has them.
    at: when (monotonic); problem: why the looks since then failed, away_since: since when."""

    overall: Overall
    permits: list[Row]
    symbols: list[Row]
    at: float
    looks: int = 1
    problem: str = ""
    away_since: float | None = None


class Poller:
    """Looks again and again. Errors of the first look: RedisUnreachable, WireError; later ones
    stand in the snapshot."""

    def __init__(self, ctx: Context, store: Store, *, symbols: bool = True) -> None:
        self._ctx = ctx
        self._store = store
        self._watch = Watch(store, ctx.settings, SINCE_SEC)
        self._with_symbols = symbols
        self._symbols: list[Row] = []
        self._symbols_due = 0.0
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
        rows = permits.rows_of(found.permits)[::-1]
        return TopSnapshot(overall, rows, self._symbols, at, looks + 1)

    def _compare(self) -> None:
        begun = clock.monotonic()
        self._symbols = targets.rows(self._store, ())
        ended = clock.monotonic()
        self._symbols_due = ended + max(LEAST_REST_SEC, REST_TIMES * (ended - begun))


class Watcher:
    """A thread that looks every so often, and not while it is paused."""

    def __init__(self, poller: Poller, interval_sec: float, wake: Callable[[], None]) -> None:
        self._poller = poller
        self._interval_sec = interval_sec
        self._wake = wake
        self._nudge = threading.Event()
        self._paused = self._stopped = False
        self._failed: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="looks", daemon=True)
        self._thread.start()

    @property
    def seen(self) -> TopSnapshot:
        """What was seen last. Errors: whatever ended the looks."""
        if self._failed is not None:
            raise self._failed
        return self._poller.seen

    def pause(self, paused: bool) -> None:
        """Look no more, or go on with a look at once."""
        if paused != self._paused:
            self._paused = paused
            self._nudge.set()

    def stop(self, wait_sec: float = 0.2) -> None:
        """Look no more; a look that hangs is left to itself."""
        self._stopped = True
        self._nudge.set()
        self._thread.join(wait_sec)

    def _run(self) -> None:
        while True:
            self._nudge.wait(None if self._paused else self._interval_sec)
            self._nudge.clear()
            if self._stopped:
                return
            if self._paused:
                continue
            try:
                self._poller.look()
            except Exception as problem:  # noqa: BLE001 - the thread's border: raised in the other
                self._failed = problem
            self._wake()
            if self._failed is not None:
                return
