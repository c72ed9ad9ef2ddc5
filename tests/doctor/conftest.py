"""A healthy system: a private server with its append-only file, both loops as a process, upstream.

Started once; each test begins with fresh upstream records and without the troubles of the last.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qtctl import clock
from qtctl.doctor import server
from qtctl.wire.client.store import Store
from qtctl.wire.private_server.embedded import temporary
from qtctl.wire.schema.keys import (
    EFFICIENCY,
    LEDGER,
    PERMIT,
    SCORE_DECISIONS,
    TARGET,
    TARGET_DECISIONS,
    Keys,
)
from tests.support.cli import NO_FILE, Cli, Said
from tests.support.debian import needed
from tests.support.processes import qtctl, until

SYMBOLS = ("BTCUSDT", "ETHUSDT")
KILLS = ("kill", "governor:halt", "global:kill_switch", "stop:all", "governor:halt_kept",
         "emergency_stop", "system:mode")  # fmt: skip
FAST = (
    "--set", "allocation.interval_sec=0.2", "--set", "allocation.metrics_port=0",
    "--set", "governor.metrics_port=0", "--set", "governor.name=g1", "--set", "allocation.name=a1",
    "--set", "history.metrics_port=0", "--set", "history.name=r1",
)  # fmt: skip


@pytest.fixture(scope="package")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server on which both loops and the recorder work."""
    state = str(tmp_path_factory.mktemp("state"))
    environ = {"PATH": os.environ["PATH"], **NO_FILE, "STATE_DIRECTORY": state}
    with (
        temporary(appendonly=True) as redis,
        qtctl("--redis-url", redis.url, "serve", "all", *FAST, env=environ) as child,
    ):
        child.wait_for_line("governor listening")
        store = Store(redis.url, Keys())
        names = (("allocation", "a1"), ("governor", "g1"), ("recorder", "r1"))
        keys = [store.keys.service(*each) for each in names]
        until(lambda: store.run("EXISTS", *keys) == 3, what="all records")
        store.close()
        yield redis.url


class System:
    """The healthy system, and `qtctl doctor` on it."""

    def __init__(self, url: str, cli: Cli, root: Path) -> None:
        self.url, self.cli, self.root = url, cli, root
        self.store = Store(url, Keys())
        self.run = self.store.run

    def doctor(self, *args: str, environ: dict[str, str] | None = None) -> Said:
        """On a host where nothing is installed, unless a test has put something into `root`."""
        return self.cli("doctor", "--root", str(self.root), *args, environ=environ)

    def found(self, *args: str, environ: dict[str, str] | None = None) -> list[dict[str, Any]]:
        """What is not ok."""
        rows: list[dict[str, Any]] = json.loads(
            self.doctor("-o", "json", *args, environ=environ).out
        )
        return [row for row in rows if row["level"] != "ok"]

    def one(self, check: str, *args: str) -> dict[str, Any]:
        """The only finding of a check, which is not ok."""
        rows = [row for row in self.found(*args) if row["check"] == check]
        assert len(rows) == 1, (check, self.found(*args))
        return rows[0]

    def fix(self, command: str) -> None:
        """Runs a printed command as it is, in a shell; sudo is nobody's here."""
        needed("redis-cli")
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        done = subprocess.run(
            ["/bin/sh", "-c", f'sudo() {{ "$@"; }}; {command}'],
            env={"PATH": path, **NO_FILE},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        said = done.stdout + done.stderr
        assert done.returncode == 0, (command, said)
        assert "ERR" not in said, (command, said)
        assert "WRONGTYPE" not in said, (command, said)

    def upstream(self) -> None:
        """Targets, scores and a plan, as they should be."""
        now = int(clock.now())
        for symbol in SYMBOLS:
            target, score = (self.store.keys.at(spec, symbol) for spec in (TARGET, EFFICIENCY))
            self.run("DEL", target, score)
            self.run("HSET", target, "target_usd", "1000", "timestamp", now)
            self.run("EXPIRE", target, 300)
            self.run("HSET", score, "efficiency_score", "0.6", "confidence", "0.9", "ts", now)
        self.plan(plan_id="quiet", decision="SKIP")

    def plan(self, entry_id: str = "*", stream: str = "", **fields: Any) -> None:
        """An entry on the plan stream; by default one that every gate has its input in."""
        whole = {
            "plan_id": "p1", "symbol": "BTCUSDT", "action": "OPEN_PROPOSED", "decision": "EXECUTE",
            "kill_score": "0.1", "qty": "1", "price": "100", "timestamp": f"{clock.now():.3f}",
            "source": "intent-bridge",
        } | fields  # fmt: skip
        flat = [str(part) for name, value in whole.items() if value is not None
                for part in (name, value)]  # fmt: skip
        self.run("XADD", stream or self.store.keys.plans, entry_id, *flat)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """That this machine is busy is no finding."""
    monkeypatch.setattr(server, "SLOW_SEC", 30.0)


@pytest.fixture
def system(running: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Iterator[System]:
    """Healthy."""
    system = System(running, Cli(running, capsys), tmp_path)
    keys, run = system.store.keys, system.run
    run("CONFIG", "SET", "maxmemory", "0", "maxmemory-policy", "noeviction", "appendonly", "yes")
    for key in set(system.store.scan_keys(keys.pattern(PERMIT))):
        run("DEL", key)
    run(
        "DEL",
        *keys.kills(KILLS),
        keys.halted_symbols,
        keys.emptied,
        "other:stream",
        "other:stream.wrong-ids",
        keys.at(LEDGER, "BTCUSDT"),
        keys.at(LEDGER, "BTCUSDT") + ".wrong-type",
    )
    run("XTRIM", keys.plans, "MAXLEN", 0)
    run("XTRIM", keys.events, "MAXLEN", 0)
    run("DEL", *(keys.at(spec, "") for spec in (TARGET_DECISIONS, SCORE_DECISIONS)),
        keys.at(TARGET, "BTC/USDT:USDT"), keys.at(EFFICIENCY, "A B"))  # fmt: skip
    system.upstream()
    yield system
    system.store.close()
