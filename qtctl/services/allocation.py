"""The allocation loop: reads targets and scores, writes proposals; in shadow only."""

import logging
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from qtctl import clock
from qtctl.domain.allocation import AllocationRules
from qtctl.errors import NoPermissionError
from qtctl.services.clocks import HostClock
from qtctl.services.heartbeat import Heartbeat
from qtctl.services.metrics import AllocationMetrics
from qtctl.services.pass_decisions import PassDecisions
from qtctl.services.problem_log import ProblemLog
from qtctl.services.remembered import Remembered
from qtctl.settings import Allocation
from qtctl.settings.rules import rules_from
from qtctl.wire.allocation import passes
from qtctl.wire.allocation.pass_stream import PassStream
from qtctl.wire.allocation.proposals import Packer
from qtctl.wire.allocation.symbols import Symbols
from qtctl.wire.client.store import Store
from qtctl.wire.schema.pass_entry import Packing
from qtctl.wire.schema.service import BY_SCAN, TRACKING

log = logging.getLogger("qtctl.allocation")

LISTEN_SEC = 1.0
"""So often, between two passes, what the server reports is taken in, so that it fills no buffer."""

RECORD_GONE = (
    "the record of this service was gone: other data took the place of what was there (SWAPDB), or "
    "somebody removed it"
)


class AllocationLoop:
    """Proposes target × multiplier for every symbol that has a target."""

    name = "allocation"

    def __init__(
        self, store: Store, settings: Allocation, *, publish: bool = True,
        give_way: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        """publish: each pass goes to the stream that the history is made from; give_way: called
        between two pieces of a pass, may wait."""
        self._store = store
        self._settings = settings
        self.instance = settings.name or socket.gethostname()
        self.pass_timeout_sec = 3 * settings.interval_sec + 10.0
        self.metrics_addr = settings.metrics_addr
        self.metrics_port = settings.metrics_port
        self.metrics = AllocationMetrics(settings.metrics_max_symbols)
        self.registry = self.metrics.registry
        self._rules = rules_from(settings, AllocationRules)
        self._heartbeat = Heartbeat(
            store, self.name, self.instance, settings, settings.interval_sec
        )
        self._bad_scores = ProblemLog(log, "efficiency score")
        self._bad_targets = ProblemLog(log, "target")
        self._bad_writes = ProblemLog(log, "proposal")
        self._bad_history = ProblemLog(log, "stream of passes")
        self._symbols = Symbols(store)
        self._remembered = Remembered(self._rules)
        self._packer = Packer(store.keys, settings.propose_key_ttl_sec)
        self._give_way = give_way
        self._stream = (
            PassStream(store.keys, self._rules, settings.interval_sec) if publish else None
        )
        self._passes = 0
        self._host_clock = HostClock(log)
        self._scans_because: str | None = None
        self._due: float = 0.0

    def open(self) -> None:
        """Checks that the server answers."""
        with suppress(NoPermissionError):  # That is an answer.
            self._store.run("PING")
        self._symbols.forget()
        self._remembered.forget()
        if self._stream is not None:
            self._stream.forget()

    def step(self) -> int:
        """One pass over all symbols; the number of proposals."""
        started = clock.monotonic()
        self._due = started + self._settings.interval_sec
        self._store.confirm()
        symbols, bad_keys = self._symbols.look()
        self._report_discovery()
        keep = self.metrics.shows(len(symbols))
        packing = None if self._stream is None else Packing()
        found = PassDecisions(
            self._rules, self._store.keys, bad_keys, self._remembered, keep=keep, packing=packing
        )
        self._passes += 1
        wall = clock.now()
        ended = passes.run(
            self._store,
            symbols,
            found.decide,
            self._publisher(packing),
            self._give_way,
            self._packer,
            maxlen=max(self._settings.stream_maxlen, 3 * len(symbols)),
        )
        now = ended.now
        self._symbols.gone(found.gone)
        self._packer.keep_only(len(symbols))
        self._remembered.keep_only(len(symbols))
        self._bad_history.update({self._store.keys.passes: ended.unkept} if ended.unkept else {})
        if ended.unkept:
            self.metrics.errors.labels("history").inc()
        self._host_clock.note(wall, clock.now(), now)
        for kind, problem_log, bad in (
            ("efficiency", self._bad_scores, found.bad_scores),
            ("target", self._bad_targets, found.bad_targets),
            ("write", self._bad_writes, ended.problems),
        ):
            problem_log.update(bad)
            self.metrics.errors.labels(kind).inc(len(bad))
        ahead_sec = self._host_clock.ahead_sec
        self.metrics.clock_ahead.set(ahead_sec)
        address, by = f"{self.metrics_addr}:{self.metrics_port}", self._scans_because
        more = {"discovery": f"{BY_SCAN}{by}" if by else TRACKING}
        self._heartbeat.beat(now, address, ahead_sec, more)
        if self._heartbeat.was_gone:
            self._symbols.suspect(RECORD_GONE)
        self.metrics.passed(found.reasons, found.kept, now, clock.monotonic() - started)
        count = found.reasons.total()
        log.debug("pass", extra={"fields": {"symbols": count}})
        return count

    def _publisher(self, packing: Packing | None) -> passes.Publish | None:
        """What writes this pass to the stream of passes."""
        if self._stream is None or packing is None:
            return None
        return partial(self._stream.commands, self._passes, self.instance, packing)

    def _report_discovery(self) -> None:
        """How new targets are found; logged when that changes, or changes may have been missed."""
        tracking, gap = self._symbols.tracking, self._symbols.gap
        if gap:
            self.metrics.errors.labels("discovery").inc()
            log.warning(
                "changes of targets may have been missed: looking for them by SCAN",
                extra={"fields": {"problem": gap}},
            )
        if tracking.problem != self._scans_because:
            if tracking.problem is not None:
                log.warning(
                    "the server does not report new targets: each pass looks for them by SCAN",
                    extra={"fields": {"problem": tracking.problem}},
                )
            else:
                log.info("the server reports new targets again")
        self._scans_because = tracking.problem
        self.metrics.by_scan.set(tracking.problem is not None)

    def once(self) -> bool:
        """One pass; always True, since nothing is left to do."""
        self.step()
        return True

    def wait(self, stop: threading.Event) -> None:
        """Until the next pass is due: interval_sec after the last one began."""
        while (left := self._due - clock.monotonic()) > 0:
            if stop.wait(min(left, LISTEN_SEC)):
                return
            self._symbols.tracking.listen()

    def close(self) -> None:
        self._heartbeat.leave()
        self._symbols.forget()
        self._store.close()

    def failed(self, kind: str) -> None:
        self.metrics.errors.labels(kind).inc()

    def warning(self) -> str | None:
        """None: what is wrong with a symbol is counted and logged."""
        return None

    def not_ready(self) -> str | None:
        """None: a finished pass is all it takes to be ready."""
        return None
