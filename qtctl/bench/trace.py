"""Where the time of one plan alone goes, from its arrival on the stream to its permit.

A governor runs in a process of its own, its loop in a thread as under the supervisor, and notes the
clock at each step; the observer here knows when each plan was sent and its permit seen.
"""

import bisect
import contextlib
import json
import statistics
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import redis.connection

from qtctl import clock
from qtctl.bench.cores import server_apart, started_on
from qtctl.bench.pace import Seen, events_on, paced
from qtctl.bench.services import START_SEC, plain_environ
from qtctl.bench.stage import Stage, symbols
from qtctl.domain import plans
from qtctl.errors import QtctlError
from qtctl.services import judge
from qtctl.services.governor import Governor
from qtctl.services.metrics import GovernorMetrics
from qtctl.settings import Governor as Settings
from qtctl.wire.client.pipe import Pipe
from qtctl.wire.client.store import Store
from qtctl.wire.governor.plan_queue import PlanQueue
from qtctl.wire.schema.keys import SERVICE, Keys

RATE = 20
PLANS, WARM = 100, 20
SENT, SEEN = "sent", "seen"
STEPS = {
    "woken": "the server takes the entry, the governor wakes",
    "parsed": "the reply is read and parsed",
    "judging": "the entry is handed to the judge",
    "plan": "the plan is read from its fields",
    "score": "the score is read",
    "packed": "facts are put together, the step is packed",
    SEEN: "the step is sent and carried out, the permit is seen",
    "reply": "its reply is read",
    "counted": "the decision is counted and logged",
    "asking": "what is due is done, the next entry is asked for",
}
"""The marks in their order, and what lies before each."""


class Step(msgspec.Struct, frozen=True):
    """One step of a plan alone. median_us: of all plans; share: of the time to the permit, None for
    a step behind it."""

    step: str
    median_us: float
    share: float | None


def measure(stage: Stage) -> list[Step]:
    """The steps of a plan alone, at RATE. Errors: QtctlError."""
    store = stage.store
    command = [sys.executable, "-m", "qtctl.bench.trace", stage.url]
    with events_on(stage), server_apart(stage) as cores:
        with started_on(cores):
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                env=plain_environ(),
            )  # fmt: skip
        with process:
            try:
                deadline = clock.monotonic() + START_SEC
                while not [*store.scan_keys(store.keys.pattern(SERVICE))]:
                    if process.poll() is not None or clock.monotonic() > deadline:
                        raise QtctlError("the governor did not start")
                    clock.sleep(0.02)
                paced(store, symbols(WARM, "W"), RATE)
                seen = paced(store, symbols(PLANS, "T"), RATE)
                noted, _ = process.communicate(timeout=START_SEC)
            finally:
                process.kill()
    return steps(seen, json.loads(noted))


def steps(seen: Sequence[Seen], noted: Sequence[Mapping[str, float]]) -> list[Step]:
    """The table. noted: the marks of each batch, seconds by the monotonic clock. A mark that a plan
    lacks, or that lies behind one further down, took no time of its own. Plans that were not alone
    in their batch are left out. Errors: QtctlError where none was alone."""
    spans: dict[str, list[float]] = {name: [] for name in STEPS}
    woken = [marks["woken"] for marks in noted]
    batches = [bisect.bisect(woken, each.sent) for each in seen]
    sizes = Counter(batches)
    alone = [
        (each, noted[batch])
        for each, batch in zip(seen, batches, strict=True)
        if sizes[batch] == 1 and batch < len(noted)
    ]
    if not alone:
        raise QtctlError("no plan was alone: the machine is too busy for a trace")
    totals = [each.took_ms * 1000 for each, _ in alone]
    for each, marks in alone:
        at = each.sent
        for name in STEPS:
            mark = each.seen if name == SEEN else marks.get(name, at)
            spans[name].append(max(0.0, mark - at) * 1e6)
            at = max(at, mark)
    whole = statistics.median(totals)
    out, behind = [], False
    for name, what in STEPS.items():
        median = statistics.median(spans[name])
        out.append(Step(what, median, None if behind else median / whole))
        behind |= name == SEEN
    return [*out, Step("from the plan to its permit", whole, 1.0)]


# In the process of the governor ------------------------------------------------------------------


class Marks:
    """The clock at each step, plan by plan."""

    def __init__(self) -> None:
        self.plans: list[dict[str, float]] = []
        self._now: dict[str, float] = {}

    def note(self, name: str) -> None:
        """This step is reached."""
        if name == "woken" and "woken" in self._now:
            return  # It looks again while there is something in hand.
        self._now[name] = clock.monotonic()
        if name == "asking":
            if {"woken", "packed"} <= self._now.keys():
                self.plans.append(self._now)
            self._now = {}


def _around(
    stack: contextlib.ExitStack, owner: Any, name: str, before: Callable[..., Any] | None,
    after: Callable[..., Any] | None,
) -> None:  # fmt: skip
    """Calls these before and after each call of something: before with its arguments, after with
    its result."""
    call = getattr(owner, name)

    def wrapped(*args: Any, **options: Any) -> Any:
        if before is not None:
            before(*args)
        result = call(*args, **options)
        if after is not None:
            after(result)
        return result

    setattr(owner, name, wrapped)
    stack.callback(setattr, owner, name, call)


@contextlib.contextmanager
def marked(marks: Marks) -> Iterator[None]:
    """Notes the steps of each plan for the length of a `with`."""

    def noting(name: str) -> Callable[..., None]:
        return lambda *_: marks.note(name)

    def if_there(name: str) -> Callable[[Any], None]:
        return lambda found: marks.note(name) if found else None

    def if_a_step(_connection: Any, packed: Sequence[bytes]) -> None:
        if b"EVALSHA" in packed[0][:32]:
            marks.note("packed")

    with contextlib.ExitStack() as stack:
        _around(stack, Pipe, "arrived", None, if_there("woken"))
        _around(stack, PlanQueue, "answer", None, if_there("parsed"))
        _around(stack, judge.Judge, "serve", noting("judging"), noting("counted"))
        _around(stack, plans, "read", None, noting("plan"))
        _around(stack, judge.Judge, "_efficiencies", None, noting("score"))
        _around(stack, redis.connection.AbstractConnection, "send_packed_command", if_a_step, None)
        _around(stack, GovernorMetrics, "count", noting("reply"), None)
        _around(stack, PlanQueue, "ask", None, noting("asking"))
        yield


def _loop(governor: Governor, stop: threading.Event) -> None:
    """As under the supervisor, without what comes behind a pass."""
    governor.open()
    while not stop.is_set():
        governor.step()
        governor.wait(stop)
    governor.close()


def main() -> None:
    """The governor, until its input ends; then the marks of all plans as JSON."""
    marks, stop = Marks(), threading.Event()
    governor = Governor(Store(sys.argv[1], Keys()), Settings(name="trace"), allow_eviction=False)
    with marked(marks):
        thread = threading.Thread(target=_loop, args=(governor, stop))
        thread.start()
        sys.stdin.read()
        stop.set()
        thread.join()
    sys.stdout.write(json.dumps(marks.plans))


if __name__ == "__main__":
    main()
