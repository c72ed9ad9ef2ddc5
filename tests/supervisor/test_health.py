"""Each service's port tells what its loop really gets done."""

import contextlib
import socket
import threading
import time

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from qtctl.errors import WireError
from qtctl.supervisor import health
from qtctl.supervisor.progress import Progress
from tests.supervisor.fakes import FakeService, running
from tests.support.processes import until


def test_a_hung_step_is_not_live_while_the_other_service_is() -> None:
    release = threading.Event()

    def hangs(number: int) -> None:
        if number > 2:
            release.wait(20)

    hung = FakeService("governor", on_step=hangs, pass_timeout_sec=0.2)
    fine = FakeService("allocation", pass_timeout_sec=2)
    with running(hung, fine) as run:
        until(lambda: run.get("governor", "/livez")[0] == 503)
        assert run.get("governor", "/livez")[1].startswith("no progress: last pass ")
        assert run.get("governor", "/readyz")[0] == 503
        assert run.get("allocation", "/livez")[0] == 200
        assert run.get("allocation", "/readyz")[0] == 200
        release.set()
        until(lambda: run.get("governor", "/livez")[0] == 200)


def test_a_loop_that_only_raises_is_not_live() -> None:
    def raises(number: int) -> None:
        raise ValueError("bug\nwith two lines")

    with running(FakeService(on_step=raises, pass_timeout_sec=0.2)) as run:
        until(lambda: run.get("allocation", "/livez")[0] == 503)
        status, body, _ = run.get("allocation", "/readyz")
        assert (status, body) == (503, "not ready: ValueError: bug\\x0awith two lines\n")


def test_an_error_that_redis_answers_is_not_ready() -> None:
    def refused(number: int) -> None:
        if number > 1:
            raise WireError("the server is read-only")

    with running(FakeService(on_step=refused)) as run:
        until(lambda: "read-only" in run.get("allocation", "/readyz")[1])
        assert run.get("allocation", "/readyz")[0] == 503


def test_a_warning_stands_on_the_page_of_a_service_that_is_ready() -> None:
    progress = Progress(10.0, 0.0)
    progress.passed(1.0, None, "plan ids are in µs\x1b[2J")
    assert progress.ready(1.5) == (
        True, "ok: last pass 0.5 s ago; WARNING: plan ids are in µs\\x1b[2J",
    )  # fmt: skip
    progress.passed(2.0, None)
    assert progress.ready(2.5) == (True, "ok: last pass 0.5 s ago")


def test_what_the_service_has_against_work_is_the_reason_for_not_ready() -> None:
    service = FakeService()
    with running(service) as run:
        until(lambda: run.get("allocation", "/readyz")[0] == 200)
        service.blocked = "maxmemory-policy allkeys-lru may evict decisions"
        until(lambda: run.get("allocation", "/readyz")[0] == 503)
        body = run.get("allocation", "/readyz")[1]
        assert body == "not ready: maxmemory-policy allkeys-lru may evict decisions\n"
        assert run.get("allocation", "/livez")[0] == 200


def test_a_healthy_service_says_so_in_one_line() -> None:
    with running(FakeService()) as run:
        until(lambda: run.get("allocation", "/readyz")[0] == 200)
        for path in ("/livez", "/readyz"):
            status, body, content_type = run.get("allocation", path)
            assert status == 200
            assert body.startswith("ok: last pass ")
            assert body.endswith(" s ago\n")
            assert content_type == "text/plain; charset=utf-8"


def test_metrics_come_in_the_format_that_is_asked_for() -> None:
    service = FakeService()
    with running(service) as run:
        until(lambda: service.finished)
        status, body, content_type = run.get("allocation", "/metrics")
        assert (status, content_type.split(";")[0]) == (200, "text/plain")
        assert "fake_passes_total" in body
        _, body, content_type = run.get(
            "allocation", "/metrics", accept="application/openmetrics-text; version=1.0.0"
        )
        assert content_type.startswith("application/openmetrics-text")
        families = text_string_to_metric_families(body)
        assert "fake_passes" in [family.name for family in families]


def test_other_paths_are_404_and_a_query_does_not_matter() -> None:
    with running(FakeService()) as run:
        assert run.get("allocation", "/")[0] == 404
        assert run.get("allocation", "/metrics/../etc")[0] == 404
        assert run.get("allocation", "/livez?verbose=1")[0] == 200


def test_each_service_has_metrics_of_its_own() -> None:
    first, second = FakeService("allocation", interval_sec=5), FakeService("governor")
    with running(first, second) as run:
        until(lambda: second.finished > 3)
        assert "fake_passes_total 1.0" in run.get("allocation", "/metrics")[1]
        assert "fake_passes_total 1.0" not in run.get("governor", "/metrics")[1]


def test_a_client_that_drips_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "REQUEST_TIMEOUT_SEC", 0.3)
    with running(FakeService()) as run:
        with socket.create_connection(("127.0.0.1", run.ports["allocation"]), 30) as slow:
            began = time.monotonic()
            ended = False
            while not ended:
                assert time.monotonic() - began < 10, "it drips all the time"
                try:
                    slow.sendall(b"G")
                    slow.settimeout(0.05)
                    ended = slow.recv(100) == b""
                except TimeoutError:
                    continue
                except OSError:
                    ended = True
        assert run.get("allocation", "/livez")[0] == 200


def test_an_open_connection_does_not_hold_up_the_end() -> None:
    with (
        running(FakeService()) as run,
        socket.create_connection(("127.0.0.1", run.ports["allocation"]), 30) as idle,
    ):
        idle.sendall(b"GET /livez HTTP/1.0\r\n")
        began = time.monotonic()
        assert run.end() == 0
        assert time.monotonic() - began < health.IO_TIMEOUT_SEC, "it was waited for"
        with contextlib.suppress(ConnectionResetError):  # where it was not even accepted yet
            assert idle.recv(100) == b""


def test_a_collector_that_raises_is_logged_and_the_port_goes_on(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    class Broken:
        def collect(self) -> object:
            raise KeyError("bug")

        def describe(self) -> list[object]:
            return []

    service = FakeService()
    service.registry.register(Broken())  # type: ignore[arg-type]
    with running(service) as run:
        with pytest.raises(OSError, match="closed connection"):
            run.get("allocation", "/metrics")
        assert run.get("allocation", "/livez")[0] == 200
    assert "request failed" in caplog.text
    assert capfd.readouterr().err == ""


def test_progress_tells_how_long_ago_something_ended() -> None:
    progress = Progress(timeout_sec=30, started=100)
    assert progress.live(101) == (True, "ok: started 1.0 s ago")
    assert progress.ready(101) == (False, "not ready: no pass finished yet")
    assert progress.live(131) == (False, "no progress: started 31.0 s ago, limit 30 s")
    progress.tried(135, "no Redis", away=True)
    assert progress.live(140) == (True, "ok: waiting for Redis, last try 5.0 s ago")
    assert progress.ready(140) == (False, "not ready: no Redis")
    progress.passed(150, None)
    assert progress.live(152.1) == (True, "ok: last pass 2.1 s ago")
    assert progress.ready(152.1) == (True, "ok: last pass 2.1 s ago")
    assert progress.ready(181) == (False, "not ready: last pass 31.0 s ago, limit 30 s")
    progress.broke("trouble")
    assert progress.live(181) == (False, "no progress: last pass 31.0 s ago, limit 30 s")
    progress.stopping = True
    assert progress.ready(181) == (False, "not ready: stopping")
