"""The supervisor keeps its services going, and ends when it is told."""

import logging
import signal
import socket
import sys
import threading
import time

import pytest

from qtctl.errors import NoPermissionError, QtctlError, RedisUnreachable
from qtctl.supervisor.backoff import Backoff
from qtctl.supervisor.run import Supervisor, once
from tests.supervisor.fakes import FakeService, fetch, running
from tests.support.processes import process, until
from tests.support.timing import least

AWAY = "can't reach Redis at redis://prod-1:6379/0: connection refused"

ABANDONED = "abandoned a loop that did not end in time services=governor"

# A supervisor as a process, over services that take `argv[1]` seconds for a pass.
SERVE = """
import sys, time
from qtctl.supervisor import logs
from qtctl.supervisor.run import Supervisor
from tests.supervisor.fakes import FakeService

logs.configure(fmt="plain")
slow = FakeService("governor", on_step=lambda n: time.sleep(float(sys.argv[1])))
fast = FakeService("allocation")
def ready(ports):
    print("bound", ports["governor"], ports["allocation"], flush=True)
sys.exit(Supervisor([slow, fast], ready=ready).run())
"""


def records(caplog: pytest.LogCaptureFixture, *words: str) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if any(word in record.getMessage() for word in words)
    ]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_the_process_within_5_s_while_a_step_is_blocked(
    number: int, code: int
) -> None:
    with process([sys.executable, "-c", SERVE, "1"]) as child:
        ports = [int(word) for word in child.wait_for_line("bound").split()[1:]]
        until(lambda: fetch(ports[1], "/readyz")[0] == 200)
        asked = time.monotonic()
        child.signal(number)
        assert child.wait() == code, child
        assert time.monotonic() - asked < 5
        assert "stopped" in child.stderr
        assert "Traceback" not in child.stderr
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 1).close()


def test_a_step_that_never_ends_is_abandoned_and_the_exit_code_says_so() -> None:
    def ended() -> float:
        with process([sys.executable, "-c", SERVE, "60"]) as child:
            child.wait_for_line("bound")
            asked = time.monotonic()
            child.signal(signal.SIGTERM)
            assert child.wait() == 1
            took = time.monotonic() - asked
            assert ABANDONED in child.stderr
            return took

    assert least(ended, 5) < 5


def test_stop_ends_every_loop_and_frees_its_port() -> None:
    services = [FakeService("allocation"), FakeService("governor")]
    with running(*services) as run:
        ports = dict(run.ports)
        until(lambda: all(service.finished > 2 for service in services))
    assert run.code == 0
    assert [service.closed for service in services] == [1, 1]
    for port in ports.values():
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 1).close()


def test_stop_before_run_ends_it_at_once() -> None:
    supervisor = Supervisor([FakeService()])
    supervisor.stop(3)
    assert supervisor.run() == 3


def test_signal_handlers_are_given_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    supervisor = Supervisor([FakeService()], ready=lambda ports: supervisor.stop())
    assert supervisor.run() == 0
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_an_error_in_the_ready_callback_still_ends_the_loops() -> None:
    service = FakeService()

    def ready(ports: object) -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        Supervisor([service], ready=ready).run()
    assert service.closed == service.opened


def test_a_loop_that_raises_is_restarted_and_counted_while_the_other_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def raises_twice(number: int) -> None:
        if number <= 2:
            raise KeyError(f"bug {number}")

    bad = FakeService("governor", on_step=raises_twice)
    good = FakeService("allocation")
    with running(bad, good):
        until(lambda: bad.finished > 3)
        assert good.finished > 3
    assert bad.failures == ["exception", "exception"]
    assert good.failures == []
    assert (bad.opened, bad.closed) == (3, 3)
    errors = [record for record in caplog.records if record.exc_info]
    assert [str(record.exc_info[1]) for record in errors if record.exc_info] == [
        "'bug 1'",
        "'bug 2'",
    ]
    assert {record.name for record in errors} == {"qtctl.supervisor.governor"}


def test_a_loop_that_raises_in_open_is_restarted_too() -> None:
    def raises_once(number: int) -> None:
        if number == 1:
            raise ValueError("bug")

    service = FakeService(on_open=raises_once)
    with running(service):
        until(lambda: service.finished)
    assert service.failures == ["exception"]


def test_redis_away_is_waited_out_with_one_line_when_it_goes_and_one_when_it_is_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "qtctl")
    back = threading.Event()

    def step(number: int) -> None:
        if number > 1 and not back.is_set():
            raise RedisUnreachable(AWAY)

    def open_(number: int) -> None:
        if number > 1 and not back.is_set():
            raise RedisUnreachable("can't reach Redis: the words may change")

    service = FakeService(on_step=step, on_open=open_)
    with running(service) as run:
        until(lambda: service.opened >= 4)
        assert run.get("allocation", "/livez")[0] == 200
        assert "waiting for Redis, last try" in run.get("allocation", "/livez")[1]
        status, body, _ = run.get("allocation", "/readyz")
        assert status == 503
        assert "can't reach Redis" in body
        back.set()
        until(lambda: run.get("allocation", "/readyz")[0] == 200)
        until(lambda: service.finished > 3)
    assert records(caplog, "Redis is") == [
        f"Redis is unreachable, waiting for it: {AWAY}",
        "Redis is back",
    ]
    assert AWAY in str([vars(record) for record in caplog.records if "back" in record.getMessage()])
    assert set(service.failures) == {"redis_unreachable"}
    assert len(service.failures) >= 3
    assert service.closed == service.opened


def test_an_answer_of_redis_that_stays_the_same_is_logged_once_and_counted_each_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refused(number: int) -> None:
        if number <= 3:
            raise NoPermissionError("no permission" if number < 3 else "another trouble")

    service = FakeService(on_step=refused)
    with running(service) as run:
        until(lambda: service.finished)
        until(lambda: run.get("allocation", "/readyz")[0] == 200)
    assert records(caplog, "permission", "trouble") == ["no permission", "another trouble"]
    assert service.failures == ["redis_error"] * 3


def test_a_taken_port_is_told_with_its_setting_before_any_loop_starts() -> None:
    services = [FakeService("governor"), FakeService("allocation")]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        services[1].metrics_port = taken.getsockname()[1]
        with pytest.raises(QtctlError) as caught:
            Supervisor(services).run()
        assert f"127.0.0.1:{services[1].metrics_port}" in str(caught.value)
        assert "[allocation] metrics_port" in str(caught.value)
        assert caught.value.exit_code == 1
    assert [service.opened for service in services] == [0, 0]
    assert [t for t in threading.enumerate() if t.name.startswith("health-")] == []


@pytest.mark.parametrize("pending", [False, True])
def test_once_makes_one_pass_of_each_lets_go_and_tells_what_stays(pending: bool) -> None:
    services = [FakeService("allocation"), FakeService("governor")]
    services[0].pending = pending
    assert once(services) is not pending
    assert [(s.opened, s.steps, s.closed) for s in services] == [(1, 1, 1), (1, 1, 1)]


def test_once_tells_that_redis_is_away_and_lets_go() -> None:
    def gone(number: int) -> None:
        raise RedisUnreachable(AWAY)

    service = FakeService(on_open=gone)
    with pytest.raises(RedisUnreachable, match="prod-1"):
        once([service])
    assert service.closed == 1


def test_delays_grow_to_their_limit_and_start_over_after_passes_that_lasted() -> None:
    backoff = Backoff(0.1, 2.0)
    delays = [backoff.next() for _ in range(8)]
    for delay, full in zip(delays, [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0], strict=True):
        assert full / 2 <= delay <= full
    backoff.ran(1.0)  # shorter than was waited: no proof yet
    assert backoff.next() > 0.9
    backoff.ran(2.5)
    assert backoff.next() <= 0.1
