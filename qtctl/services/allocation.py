"""The allocation loop: read targets and scores, propose, write; in shadow only.

Source: section 2 of the specification.
"""

import logging
import math
import threading
from collections.abc import Sequence

from qtctl import clock
from qtctl.domain.allocation import AllocationRules, Proposal, propose
from qtctl.domain.readings import Unusable, assess, target_usd
from qtctl.domain.reasons import EffReason
from qtctl.services.metrics import AllocationMetrics
from qtctl.services.presence import Presence, host_name
from qtctl.services.troubles import Troubles
from qtctl.settings import Allocation, digest, public
from qtctl.wire import proposals, scores
from qtctl.wire.keys import EFFICIENCY, TARGET
from qtctl.wire.store import Store

log = logging.getLogger("qtctl.allocation")
CHUNK = 500
"""Symbols read at once."""


class AllocationLoop:
    """Proposes target × multiplier for every symbol that has a target."""

    name = "allocation"

    def __init__(self, store: Store, settings: Allocation) -> None:
        self._store = store
        self._settings = settings
        self.instance = settings.name or host_name()
        self.pass_timeout_sec = 3 * settings.interval_sec + 10.0
        self.metrics_addr = settings.metrics_addr
        self.metrics_port = settings.metrics_port
        self.metrics = AllocationMetrics(settings.metrics_max_symbols)
        self.registry = self.metrics.registry
        self._rules = AllocationRules(
            settings.min_conf,
            settings.stale_sec,
            settings.min_mult,
            settings.max_mult,
            settings.scale,
            settings.base,
        )
        self._presence = Presence(
            store, self.name, self.instance, public(settings), digest(settings),
            settings.interval_sec,
        )  # fmt: skip
        self._scores_bad = Troubles(log, "efficiency score")
        self._targets_bad = Troubles(log, "target")
        self._writes_bad = Troubles(log, "proposal")
        self._due: float = 0.0

    def open(self, now: float) -> None:
        """Nothing to prepare but a server that answers."""
        self._store.run("PING")

    def step(self, now: float) -> int:
        """One pass over all symbols; how many got a proposal."""
        started = clock.monotonic()
        self._due = started + self._settings.interval_sec
        symbols, bad_targets = scores.target_symbols(self._store)
        made: list[Proposal] = []
        bad_scores: dict[str, str] = {}
        for start in range(0, len(symbols), CHUNK):
            made += self._propose(symbols[start : start + CHUNK], now, bad_scores, bad_targets)
        bad_writes = proposals.write(
            self._store,
            made,
            maxlen=max(self._settings.stream_maxlen, 3 * len(made)),
            ttl_sec=self._settings.propose_key_ttl_sec,
        )
        for kind, troubles, found in (
            ("efficiency", self._scores_bad, bad_scores),
            ("target", self._targets_bad, bad_targets),
            ("write", self._writes_bad, bad_writes),
        ):
            troubles.update(found)
            self.metrics.errors.labels(kind).inc(len(found))
        self._presence.beat(now, f"{self.metrics_addr}:{self.metrics_port}")
        self.metrics.passed(made, now, clock.monotonic() - started)
        log.debug("pass", extra={"fields": {"symbols": len(made)}})
        return len(made)

    def once(self, now: float) -> bool:
        """One pass; True: nothing is left to do."""
        self.step(now)
        return True

    def wait(self, stop: threading.Event) -> None:
        """Until the next pass is due: interval_sec after the last one began."""
        stop.wait(max(0.0, self._due - clock.monotonic()))

    def close(self) -> None:
        """Lets the connection go."""
        self._presence.leave()
        self._store.close()

    def failed(self, kind: str) -> None:
        """Counts an error that ended a pass."""
        self.metrics.errors.labels(kind).inc()

    def not_ready(self) -> str | None:
        """A finished pass is all there is to being ready."""
        return None

    def _propose(
        self,
        symbols: Sequence[str],
        now: float,
        bad_scores: dict[str, str],
        bad_targets: dict[str, str],
    ) -> list[Proposal]:
        targets, efficiencies = scores.targets_and_efficiencies(self._store, symbols)
        made: list[Proposal] = []
        for symbol, target, raw in zip(symbols, targets, efficiencies, strict=True):
            if target is None:
                continue  # It went between SCAN and now.
            base = target_usd(target)
            if isinstance(base, Unusable):
                bad_targets[self._store.keys.at(TARGET, symbol)] = base.problem
                continue
            rules = self._rules
            efficiency = assess(raw, now, rules.stale_sec, rules.min_conf)
            if efficiency.reason is EffReason.UNUSABLE:
                bad_scores[self._store.keys.at(EFFICIENCY, symbol)] = efficiency.problem
            proposal = propose(symbol, base, efficiency, now, rules)
            if not math.isfinite(proposal.proposed_usd):
                bad_targets[self._store.keys.at(TARGET, symbol)] = "target_usd is too large"
                continue
            made.append(proposal)
        return made
