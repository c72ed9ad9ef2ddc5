"""Carries out the acts of a run at their times, each with its end, and keeps a diary of them."""

import heapq
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from qtctl.errors import RedisUnreachable, WireError
from qtctl.wire.governor.plan_queue import group_state
from qtctl.wire.schema.keys import GROUP
from qtctl.wire.schema.records import text
from tests.soak.diary import LOOK_SEC, RECONNECT_SEC, Jump, Step, Stop
from tests.soak.looks import Looks, Marks
from tests.soak.scenario import STEPS, Act, Kind
from tests.soak.stage import DESCRIPTORS, MAIN, ROOT, TWIN, Governor, Stage
from tests.soak.witness import Witness

LATER_SEC = 0.1
TWIN_STAYS_SEC = 2.0
AIM_MS, AIM_SEC = 100, 0.002
OTHER_NAME = 0.15
"""So often a killed governor comes back under another name: what it held must then be claimed."""
SPARED = 0.7
"""So often nothing else is struck around a halt or a jump: a governor that lives through it in
peace must know it, and then there is no excuse."""
SPARE_SEC = 4.0
NOTICE_SEC, RETRY_SEC, TIMEOUT_SEC = 0.4, 0.8, 1.5
"""How long a governor needs after a cut, and after a refusal; and how long it waits for a reply."""
AFTER_LOSS_SEC = 3.0
"""Until an operator comes, once the data is gone."""
LOOKED_WITHIN_SEC = 30.0
"""So long an operator waits until every governor that lives has found the loss."""
GROUP_SEC, ENTRIES_PER_SEC = 1.5, 1_000
"""After the group was destroyed: until it is there again, and all entries came once more."""
FEW_SEC, JUMP_SEC, BACK_SEC, TWO_HOURS_SEC = (2.0, 4.5), (70.0, 600.0), (3.0, 50.0), 7_200.0
HOST_OFF_SEC = 1_200.0
SLOW_SEC = (0.001, 0.02)
FLOODERS = DESCRIPTORS + 50

DUMP_AND_FLUSH = """
local kept = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  kept[#kept + 1] = {key, redis.call('PTTL', key), redis.call('DUMP', key)}
end
redis.call('FLUSHALL')
return kept
"""
"""What was there at the very moment when it went."""


class Done(msgspec.Struct, frozen=True):
    """An act that is over. free: when everything ran again as far as the nemesis is concerned
    (a kill: when it killed), monotonic seconds."""

    kind: Kind
    free: float


class Nemesis:
    """One thread; `run` goes through the acts."""

    def __init__(self, stage: Stage, acts: list[Act], witness: Witness) -> None:
        self._stage = stage
        self._diary = stage.diary
        self._witness = witness
        self._store = stage.store(timeout_sec=1.0)
        self._halt_key = f"{self._store.keys.prefix}governor:halt"
        self._number = itertools.count()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._busy_until = 0.0
        self._spared_until = 0.0
        self._down = False
        self._stop: Stop | None = None
        self._jump: Jump | None = None
        self._kept: Stop | None = None
        self._looks = Looks(stage)
        self._lost: Marks = []
        self._lost_at = 0.0
        self._resumed_last: Marks = []
        self._resumed_level = 0
        self._accepted_last: Marks = []
        self._kept_jumps: list[Jump] = []
        self.done: list[Done] = []
        self.missed = 0
        self.held = 0
        """Governors that were killed with plans in their hands."""
        self.repeated = 0
        """Commands of the operator that had to be given again, since Redis was away."""
        self._acts = acts if stage.clocks else [act for act in acts if act.kind not in STEPS]
        self.skipped = len(acts) - len(self._acts)
        """Acts for which libfaketime is missing."""

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
        self._looks.close()

    def _at(self, moment: float, step: Callable[[], None]) -> None:
        heapq.heappush(self._due, (moment, next(self._number), step))

    def _after(self, seconds: float, step: Callable[[], None]) -> None:
        self._at(time.monotonic() + seconds, step)

    def _over(self, kind: Kind, free: float | None = None) -> None:
        self.done.append(Done(kind, time.monotonic() if free is None else free))

    def _later(self, act: Act) -> None:
        self._after(LATER_SEC, lambda: self._begin(act))

    def _begin(self, act: Act) -> None:
        if act.kind in _STRIKES and time.monotonic() < self._spared_until:
            self._later(act)
        elif act.kind in (Kind.KILL_GOVERNOR, Kind.STOP_GOVERNOR, Kind.TWIN):
            if act.kind is Kind.KILL_GOVERNOR:
                self._kill_governor(act)
            else:
                self._stop_governor(act)
        elif act.kind in _BESIDE:
            _BESIDE[act.kind](self, act)
        elif self._down or (act.kind is not Kind.KILL_SERVER and self._is_busy()):
            # A command to a frozen server would be carried out at any time, or never. And a pause
            # or a wait goes by the server's clock.
            self._later(act)
        elif act.kind in (Kind.HALT, Kind.EMPTY_HALTED, Kind.FLUSH_HALTED):
            self._halt(act)
        elif act.kind in (Kind.STEP_JUMP, Kind.STEP_2H) and self._jump is not None:
            self._later(act)
        elif act.kind in _STEPS:
            _STEPS[act.kind](self, act)
        elif act.kind is Kind.EMPTY or act.kind is Kind.KILL_SERVER:
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
        self._stage.freeze(victim)
        if act.kind is Kind.TWIN:
            self._stage.start_governor(TWIN)
        self._after(act.lasts_sec, lambda: self._continue_governor(act, victim))

    def _continue_governor(self, act: Act, victim: Governor) -> None:
        self._stage.unfreeze(victim)
        self._over(act.kind)
        if act.kind is Kind.TWIN:
            self._after(TWIN_STAYS_SEC, self._dismiss_twins)

    def _dismiss_twins(self) -> None:
        """One governor stays, whoever it is: two would hide how long one needs to recover."""
        while len(self._stage.governors) > 1:
            self._stage.kill_governor(self._stage.governors[-1])

    # The server -------------------------------------------------------------------------------

    def _kill_server(self, act: Act, lasts_sec: float | None = None) -> None:
        killed = time.monotonic()
        empty = act.kind in (Kind.EMPTY, Kind.EMPTY_HALTED)
        if empty:
            undone = self._unseen()
            with self._witness.lock:
                self._stage.kill_server()
                self._stage.lose_data()
                self._witness.next_era()
            self._emptied(killed, *undone)
        else:
            self._stage.kill_server()
        self._down = True
        wait = act.lasts_sec if lasts_sec is None else lasts_sec
        self._after(wait, lambda: self._start_server(act.kind, killed))

    def _unseen(self) -> tuple[bool, bool]:
        """Whether a governor lives that has not looked since the last halt was resumed, or since
        the last jump was accepted. What it knows it will keep."""
        if not self._resumed_last and not self._accepted_last:
            return False, False
        resumed = not self._looks.all_since(self._resumed_last)
        return resumed, not self._looks.all_since(self._accepted_last)

    def _emptied(self, at: float, halt_undone: bool, jump_undone: bool) -> None:
        self._diary.emptied.append(at)
        self._lost, self._lost_at = self._looks.none_yet(), at
        self._resumed_last, self._accepted_last = [], []
        if halt_undone and self._kept is None:
            self._kept = Stop(self._resumed_level, at)
            self._diary.stops.append(self._kept)
            self._after(AFTER_LOSS_SEC, self._release)
        if jump_undone:
            again = Jump(at)
            self._diary.jumps.append(again)
            self._kept_jumps.append(again)
            if self._jump is None:
                self._jump = again
                self._after(AFTER_LOSS_SEC, self._accept_jump)

    def _is_loss_unseen(self) -> bool:
        """True while a governor lives that has not found the last loss: it may still keep what was
        halted before. What is resumed until then lifts nothing of that."""
        if not self._lost or time.monotonic() > self._lost_at + LOOKED_WITHIN_SEC:
            self._lost = []
        elif self._down or self._is_busy():
            return True
        elif self._looks.all_since(self._lost):
            self._lost = []
        return bool(self._lost)

    def _start_server(self, kind: Kind, killed: float) -> None:
        self._stage.start_server()
        self._down = False
        self._diary.outage(kind.value, killed, time.monotonic())
        self._over(kind, killed)

    def _stop_server(self, act: Act) -> None:
        self._busy_until = time.monotonic() + act.lasts_sec + LATER_SEC
        pid, began = self._stage.server.pid, time.monotonic()
        self._stage.signal_server(signal.SIGSTOP)
        self._after(act.lasts_sec, lambda: self._continue_server(act, pid, began))

    def _continue_server(self, act: Act, pid: int, began: float) -> None:
        if not self._down and self._stage.server.pid == pid:  # Else it was killed meanwhile.
            self._stage.signal_server(signal.SIGCONT)
        self._diary.outage(act.kind.value, began, time.monotonic())
        self._over(act.kind)

    def _flush(self, act: Act) -> None:
        """Everything that was there is kept for the checker, to the moment."""
        store = self._stage.store(timeout_sec=30.0)
        undone = self._unseen()
        began = time.monotonic()
        try:
            with self._witness.lock:
                self._witness.look()
                kept = store.run("EVAL", DUMP_AND_FLUSH, 0)
                self._witness.next_era()
        finally:
            store.close()
        self._emptied(began, *undone)
        self._diary.servers.append(time.monotonic())
        self._diary.outage(act.kind.value, began, time.monotonic(), 2 * NOTICE_SEC)
        self._keep(kept)
        self._over(act.kind)

    def _keep(self, kept: list[tuple[bytes, int, bytes]]) -> None:
        """Into the folder of a server that will show it to the checker."""
        place = self._stage.directory / f"past-{len(self._stage.past)}"
        place.mkdir()
        self._stage.keep_past(place)
        with (place / "dump").open("wb") as out:
            out.write(msgspec.msgpack.encode(kept))

    # Clocks -----------------------------------------------------------------------------------

    def _step(self, by_sec: float) -> None:
        at = time.monotonic()
        self._stage.step_server_clock(by_sec)
        self._diary.steps.append(Step(at, by_sec, time.monotonic()))

    def _step_few(self, act: Act) -> None:
        self._step(_between(FEW_SEC, act.luck))
        self._over(act.kind)

    def _step_back(self, act: Act) -> None:
        self._step(-_between(BACK_SEC, act.luck))
        self._over(act.kind)

    def _step_jump(self, act: Act) -> None:
        self._jump = Jump(time.monotonic() + 1e9)  # Nobody else may begin one.
        self._leap(act, _between(JUMP_SEC, act.luck))

    def _step_2h(self, act: Act) -> None:
        self._spare(act, act.lasts_sec)
        self._step(-TWO_HOURS_SEC)
        self._jump = Jump(time.monotonic() + 1e9)  # Nobody else may begin one.
        self._after(act.lasts_sec, lambda: self._back_again(act))

    def _back_again(self, act: Act) -> None:
        if self._down or self._is_busy():
            self._after(LATER_SEC, lambda: self._back_again(act))
        else:
            self._leap(act, TWO_HOURS_SEC)

    def _leap(self, act: Act, by_sec: float) -> None:
        if self._is_spared(act) and time.monotonic() < self._diary.known_at() + LOOK_SEC:
            self._spare(act, 0.0)
            self._after(LATER_SEC, lambda: self._leap(act, by_sec))
            return
        self._jump = Jump(time.monotonic())
        self._diary.jumps.append(self._jump)
        self._step(by_sec)
        self._spare(act, 0.0)
        self._after(max(act.lasts_sec, 1.5), lambda: self._accept_jump(act))

    def _accept_jump(self, act: Act | None = None) -> None:
        """act: None for a jump that was kept though it was accepted before."""
        assert self._jump is not None
        if self._is_loss_unseen():
            self._after(LATER_SEC, lambda: self._accept_jump(act))
            return
        if self._jump.resuming is None:
            self._jump.resuming = time.monotonic()
        self._qtctl(
            ("resume", "--clock", "--yes", "--reason", "soak"),
            (self._store.keys.clock_jump,),
            lambda: self._jump_over(act),
            lambda: self._accept_jump(act),
        )

    def _jump_over(self, act: Act | None) -> None:
        assert self._jump is not None
        marks = None if self._is_loss_unseen() else self._marks()
        if marks is None:
            self._after(LATER_SEC, lambda: self._accept_jump(act))
            return
        self._accepted_last = marks
        for jump in (self._jump, *self._kept_jumps):
            jump.over = time.monotonic()
        self._jump, self._kept_jumps = None, []
        if act is not None:
            self._over(act.kind)

    def _marks(self) -> Marks | None:
        """Of the governors that live; None where Redis can't be asked."""
        try:
            return self._looks.now()
        except (RedisUnreachable, WireError):
            return None

    def _release(self) -> None:
        """What a governor kept that had not seen it resumed; never a halt in force."""
        if self._stop is not None or self._is_loss_unseen():
            self._after(LATER_SEC, self._release)
            return
        self._qtctl(
            ("resume", "--yes", "--force", "--reason", "soak"),
            (f"{self._halt_key}_kept",),
            self._released,
            self._release,
        )

    def _released(self) -> None:
        assert self._kept is not None
        marks = None if self._stop is not None or self._is_loss_unseen() else self._marks()
        if marks is None:
            self._after(LATER_SEC, self._release)
            return
        self._kept.over = time.monotonic()
        self._resumed_last, self._resumed_level = marks, self._kept.level
        self._kept = None

    def _host_off(self, act: Act) -> None:
        self._stage.set_host_clock(HOST_OFF_SEC if act.luck < 0.5 else -HOST_OFF_SEC)
        self._after(act.lasts_sec, lambda: self._host_right(act))

    def _host_right(self, act: Act) -> None:
        self._stage.set_host_clock(0.0)
        self._over(act.kind)

    # Halts ------------------------------------------------------------------------------------

    def _spare(self, act: Act, lasts_sec: float) -> None:
        if self._is_spared(act):
            self._spared_until = time.monotonic() + lasts_sec + SPARE_SEC

    def _is_spared(self, act: Act) -> bool:
        return act.luck * 7 % 1 < SPARED

    def _halt(self, act: Act) -> None:
        if self._stop is not None or self._kept is not None:
            self._later(act)
            return
        everything = act.luck < 0.3
        self._stop = Stop(2 if everything else 1, time.monotonic())
        self._diary.stops.append(self._stop)
        self._spare(act, act.lasts_sec + 3.0)
        if act.luck > 0.7:
            self._guard_halts(act)
        else:
            self._order_halt(act, ("halt", *(["--all"] if everything else []), "--reason", "soak"))

    def _guard_halts(self, act: Act) -> None:
        """As the drawdown guard does."""
        try:
            self._store.run("SET", self._halt_key, 1)
            self._halted(act)
        except (RedisUnreachable, WireError):
            self._after(LATER_SEC, lambda: self._guard_halts(act))

    def _order_halt(self, act: Act, words: tuple[str, ...]) -> None:
        self._qtctl(words, (), lambda: self._halted(act), lambda: self._order_halt(act, words))

    def _halted(self, act: Act) -> None:
        assert self._stop is not None
        try:
            there = self._store.run("EXISTS", self._halt_key)
        except (RedisUnreachable, WireError):
            self._after(LATER_SEC, lambda: self._halted(act))
            return
        if not there:  # Lost with a server just now: then nobody need keep it.
            self._resume(act)
            return
        self._stop.done = time.monotonic()
        self._spare(act, act.lasts_sec)
        self._after(act.lasts_sec, lambda: self._lose_halt(act))

    def _lose_halt(self, act: Act) -> None:
        if act.kind is Kind.HALT:
            self._resume(act)
        elif self._is_spared(act) and time.monotonic() < self._diary.known_at():
            self._spare(act, 0.0)
            self._after(LATER_SEC, lambda: self._lose_halt(act))
        elif self._down or self._is_busy():
            self._after(LATER_SEC, lambda: self._lose_halt(act))
        else:
            if act.kind is Kind.EMPTY_HALTED:
                self._kill_server(act, act.luck)
            else:
                try:
                    self._flush(act)
                except (RedisUnreachable, WireError):
                    self._after(LATER_SEC, lambda: self._lose_halt(act))
                    return
            self._spare(act, act.luck)
            self._after(act.luck + 3.0, lambda: self._resume(act))

    def _resume(self, act: Act) -> None:
        assert self._stop is not None
        if self._is_loss_unseen():
            self._after(LATER_SEC, lambda: self._resume(act))
            return
        if self._stop.resuming is None:
            self._stop.resuming = time.monotonic()
        self._qtctl(
            ("resume", "--yes", "--force", "--reason", "soak"),
            (self._halt_key, f"{self._halt_key}_kept"),
            lambda: self._resumed(act),
            lambda: self._resume(act),
        )

    def _resumed(self, act: Act) -> None:
        assert self._stop is not None
        marks = None if self._is_loss_unseen() else self._marks()
        if marks is None:  # Lost meanwhile: what was resumed is kept, perhaps.
            self._after(LATER_SEC, lambda: self._resume(act))
            return
        self._stop.over = time.monotonic()
        self._resumed_last, self._resumed_level = marks, self._stop.level
        self._stop = None
        if act.kind is Kind.HALT:
            self._over(act.kind)

    def _qtctl(
        self,
        words: tuple[str, ...],
        gone: tuple[str, ...],
        then: Callable[[], None],
        again: Callable[[], None],
    ) -> None:
        """An operator's command; `again` until it ends with 0 or 1 and these keys are not there."""
        log = (self._stage.directory / "operator.log").open("ab")
        with log:
            process = subprocess.Popen(
                [sys.executable, "-m", "qtctl", "--redis-url", self._stage.url, *words],
                cwd=ROOT,
                env={**os.environ, "QTCTL_CONFIG": os.devnull},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._await(process, gone, then, again)

    def _await(
        self,
        process: "subprocess.Popen[bytes]",
        gone: tuple[str, ...],
        then: Callable[[], None],
        again: Callable[[], None],
    ) -> None:
        code = process.poll()
        if code is None:
            self._after(0.05, lambda: self._await(process, gone, then, again))
            return
        try:
            left = self._store.run("EXISTS", *gone) if gone else 0
        except (RedisUnreachable, WireError):
            left = 1
        if code in (0, 1) and not left:
            then()
        else:
            self.repeated += 1
            self._after(0.2, again)

    # Beside the server ------------------------------------------------------------------------

    def _slow(self, act: Act) -> None:
        self._stage.link.round_trip(_between(SLOW_SEC, act.luck))
        self._after(act.lasts_sec, lambda: self._fast(act))

    def _fast(self, act: Act) -> None:
        self._stage.link.round_trip(0.0)
        self._over(act.kind)

    def _stall_log(self, act: Act) -> None:
        victim = self._stage.governors[0]
        victim.stall()
        self._after(act.lasts_sec, lambda: self._read_log(act, victim))

    def _read_log(self, act: Act, victim: Governor) -> None:
        victim.unstall()
        self._over(act.kind)

    def _flood(self, act: Act) -> None:
        port = self._stage.governors[0].port
        if not port:
            self._later(act)
            return
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "flood.py"), str(port), str(FLOODERS)],
            stdin=subprocess.PIPE,
        )
        self._after(act.lasts_sec, lambda: self._ebb(act, process))

    def _ebb(self, act: Act, process: "subprocess.Popen[bytes]") -> None:
        process.kill()
        process.wait()
        assert process.stdin is not None
        process.stdin.close()
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
            began = time.monotonic()
            self._busy_until = began + act.lasts_sec + LATER_SEC
            run("CLIENT", "PAUSE", int(act.lasts_sec * 1000), "ALL")
            after = RECONNECT_SEC if act.lasts_sec > TIMEOUT_SEC else NOTICE_SEC
            self._diary.outage(act.kind.value, began, began + act.lasts_sec, after)
            self._after(act.lasts_sec, lambda: self._over(act.kind))
        elif act.kind is Kind.MEMORY:
            began = time.monotonic()
            self._busy_until = began + act.lasts_sec + LATER_SEC
            used = int(_info(text(run("INFO", "memory")))["used_memory"])
            # Full at once, or after some more plans.
            room = int(act.luck * 120_000) - 30_000
            run("CONFIG", "SET", "maxmemory", used + room, "maxmemory-policy", "noeviction")
            self._after(act.lasts_sec, lambda: self._free_memory(act, began))
        elif act.kind is Kind.GROUP:
            began, count = time.monotonic(), run("XLEN", self._store.keys.plans)
            run("XGROUP", "DESTROY", self._store.keys.plans, GROUP)
            lasts = GROUP_SEC + count / ENTRIES_PER_SEC
            self._diary.outage(act.kind.value, began, began + lasts, 0.0)
            self._over(act.kind)
        elif act.kind is Kind.FLUSH:
            self._flush(act)
        elif act.kind is Kind.SCRIPTS:
            run("SCRIPT", "FLUSH")
            self._over(act.kind)
        elif act.kind is Kind.CLIENTS:
            now = time.monotonic()
            self._diary.outage(act.kind.value, now, now, NOTICE_SEC)
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

    def _free_memory(self, act: Act, began: float) -> None:
        if not self._down:  # A new server has all the memory it wants.
            try:
                self._store.run("CONFIG", "SET", "maxmemory", 0)
            except (RedisUnreachable, WireError):
                self._after(LATER_SEC, lambda: self._free_memory(act, began))
                return
        self._diary.outage(act.kind.value, began, time.monotonic(), RETRY_SEC)
        self._over(act.kind)


_STEPS: dict[Kind, Callable[[Nemesis, Act], None]] = {
    Kind.STEP_FEW: Nemesis._step_few,
    Kind.STEP_BACK: Nemesis._step_back,
    Kind.STEP_JUMP: Nemesis._step_jump,
    Kind.STEP_2H: Nemesis._step_2h,
}
_STRIKES = frozenset(Kind) - STEPS - {Kind.SLOW, Kind.LOG, Kind.FLOOD, Kind.SCRIPTS} - {
    Kind.HALT, Kind.EMPTY_HALTED, Kind.FLUSH_HALTED
}  # fmt: skip
_BESIDE: dict[Kind, Callable[[Nemesis, Act], None]] = {
    Kind.HOST_CLOCK: Nemesis._host_off,
    Kind.SLOW: Nemesis._slow,
    Kind.LOG: Nemesis._stall_log,
    Kind.FLOOD: Nemesis._flood,
}
"""They need no server."""


def _between(bounds: tuple[float, float], luck: float) -> float:
    return bounds[0] + luck * (bounds[1] - bounds[0])


def _info(said: str) -> dict[str, str]:
    return dict(line.split(":", 1) for line in said.splitlines() if ":" in line)
