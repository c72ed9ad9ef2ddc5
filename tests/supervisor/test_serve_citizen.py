"""`qtctl serve` as a manager of services sees it: told of progress, reloaded, frozen servers."""

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from statistics import median

import pytest

from qtctl.services.allocation import AllocationLoop
from qtctl.services.governor import Governor
from qtctl.settings import Allocation
from qtctl.settings import Governor as GovernorSettings
from qtctl.supervisor import loop
from qtctl.supervisor.notify import Notify
from qtctl.wire.client.store import Store
from qtctl.wire.private_server.embedded import Embedded, temporary
from qtctl.wire.schema.keys import Keys
from tests.supervisor.fakes import Running, fetch, running
from tests.supervisor.manager import Manager, manager
from tests.support.processes import Process, qtctl, until

WATCHDOG_SEC = 1.0

CONFIG = """\
[redis]
url = "{url}"
[allocation]
interval_sec = 0.1
min_conf = {min_conf}
metrics_port = 0
name = "test"
[governor]
metrics_port = 0
name = "test"
[logging]
level = "{level}"
"""


class Serving:
    """`qtctl serve all` with a TOML file that tests change, under a manager that listens."""

    def __init__(self, child: Process, hears: Manager, file: Path, url: str, store: Store) -> None:
        self.child, self.hears, self.file, self.url, self.store = child, hears, file, url, store

    def write(self, min_conf: object, level: str = "info") -> None:
        self.file.write_text(CONFIG.format(url=self.url, min_conf=min_conf, level=level))

    def reload(self) -> None:
        """SIGHUP, and all that follows from it; its line in the log comes a bit later."""
        known, lines = self.hears.count("READY"), self._reload_lines()
        self.child.signal(signal.SIGHUP)
        self.hears.wait_for("READY", known + 1)
        until(lambda: self._reload_lines() > lines)

    def _reload_lines(self) -> int:
        return len(re.findall(r"reloaded;|reload refused,", self.child.stderr))

    def record(self, service: str = "allocation") -> dict[str, str]:
        """The service's own record in Redis; nothing while it is away."""
        flat = self.store.run("HGETALL", self.store.keys.service(service, "test"))
        words = [word.decode() for word in flat]
        return dict(zip(words[::2], words[1::2], strict=True))

    def ports(self) -> dict[str, int]:
        until(lambda: " listening url=" in self.child.stderr)
        found = re.findall(r"(\w+) listening url=http://127.0.0.1:(\d+)", self.child.stderr)
        return {service: int(port) for service, port in found}


PATH = {name: os.environ[name] for name in ("PATH", "QTCTL_HISTORY_ENABLED")}


@contextmanager
def served(what: str, url: str, store: Store, file: Path) -> Iterator[Serving]:
    """`qtctl serve WHAT`, ready; it ends in order."""
    with manager(abstract=True) as hears:
        environ = {**PATH, **hears.environ(WATCHDOG_SEC)}
        file.write_text(CONFIG.format(url=url, min_conf=0.65, level="info"))
        with qtctl("serve", what, "--config", str(file), env=environ) as child:
            hears.wait_for("READY")
            yield Serving(child, hears, file, url, store)
            child.signal(signal.SIGTERM)
            assert child.wait() == 0, child
            assert "Traceback" not in child.stderr


@pytest.fixture
def both(redis_url: str, store: Store, tmp_path: Path) -> Iterator[Serving]:
    with served("all", redis_url, store, tmp_path / "qtctl.toml") as serving:
        yield serving


@pytest.fixture
def allocating(redis_url: str, store: Store, tmp_path: Path) -> Iterator[Serving]:
    with served("allocation", redis_url, store, tmp_path / "qtctl.toml") as serving:
        yield serving


def test_start_watchdog_status_and_stop_of_a_real_serve(both: Serving) -> None:
    hears = both.hears
    hears.wait_for("WATCHDOG", 4)
    times = hears.times("WATCHDOG")
    # The rhythm, which a machine that is busy may miss once.
    assert median(later - at for at, later in pairwise(times)) < WATCHDOG_SEC / 2
    assert re.fullmatch(
        r"allocation: working, last pass \d\d:\d\d:\d\dZ; "
        r"governor: working, last pass \d\d:\d\d:\d\dZ",
        hears.status,
    )
    both.child.signal(signal.SIGTERM)
    hears.wait_for("STOPPING")
    assert both.child.wait() == 0
    assert hears.states() == ["READY", "STOPPING"]


def test_sighup_brings_a_changed_setting_into_force_on_the_same_ports(both: Serving) -> None:
    before, ports = both.record(), both.ports()
    assert json.loads(before["settings"])["min_conf"] == 0.65
    both.write(0.9, level="debug")
    both.reload()
    until(lambda: '"min_conf":0.9' in both.record().get("settings", ""))
    after = both.record()
    assert after["digest"] != before["digest"]
    assert (after["pid"], after["metrics"]) == (before["pid"], before["metrics"])
    assert both.ports() == ports
    assert all(fetch(port, "/readyz")[0] == 200 for port in ports.values())
    assert "reloaded; counters start again at 0" in both.child.stderr
    both.child.wait_for_line("DEBUG allocation pass")
    assert both.hears.states() == ["READY", "RELOADING", "READY"]


def test_bad_files_are_refused_with_one_line_each_and_the_old_settings_stay(
    allocating: Serving,
) -> None:
    before = allocating.record()
    for number, (min_conf, says) in enumerate(
        [("= broken", "is not TOML"), (7, "allocation.min_conf = 7"), ('"much"', "much")], 1
    ):
        allocating.write(min_conf)
        allocating.reload()
        lines = [line for line in allocating.child.stderr.splitlines() if "refused" in line]
        assert len(lines) == number
        assert says in lines[-1]
        assert str(allocating.file) in lines[-1]
        assert says in allocating.hears.status
        assert all(fetch(port, "/readyz")[0] == 200 for port in allocating.ports().values())
    until(lambda: int(allocating.record()["last_pass_at"]) > int(before["last_pass_at"]))
    after = allocating.record()
    assert (after["digest"], after["started_at"]) == (before["digest"], before["started_at"])
    allocating.write(0.7)
    allocating.reload()
    until(lambda: '"min_conf":0.7' in allocating.record().get("settings", ""))
    assert "refused" not in allocating.hears.status


def test_a_file_that_is_gone_or_asks_for_the_private_server_is_refused(
    allocating: Serving,
) -> None:
    before = allocating.record()["digest"]
    allocating.file.unlink()
    allocating.reload()
    assert f"{allocating.file} (--config) does not exist" in allocating.hears.status
    allocating.file.write_text('[redis]\nurl = "embedded:"\n')
    allocating.reload()
    assert "to or from embedded: takes a restart" in allocating.hears.status
    assert allocating.record()["digest"] == before


def frozen(server: Embedded) -> None:
    os.kill(server.pid, signal.SIGSTOP)


def thawed(server: Embedded) -> None:
    os.kill(server.pid, signal.SIGCONT)


def statuses(run: Running, path: str) -> list[int]:
    return [run.get(service, path)[0] for service in run.ports]


def test_a_frozen_server_is_waited_for_with_tries_that_end_and_feed_the_watchdog(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loop, "MOST_REDIS_SEC", 0.1)
    with temporary() as server, manager() as hears:
        stores = [Store(server.url, Keys(), timeout_sec=0.1) for _ in range(2)]
        allocation = AllocationLoop(stores[0], Allocation(interval_sec=0.1, metrics_port=0))
        governor = Governor(stores[1], GovernorSettings(metrics_port=0), allow_eviction=False)
        # Shorter than the server is frozen, longer than a try.
        allocation.pass_timeout_sec = governor.pass_timeout_sec = 1.5
        notify = Notify(hears.environ(0.8))
        with running(allocation, governor, notify=notify) as run:
            hears.wait_for("READY")
            frozen(server)
            try:
                until(lambda: statuses(run, "/readyz") == [503, 503])
                fed = hears.count("WATCHDOG")
                end = time.monotonic() + 1.6
                while time.monotonic() < end or hears.count("WATCHDOG") < fed + 4:
                    assert statuses(run, "/livez") == [200, 200]
                    assert statuses(run, "/readyz") == [503, 503]
                    time.sleep(0.02)
                assert "governor: waiting for Redis: " in hears.status
            finally:
                thawed(server)
            until(lambda: statuses(run, "/readyz") == [200, 200])


def test_a_serve_that_starts_without_redis_asks_for_patience_and_is_ready_when_it_comes(
    tmp_path: Path,
) -> None:
    with manager() as hears, temporary() as server:
        frozen(server)
        environ = {**PATH, "QTCTL_CONFIG": os.devnull, **hears.environ(1)}
        try:
            with qtctl(
                "serve", "all", "--redis-url", server.url,
                "--set", "allocation.metrics_port=0", "--set", "governor.metrics_port=0",
                "--set", "redis.timeout_sec=0.3", env=environ,
            ) as child:  # fmt: skip
                hears.wait_for("WATCHDOG", 3)
                assert hears.count("EXTEND_TIMEOUT_USEC") > 3
                assert hears.states() == []
                assert "waiting for Redis" in hears.status
                thawed(server)
                hears.wait_for("READY")
                child.signal(signal.SIGTERM)
                assert child.wait() == 0
        finally:
            thawed(server)
