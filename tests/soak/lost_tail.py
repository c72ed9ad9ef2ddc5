"""The end of the append-only file is lost, as a crash of the machine with `everysec` loses it: the
server is killed, its file cut off behind one of the last plans, and the server is back at once.

Entries behind the cut are gone, and so is what was decided on those before it. No open may have a
second permit; a close may (docs/guarantees.md), and how many had is in the report.
"""

import random
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import hiredis
import msgspec

from qtctl.wire.client.store import Store
from qtctl.wire.governor.plan_queue import group_state
from qtctl.wire.private_server.embedded import Embedded
from qtctl.wire.schema.keys import Keys
from tests.soak.history import permitted_lines
from tests.soak.off_clock import OFFSET
from tests.soak.stage import SETTINGS
from tests.support.cli import NO_FILE
from tests.support.processes import Process, until

PLANS, BURST = 80, 6
"""Sent in a round, and at most so many of each kind at once: those before the cut whose decision is
behind it are of the same burst."""
LAST = 30
"""The cut is behind one of so many plans, the last that were sent."""
SETTLE_SEC = 30.0
HONEST = (sys.executable, "-m", "qtctl")


class LostTails(msgspec.Struct, frozen=True):
    """What became of all rounds. undone: plans that stood before the cut and whose decisions went;
    again: opens that were permitted twice, which must not be; closes: those that were; fresh: opens
    sent once the server was back, and how many of them had a permit."""

    rounds: int
    undone: int
    again: Sequence[str]
    closes: int
    fresh: tuple[int, int]

    @property
    def ok(self) -> bool:
        """No open was permitted twice, and what came afterwards passed."""
        return not self.again and self.fresh[0] == self.fresh[1]

    def __str__(self) -> str:
        lines = [
            f"tails lost: {self.rounds}, with the decisions on {self.undone:,} plans; closes "
            f"permitted twice, as may be: {self.closes:,}",
        ]
        if self.again:
            shown = ", ".join(self.again[:5])
            lines.append(f"BREACH opens permitted twice: {len(self.again):,} ({shown})")
        if self.fresh[0] != self.fresh[1]:
            lines.append(f"BREACH opens after it: {self.fresh[1]:,} of {self.fresh[0]:,} permitted")
        return "\n".join(lines)


def run(
    rounds: int, seed: int, say: Callable[[str], None], command: Sequence[str] = HONEST
) -> LostTails:
    """So many rounds; in every other one the governor goes with the server, and another one starts.
    command: a governor's, before its arguments."""
    rng = random.Random(f"tails {seed}")
    undone, twice, fresh, passed = 0, Counter[str](), 0, 0
    for number in range(rounds):
        with tempfile.TemporaryDirectory(prefix="qtctl-soak-") as folder:
            done = _Round(Path(folder), rng, command).play(outlived=number % 2 == 0)
        undone += done.undone
        twice += Counter(f"{number}:{id_}" for id_ in done.twice)
        fresh, passed = fresh + done.fresh, passed + done.passed
    say(f"{rounds} tails lost")
    opens = sorted(id_ for id_ in twice if "open" in id_)
    return LostTails(rounds, undone, opens, len(twice) - len(opens), (fresh, passed))


class _Done(msgspec.Struct, frozen=True):
    undone: int
    twice: Sequence[str]
    fresh: int
    passed: int


class _Round:
    def __init__(self, folder: Path, rng: random.Random, command: Sequence[str]) -> None:
        self._folder, self._rng, self._command = folder, rng, command
        self._governors: list[Process] = []
        self._server = Embedded.start(folder / "server")
        self._store = Store(self._server.url, Keys())

    def play(self, *, outlived: bool) -> _Done:
        """outlived: the governor lives through it."""
        try:
            self._start_governor()
            sent: list[str] = []
            while len(sent) < PLANS:
                burst = range(len(sent), len(sent) + self._rng.randrange(1, BURST) * 2, 2)
                sent += [self._send(f"{kind}-{n}", kind) for n in burst for kind in _KINDS]
                self._settle()
            until(lambda: not {*sent} - self._logged().keys(), SETTLE_SEC, "its log")
            if not outlived:
                self._governors[-1].end()
            self._server.kill()
            self._store.close()
            undone = _cut(self._server.directory, self._rng.randrange(2, LAST))
            self._server = Embedded.start(self._server.directory)
            if not outlived:
                self._start_governor()
            self._settle()
            # What was lost is sent again, as a publisher does that has no answer.
            again = [id_ for id_ in sent[-LAST:] if outlived or "close" in id_]
            for id_ in again:
                self._send(id_, id_.partition("-")[0])
            fresh = [self._send(f"fresh-{n}", "open") for n in range(5)]
            self._settle()
            self._governors[-1].signal(signal.SIGTERM)  # It writes its log to the end.
            self._governors[-1].wait()
            logged = self._logged()
            twice = [id_ for id_, count in logged.items() if count > 1]
            return _Done(undone, twice, len(fresh), sum(id_ in logged for id_ in fresh))
        finally:
            self._store.close()
            for each in self._governors:
                each.end()
            self._server.kill()

    def _logged(self) -> Counter[str]:
        """How often each plan was permitted, as the governors say themselves."""
        lines = [line for each in self._governors for line in permitted_lines(each.stderr)]
        return Counter(id_ for id_, *_ in lines)

    def _start_governor(self) -> None:
        place = self._folder / f"governor-{len(self._governors)}"
        place.mkdir()
        settings = (*SETTINGS, "logging.format=plain")
        sets = [part for each in settings for part in ("--set", each)]
        line = (*self._command, "--redis-url", self._server.url, *sets, "serve", "governor")
        name, environ = f"g{len(self._governors)}", {**NO_FILE, OFFSET: str(place / "none")}
        self._governors.append(Process((*line, "--name", name), place, environ))
        until(lambda: group_state(self._store) is not None, SETTLE_SEC, "the governor")

    def _send(self, plan_id: str, kind: str) -> str:
        fields = {
            "plan_id": plan_id, "symbol": f"{plan_id.upper()}USDT", "decision": "EXECUTE",
            "source": "soak", **_KINDS[kind],
        }  # fmt: skip
        flat = [part for pair in fields.items() for part in pair]
        self._store.run("XADD", self._store.keys.plans, "*", *flat)
        return plan_id

    def _settle(self) -> None:
        """Until all is judged."""

        def settled() -> bool:
            state = group_state(self._store)
            return state is not None and not state.pending and state.lag == 0

        until(settled, SETTLE_SEC, "the plans to be judged")


_KINDS = {
    "open": {"action": "OPEN_PROPOSED", "side": "BUY"},
    "close": {"action": "FULL_CLOSE_PROPOSED", "reduceOnly": "true"},
}


def _cut(directory: Path, back: int) -> int:
    """Cuts the file off behind the plan that is so far from the last; how many decisions went."""
    (log,) = directory.glob("appendonlydir/*.incr.aof")
    whole, at = log.read_bytes(), 0
    ends: list[int] = []
    decided: list[int] = []
    reader = hiredis.Reader()
    for line in whole.splitlines(keepends=True):
        reader.feed(line)
        at += len(line)
        command = reader.gets()
        if command is False:
            continue
        if command[0].upper() == b"XADD" and command[1].endswith(b"stream:apply.plan"):
            ends.append(at)
        elif command[0].upper() == b"HSET" and b"governor:decision:" in command[1]:
            decided.append(at)
    cut = ends[max(0, len(ends) - back)]
    with log.open("r+b") as file:
        file.truncate(cut)
    return sum(end > cut for end in decided)
