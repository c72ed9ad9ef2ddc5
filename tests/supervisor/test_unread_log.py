"""A log that nobody reads: everything is decided, and the service ends when it is asked to."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator

from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import DECISION
from tests.supervisor.fakes import fetch
from tests.support.plans import fields
from tests.support.processes import QTCTL, until

CLOSES = 3_000


@contextlib.contextmanager
def unread(url: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A governor whose stderr is a pipe that nobody reads."""
    argv = [*QTCTL, "serve", "governor", "--redis-url", url, "--name", "test"]
    child = subprocess.Popen(
        argv,
        env={"PATH": os.environ["PATH"], "QTCTL_GOVERNOR_METRICS_PORT": "0"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        if child.stderr is not None:
            child.stderr.close()


def test_a_pipe_that_nobody_reads_stops_nothing(redis_url: str, store: Store) -> None:
    with unread(redis_url) as child:
        port = metrics_port(store)
        send_closes(store, CLOSES)
        verdicts = [("HGET", decision(store, number), "verdict") for number in range(CLOSES)]
        assert store.batch(verdicts) == [b"permitted"] * CLOSES
        assert "qtctl_log_lines_dropped_total 0.0" in fetch(port, "/metrics")[1]
        child.send_signal(signal.SIGTERM)
        assert child.wait(30) == 0


def test_who_reads_late_misses_nothing(redis_url: str, store: Store) -> None:
    with unread(redis_url) as child:
        metrics_port(store)
        send_closes(store, 1_000)
        assert child.stderr is not None
        seen: list[bytes] = []
        for line in child.stderr:
            seen += [word for word in line.split() if word.startswith(b"plan_id=")]
            if len(seen) == 1_000:
                break
        assert seen == [b"plan_id=close-%d" % number for number in range(1_000)]
        child.send_signal(signal.SIGTERM)
        assert child.stderr.read().rstrip().endswith(b"stopped")
        assert child.wait(30) == 0


def metrics_port(store: Store) -> int:
    """The governor's port, once it has finished a pass."""
    record = store.keys.service("governor", "test")
    return int(until(lambda: store.run("HGET", record, "metrics")).rpartition(b":")[2])


def send_closes(store: Store, count: int) -> None:
    """Send closes, and wait for the last verdict."""
    for number in range(count):
        plan = fields(plan_id=f"close-{number}", action="FULL_CLOSE", reduceOnly="true")
        store.run("XADD", store.keys.plans, "*", *(word for pair in plan.items() for word in pair))
    until(lambda: store.run("HGET", decision(store, count - 1), "verdict"))


def decision(store: Store, number: int) -> str:
    return store.keys.at(DECISION, f"close-{number}")
