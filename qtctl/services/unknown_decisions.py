"""A trace for plans whose decision is a word that nobody knows.

They are acknowledged like SKIP and its siblings, but a producer that has renamed EXECUTE must not
fall silent without anybody noticing: one event and one log line per word and source, then one in
ten minutes with the number of plans that came since.
"""

import logging
from collections.abc import Sequence

from qtctl import clock
from qtctl.domain.names import stored
from qtctl.domain.plans import Plan
from qtctl.errors import WireError
from qtctl.wire.client.store import Store
from qtctl.wire.governor import events
from qtctl.wire.governor.events import Event

log = logging.getLogger("qtctl.governor")
EVENT = "unknown_decision"
EVERY_SEC = 600.0
MAX_KINDS = 20
"""Different pairs of word and source with events of their own; the rest share one, so that a
publisher of garbage can't flood the events."""
REST = ("…", "…")


class UnknownDecisions:
    """Remembers when each pair of word and source was last reported."""

    def __init__(self, store: Store, actor: str, events_maxlen: int) -> None:
        self._store = store
        self._actor = actor
        self._events_maxlen = events_maxlen
        self._reported: dict[tuple[str, str], float] = {}
        self._counts: dict[tuple[str, str], int] = {}

    def note(self, plans: Sequence[Plan]) -> None:
        """Reports plans that were acknowledged just now. Errors: RedisUnreachable."""
        now = clock.monotonic()
        self._reported = {pair: at for pair, at in self._reported.items() if now - at < EVERY_SEC}
        last: dict[tuple[str, str], Plan] = {}
        for plan in plans:
            pair = (stored(plan.decision), stored(plan.source))
            if pair not in self._reported and len(self._reported | last) >= MAX_KINDS:
                pair = REST
            last[pair] = plan
            self._counts[pair] = self._counts.get(pair, 0) + 1
        for pair, plan in last.items():
            if pair not in self._reported:
                self._reported[pair] = now
                self._report(pair, plan, self._counts.pop(pair))

    def _report(self, pair: tuple[str, str], plan: Plan, count: int) -> None:
        decision, source = pair
        more = {"decision": decision, "source": source, "count": count}
        log.warning(
            "plans with a decision that nobody knows were acknowledged and not carried out",
            extra={"fields": more | {"plan_id": plan.plan_id, "symbol": plan.symbol}},
        )
        try:
            ts = self._store.now_ms() // 1000
            event = Event(EVENT, "other", ts, self._actor, stored(plan.plan_id), plan.symbol)
            events.write(self._store, event, self._events_maxlen, more)
        except WireError as problem:
            log.warning("an event could not be written", extra={"fields": {"problem": problem}})
