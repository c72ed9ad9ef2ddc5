"""The client for ports of services: this host only, and never more than so much or so long."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from qtctl import probe
from qtctl.cli.views import health, health_record
from qtctl.proof import judging
from qtctl.wire.client.store import Store
from qtctl.wire.schema.service import ServiceRecord
from tests.support.cli import Cli

HERE = socket.gethostname()
HEAD = b"HTTP/1.0 200 OK\r\nServer: qtctl\r\n\r\n"


@contextmanager
def answering(reply: Callable[[socket.socket], None]) -> Iterator[str]:
    """A port where each connection gets this; its `host:port`."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection, suppress(OSError):
                        connection.recv(1_000)
                        reply(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
    thread.join()


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Where this process tries to connect to."""
    tried: list[tuple[str, int]] = []

    def create_connection(place: tuple[str, int], *_: object) -> socket.socket:
        tried.append(place)
        raise ConnectionRefusedError

    monkeypatch.setattr("socket.create_connection", create_connection)
    return tried


@pytest.mark.parametrize(
    ("host", "metrics"),
    [
        (HERE, "192.0.2.1:8045"),
        (HERE, "example.org:8045"),
        ("elsewhere", "192.0.2.1:8045"),
        ("elsewhere", "127.0.0.1:8045"),
        ("elsewhere", "0.0.0.0:8045"),
    ],
)
def test_no_record_makes_anybody_ask_another_host(
    connected: list[tuple[str, int]],
    store: Store,
    redis_url: str,
    capsys: pytest.CaptureFixture[str],
    host: str,
    metrics: str,
) -> None:
    now = store.now_ms() // 1000
    store.run("HSET", store.keys.service("governor", "g1"), "host", host, "metrics", metrics,
              "last_pass_at", now, "settings",
              '{"metrics_addr": "192.0.2.1", "metrics_port": 8045}')  # fmt: skip
    store.run("HSET", "quantum:allocation:target:BTCUSDT", "target_usd", "100", "timestamp", now)
    cli = Cli(redis_url, capsys)
    for command in (("status",), ("why", "BTCUSDT"), ("top", "-n", "1")):
        # The ports of the settings are this host's own, and may be asked.
        cli("--set", "governor.metrics_port=0", "--set", "allocation.metrics_port=0", *command)
    record = ServiceRecord("governor", "g1", "", host, "", 0, now, {}, "", metrics)
    assert judging._get(record, "/metrics").status == 0
    assert health.readiness(record) == (health_record.ALIVE, "")
    assert connected == []
    # It asks the ports of the settings, too.
    cli("doctor")
    assert {place[0] for place in connected} == {"127.0.0.1"}


def test_the_ports_of_this_host_are_asked(connected: list[tuple[str, int]]) -> None:
    assert probe.get(HERE, "0.0.0.0:8045", "/metrics").status == 0
    assert connected == [("127.0.0.1", 8045)]


def test_an_answer_is_read_whole() -> None:
    with answering(lambda to: to.sendall(HEAD + b"x 1\n" * 100_000)) as metrics:
        page = probe.get(HERE, metrics, "/metrics")
    assert (page.status, page.body) == (200, "x 1\n" * 100_000)


def test_an_answer_without_an_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = 0

    def endless(to: socket.socket) -> None:
        nonlocal sent
        to.sendall(HEAD)
        while True:
            sent += to.send(b"x" * 10_000)

    monkeypatch.setattr(probe, "MAX_BYTES", 1_000_000)
    with answering(endless) as metrics:
        page = probe.get(HERE, metrics, "/metrics")
        assert page.status == 0
        assert "more than 1,000,000 bytes" in page.body
        assert probe.ready(*_place(metrics)).who == "other"
    assert sent < 50_000_000


def test_one_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    stop = threading.Event()

    def drips(to: socket.socket) -> None:
        while not stop.wait(0.05):
            to.sendall(b"H")

    monkeypatch.setattr(probe, "TIMEOUT_SEC", 0.3)
    with answering(drips) as metrics:
        page = probe.get(HERE, metrics, "/metrics")
        stop.set()
    assert page.status == 0
    assert "no end of it in time" in page.body


def test_one_that_does_not_answer_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    stop = threading.Event()
    monkeypatch.setattr(probe, "TIMEOUT_SEC", 0.2)

    def waits(_: socket.socket) -> None:
        stop.wait(5)

    with answering(waits) as metrics:
        assert probe.ready(*_place(metrics)).who == "silent"
        stop.set()


def test_no_redirect_is_followed_and_no_proxy_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://192.0.2.1:3128")
    moved = b"HTTP/1.0 302 Found\r\nServer: qtctl\r\nLocation: http://192.0.2.1/\r\n\r\n"
    with answering(lambda to: to.sendall(moved)) as metrics:
        assert probe.get(HERE, metrics, "/metrics").status == 302
        assert not probe.ready(*_place(metrics)).ready


def _place(metrics: str) -> tuple[str, int]:
    place = probe.address(metrics)
    assert place is not None
    return place
