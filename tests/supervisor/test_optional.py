"""A service that is optional, as the recorder is in `serve all`: its trouble stays its own."""

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from qtctl.errors import QtctlError
from qtctl.services.base import Service
from qtctl.supervisor import hosted_service, loop
from qtctl.supervisor.notify import Notify
from qtctl.supervisor.run import Supervisor
from tests.supervisor.fakes import FakeService, fetch, held, running
from tests.supervisor.manager import manager
from tests.support.ports import free_port
from tests.support.processes import until

OPTIONAL: dict[str, Any] = {"optional": ("recorder",)}


@pytest.fixture
def taken() -> Iterator[socket.socket]:
    with closing(socket.create_server(("127.0.0.1", free_port()))) as found:
        yield found


def logged(caplog: pytest.LogCaptureFixture, part: str) -> list[logging.LogRecord]:
    return [each for each in caplog.records if part in each.getMessage()]


def test_its_taken_port_keeps_nobody_from_starting_and_is_tried_again(
    taken: socket.socket, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosted_service, "BIND_AGAIN_SEC", 0.05)
    port: int = taken.getsockname()[1]
    recorder, governor = FakeService("recorder", metrics_port=port), FakeService("governor")
    with running(recorder, governor, **OPTIONAL) as run:
        until(lambda: governor.finished > 2 and recorder.finished > 2)
        assert run.ports["recorder"] == 0
        assert run.get("governor", "/readyz")[0] == 200
        until(lambda: len(recorder.failures) > 2, what="further tries")
        assert recorder.metrics_port == 0, "no record may send anybody to another's port"
        taken.close()
        until(lambda: recorder.metrics_port == port)
        assert fetch(port, "/readyz")[0] == 200
    assert set(recorder.failures) == {"port"}
    (line,) = logged(caplog, "served without its metrics port")
    assert line.levelno == logging.ERROR
    assert "[history] metrics_port" in str(vars(line)["fields"]["problem"])
    with closing(socket.create_server(("127.0.0.1", port))):
        pass  # freed at the end


def test_alone_or_needed_a_taken_port_is_an_error(taken: socket.socket) -> None:
    for service in (FakeService("recorder"), FakeService("governor")):
        service.metrics_port = taken.getsockname()[1]
        optional = () if service.name == "recorder" else ("recorder",)
        with pytest.raises(QtctlError, match="can't listen"):
            Supervisor([service], optional=optional).run()


def test_a_reload_keeps_it_without_its_port_until_that_is_free(
    taken: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosted_service, "BIND_AGAIN_SEC", 0.3)
    port: int = taken.getsockname()[1]
    made: list[FakeService] = []

    def again() -> list[Service]:
        made.append(FakeService("recorder", metrics_port=port))
        return [made[-1], FakeService("governor")]

    first = again()
    with running(*first, reload=again, **OPTIONAL) as run:
        run.supervisor.reload()
        until(lambda: len(made) == 2 and made[1].finished > 1)
        assert made[1].metrics_port == 0
        taken.close()
        until(lambda: made[1].metrics_port == port)
        assert fetch(port, "/readyz")[0] == 200


def test_its_loop_that_gives_up_ends_nobody_and_is_started_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "FLAP_LIMIT", 2)
    monkeypatch.setattr(loop, "MOST_EXCEPTION_SEC", 0.01)
    monkeypatch.setattr(hosted_service, "START_AGAIN_SEC", 0.2)

    def raises(number: int) -> None:
        if number <= 3:
            raise KeyError("a bug")

    recorder, governor = FakeService("recorder", on_step=raises), FakeService("governor")
    with running(recorder, governor, **OPTIONAL) as run:
        until(lambda: logged(caplog, "a loop gave up, the others go on"))
        before = governor.finished
        until(lambda: governor.finished > before + 2)
        assert run.get("governor", "/readyz")[0] == 200
        assert run.get("recorder", "/readyz")[0] == 503
        until(lambda: recorder.finished > 1, what="the loop that is started again")
        assert run.get("recorder", "/readyz")[0] == 200
    assert run.code == 0
    assert len(logged(caplog, "a loop gave up")) == 1


def test_while_it_hangs_reloads_take_hold_and_the_end_is_an_ordinary_one(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosted_service, "END_SEC", 0.0)
    release = threading.Event()
    hung = FakeService("recorder", on_step=held(release))
    made: list[tuple[FakeService, FakeService]] = []
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        elsewhere: int = free.getsockname()[1]
    ports = [elsewhere, elsewhere, 0]

    def again() -> list[Service]:
        port = ports[len(made)]
        made.append((FakeService("recorder", metrics_port=port), FakeService("governor")))
        return [*made[-1]]

    first = hung, FakeService("governor")
    with running(*first, reload=again, grace_sec=0.1, **OPTIONAL) as run:
        until(lambda: hung.steps == 1)
        for count in range(1, len(ports) + 1):
            run.supervisor.reload()
            until(lambda count=count: len(made) == count and made[-1][1].finished)  # type: ignore[misc]
            if count < len(ports):
                assert fetch(elsewhere, "/livez")[0] == 200, "where the last settings want it"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", elsewhere), 1).close()
    assert run.code == 0
    assert logged(caplog, "abandoned a loop")
    assert [each.opened for each, _ in made] == [0, 0, 0]
    release.set()
    until(lambda: hung.closed == 1)


@pytest.mark.parametrize("trouble", ["hangs", "raises"])
def test_a_manager_hears_that_all_is_well_whatever_it_does(trouble: str) -> None:
    release = threading.Event()

    def raises(number: int) -> None:
        raise KeyError(f"bug {number}")

    on_step = held(release) if trouble == "hangs" else raises
    bad = FakeService("recorder", on_step=on_step, pass_timeout_sec=0.1)
    with manager() as hears:
        notify = Notify(hears.environ(watchdog_sec=0.2))
        with running(bad, FakeService("governor"), notify=notify, **OPTIONAL) as run:
            hears.wait_for("READY")
            until(lambda: run.get("recorder", "/livez")[0] == 503)
            hears.wait_for("WATCHDOG", hears.count("WATCHDOG") + 3)
            release.set()
