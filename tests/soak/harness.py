"""One run from its start to its report."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from qtctl.errors import RedisUnreachable, WireError
from qtctl.wire.client.connect import is_error
from qtctl.wire.client.store import Store
from qtctl.wire.governor.plan_queue import group_state
from qtctl.wire.private_server.folder import SOCKET
from qtctl.wire.schema.keys import EFFICIENCY, GROUP, PERMIT, Keys
from qtctl.wire.schema.records import text
from tests.soak import history, scenario
from tests.soak.history import Findings
from tests.soak.nemesis import Nemesis
from tests.soak.producer import Producer
from tests.soak.report import Report
from tests.soak.scenario import Scenario
from tests.soak.stage import MAIN, ROOT, Stage
from tests.soak.witness import Witness
from tests.support import clocks
from tests.support.guard import Guard, guarded
from tests.support.processes import until
from tests.support.slow_link import slow_link

SCORES = 60
MOST = 5
"""So many times the plans are sent at most, where acts take longer on a busy machine."""

Say = Callable[[str], None]


def run(what: Scenario, say: Say = lambda _: None, keep: Path | None = None) -> Report:
    """The whole run. keep: where logs and files stay afterwards."""
    began = time.monotonic()
    if what.stepped and clocks.found() is None and os.environ.get("CI") == "true":
        raise AssertionError("libfaketime is not installed (Debian: faketime)")
    with guarded() as guard, slow_link(guard.directory / "server" / SOCKET) as link:
        guard.watch(link.pid)
        stage = Stage(what, guard, link)
        try:
            report = _run(what, stage, guard, say, began)
        finally:
            stage.end()
            if keep is not None:
                shutil.copytree(guard.directory, keep, dirs_exist_ok=True, ignore=_sockets)
    return report


def _run(what: Scenario, stage: Stage, guard: Guard, say: Say, began: float) -> Report:
    scored_at = _scores(stage)
    plans = scenario.plans(msgspec.structs.replace(what, plans=MOST * what.plans))
    producer = Producer(stage.store(), plans, what.rate, what.plans, lambda: stage.off_sec)
    witness = Witness(stage.store())
    nemesis = Nemesis(stage, scenario.acts(what), witness)
    told = [time.monotonic()]

    def between() -> None:
        if time.monotonic() - told[0] > 10:
            told[0] = time.monotonic()
            say(f"{len(producer.ledger):,} plans, {len(nemesis.done)} acts")

    with _consumers(what, stage, guard) as logs:
        _await_governor(stage)
        witness.start()
        producer.start()
        try:
            nemesis.run(between)
            producer.enough.set()
            while producer.is_alive():
                time.sleep(0.05)
                stage.look()
                between()
        finally:
            producer.cancel()
            producer.join()
        producer.finish()
        pending = _settle(stage, what.settle_sec)
        _let_take(stage, what.take_sec)
        stage.diary.ended = time.monotonic()
        witness.finish()
    eras = list(_past(stage))
    store = stage.store(timeout_sec=30.0)
    eras.append(history.read(store, pending))
    store.close()
    for governor in stage.governors:
        governor.unstall()
    held = history.held(stage.audit_logs(), logs)
    findings = Findings(
        eras, held, producer, witness.seen, stage.diary, stage.surprises, scored_at, what.fresh_sec
    )
    seconds = time.monotonic() - began
    return Report(
        what,
        findings,
        nemesis.done,
        witness.decisions,
        seconds,
        lost_replies=producer.lost_replies,
        refused=producer.refused,
        held=nemesis.held,
        skipped=nemesis.skipped,
    )


def _past(stage: Stage) -> Iterator[history.Era]:
    """What each server had when it lost its data."""
    for number, folder in enumerate(stage.past):
        server = stage.past_server(number)
        store = Store(server.url, Keys(), timeout_sec=30.0)
        try:
            _restore(store, folder)
            yield history.read(store, _waiting(store))
        finally:
            store.close()
            server.kill()


def _restore(store: Store, folder: Path) -> None:
    """What was there when the server was flushed."""
    kept = folder / "dump"
    if kept.exists():
        rows = msgspec.msgpack.decode(kept.read_bytes())
        calls = [("RESTORE", key, max(0, ttl), raw) for key, ttl, raw in rows]
        for start in range(0, len(calls), 1_000):
            for reply in store.batch(calls[start : start + 1_000]):
                assert not is_error(reply), reply


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
        for number, log in enumerate(logs):
            until(log.read_text, what=f"consumer {number} to begin", timeout=30)
        yield logs
    finally:
        for process in processes:
            assert process.stdin is not None
            process.stdin.close()
        codes = []
        for process in processes:
            try:
                codes.append(process.wait(60))
            except subprocess.TimeoutExpired:
                process.kill()
                codes.append(process.wait())
            guard.forget(process.pid)
    if any(codes):
        errors = [path.read_text() for path in stage.directory.glob("consumer-*.err")]
        raise AssertionError(f"a consumer broke: {codes}\n" + "\n".join(errors))


def _scores(stage: Stage) -> dict[str, float]:
    """Some symbols have a score, so that there are hints of every kind; the time of each."""
    store, times = stage.store(), {}
    for number in range(SCORES):
        key = store.keys.at(EFFICIENCY, f"S{number}USDT")
        score = number / SCORES
        now = store.now_ms() // 1000
        times[f"S{number}USDT"] = float(now)
        store.run("HSET", key, "efficiency_score", score, "confidence", 0.9, "ts", now)
    store.close()
    return times


def _await_governor(stage: Stage) -> None:
    """Plans are sent once somebody reads them."""
    store = stage.store()
    deadline = time.monotonic() + 60
    while group_state(store) is None:
        if time.monotonic() > deadline:
            logs = "\n".join(path.read_text() for path in stage.audit_logs())
            raise AssertionError(f"the governor does not come up:\n{logs}")
        time.sleep(0.02)
    store.close()


def _settle(stage: Stage, within_sec: float) -> list[str]:
    """Waits until all is read and acknowledged; the entries that never were."""
    for governor in stage.governors:
        governor.unstall()
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


def _let_take(stage: Stage, within_sec: float) -> None:
    """Until no permit is left, at most for so long."""
    store = stage.store()
    deadline = time.monotonic() + within_sec
    while time.monotonic() < deadline:
        ids = [text(id_) for id_ in store.run("ZRANGE", store.keys.permits, 0, -1)]
        if not any(store.batch([("EXISTS", store.keys.at(PERMIT, id_)) for id_ in ids])):
            break
        time.sleep(0.1)
    store.close()


def _sockets(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if (Path(folder) / name).is_socket()]
