"""What a pass and a plan cost, counted and not timed: commands, writes to the socket, calls.

The limits are some way over what it was when they were set (docs/performance.md). Who has to raise
one should know why.
"""

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import redis.connection

from qtctl.bench.governor import NO_LIMIT, queue
from qtctl.bench.stage import Stage, put_targets, symbols
from qtctl.services import look as look_module
from qtctl.services.allocation import AllocationLoop
from qtctl.services.governor import Governor
from qtctl.settings import Allocation
from qtctl.settings import Governor as GovernorSettings
from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import GROUP, Keys

COUNT = 1_000


class Cost:
    """Per symbol or plan: calls in Python (of C functions too), commands on the server (those of a
    script too); and writes to the socket in all."""

    def __init__(
        self, run: Callable[[], Any], store: Store, patch: pytest.MonkeyPatch, count: int = COUNT
    ) -> None:
        self.calls = 0.0
        self.calls_to_step = 0.0  # Before the first call of a script is sent.
        self.writes = 0
        self.sent: list[bytes] = []  # The first command in each of them.
        send = redis.connection.AbstractConnection.send_packed_command

        def counted(connection: Any, *args: Any, **options: Any) -> None:
            self.writes += 1
            self.sent.append(bytes(args[0][0]).split(b"\r\n")[2])
            if self.sent[-1] == b"EVALSHA":
                self.calls_to_step = self.calls_to_step or self.calls
            send(connection, *args, **options)

        patch.setattr(redis.connection.AbstractConnection, "send_packed_command", counted)
        before = _commands(store)
        sys.setprofile(self._count)
        try:
            run()
        finally:
            sys.setprofile(None)
        patch.undo()
        self.calls /= count
        self.commands = (_commands(store) - before) / count

    def _count(self, frame: FrameType, event: str, arg: object) -> None:
        if event in ("call", "c_call"):
            self.calls += 1


def _commands(store: Store) -> int:
    stats = store.run("INFO", "commandstats").decode()
    return sum(
        int(line.partition("calls=")[2].partition(",")[0])
        for line in stats.splitlines()
        if line.startswith("cmdstat_") and not line.startswith("cmdstat_info")
    )


def _scans(store: Store) -> str:
    stats = store.run("INFO", "commandstats").decode().splitlines()
    return next((row for row in stats if row.startswith("cmdstat_scan:")), "")


def test_a_pass_of_the_allocation_loop(
    redis_url: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_targets(store, symbols(COUNT))
    loop = AllocationLoop(Store(redis_url, Keys()), Allocation(name="guard"))
    loop.open()
    assert loop.step() == COUNT
    scans = _scans(store)
    cost = Cost(lambda: loop.step(), store, monkeypatch)
    loop.close()
    assert _scans(store) == scans, "the server reports new targets"
    assert cost.calls < 40, "Python per symbol"
    assert cost.commands < 5.8, "two reads, three writes, a fifth of a MULTI"
    assert cost.writes < 30, "one to read and one to write a chunk"


def test_a_plan_of_the_governor(
    redis_url: str, store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    queue(Stage(redis_url, tmp_path, True, store), symbols(COUNT, "G"), GROUP)
    settings = GovernorSettings(
        name="guard", max_queue_age_sec=3600, max_plan_age_sec=3600,
        max_opens_per_5min_total=NO_LIMIT,
    )  # fmt: skip
    monkeypatch.setattr(look_module, "LOOK_SEC", 60.0)  # Looks are by the second, not by the plan.
    governor = Governor(Store(redis_url, Keys()), settings, allow_eviction=False)
    governor.open()
    cost = Cost(lambda: governor.once(), store, monkeypatch)
    governor.close()
    assert store.run("ZCARD", store.keys.permits) == COUNT
    assert cost.calls < 345, "Python per plan"
    assert cost.commands < 30, "in the atomic step and around it"
    assert cost.writes < 76, "one for 25 plans, and a few for the batch"


def test_a_plan_alone_takes_one_round_trip(
    redis_url: str, store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """From the entry that a waiting governor is given to the permit: the atomic step."""
    on = Stage(redis_url, tmp_path, True, store)
    queue(on, symbols(1, "F"), GROUP)
    monkeypatch.setattr(look_module, "LOOK_SEC", 60.0)
    governor = Governor(Store(redis_url, Keys()), GovernorSettings(), allow_eviction=False)
    governor.open()
    governor.once()  # The server learns the script.
    governor.wait(threading.Event())  # The read of the next one waits on the server.
    queue(on, symbols(1, "G"), GROUP, keep=True)

    def serve() -> None:
        time.sleep(0.6)  # However long it waited.
        governor.wait(threading.Event())
        governor.step()

    cost = Cost(serve, store, monkeypatch, count=1)
    governor.close()
    assert store.run("ZCARD", store.keys.permits) == 2
    # Behind it: what is due once a second.
    assert [name for name in cost.sent if name != b"INFO"][:1] == [b"EVALSHA"]
    assert cost.commands < 34
    assert 0 < cost.calls_to_step < 285, "before the step is sent"
    assert cost.calls < 510
