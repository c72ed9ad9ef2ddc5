"""The command line in this process, on the server of the tests; and a governor beside it."""

import contextlib
import json
import logging
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pytest

from qtctl import clock
from qtctl.cli.main import run
from qtctl.services.allocation import AllocationLoop
from qtctl.services.base import Service
from qtctl.services.governor import Governor
from qtctl.settings import load
from qtctl.supervisor.loop import Loop
from qtctl.supervisor.progress import Progress
from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import Keys
from tests.support.processes import until

NO_FILE = {"QTCTL_CONFIG": os.devnull}
"""An environment in which the machine's own configuration does not count."""
NO_HISTORY = "/nonexistent/history"
"""Nor the history that somebody recorded on it."""


class Said(NamedTuple):
    """What a command line ended with."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its stdout as one JSON document."""
        return json.loads(self.out)


class Cli:
    """`qtctl ARGS…` in this process, on one Redis."""

    def __init__(self, url: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.url = url
        self._capsys = capsys

    def __call__(self, *args: str, environ: Mapping[str, str] | None = None) -> Said:
        """Run it; whatever it ends with is returned."""
        self._capsys.readouterr()
        try:
            history = {"QTCTL_HISTORY_ENABLED": "false", "QTCTL_HISTORY_DIR": NO_HISTORY}
            own = {**NO_FILE, **history, **(environ or {})}
            code = run(["--redis-url", self.url, *args], own)
        finally:
            unlog()
        out, err = self._capsys.readouterr()
        return Said(code, out, err)

    def ok(self, *args: str, environ: Mapping[str, str] | None = None) -> Said:
        """The same for what must succeed."""
        said = self(*args, environ=environ)
        assert said.code == 0, said
        return said


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Children can be interrupted, also where this run was started with `&` (which makes a shell
    ignore SIGINT for all that comes of it)."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def unlog() -> None:
    """`serve` sends log lines to the stderr of that moment, which pytest closes, and sets the level
    of all; `demo` silences the decisions: each for the rest of its process."""
    for name in ("qtctl", "qtctl.decisions"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    root = logging.getLogger()
    for handler in [h for h in root.handlers if type(h).__module__.startswith("qtctl.")]:
        root.removeHandler(handler)


@contextlib.contextmanager
def hosting(url: str, service: str = "governor", *sets: str) -> Iterator[Service]:
    """A service in a thread, its record in Redis written, for the length of a `with`."""
    names = ("allocation.interval_sec=0.1", "governor.name=test", "allocation.name=test")
    settings = load(config=None, environ=NO_FILE, sets=(*names, *sets)).settings
    made: Service
    if service == "governor":
        made = Governor(Store(url, Keys()), settings.governor, allow_eviction=False)
    else:
        made = AllocationLoop(Store(url, Keys()), settings.allocation)
    stop = threading.Event()
    loop = Loop(made, Progress(made.pass_timeout_sec, clock.monotonic()), stop)
    thread = threading.Thread(target=loop.run)
    thread.start()
    store = Store(url, Keys())
    try:
        record = store.keys.service(service, "test")
        until(lambda: store.run("EXISTS", record), what=f"the record of {service}")
        yield made
    finally:
        store.close()
        stop.set()
        thread.join()
