"""How the process ends when something is wrong: a loop that flaps, a second signal."""

import os
import pty
import signal
import sys
import time

import pytest

from qtctl.errors import RedisUnreachable, WireError
from qtctl.supervisor import loop
from tests.supervisor.fakes import FakeService, running
from tests.supervisor.manager import manager
from tests.support.processes import process, until

# A supervisor as a process. argv: seconds for a pass of the governor.
SERVE = """
import os, sys, time
from qtctl.supervisor import logs
from qtctl.supervisor.notify import Notify
from qtctl.supervisor.run import Supervisor
from tests.supervisor.fakes import FakeService

logs.configure(fmt="plain")
def services():
    slow = FakeService("governor", on_step=lambda n: time.sleep(float(sys.argv[1])))
    return [slow, FakeService("allocation")]
def ready(ports):
    print("bound", flush=True)
supervisor = Supervisor(services(), ready=ready, reload=services, notify=Notify(os.environ))
sys.exit(supervisor.run())
"""


def raises(number: int) -> None:
    raise ValueError("bug")


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waits between the restarts."""
    monkeypatch.setattr(loop, "FIRST_RETRY_SEC", 0.001)
    monkeypatch.setattr(loop, "MOST_EXCEPTION_SEC", 0.001)
    monkeypatch.setattr(loop, "MOST_REDIS_SEC", 0.001)


@pytest.mark.usefixtures("hasty")
def test_a_loop_that_keeps_raising_ends_the_process_with_an_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    flapping, fine = FakeService("governor", on_step=raises), FakeService("allocation")
    with running(flapping, fine) as run:
        until(lambda: run.ended)
    assert run.code == 1
    assert flapping.failures == ["exception"] * (loop.FLAP_LIMIT + 1)
    assert fine.failures == []
    assert [service.closed for service in (flapping, fine)] == [flapping.opened, 1]
    told = [record for record in caplog.records if "giving up" in record.getMessage()]
    assert [record.name for record in told] == ["qtctl.supervisor.governor"]
    assert vars(told[0])["fields"] == {
        "restarts": loop.FLAP_LIMIT,
        "within_sec": loop.FLAP_WINDOW_SEC,
    }


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("error", [RedisUnreachable("no Redis"), WireError("out of memory")])
def test_what_redis_does_never_counts_as_flapping(error: Exception) -> None:
    def refused(number: int) -> None:
        raise error

    service = FakeService(on_open=refused)
    with running(service) as run:
        until(lambda: service.opened > 5 * loop.FLAP_LIMIT)
        assert not run.ended
        assert run.get("allocation", "/livez")[0] == 200
        assert run.get("allocation", "/readyz")[0] == 503
    assert run.code == 0


@pytest.mark.usefixtures("hasty")
def test_restarts_that_lie_further_apart_are_no_flapping(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loop, "FLAP_WINDOW_SEC", 0.1)

    def raises_now_and_then(number: int) -> None:
        if number % 10 == 0:
            raise ValueError("bug")

    service = FakeService(on_step=raises_now_and_then)
    with running(service) as run:
        until(lambda: len(service.failures) > loop.FLAP_LIMIT + 5)
        assert not run.ended


def test_a_loop_always_raising_gives_up_well_before_a_watchdog_would_bite() -> None:
    delays = [min(loop.MOST_EXCEPTION_SEC, loop.FIRST_RETRY_SEC * 2**n) for n in range(99)]
    until_the_last = sum(delays[: loop.FLAP_LIMIT])
    assert until_the_last < min(45, loop.FLAP_WINDOW_SEC)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_loop_that_dies_in_an_unheard_of_way_ends_the_process() -> None:
    def leaves(number: int) -> None:
        raise SystemExit(0)

    with running(FakeService(on_step=leaves)) as run:
        until(lambda: run.ended)
    assert run.code == 1


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [
        (signal.SIGTERM, signal.SIGTERM, 143),
        (signal.SIGTERM, signal.SIGINT, 130),
        (signal.SIGINT, signal.SIGINT, 130),
        (signal.SIGINT, signal.SIGTERM, 143),
    ],
)
def test_a_second_signal_ends_the_process_on_the_spot(first: int, second: int, code: int) -> None:
    with process([sys.executable, "-c", SERVE, "60"]) as child:
        child.wait_for_line("bound")
        child.signal(first)
        child.wait_for_line("stopping")
        child.signal(second)
        assert child.wait() == code, "a step that never ends would be 1, after the grace"
        assert child.stderr.endswith("ending at once\n")


def test_sighup_reloads_and_sigterm_ends_also_right_after_it() -> None:
    with manager() as hears:
        environ = {**os.environ, **hears.environ()}
        with process([sys.executable, "-c", SERVE, "0.01"], env=environ) as child:
            hears.wait_for("READY")
            child.signal(signal.SIGHUP)
            hears.wait_for("READY", 2)
            child.signal(signal.SIGHUP)
            child.signal(signal.SIGTERM)
            assert child.wait() == 0
            assert "Traceback" not in child.stderr
        until(lambda: hears.count("STOPPING"))
        assert hears.states()[:3] == ["READY", "RELOADING", "READY"]
        assert hears.states()[-1] == "STOPPING"


def test_a_hangup_by_a_terminal_that_is_gone_ends_the_process_instead() -> None:
    ours, theirs = pty.openpty()
    try:
        with process(["/bin/sh", "-c", 'exec "$@" 2>"$0"', os.ttyname(theirs),
                      sys.executable, "-c", SERVE, "0.01"]) as child:  # fmt: skip
            child.wait_for_line("bound")
            child.signal(signal.SIGHUP)
            shown = b""
            while b"reloaded" not in shown:
                shown += os.read(ours, 65_536)
            assert child.code is None
            os.close(ours)
            ours = -1
            child.signal(signal.SIGHUP)
            assert child.wait() == 129
    finally:
        for descriptor in (ours, theirs):
            if descriptor >= 0:
                os.close(descriptor)


@pytest.mark.parametrize("ignored", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_was_ignored_from_the_start_stays_ignored(ignored: int) -> None:
    """As nohup and a shell's background jobs have it."""
    start = f"import signal; signal.signal({int(ignored)}, signal.SIG_IGN)\n"
    with process([sys.executable, "-c", start + SERVE, "0"]) as child:
        child.wait_for_line("bound")
        child.signal(ignored)
        time.sleep(0.5)
        assert child.code is None
        assert "reloaded" not in child.stderr
        other = signal.SIGINT if ignored == signal.SIGTERM else signal.SIGTERM
        child.signal(other)
        assert child.wait() in (0, 130)
