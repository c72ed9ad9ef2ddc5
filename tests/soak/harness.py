"""One run from its start to its report."""

import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from qtctl.errors import RedisUnreachable, WireError
from qtctl.wire.client.store import Store
from qtctl.wire.governor.plan_queue import group_state
from qtctl.wire.schema.keys import EFFICIENCY, GROUP, PERMIT
from qtctl.wire.schema.records import text
from tests.soak import history, scenario
from tests.soak.history import Findings
from tests.soak.nemesis import Nemesis
from tests.soak.producer import Producer
from tests.soak.report import Report
from tests.soak.scenario import Kind, Scenario
from tests.soak.stage import MAIN, ROOT, Stage
from tests.support.guard import Guard, guarded

TAKE_SEC = 2.0
"""The consumers may then still take what is there."""
SCORES = 60

Say = Callable[[str], None]


def run(what: Scenario, say: Say = lambda _: None, keep: Path | None = None) -> Report:
    """The whole run. keep: where logs and files stay afterwards."""
    began = time.monotonic()
    with guarded() as guard:
        stage = Stage(what, guard)
        try:
            report = _run(what, stage, guard, say, began)
        finally:
            stage.end()
            if keep is not None:
                shutil.copytree(guard.directory, keep, dirs_exist_ok=True, ignore=_sockets)
    return report


def _run(what: Scenario, stage: Stage, guard: Guard, say: Say, began: float) -> Report:
    _scores(stage)
    producer = Producer(stage.store(), scenario.plans(what), what.rate)
    nemesis = Nemesis(stage, scenario.acts(what))
    told = [time.monotonic()]

    def between() -> None:
        if time.monotonic() - told[0] > 10:
            told[0] = time.monotonic()
            say(f"{len(producer.ledger):,} plans, {len(nemesis.done)} acts")

    with _consumers(what, stage, guard) as logs:
        _await_governor(stage)
        producer.start()
        try:
            nemesis.run(between)
            while producer.is_alive():
                time.sleep(0.05)
                stage.look()
                between()
        finally:
            producer.cancel()
            producer.join()
        producer.finish()
        pending = _settle(stage, what.settle_sec)
        _let_take(stage)
    store = stage.store(timeout_sec=30.0)
    seen = history.read(store, pending, stage.audit_logs(), logs)
    store.close()
    stepped = any(done.kind is Kind.SERVER_CLOCK for done in nemesis.done)
    findings = Findings(seen, producer.ledger, stage.surprises, stepped=stepped)
    seconds = time.monotonic() - began
    return Report(
        what,
        findings,
        nemesis.done,
        seconds,
        lost_replies=producer.lost_replies,
        refused=producer.refused,
        held=nemesis.held,
    )


@contextlib.contextmanager
def _consumers(what: Scenario, stage: Stage, guard: Guard) -> Iterator[list[Path]]:
    processes, logs = [], []
    for number, kind in enumerate(what.consumers):
        log = stage.directory / f"consumer-{number}.log"
        log.touch()
        logs.append(log)
        with (stage.directory / f"consumer-{number}.err").open("wb") as err:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.soak.consumer", kind, stage.url, str(log)],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=err,
                stderr=err,
            )
        guard.watch(process.pid)
        processes.append(process)
    try:
        yield logs
    finally:
        for process in processes:
            assert process.stdin is not None
            process.stdin.close()
        codes = []
        for process in processes:
            try:
                codes.append(process.wait(10))
            except subprocess.TimeoutExpired:
                process.kill()
                codes.append(process.wait())
            guard.forget(process.pid)
    if any(codes):
        errors = [path.read_text() for path in stage.directory.glob("consumer-*.err")]
        raise AssertionError(f"a consumer broke: {codes}\n" + "\n".join(errors))


def _scores(stage: Stage) -> None:
    """Some symbols have a score, so that there are hints of every kind."""
    store = stage.store()
    for number in range(SCORES):
        key = store.keys.at(EFFICIENCY, f"S{number}USDT")
        score = number / SCORES
        now = store.now_ms() // 1000
        store.run("HSET", key, "efficiency_score", score, "confidence", 0.9, "ts", now)
    store.close()


def _await_governor(stage: Stage) -> None:
    """Plans are sent once somebody reads them."""
    store = stage.store()
    deadline = time.monotonic() + 15
    while group_state(store) is None:
        if time.monotonic() > deadline:
            logs = "\n".join(path.read_text() for path in stage.audit_logs())
            raise AssertionError(f"the governor does not come up:\n{logs}")
        time.sleep(0.02)
    store.close()


def _settle(stage: Stage, within_sec: float) -> list[str]:
    """Waits until all is read and acknowledged; the entries that never were."""
    if not any(governor.name == MAIN for governor in stage.governors):
        stage.start_governor(MAIN)
    store = stage.store()
    deadline = time.monotonic() + within_sec
    waiting = ["unknown"]
    while waiting and time.monotonic() < deadline:
        time.sleep(0.1)
        stage.look()
        with contextlib.suppress(RedisUnreachable, WireError):
            waiting = _waiting(store)
    store.close()
    return waiting


def _waiting(store: Store) -> list[str]:
    """Entries that are not delivered yet or not acknowledged."""
    state = group_state(store)
    start = "-" if state is None else f"({state.last_id}"
    found = [text(id_) for id_, _ in store.run("XRANGE", store.keys.plans, start, "+")]
    if state is not None and state.pending:
        rows = store.run("XPENDING", store.keys.plans, GROUP, "-", "+", state.pending)
        found += [text(row[0]) for row in rows]
    return found


def _let_take(stage: Stage) -> None:
    """Until no permit is left, or for TAKE_SEC."""
    store = stage.store()
    deadline = time.monotonic() + TAKE_SEC
    while time.monotonic() < deadline:
        ids = [text(id_) for id_ in store.run("ZRANGE", store.keys.permits, 0, -1)]
        if not any(store.batch([("EXISTS", store.keys.at(PERMIT, id_)) for id_ in ids])):
            break
        time.sleep(0.1)
    store.close()


def _sockets(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if (Path(folder) / name).is_socket()]
