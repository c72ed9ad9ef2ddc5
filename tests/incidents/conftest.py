"""A server that may be killed and started again, the governor as a process, and upstream."""

import json
import os
import shlex
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from qtctl.services.allocation import AllocationLoop
from qtctl.settings import Allocation
from qtctl.wire.client.store import Store
from qtctl.wire.private_server.embedded import Embedded
from qtctl.wire.schema.keys import EFFICIENCY, TARGET, Keys
from tests.supervisor.fakes import running
from tests.support.cli import NO_FILE, Cli
from tests.support.processes import Process, qtctl, until

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
FAST = (
    "--set", "governor.metrics_port=0", "--set", "governor.name=g1",
    "--set", "governor.max_exec_per_5min=0", "--set", "governor.max_exec_per_hour=0",
    "--set", "governor.symbol_cooldown_sec=0", "--set", "governor.reopen_cooldown_sec=0",
    "--set", "governor.max_queue_age_sec=3",
)  # fmt: skip


class Seen(NamedTuple):
    """What `status` shows."""

    code: int
    page: str
    document: dict[str, Any]

    @property
    def banner(self) -> list[str]:
        """The words of its alarms, the worst first."""
        return [it["alarm"] for it in self.document["banner"]]


class Scene:
    """A healthy system before its incident, and the commands of whoever is woken by it."""

    def __init__(self, server: Embedded, governor: Process, cli: Cli, root: Path) -> None:
        self.server, self.governor, self.cli, self.root = server, governor, cli, root
        self.store = Store(server.url, Keys())
        self.keys, self.run = self.store.keys, self.store.run

    def upstream(self, age_sec: int = 0) -> None:
        """Targets and scores of that age."""
        at = self.store.now_ms() // 1000 - age_sec
        for symbol in SYMBOLS:
            target, score = (self.keys.at(spec, symbol) for spec in (TARGET, EFFICIENCY))
            self.run("DEL", target, score)
            self.run("HSET", target, "target_usd", "1000", "timestamp", at)
            self.run("HSET", score, "efficiency_score", "0.6", "confidence", "0.9", "ts", at)

    def plan(self, plan_id: str, **changes: str) -> None:
        """An open that every gate has its input in, but for the changes."""
        fields = {
            "plan_id": plan_id, "symbol": "BTCUSDT", "action": "OPEN_PROPOSED",
            "decision": "EXECUTE", "kill_score": "0.1", "qty": "1", "price": "100",
            "timestamp": f"{self.store.now_ms() / 1000:.3f}", "source": "intent-bridge",
        } | changes  # fmt: skip
        self.run("XADD", self.keys.plans, "*", *[part for pair in fields.items() for part in pair])

    def close(self, plan_id: str, symbol: str = "ETHUSDT") -> None:
        """The same for a full close."""
        self.plan(plan_id, symbol=symbol, action="FULL_CLOSE_PROPOSED", reduceOnly="true")

    def judged(self, *plan_ids: str) -> None:
        """Waits for their decisions."""
        names = [f"{self.keys.prefix}governor:decision:{plan_id}" for plan_id in plan_ids]
        until(lambda: self.run("EXISTS", *names) == len(names), what=f"verdicts on {plan_ids}")

    def restart(self, *, empty: bool) -> None:
        """Redis comes back, with its data, or without and after a crash."""
        if not empty:
            self.server.stop()
        else:
            self.server.kill()
            for path in self.server.directory.glob("appendonlydir*"):
                shutil.rmtree(path)
        self.server = Embedded.start(self.server.directory)

    def freeze(self) -> None:
        """The governor hangs."""
        self.governor.signal(signal.SIGSTOP)

    def kill(self) -> None:
        """The governor is killed, and leaves its record behind."""
        self.governor.signal(signal.SIGKILL)
        self.governor.wait()

    def status(self) -> Seen:
        """The page, and the document."""
        page, document = self.cli("status"), self.cli("status", "-o", "json")
        return Seen(page.code, page.out, document.json)

    def doctor(self) -> list[dict[str, Any]]:
        """What is not ok, the worst first, on a host where nothing is installed."""
        said = self.cli("doctor", "--root", str(self.root), "-o", "json")
        return [row for row in json.loads(said.out) if row["level"] != "ok"]

    def why(self, symbol: str = "BTCUSDT") -> dict[str, Any]:
        """The answer about a symbol."""
        found: dict[str, Any] = self.cli("why", symbol, "-o", "json").json
        return found

    def finding(self, check: str) -> dict[str, Any] | None:
        """The first finding of a check that is not ok."""
        return next((row for row in self.doctor() if row["check"] == check), None)

    def words(self, command: str) -> list[str]:
        """A printed command of qtctl without its name and the options of this call."""
        words = shlex.split(command)
        if "--redis-url" in words:
            del words[words.index("--redis-url") : words.index("--redis-url") + 2]
        return words[1:]


@pytest.fixture
def scene(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Scene]:
    """Healthy: `status` exits 0. That this machine is busy is no finding of doctor."""
    monkeypatch.setattr("qtctl.doctor.server.SLOW_SEC", 30.0)
    environ = {"PATH": os.environ["PATH"], **NO_FILE}
    with ExitStack() as stack:
        # A socket's path is short; pytest's own folders are not.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="qtctl-")))
        server = Embedded.start(folder / "redis")
        stack.callback(server.stop)
        governor = stack.enter_context(
            qtctl("--redis-url", server.url, "serve", "governor", *FAST, env=environ)
        )
        # Nobody kills this one: a thread will do.
        settings = Allocation(interval_sec=0.2, metrics_port=0, name="a1")
        stack.enter_context(running(AllocationLoop(Store(server.url, Keys()), settings)))
        made = Scene(server, governor, Cli(server.url, capsys), tmp_path)
        stack.callback(made.store.close)
        made.upstream()
        # An open of the server's first second would be quarantined.
        made.close("before")
        made.judged("before")
        until(lambda: made.cli("status").code == 0, what="a healthy status")
        stack.callback(lambda: made.server.stop())
        yield made
