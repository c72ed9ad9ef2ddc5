"""What a governor remembers of halts, and what it does when Redis has forgotten them.

Each look leaves a mark in Redis. Where the mark is gone at the next, or older than it was left,
Redis came back empty or with older data, and what it has lost is written again before anything is
served: the atomic step gives no permit while the mark of its governor is gone. A halt that
expired, or that somebody took back, leaves the mark alone and is not kept. Nor is one that an
operator has resumed since another governor found the same loss.
"""

import logging
from collections.abc import Iterable

import msgspec

from qtctl.errors import NoPermissionError, WireError
from qtctl.services.problem_log import ProblemLog
from qtctl.wire.client.store import Store
from qtctl.wire.control import clock_jump, forgotten, halt, kill_switch
from qtctl.wire.control.clock_jump import ClockJump
from qtctl.wire.control.forgotten import How
from qtctl.wire.control.halt import HaltRequest
from qtctl.wire.control.kill_switch import KillKey, Mode, strictest
from qtctl.wire.schema.keys import HALT_KEPT, MARK
from qtctl.wire.schema.kill_names import KillNames

log = logging.getLogger("qtctl.governor")
MAX_WHY_CHARS = 200
WHY = {
    How.EMPTY: "Redis came back EMPTY: the halt is kept",
    How.OLDER: "Redis came back with OLDER data: the halt is kept",
    How.START: "started on an EMPTY Redis ([safety] start_halted)",
}
EVENT = "halt_kept"


NORMAL = KillKey("", "", Mode.NORMAL)


class Halts(msgspec.Struct, frozen=True):
    """What was stopped at a look: the strictest key, each symbol's own, and the jump of the clock,
    which is no halt: `resume --clock` lifts it, and it is kept as what it is."""

    all: KillKey | None = None
    symbols: dict[str, KillKey] = {}
    jump: ClockJump | None = None

    @property
    def level(self) -> int:
        """How strict it is for all symbols."""
        return 0 if self.all is None else self.all.mode.level


def halts_of(rows: Iterable[KillKey]) -> Halts:
    """From the rows of the kill switch."""
    rows = list(rows)
    return Halts(
        strictest(row for row in rows if not row.by_clock),
        {row.symbol: row for row in rows if row.symbol},
        next((row.jump for row in rows if row.by_clock), None),
    )


class HaltKeeper:
    """Errors of `look`: RedisUnreachable, WireError: nothing may be served then."""

    def __init__(
        self, store: Store, names: KillNames, instance: str, events_maxlen: int, *,
        start_halted: bool,
    ) -> None:  # fmt: skip
        self._store = store
        self._names = names
        self._instance = instance
        self._events_maxlen = events_maxlen
        self._start_halted = start_halted
        self._known: Halts | None = None
        self._how: How | None = None
        self._mark = 0
        self._problems = ProblemLog(log, "mark of this governor")
        self.marked = True
        """False where the mark can't be left in Redis: then it is not asked for."""
        self.times: dict[How, int] = dict.fromkeys(How, 0)
        """How often Redis was found so."""

    def look(self, now_ms: int) -> list[KillKey]:
        """The kill switch as it stands, once all is kept that Redis has forgotten of it. now_ms:
        the server's clock at this look."""
        first = self._known is None and self._how is None
        if first and self._is_empty():
            self._how = How.START
        again = self._known is not None and self._how is None
        before, rows = self._read(now_ms, again=again)
        if again and self.marked and before is None:
            self._how = How.EMPTY
        elif again and self.marked and before is not None and before < self._mark:
            self._how = How.OLDER
        elif again and not self.marked and self._is_empty():
            self._how = How.EMPTY
        while self._how is not None:
            resumed_by = self._resumed_by(now_ms)
            if resumed_by and self._known is not None:
                self._known = msgspec.structs.replace(self._known, all=None)
            self._keep(self._how, halts_of(rows), resumed_by)
            # The mark, without which there is no permit, comes with a look at what was kept: it may
            # be gone again.
            _, rows = self._read(now_ms, again=False)
            if self._stands(halts_of(rows)):
                self._how = None
        self._mark, self._known = now_ms if self.marked else 0, halts_of(rows)
        return rows

    def _is_empty(self) -> bool:
        return forgotten.without_a_trace(self._store, self._instance)

    def _read(self, now_ms: int, *, again: bool) -> tuple[int | None, list[KillKey]]:
        try:
            found = forgotten.look(self._store, self._names, self._instance, now_ms, again=again)
        except NoPermissionError as problem:
            # By the rights of a version before: what is left is to see that nothing is there.
            self.marked = False
            self._problems.update({self._store.keys.at(MARK, self._instance): str(problem)})
            return None, kill_switch.read(self._store, self._names)
        self.marked = True
        self._problems.update({})
        return found

    def _resumed_by(self, now_ms: int) -> str:
        return forgotten.resumed_by(self._store, self._mark, now_ms) if self._mark else ""

    def _stands(self, now: Halts) -> bool:
        """True while nothing of what was known is lost."""
        known = self._known or Halts()
        kept = now.level >= known.level and not self._lost_symbols(known, now)
        return kept and (known.jump is None or now.jump is not None)

    def _lost_symbols(self, known: Halts, now: Halts) -> list[KillKey]:
        return [
            row
            for symbol, row in known.symbols.items()
            if row.mode.level > max(now.level, now.symbols.get(symbol, NORMAL).mode.level)
        ]

    def _keep(self, how: How, now: Halts, resumed_by: str) -> None:
        known = self._known or Halts()
        if known.level > now.level and known.all is not None:
            self._stop(how, known.all, known.level)
        for row in self._lost_symbols(known, now):
            try:
                self._stop(how, row, row.mode.level)
            except WireError:
                # A governor may add the halt of a symbol and change none: then all are halted.
                self._stop(how, msgspec.structs.replace(row, symbol=""), row.mode.level)
        if known.jump is not None and now.jump is None:
            clock_jump.note_again(self._store, known.jump)
        if how is How.START and self._start_halted:
            self._stop(how, None, 1)
        if not resumed_by:  # Else the operator knows of this loss.
            try:
                forgotten.report(self._store, how, self._who, self._events_maxlen)
            except WireError as problem:
                log.warning("that is not written", extra={"fields": {"problem": problem}})
        self.times[how] += 1
        fields = {"how": how.value, "level": known.level, "symbols": len(known.symbols)}
        if resumed_by:
            fields["resumed_by"] = resumed_by
        if how is How.START:
            log.warning("Redis has no trace of the control plane", extra={"fields": fields})
        else:
            log.error("Redis has lost what it knew", extra={"fields": fields})

    @property
    def _who(self) -> str:
        return f"governor:{self._instance}"

    def _stop(self, how: How, was: KillKey | None, level: int) -> None:
        why = WHY[how]
        if was is not None:
            by = f" {was.who}" if was.record else ""
            why += f" (was {was.key}='{was.value}'{by}{': ' if was.why else ''}{was.why})"
        symbol = was.symbol if was is not None else ""
        request = HaltRequest(
            self._who, why[:MAX_WHY_CHARS], self._names, self._events_maxlen, symbol, event=EVENT
        )
        kept = halt.stop(self._store, request, level > 1, None if symbol else HALT_KEPT.template)
        log.error(why, extra={"fields": {"key": kept.name, "value": kept.value}})
        if kept.problem:
            problem = {"problem": kept.problem}
            log.warning("its record or event is not written", extra={"fields": problem})
