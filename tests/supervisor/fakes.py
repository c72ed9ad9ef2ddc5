"""A service whose every pass is told what to do, and small helpers to ask its port."""

import contextlib
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter

from qtctl.services.base import Service
from qtctl.supervisor.run import Supervisor
from tests.support.processes import until


class FakeService:
    """`on_open` and `on_step` may raise or block; everything that happens is counted."""

    def __init__(
        self,
        name: str = "allocation",
        *,
        on_step: Callable[[int], None] = lambda number: None,
        on_open: Callable[[int], None] = lambda number: None,
        pass_timeout_sec: float = 5.0,
        interval_sec: float = 0.005,
        metrics_port: int = 0,
    ) -> None:
        self.name = name
        self.instance = "test"
        self.pass_timeout_sec = pass_timeout_sec
        self.metrics_addr = "127.0.0.1"
        self.metrics_port = metrics_port
        self.registry = CollectorRegistry()
        self.passes = Counter("fake_passes", "Passes.", registry=self.registry)
        self.failures: list[str] = []
        self.opened = self.closed = self.steps = self.finished = 0
        self.blocked: str | None = None
        self.pending = False
        self._on_step, self._on_open = on_step, on_open
        self._interval_sec = interval_sec

    def open(self) -> None:
        self.opened += 1
        self._on_open(self.opened)

    def step(self) -> int:
        self.steps += 1
        self._on_step(self.steps)
        self.finished += 1
        self.passes.inc()
        return 1

    def once(self) -> bool:
        self.step()
        return not self.pending

    def wait(self, stop: threading.Event) -> None:
        stop.wait(self._interval_sec)

    def close(self) -> None:
        self.closed += 1

    def failed(self, kind: str) -> None:
        self.failures.append(kind)

    def warning(self) -> str | None:
        return None

    def not_ready(self) -> str | None:
        return self.blocked


def held(release: threading.Event, after: int = 0) -> Callable[[int], None]:
    """For `on_step`: every step after the `after`-th hangs until the release."""

    def hangs(number: int) -> None:
        if number > after:
            release.wait(20)

    return hangs


class Running:
    """A supervisor in a thread; `code` after its end."""

    def __init__(self, services: Sequence[Service], **options: Any) -> None:
        self.ports: Mapping[str, int] = {}
        self.code: int | None = None
        self._ready = threading.Event()
        self.supervisor = Supervisor(services, ready=self._bound, **options)
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()
        until(lambda: self._ready.is_set() or not self._thread.is_alive(), what="the start")
        assert self._ready.is_set()

    @property
    def ended(self) -> bool:
        return not self._thread.is_alive()

    def end(self) -> int | None:
        self.supervisor.stop()
        self._thread.join(30)
        assert not self._thread.is_alive()
        return self.code

    def get(self, service: str, path: str, accept: str = "") -> tuple[int, str, str]:
        """(status, body, content type) of a page."""
        return fetch(self.ports[service], path, accept)

    def _bound(self, ports: Mapping[str, int]) -> None:
        self.ports = ports
        self._ready.set()

    def _run(self) -> None:
        self.code = self.supervisor.run()


@contextlib.contextmanager
def running(*services: Service, **options: Any) -> Iterator[Running]:
    """A supervisor over `services` in a thread, ended afterwards; options are the supervisor's."""
    run = Running(services, **options)
    run.start()
    try:
        yield run
    finally:
        run.end()


def fetch(port: int, path: str, accept: str = "") -> tuple[int, str, str]:
    """GET http://127.0.0.1:port/path."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", headers={"Accept": accept} if accept else {}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode(), answer.headers["Content-Type"]
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code, exc.read().decode(), exc.headers["Content-Type"]
