"""What systemd is told, and when."""

import os
import socket
import threading
import time
from itertools import pairwise
from pathlib import Path
from statistics import median

import pytest

from qtctl.errors import RedisUnreachable
from qtctl.supervisor.notify import Notify
from tests.supervisor.fakes import FakeService, held, running
from tests.supervisor.manager import manager
from tests.support.processes import until
from tests.support.timing import least

AWAY = "no Redis at redis://prod-1/0: connection refused"


@pytest.mark.parametrize("abstract", [False, True])
def test_a_message_arrives_on_either_kind_of_socket(abstract: bool) -> None:
    with manager(abstract=abstract) as hears:
        assert Notify(hears.environ()).send("READY=1", "STATUS=two\nlines")
        assert hears.wait_for("READY") == {"READY": "1", "STATUS": "two lines"}


@pytest.mark.parametrize(
    "address", ["", "relative/path", "vsock:2:1234", "/nowhere/notify", "@nobody", "/" + "x" * 200]
)
def test_nobody_who_listens_is_no_error(address: str) -> None:
    notify = Notify({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000"})
    assert notify.send("READY=1") is not notify.listening
    assert notify.listening is address.startswith(("/", "@"))
    assert (notify.watchdog_sec is not None) is notify.listening


def test_a_manager_that_does_not_read_costs_a_moment_and_not_the_supervisor(
    tmp_path: Path,
) -> None:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(address)
        notify = Notify({"NOTIFY_SOCKET": address})
        while notify.send("STATUS=" + "x" * 1000):
            pass  # Its buffer is full in the end.
        took = least(lambda: _seconds_for(notify), 2)
        assert took < 2


def _seconds_for(notify: Notify) -> float:
    began = time.monotonic()
    assert not notify.send("STATUS=to nobody")
    return time.monotonic() - began


@pytest.mark.parametrize(
    ("usec", "pid", "seconds"),
    [
        ("30000000", "", 30.0),
        ("500000", "self", 0.5),
        ("500000", "1", None),
        ("0", "", None),
        ("-1", "", None),
        ("many", "", None),
        ("", "", None),
    ],
)
def test_the_watchdogs_patience_is_read_where_it_is_meant_for_us(
    usec: str, pid: str, seconds: float | None
) -> None:
    pid = str(os.getpid()) if pid == "self" else pid
    environ = {"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": usec, "WATCHDOG_PID": pid}
    assert Notify(environ).watchdog_sec == seconds


def test_ready_is_told_only_when_the_last_of_the_services_has_finished_a_pass() -> None:
    release = threading.Event()
    fast = FakeService("allocation")
    slow = FakeService("governor", on_step=held(release))
    with manager() as hears, running(fast, slow, notify=Notify(hears.environ(0.4))):
        until(lambda: fast.finished > 5)
        until(lambda: hears.count("EXTEND_TIMEOUT_USEC") > 2)
        assert hears.states() == []
        assert hears.count("WATCHDOG") == 0
        assert "allocation: working" in hears.status
        assert "governor: starting" in hears.status
        release.set()
        assert "governor: working, last pass " in hears.wait_for("READY")["STATUS"]
        until(lambda: hears.count("WATCHDOG") > 3)
        assert hears.count("READY") == 1


def test_start_and_stop_are_told_in_their_order() -> None:
    with manager() as hears:
        with running(FakeService(), notify=Notify(hears.environ())):
            hears.wait_for("READY")
        hears.wait_for("STOPPING")
        assert hears.states() == ["READY", "STOPPING"]
        assert hears.status == "stopping"


def test_the_watchdog_is_fed_within_half_its_time_also_by_a_service_with_slow_passes() -> None:
    slow = FakeService("allocation", interval_sec=10, pass_timeout_sec=30)
    with (
        manager() as hears,
        running(slow, FakeService("governor"), notify=Notify(hears.environ(1.0))),
    ):
        hears.wait_for("WATCHDOG", 5)
        times = hears.times("WATCHDOG")
    assert slow.finished == 1
    # The rhythm, which a machine that is busy may miss once.
    assert median(later - at for at, later in pairwise(times)) < 0.5


def test_the_watchdog_is_not_fed_while_one_loop_hangs_and_again_when_it_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "qtctl")
    release = threading.Event()
    hung = FakeService("governor", on_step=held(release, 2), pass_timeout_sec=1.0)
    fine = FakeService("allocation")
    with manager() as hears, running(hung, fine, notify=Notify(hears.environ(0.15))) as run:
        until(lambda: run.get("governor", "/livez")[0] == 503)
        until(lambda: "governor: no progress within 1 s, last pass" in hears.status)
        fed, passes = hears.count("WATCHDOG"), fine.finished
        assert fed > 0
        time.sleep(0.5)  # three times its patience
        until(lambda: fine.finished > passes)
        assert hears.count("WATCHDOG") == fed
        release.set()
        hears.wait_for("WATCHDOG", fed + 2)
    told = [record for record in caplog.records if "progress" in record.getMessage()]
    assert [record.getMessage() for record in told] == [
        "a loop makes no progress",
        "makes progress again",
    ]
    fields = vars(told[0])["fields"]
    assert fields["service"] == "governor"
    assert fields["problem"].startswith("no progress: last pass ")
    assert " hangs < fakes.py:" in fields["at"]


def test_a_loop_that_only_raises_does_not_feed_the_watchdog() -> None:
    def raises(number: int) -> None:
        if number > 1:
            raise ValueError("bug")

    with (
        manager() as hears,
        running(
            FakeService(on_step=raises, pass_timeout_sec=0.3), notify=Notify(hears.environ(0.1))
        ),
    ):
        until(lambda: "no progress" in hears.status)
        fed = hears.count("WATCHDOG")
        time.sleep(0.3)
        assert hears.count("WATCHDOG") == fed


def test_waiting_for_redis_feeds_the_watchdog_and_is_told() -> None:
    back = threading.Event()

    def gone(number: int) -> None:
        if number > 1 and not back.is_set():
            raise RedisUnreachable(AWAY)

    service = FakeService(on_open=lambda n: gone(n + 1), on_step=gone, pass_timeout_sec=3)
    with manager() as hears, running(service, notify=Notify(hears.environ(0.4))) as run:
        until(lambda: f"allocation: waiting for Redis: {AWAY}" in hears.status)
        until(lambda: hears.count("WATCHDOG") > 2)
        assert hears.states() == []
        assert run.get("allocation", "/livez")[0] == 200
        back.set()
        hears.wait_for("READY")
        assert "allocation: working" in hears.status


def test_what_the_service_has_against_work_is_told_in_one_line() -> None:
    service = FakeService()
    with manager() as hears, running(service, notify=Notify(hears.environ())):
        hears.wait_for("READY")
        service.blocked = "may evict\nREADY=1"
        until(lambda: "allocation: not ready: may evict\\x0aREADY=1" in hears.status)
        assert hears.count("READY") == 1


def test_ready_is_told_later_where_nobody_listened_at_first(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with running(FakeService(), notify=Notify({"NOTIFY_SOCKET": address})) as run:
        until(lambda: run.get("allocation", "/readyz")[0] == 200)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as late:
            late.bind(address)
            late.settimeout(30)
            assert late.recv(65_536).startswith(b"READY=1\nWATCHDOG=1\n")
