"""An interrupt while a process is started leaves none that nobody knows of."""

import os
import signal
import subprocess
import sys
import tempfile
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from qtctl.wire.private_server.embedded import temporary
from qtctl.wire.private_server.serving import uninterrupted
from tests.support.cli import interruptible
from tests.support.processes import alive, until


def test_an_interrupt_comes_after_the_block_and_not_within() -> None:
    done = False

    def start() -> None:
        nonlocal done
        with uninterrupted():
            os.kill(os.getpid(), signal.SIGINT)
            done = True

    with pytest.raises(KeyboardInterrupt):
        start()
    assert done, "the process that was started is known"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_child_started_in_the_block_can_be_interrupted() -> None:
    with uninterrupted():
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    child.send_signal(signal.SIGTERM)
    assert child.wait(30) == -signal.SIGTERM


@pytest.mark.parametrize("place", [1, 2, 3, 4])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_while_handlers_are_swapped_costs_none_of_them(
    monkeypatch: pytest.MonkeyPatch, place: int, number: signal.Signals
) -> None:
    came: list[int] = []

    def end(number: int, _: object) -> None:
        came.append(number)
        raise SystemExit(number)

    set_handler, both = signal.signal, (signal.SIGINT, signal.SIGTERM)
    calls = count(1)

    def interrupted(held: int, handler: Any) -> Any:
        before = set_handler(held, handler)
        if next(calls) == place:
            signal.raise_signal(number)
        return before

    def start() -> None:
        with uninterrupted():
            pass

    handlers = {each: set_handler(each, end) for each in both}
    try:
        with monkeypatch.context() as patch:
            patch.setattr(signal, "signal", interrupted)
            with pytest.raises(SystemExit):
                start()
        for each in both:
            with pytest.raises(SystemExit):
                signal.raise_signal(each)
    finally:
        for each, handler in handlers.items():
            set_handler(each, handler)
    assert came == [number, *both]


@pytest.mark.parametrize("place", [1, 2], ids=["its guard", "the server"])
def test_an_interrupt_at_the_start_of_a_temporary_server_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    start = subprocess.Popen
    started: list[subprocess.Popen[bytes]] = []

    def interrupted(*args: Any, **options: Any) -> subprocess.Popen[bytes]:
        started.append(start(*args, **options))
        if len(started) == place:
            os.kill(os.getpid(), signal.SIGINT)
        return started[-1]

    def use() -> None:
        with temporary():
            pytest.fail("it was not interrupted")

    with tempfile.TemporaryDirectory(prefix="qtctl-test-", dir="/tmp") as folder, interruptible():
        monkeypatch.setattr(tempfile, "tempdir", folder)
        monkeypatch.setattr(subprocess, "Popen", interrupted)
        with pytest.raises(KeyboardInterrupt):
            use()
        assert len(started) == place
        assert [child.poll() is None for child in started] == [False] * place
        assert [*Path(folder).iterdir()] == []


def test_a_server_whose_starter_is_killed_before_it_was_configured_ends(tmp_path: Path) -> None:
    program = (
        "import os, pathlib, signal, subprocess, sys\n"
        "from qtctl.wire.private_server import embedded\n"
        "start = subprocess.Popen\n"
        "def killed(*args, **options):\n"
        "    child = start(*args, **options)\n"
        "    print(child.pid, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "subprocess.Popen = killed\n"
        "embedded.Embedded.start(pathlib.Path(sys.argv[1]))\n"
    )
    folder = tmp_path / "server"
    ended = subprocess.run(
        [sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE, check=False
    )
    assert ended.returncode == -signal.SIGKILL
    until(lambda: not alive(int(ended.stdout)), what="the end of the server")
