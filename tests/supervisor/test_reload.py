"""New settings take hold without losing a port or a pass; bad ones change nothing."""

import logging
import socket
import threading
from collections.abc import Callable, Sequence

import pytest

from qtctl.errors import ConfigError, RedisUnreachable
from qtctl.supervisor import hosted_service
from qtctl.supervisor.notify import Notify
from tests.supervisor.fakes import FakeService, fetch, held, running
from tests.supervisor.manager import manager
from tests.support.ports import free_port
from tests.support.processes import until

BAD = "allocation.min_conf = 7 (file /etc/quantum/qtctl.toml): must be between 0 and 1"


def giving(*rounds: Sequence[FakeService]) -> Callable[[], Sequence[FakeService]]:
    """A reload that makes these, one round after the other."""
    left = list(rounds)
    return lambda: left.pop(0)


def refusing() -> Sequence[FakeService]:
    raise ConfigError(BAD)


def test_new_services_take_over_on_the_ports_that_are_bound() -> None:
    old = [FakeService("allocation"), FakeService("governor")]
    new = [FakeService("governor"), FakeService("allocation")]
    accepted = threading.Event()
    with running(*old, reload=giving(new), reloaded=accepted.set) as run:
        until(lambda: all(service.finished > 2 for service in old))
        ports = dict(run.ports)
        run.supervisor.reload()
        until(lambda: all(service.finished > 2 for service in new))
        assert accepted.is_set()
        passes = [service.finished for service in old]
        assert [service.closed for service in old] == [1, 1]
        assert {service.name: service.metrics_port for service in new} == ports
        assert run.get("governor", "/readyz")[0] == 200
        new[0].passes.inc(1000)
        assert "fake_passes_total 1" in run.get("governor", "/metrics")[1]
        assert "fake_passes_total 10" in run.get("governor", "/metrics")[1]
        assert [service.finished for service in old] == passes
    assert run.code == 0
    assert [service.closed for service in new] == [1, 1]


def test_the_reload_is_told_from_its_beginning_to_the_first_pass() -> None:
    release = threading.Event()
    new = FakeService(on_step=held(release))
    with (
        manager() as hears,
        running(FakeService(), reload=giving([new]), notify=Notify(hears.environ(0.4))) as run,
    ):
        hears.wait_for("READY")
        run.supervisor.reload()
        until(lambda: new.steps == 1)
        usec = int(hears.wait_for("RELOADING")["MONOTONIC_USEC"])
        assert abs(usec / 1e6 - hears.times("RELOADING")[0]) < 30, "no other clock"
        assert hears.states() == ["READY", "RELOADING"]
        release.set()
        hears.wait_for("READY", 2)
    assert hears.states() == ["READY", "RELOADING", "READY", "STOPPING"]


def test_a_reload_while_redis_is_away_is_over_after_a_try() -> None:
    def gone(number: int) -> None:
        raise RedisUnreachable("no Redis")

    new = FakeService(on_open=gone)
    with (
        manager() as hears,
        running(FakeService(), reload=giving([new]), notify=Notify(hears.environ())) as run,
    ):
        hears.wait_for("READY")
        run.supervisor.reload()
        assert "waiting for Redis" in hears.wait_for("READY", 2)["STATUS"]


def test_bad_settings_are_refused_with_one_line_and_the_old_services_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "qtctl")
    old = FakeService()
    accepted = threading.Event()
    with (
        manager() as hears,
        running(old, reload=refusing, reloaded=accepted.set, notify=Notify(hears.environ())) as run,
    ):
        hears.wait_for("READY")
        run.supervisor.reload()
        assert BAD in hears.wait_for("READY", 2)["STATUS"]
        passes = old.finished
        until(lambda: old.finished > passes + 3)
        assert hears.states() == ["READY", "RELOADING", "READY"]
        assert old.opened == 1
        assert not accepted.is_set()
    lines = [record.getMessage() for record in caplog.records if "reload" in record.getMessage()]
    assert lines == [f"reload refused, the old settings stay: {BAD}"]


def test_a_bug_in_reading_settings_is_refused_with_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    old = FakeService()
    with running(old, reload=giving()) as run:
        run.supervisor.reload()
        until(lambda: "reload refused" in caplog.text)
        passes = old.finished
        until(lambda: old.finished > passes)
    assert "IndexError: pop from empty list" in caplog.text
    assert sum(record.exc_info is not None for record in caplog.records) == 1


def test_a_port_that_is_taken_refuses_all_of_the_new_settings(
    caplog: pytest.LogCaptureFixture,
) -> None:
    old = [FakeService("allocation"), FakeService("governor")]
    elsewhere = free_port()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        new = [
            FakeService("allocation", metrics_port=elsewhere),
            FakeService("governor", metrics_port=taken.getsockname()[1]),
        ]
        with running(*old, reload=giving(new)) as run:
            run.supervisor.reload()
            until(lambda: "reload refused" in caplog.text)
            assert "[governor] metrics_port" in caplog.text
            assert [service.opened for service in new] == [0, 0]
            assert run.get("allocation", "/livez")[0] == 200
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", elsewhere), 1).close()


def test_another_port_is_bound_and_the_old_one_freed() -> None:
    old = FakeService()
    elsewhere = free_port()
    new = FakeService(metrics_port=elsewhere)
    with running(old, reload=giving([new])) as run:
        run.supervisor.reload()
        until(lambda: new.finished)
        until(lambda: fetch(elsewhere, "/readyz")[0] == 200)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", run.ports["allocation"]), 1).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", elsewhere), 1).close()


def test_the_old_loop_finishes_its_pass_before_the_new_one_begins() -> None:
    release = threading.Event()
    old = FakeService(on_step=held(release))
    new = FakeService()
    with running(old, reload=giving([new])) as run:
        until(lambda: old.steps == 1)
        run.supervisor.reload()
        release.wait(0.2)
        assert new.opened == 0
        release.set()
        until(lambda: new.finished)
        assert (old.finished, old.closed) == (1, 1)


def test_reloads_that_come_close_together_take_hold_one_after_the_other() -> None:
    made = [FakeService(interval_sec=0.001)]

    def another() -> Sequence[FakeService]:
        made.append(FakeService(interval_sec=0.001))
        return made[-1:]

    with running(made[0], reload=another) as run:
        for _ in range(10):
            last = made[-1]
            for _ in range(10):
                run.supervisor.reload()
            until(lambda last=last: made[-1] is not last and made[-1].finished)  # type: ignore[misc]
        until(lambda: run.get("allocation", "/readyz")[0] == 200)
    # One more may have been asked for, and not have begun.
    assert [service.opened for service in made[:-1]] == [1] * (len(made) - 1)
    assert all(service.opened == service.closed for service in made)
    assert [t for t in threading.enumerate() if t.name.startswith("health-")] == []


def test_a_hung_loop_is_replaced_when_its_deadline_is_over_and_told_at_the_end(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosted_service, "END_SEC", 0.2)
    release = threading.Event()
    old = FakeService(on_step=held(release), pass_timeout_sec=0.3)
    new = FakeService()
    with running(old, reload=giving([new]), grace_sec=0.2) as run:
        until(lambda: old.steps == 1)
        run.supervisor.reload()
        until(lambda: new.finished)
        assert run.get("allocation", "/livez")[0] == 200
        assert "replaced a loop that did not end" in caplog.text
    assert run.code == 1
    assert "abandoned a loop" in caplog.text
    release.set()
    until(lambda: old.closed == 1)
    assert old.steps == 1


def test_an_end_that_is_asked_for_during_a_reload_starts_no_successor() -> None:
    release = threading.Event()
    old = FakeService(on_step=held(release))
    new = FakeService(metrics_port=0)
    with running(old, reload=giving([new])) as run:
        until(lambda: old.steps == 1)
        run.supervisor.reload()
        threading.Timer(0.3, release.set).start()
        assert run.end() == 0
    assert (old.closed, new.opened) == (1, 0)
