"""Live proofs: the running services, symbols of their own, and not a trace afterwards."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pexpect
import pytest

from qtctl.errors import RedisUnreachable
from qtctl.proof import environment
from qtctl.services.allocation import AllocationLoop
from qtctl.settings import Allocation
from qtctl.wire.allocation import symbols
from qtctl.wire.client.connect import Access
from qtctl.wire.client.store import Store
from qtctl.wire.governor.plan_queue import group_state
from qtctl.wire.private_server.embedded import Embedded, temporary
from qtctl.wire.schema import service as service_record
from qtctl.wire.schema.keys import Keys
from qtctl.wire.schema.records import pairs, text
from tests.proof.conftest import Prove
from tests.support.cli import interruptible
from tests.support.debian import needed
from tests.support.processes import Process, qtctl, until

REAL = ("BTCUSDT", "ETHUSDT")
ENV = {**os.environ, "QTCTL_CONFIG": os.devnull}


@contextmanager
def services(url: str, which: str = "all", *more: str) -> Iterator[Process]:
    """`qtctl serve` as a process, with passes twice a second, once it is ready."""
    store = Store(url, Keys())
    with qtctl(
        "serve", which, "--redis-url", url, "--set", "allocation.metrics_port=0",
        "--set", "governor.metrics_port=0", "--set", "allocation.interval_sec=0.5", *more, env=ENV,
    ) as child:  # fmt: skip
        names = ("allocation", "governor") if which == "all" else (which,)
        for name in names:
            until(partial(_alive, store, name), what=f"the record of {name}")
        if "governor" in names:
            # Written a moment after its record: else it would look like a trace of the proof.
            until(lambda: list(store.scan_keys("quantum:governor:limits:*")), what="its limits")
        yield child
    store.close()


def _alive(store: Store, service: str) -> bool:
    return bool(list(store.scan_keys(store.keys.service(service, "*"))))


def _answers(store: Store) -> bool:
    try:
        return bool(store.run("PING"))
    except RedisUnreachable:
        return False


def real_symbols(store: Store) -> None:
    now = store.now_ms() // 1000
    for symbol in REAL:
        store.run("HSET", f"quantum:allocation:target:{symbol}", "target_usd", "1000",
                  "timestamp", now)  # fmt: skip
        store.run("HSET", f"quantum:capital:efficiency:{symbol}", "efficiency_score", "0.4",
                  "confidence", "0.9", "ts", now)  # fmt: skip


def picture(store: Store) -> dict[str, Any]:
    """All that a proof could leave: keys but those the loops make for real symbols (and what they
    publish for the history), inputs to the byte, entries that speak of proofs, and what is
    pending."""
    keys = store.keys
    aside = ("quantum:qtctl:service", keys.passes, keys.decisions, keys.events)
    names = sorted(key for key in set(store.scan_keys("*")) if not key.startswith(aside))
    inputs = [key for key in names if key.endswith(REAL) and "proposed" not in key]
    streams = (keys.plans, keys.events, keys.rejected, keys.proposed_stream)
    told = [
        part
        for stream in streams
        for _, raw in store.run("XRANGE", stream, "-", "+")
        for part in raw
        if b"proof" in part.lower()
    ]
    state = group_state(store)
    # Those about plans: a governor also says when another server answers.
    entries = store.run("XRANGE", store.keys.events, "-", "+")
    return {
        "keys": names,
        "inputs": {key: store.run("DUMP", key) for key in inputs},
        "told": told,
        "pending": 0 if state is None else state.pending,
        "plans": store.run("XLEN", store.keys.plans),
        "events": sum(bool(pairs(raw)["plan_id"]) for _, raw in entries),
    }


@pytest.fixture(scope="module")
def at_work() -> Iterator[Store]:
    """Both services at work on a server of their own: a proof leaves nothing there."""
    with temporary() as server, closing(Store(server.url, Keys())) as store:
        real_symbols(store)
        with services(server.url):
            until(lambda: store.run("EXISTS", "quantum:allocation:target:proposed:ETHUSDT"))
            yield store


@pytest.fixture
def live(at_work: Store) -> Store:
    """Both services at work on real-looking symbols that are fresh."""
    at_work.run("DEL", "quantum:kill", "quantum:allocation:target:XYZUSDT")
    real_symbols(at_work)
    return at_work


def test_both_steps_pass_and_leave_no_trace(prove: Prove, live: Store) -> None:
    before = picture(live)
    proven = prove("all", "--live", "--yes", "--redis-url", live.url, "-o", "json")
    assert proven.code == 0, proven
    assert proven.document["passed"] == 12
    assert picture(live) == before
    assert "proving the running services with symbols of our own: QTPROOF" in proven.err


def test_a_failing_live_proof_leaves_no_trace_either(
    prove: Prove, redis_url: str, store: Store
) -> None:
    real_symbols(store)
    with services(redis_url, "all", "--set", "allocation.min_conf=0"):
        until(lambda: store.run("EXISTS", "quantum:allocation:target:proposed:ETHUSDT"))
        before = picture(store)
        proven = prove("step1", "--live", "--yes", "--redis-url", redis_url, "-o", "json")
        assert proven.failing == {("step1", "low_confidence")}
        cause = proven.wrong("step1", "low_confidence")
        assert "setting allocation.min_conf: expected 0.65 (assumed), seen 0" in cause
        assert "the running allocation" in cause, "its settings, not this shell's"
        assert picture(store) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_live_proof_removes_everything(
    redis_url: str, store: Store, number: signal.Signals
) -> None:
    real_symbols(store)
    # Passes far apart: the proof waits for one when it is interrupted.
    with services(redis_url, "all", "--set", "allocation.interval_sec=3"):
        until(lambda: store.run("EXISTS", "quantum:allocation:target:proposed:ETHUSDT"))
        until(lambda: list(store.scan_keys("quantum:governor:limits:*")), what="its limits")
        before = picture(store)
        argv = ("proof", "step1", "--live", "--yes", "--redis-url", redis_url)
        with interruptible(), qtctl(*argv, env=ENV) as child:
            until(lambda: list(store.scan_keys("*QTPROOF*")), what="its inputs")
            child.signal(number)
            assert child.wait() == 130
        after = picture(store)
        assert set(after["keys"]) ^ set(before["keys"]) == set()
        assert after == before


def test_two_live_proofs_at_once_do_not_disturb_each_other(live: Store) -> None:
    before = picture(live)
    argv = ("proof", "all", "--live", "--yes", "--redis-url", live.url)
    with qtctl(*argv, env=ENV) as one, qtctl(*argv, env=ENV) as two:
        assert (one.wait(), two.wait()) == (0, 0), f"{one}\n{two}"
    assert picture(live) == before


def test_halted_trading_is_a_note_and_not_a_failure(prove: Prove, live: Store) -> None:
    live.run("SET", "quantum:kill", "1")
    proven = prove("step2", "--live", "--yes", "--redis-url", live.url)
    assert proven.code == 0, proven
    assert "trading is halted (quantum:kill=1): no permit" in proven.err
    live.run("SET", "quantum:kill", "reduce_only")
    assert prove("step2", "--live", "--yes", "--redis-url", live.url).code == 0


def test_somebody_elses_bad_score_does_not_fail_the_health(prove: Prove, live: Store) -> None:
    live.run("HSET", "quantum:capital:efficiency:BTCUSDT", "efficiency_score", "nan")
    live.run("HSET", "quantum:allocation:target:XYZUSDT", "target_usd", "much")
    assert prove("step1", "--live", "--yes", "--redis-url", live.url).code == 0


def test_a_service_that_does_not_run_is_named_with_how_to_start_it(
    prove: Prove, redis_url: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "STEP2_LIVE_SEC", 1.0)
    proven = prove("step2", "--live", "--yes", "--redis-url", redis_url, "-o", "json")
    assert proven.code == 1
    assert len(proven.failing) == 6
    cause = "no governor runs on this Redis: start it with 'qtctl serve governor'"
    assert cause in proven.wrong("step2", "high_efficiency")
    assert cause in proven.wrong("step2", "service_health")
    assert set(store.scan_keys("*")) <= {store.keys.plans}
    assert store.run("XLEN", store.keys.plans) == 0


def test_it_asks_first_and_refuses_where_nobody_can_be_asked(prove: Prove, live: Store) -> None:
    before = picture(live)
    for more in ((), ("--no-input",)):
        proven = prove("step2", "--live", "--redis-url", live.url, *more)
        assert proven.code == 4
        assert "--yes" in proven.err
    proven = prove("step2", "--live", "--yes", "--redis-url", live.url,
                   "--set", "safety.allow_live_proof=false")  # fmt: skip
    assert proven.code == 4
    assert "allow_live_proof = false (--set)" in proven.err
    assert picture(live) == before


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 4)])
def test_a_person_is_asked_on_a_terminal(live: Store, answer: str, code: int) -> None:
    argv = ["-m", "qtctl", "proof", "step2", "--live", "--redis-url", live.url]
    child = pexpect.spawn(sys.executable, argv, env=ENV, timeout=30, encoding="utf-8")
    child.expect("Go on")
    assert "QTPROOF" in child.before, "what it will write"
    child.sendline(answer)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == code


def test_redis_away_is_exit_3(prove: Prove) -> None:
    proven = prove("step1", "--live", "--yes", "--redis-url", "redis://:secret@127.0.0.1:1/0")
    assert proven.code == 3
    assert "secret" not in proven.err


def test_a_server_that_restarts_midway_leaves_no_trace(tmp_path: Path) -> None:
    server = Embedded.start(tmp_path / "s", appendonly=True)
    store = Store(server.url, Keys())
    real_symbols(store)
    with ExitStack() as stack:
        stack.callback(lambda: server.stop())
        stack.callback(store.close)
        stack.enter_context(services(server.url, "all", "--set", "allocation.interval_sec=2"))
        until(lambda: store.run("EXISTS", "quantum:allocation:target:proposed:ETHUSDT"))
        before = picture(store)
        with qtctl("proof", "step1", "--live", "--yes", "--redis-url", server.url, env=ENV) as it:
            until(lambda: list(store.scan_keys("*QTPROOF*")), what="its inputs")
            store.close()
            server.stop()
            threading.Event().wait(0.3)
            server = Embedded.start(tmp_path / "s", appendonly=True)
            assert it.wait() in (0, 1), str(it)
        assert picture(store) == before


def test_it_passes_on_a_plain_redis_server_too(prove: Prove, tmp_path: Path) -> None:
    socket = tmp_path / "r.sock"
    command = [
        needed("redis-server"),
        "--port",
        "0",
        "--unixsocket",
        str(socket),
        "--save",
        "",
        "--dir",
        str(tmp_path),
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            url = f"unix://{socket}"
            store = Store(url, Keys())
            until(partial(_answers, store), what="redis-server")
            assert "redis_version" in text(store.run("INFO", "server"))
            real_symbols(store)
            with services(url):
                until(lambda: store.run("EXISTS", "quantum:allocation:target:proposed:ETHUSDT"))
                before = picture(store)
                assert prove("all", "--live", "--yes", "--redis-url", url).code == 0
                assert picture(store) == before
            store.close()
        finally:
            server.terminate()


def test_the_proof_waits_for_the_passes_that_the_loop_needs(
    prove: Prove, redis_url: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long they take: by SCAN in a large keyspace, on a machine that is slow."""
    monkeypatch.setattr(service_record, "GRACE_SEC", 5.0)
    monkeypatch.setattr(symbols, "SMALL_KEYSPACE", 100)
    monkeypatch.setattr(symbols, "COUNT", 50)
    store.batch([("SET", f"foreign:{number}", "x") for number in range(3_000)])
    real_symbols(store)
    store.run("ACL", "SETUSER", "scans", "on", "nopass", "~*", "+@all", "resetchannels")
    own = Store(redis_url, Keys(), access=Access(username="scans", password=lambda: "any"))
    loop = AllocationLoop(own, Allocation(name="slow", interval_sec=0.1))
    stop = threading.Event()
    loop.open()
    loop.step()

    def slow() -> None:
        while not stop.wait(1.5):
            loop.step()
        loop.close()

    thread = threading.Thread(target=slow)
    thread.start()
    try:
        proven = prove("step1", "--live", "--yes", "--redis-url", redis_url, "-o", "json")
    finally:
        stop.set()
        thread.join()
        store.run("ACL", "DELUSER", "scans")
    assert proven.failing <= {("step1", "service_health")}, "nobody listens at its port"
