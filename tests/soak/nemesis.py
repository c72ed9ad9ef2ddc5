"""Carries out the acts of a run at their times, each with its end, and keeps a diary of them."""

import heapq
import itertools
import signal
import time
from collections.abc import Callable

import msgspec

from qtctl.errors import RedisUnreachable, WireError
from qtctl.wire.governor.plan_queue import group_state
from qtctl.wire.schema.keys import GROUP
from qtctl.wire.schema.records import text
from tests.soak.scenario import Act, Kind
from tests.soak.stage import MAIN, TWIN, Governor, Stage, now_ms

LATER_SEC = 0.1
TWIN_STAYS_SEC = 2.0
AIM_MS, AIM_SEC = 100, 0.002
SERVER_STEP_SEC, HOST_STEP_SEC = 12.0, 7_200.0
"""A step back prolongs what the server measures by its wall clock: a pause of its clients, too."""
OTHER_NAME = 0.15
"""So often a killed governor comes back under another name: what it held must then be claimed."""


class Done(msgspec.Struct, frozen=True):
    """An act that is over. free_ms: when everything ran again as far as the nemesis is concerned
    (a kill: when it killed), epoch milliseconds."""

    kind: Kind
    free_ms: float


class Nemesis:
    """One thread; `run` goes through the acts."""

    def __init__(self, stage: Stage, acts: list[Act]) -> None:
        self._stage = stage
        self._store = stage.store(timeout_sec=1.0)
        self._number = itertools.count()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._busy_until = 0.0
        self._down = False
        self.done: list[Done] = []
        self.missed = 0
        self.held = 0
        """Governors that were killed with plans in their hands."""
        self._acts = acts

    def run(self, between: Callable[[], None]) -> None:
        """Until the last act is over; `between` is called some twenty times a second."""
        start = time.monotonic()
        for act in self._acts:
            self._at(start + act.at_sec, lambda act=act: self._begin(act))  # type: ignore[misc]
        while self._due:
            at, _, step = self._due[0]
            wait = at - time.monotonic()
            if wait > 0:
                time.sleep(min(wait, 0.05))
                self._stage.look()
                between()
                continue
            heapq.heappop(self._due)
            step()
        self._store.close()

    def _at(self, moment: float, step: Callable[[], None]) -> None:
        heapq.heappush(self._due, (moment, next(self._number), step))

    def _after(self, seconds: float, step: Callable[[], None]) -> None:
        self._at(time.monotonic() + seconds, step)

    def _over(self, kind: Kind, free_ms: float | None = None) -> None:
        self.done.append(Done(kind, now_ms() if free_ms is None else free_ms))

    def _begin(self, act: Act) -> None:
        if act.kind is Kind.KILL_GOVERNOR:
            self._kill_governor(act)
        elif act.kind in (Kind.SERVER_CLOCK, Kind.HOST_CLOCK):
            self._step_clock(act)
        elif act.kind in (Kind.STOP_GOVERNOR, Kind.TWIN):
            self._stop_governor(act)
        elif self._down or (act.kind is not Kind.KILL_SERVER and self._is_busy()):
            # A command to a frozen server would be carried out at any time, or never.
            self._after(LATER_SEC, lambda: self._begin(act))
        elif act.kind is Kind.KILL_SERVER:
            self._kill_server(act)
        elif act.kind is Kind.STOP_SERVER:
            self._stop_server(act)
        else:
            self._command(act)

    def _is_busy(self) -> bool:
        return time.monotonic() < self._busy_until

    # The governor -----------------------------------------------------------------------------

    def _kill_governor(self, act: Act) -> None:
        governors = self._stage.governors
        victim = governors[int(act.luck * len(governors))]
        detail = act.luck * 100 % 1
        can_ask = not self._down and not self._is_busy()
        if can_ask:
            self._aim(detail)
        self._stage.kill_governor(victim)
        self._over(act.kind)
        if can_ask:
            self._count_held()
        other = act.luck * 1_000 % 1 < OTHER_NAME
        name = f"{MAIN}-{len(self.done)}" if other else victim.name
        self._stage.start_governor(name)

    def _aim(self, detail: float) -> None:
        """Waits for a plan to come and a moment more: most kills would find an idle governor."""
        try:
            plans = self._store.keys.plans
            self._store.run("XREAD", "COUNT", 1, "BLOCK", AIM_MS, "STREAMS", plans, "$")
        except (RedisUnreachable, WireError):
            return
        until = time.monotonic() + detail * AIM_SEC
        while time.monotonic() < until:
            pass  # A sleep would be too coarse.

    def _count_held(self) -> None:
        """Whether it died with plans in its hands."""
        try:
            state = group_state(self._store)
        except (RedisUnreachable, WireError):
            return
        if state is not None and state.pending:
            self.held += 1

    def _stop_governor(self, act: Act) -> None:
        victim = self._stage.governors[0]
        victim.process.send_signal(signal.SIGSTOP)
        if act.kind is Kind.TWIN:
            self._stage.start_governor(TWIN)
        self._after(act.lasts_sec, lambda: self._continue_governor(act, victim))

    def _continue_governor(self, act: Act, victim: Governor) -> None:
        if victim.process.poll() is None:  # Else it was killed meanwhile.
            victim.process.send_signal(signal.SIGCONT)
        self._over(act.kind)
        if act.kind is Kind.TWIN:
            self._after(TWIN_STAYS_SEC, self._dismiss_twins)

    def _dismiss_twins(self) -> None:
        """One governor stays, whoever it is: two would hide how long one needs to recover."""
        while len(self._stage.governors) > 1:
            self._stage.kill_governor(self._stage.governors[-1])

    # Clocks -----------------------------------------------------------------------------------

    def _step_clock(self, act: Act) -> None:
        """There, and back after a while: neither is a jump, which would stop opens for good."""
        self._set_clock(act.kind, 2 * act.luck - 1)
        self._after(act.lasts_sec, lambda: self._right_clock(act))

    def _right_clock(self, act: Act) -> None:
        self._set_clock(act.kind, 0.0)
        self._over(act.kind)

    def _set_clock(self, kind: Kind, share: float) -> None:
        if kind is Kind.HOST_CLOCK:
            self._stage.host_clock.write_text(f"{share * HOST_STEP_SEC}")
        elif self._stage.server_clock is not None:
            self._stage.server_clock.off(share * SERVER_STEP_SEC)

    # The server -------------------------------------------------------------------------------

    def _kill_server(self, act: Act) -> None:
        self._stage.kill_server()
        killed_ms = now_ms()
        self._down = True
        self._after(act.lasts_sec, lambda: self._start_server(act.kind, killed_ms))

    def _start_server(self, kind: Kind, killed_ms: float) -> None:
        self._stage.start_server()
        self._down = False
        self._over(kind, killed_ms)

    def _stop_server(self, act: Act) -> None:
        self._busy_until = time.monotonic() + act.lasts_sec + LATER_SEC
        pid = self._stage.server.pid
        self._stage.signal_server(signal.SIGSTOP)
        self._after(act.lasts_sec, lambda: self._continue_server(act, pid))

    def _continue_server(self, act: Act, pid: int) -> None:
        if not self._down and self._stage.server.pid == pid:  # Else it was killed meanwhile.
            self._stage.signal_server(signal.SIGCONT)
        self._over(act.kind)

    def _command(self, act: Act) -> None:
        try:
            self._carry_out(act)
        except (RedisUnreachable, WireError) as problem:
            if "no such key" not in str(problem):
                self.missed += 1
            self._after(LATER_SEC, lambda: self._begin(act))

    def _carry_out(self, act: Act) -> None:
        run = self._store.run
        if act.kind is Kind.PAUSE:
            self._busy_until = time.monotonic() + act.lasts_sec + LATER_SEC
            run("CLIENT", "PAUSE", int(act.lasts_sec * 1000), "ALL")
            self._after(act.lasts_sec, lambda: self._over(act.kind))
        elif act.kind is Kind.MEMORY:
            self._busy_until = time.monotonic() + act.lasts_sec + LATER_SEC
            used = int(_info(text(run("INFO", "memory")))["used_memory"])
            # Full at once, or after some more plans.
            room = int(act.luck * 120_000) - 30_000
            run("CONFIG", "SET", "maxmemory", used + room, "maxmemory-policy", "noeviction")
            self._after(act.lasts_sec, lambda: self._free_memory(act))
        elif act.kind is Kind.GROUP:
            run("XGROUP", "DESTROY", self._store.keys.plans, GROUP)
            self._over(act.kind)
        elif act.kind is Kind.SCRIPTS:
            run("SCRIPT", "FLUSH")
            self._over(act.kind)
        elif act.kind is Kind.CLIENTS:
            run("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            self._over(act.kind)
        elif act.kind is Kind.KILL_REWRITING:
            run("BGREWRITEAOF")
            self._after(act.lasts_sec, lambda: self._begin_kill(act))

    def _begin_kill(self, act: Act) -> None:
        if self._down:
            self._after(LATER_SEC, lambda: self._begin(act))
        else:
            self._kill_server(act)

    def _free_memory(self, act: Act) -> None:
        if self._down:
            self._over(act.kind)  # A new server has all the memory it wants.
            return
        try:
            self._store.run("CONFIG", "SET", "maxmemory", 0)
            self._over(act.kind)
        except (RedisUnreachable, WireError):
            self._after(LATER_SEC, lambda: self._free_memory(act))


def _info(said: str) -> dict[str, str]:
    return dict(line.split(":", 1) for line in said.splitlines() if ":" in line)
