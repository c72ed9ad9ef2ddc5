"""`serve all` with a recorder in trouble: the loops start, work and stay ready, whatever it is."""

import contextlib
import functools
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from qtctl.history.reader import History
from qtctl.wire.client.store import Store
from qtctl.wire.queries import services
from qtctl.wire.schema.keys import PERMIT
from qtctl.wire.schema.service import ServiceRecord
from tests.cli.test_serve import FREE_PORTS, environ, port_of, ready
from tests.services.helpers import send
from tests.support.plans import fields
from tests.support.processes import Process, process, qtctl, until


@pytest.fixture
def state() -> Iterator[Path]:
    """A folder with room for a socket's path."""
    with tempfile.TemporaryDirectory(prefix="qtctl-test-") as directory:
        yield Path(directory)


@contextlib.contextmanager
def serve_all(url: str, *sets: str) -> Iterator[Process]:
    given = [part for each in ("history.enabled=true", *sets) for part in ("--set", each)]
    with qtctl("--redis-url", url, "serve", "all", *FREE_PORTS, *given, env=environ()) as child:
        yield child


def permits(store: Store, child: Process, plan_id: str) -> None:
    """Both loops are ready, and a plan gets its permit."""
    loops = [port_of(child, name) for name in ("allocation", "governor")]
    until(lambda: all(map(ready, loops)))
    send(store, fields(plan_id=plan_id, symbol=f"{plan_id.upper()}USDT"))
    until(lambda: store.run("EXISTS", store.keys.at(PERMIT, plan_id)))
    assert all(map(ready, loops))


def record(store: Store) -> ServiceRecord | None:
    return next(iter(services.running(store, "recorder")), None)


def problem(store: Store) -> str:
    found = record(store)
    return "" if found is None else found.problem


@contextlib.contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A file system of its own; skipped where this user can't mount one."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a file system takes root with CAP_SYS_ADMIN")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_taken_port_costs_the_recorder_its_port_and_nobody_anything(
    store: Store, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with serve_all(
            store.url, f"history.dir={tmp_path}/h", f"history.metrics_port={port}"
        ) as child:
            line = child.wait_for_line("served without its metrics port")
            assert f"127.0.0.1:{port}" in line
            assert "[history] metrics_port" in line
            permits(store, child, "p1")
            until(lambda: [it.plan_id for it in History(tmp_path / "h").decisions()] == ["p1"])
            found = until(lambda: record(store))
            assert found is not None
            assert found.metrics == "127.0.0.1:0"
            assert child.stderr.count("can't listen") == 1


def test_alone_it_says_so_and_ends(store: Store, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        sets = (f"history.dir={tmp_path}/h", f"history.metrics_port={taken.getsockname()[1]}")
        given = [part for each in sets for part in ("--set", each)]
        with qtctl("--redis-url", store.url, "serve", "recorder", *given, env=environ()) as child:
            assert child.wait() == 1
            assert "[history] metrics_port" in child.stderr


def test_a_history_that_cannot_be_opened_is_tried_until_it_can(
    store: Store, tmp_path: Path
) -> None:
    folder = tmp_path / "h"
    folder.write_text("a file where the folder should be")
    with serve_all(store.url, f"history.dir={folder}", "history.metrics_port=0") as child:
        permits(store, child, "p1")
        until(lambda: "can't" in problem(store), what="the problem in its record")
        base = port_of(child, "recorder")
        assert not ready(base)
        folder.unlink()
        until(lambda: ready(base))
        until(lambda: [it.plan_id for it in History(folder).decisions()] == ["p1"])
        assert child.stderr.count("nothing is recorded") == 1
        until(lambda: record(store) and not problem(store))


def test_a_read_only_folder_stops_the_recorder_alone(store: Store, tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "ro,size=1m") as disk:
        sets = (f"history.dir={disk}/h", "history.metrics_port=0")
        with serve_all(store.url, *sets) as child:
            permits(store, child, "p1")
            until(lambda: "Read-only" in problem(store))
            subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
            until(lambda: ready(port_of(child, "recorder")))
            assert [it.plan_id for it in History(disk / "h").decisions()] == ["p1"]


def test_on_a_full_disk_the_loops_go_on_and_nothing_is_lost(store: Store, tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=2m") as disk:
        sets = (f"history.dir={disk}/h", "history.metrics_port=0")
        with serve_all(store.url, *sets) as child:
            permits(store, child, "p1")
            base = port_of(child, "recorder")
            until(lambda: ready(base))
            filler = disk / "filler"
            with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
                while file.write(b"x" * 4096):
                    pass
            body = "x" * 20_000
            for number in range(20):
                store.run("XADD", store.keys.events, "*", "event", f"test-{number}", "x", body)
            until(lambda: "full" in problem(store), what="the problem in its record")
            permits(store, child, "p2")
            filler.unlink()
            until(lambda: ready(base))
            history = History(disk / "h")
            until(lambda: [it.plan_id for it in history.decisions()] == ["p1", "p2"])
            seen = [it.fields["event"] for it in history.events() if "x" in it.fields]
            assert seen == [f"test-{number}" for number in range(20)]
            assert not history.gaps()


def test_beside_a_private_server_each_folder_has_its_own_mode(state: Path) -> None:
    """As in qtctl.service: systemd gives both one mode, at each start, and a umask of 077."""
    own, history = state / "qtctl", state / "quantum-history"
    sets = ("history.enabled=true", "history.metrics_port=0")
    given = [part for each in sets for part in ("--set", each)]
    env = environ(STATE_DIRECTORY=f"{own}:{history}")
    for _ in range(2):
        for each in (own, history):
            each.mkdir(exist_ok=True)
            each.chmod(0o750)
        with qtctl("serve", "all", "--embedded", *FREE_PORTS, *given, env=env) as child:
            until(functools.partial(ready, port_of(child, "recorder")))
            modes = [stat.S_IMODE(it.stat().st_mode) for it in (own, history, history / "history")]
            assert modes == [0o700, 0o750, 0o750]
            child.signal(signal.SIGTERM)
            assert child.wait() == 0
    assert not (own / "history").exists()
    assert History(history / "history").days()


BROKEN = """
import runpy
from qtctl.services.recorder import Recorder
from qtctl.supervisor import loop

def step(self):
    raise KeyError("a bug")

Recorder.step = step
loop.FLAP_LIMIT, loop.MOST_EXCEPTION_SEC = 2, 0.01
runpy.run_module("qtctl", run_name="__main__", alter_sys=True)
"""
"""`qtctl …` with a recorder that always raises, and gives up early."""


def test_a_recorder_that_keeps_raising_ends_its_own_loop_alone(
    store: Store, tmp_path: Path
) -> None:
    sets = ("history.enabled=true", "history.metrics_port=0", f"history.dir={tmp_path}/h")
    given = [part for each in sets for part in ("--set", each)]
    argv = [sys.executable, "-c", BROKEN, "--redis-url", store.url, "serve", "all"]
    with process([*argv, *FREE_PORTS, *given], env=os.environ | environ()) as child:
        child.wait_for_line("a loop gave up, the others go on")
        permits(store, child, "p1")
        assert not ready(port_of(child, "recorder"))
        child.signal(signal.SIGTERM)
        assert child.wait() == 0
