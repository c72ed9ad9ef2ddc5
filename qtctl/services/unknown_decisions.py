"""A trace for plans whose decision is an unknown word.

They are acknowledged like SKIP and its siblings, but a producer that has renamed EXECUTE must not
fall silent without anybody noticing: one event and one log line per word and source, then one in
ten minutes with the number of plans that came since.
"""

import logging
from collections.abc import Sequence

from qtctl import clock
from qtctl.domain.plans import Plan
from qtctl.domain.stored import stored
from qtctl.services.event_log import EventLog

log = logging.getLogger("qtctl.governor")
EVENT = "unknown_decision"
EVERY_SEC = 600.0
MAX_KINDS = 20
"""Different pairs of word and source with events of their own; the rest share one, so that a
publisher of garbage can't flood the events."""
REST = ("…", "…")


class UnknownDecisions:
    """Remembers when each pair of word and source was last reported."""

    def __init__(self, events: EventLog) -> None:
        self._events = events
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
            "plans with an unknown decision were acknowledged and not carried out",
            extra={"fields": more | {"plan_id": plan.plan_id, "symbol": plan.symbol}},
        )
        names = {"plan_id": stored(plan.plan_id), "symbol": plan.symbol}
        self._events.write(EVENT, "other", more, **names)
