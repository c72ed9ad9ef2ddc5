"""Server, loops, recorder and load as processes, and the nemesis that ends them."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from qtctl.errors import RedisUnreachable, WireError
from qtctl.history.reader import History
from qtctl.wire.client.store import Store
from qtctl.wire.queries.history_streams import stream_keys
from qtctl.wire.schema.keys import EFFICIENCY, TARGET, Keys
from qtctl.wire.schema.records import text
from tests.soak.stage import ROOT, Server
from tests.soak_history.check import Entries, Found, check
from tests.soak_history.diary import Diary
from tests.support.guard import Guard, guarded
from tests.support.processes import until

SYMBOLS = 40
RATE_PER_SEC = 100.0
SERVICES = ("allocation", "governor", "recorder")
SETTINGS = (
    "governor.symbol_cooldown_sec=0", "governor.reopen_cooldown_sec=0",
    "governor.max_exec_per_5min=0", "governor.max_exec_per_hour=0",
    "allocation.interval_sec=0.25",
)  # fmt: skip
READY_SEC = 30.0
Say = Callable[[str], None]


class Report(msgspec.Struct, frozen=True):
    """What a run found. acts: what was done, by name; diary and still_there: what `check` took."""

    found: Found
    acts: dict[str, int]
    plans: int
    seconds: float
    diary: Entries
    still_there: dict[str, Sequence[str]]

    @property
    def ok(self) -> bool:
        return not self.found.breaches

    def __str__(self) -> str:
        acts = ", ".join(f"{count} {name}" for name, count in sorted(self.acts.items()))
        found = self.found
        rows = ", ".join(f"{count:,} {kind}" for kind, count in found.counts.items())
        lost = ", ".join(f"{count:,} {kind}" for kind, count in found.missing.items() if count)
        gaps = ", ".join(f"{count} {kind}" for kind, count in sorted(found.gaps.items()))
        head = f"{self.plans:,} plans in {self.seconds:.0f} s; {acts}\nin the history: {rows}"
        told = f"missing, each in a gap: {lost or 'nothing'}\ngaps: {gaps or 'none'}"
        verdict = "PASS" if self.ok else "\n".join(f"BREACH {it}" for it in found.breaches)
        return f"{head}\n{told}\n{verdict}"


class Scene:
    """Everything that runs, in a folder of its own."""

    def __init__(self, guard: Guard, luck: random.Random) -> None:
        self._guard, self._luck = guard, luck
        self.folder = guard.directory
        self.history = self.folder / "history"
        self._server = Server(guard, self.folder / "server", {}, "always")
        self.url = self._server.url
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self.diary = Diary(self.store())
        self.acts: dict[str, int] = {}

    def store(self) -> Store:
        return Store(self.url, Keys())

    def start(self, service: str, *more: str) -> None:
        """One service as a process; what it logs goes to a file."""
        section = "history" if service == "recorder" else service
        own = (f"{section}.metrics_port=0", f"history.dir={self.history}")
        sets = [part for each in (*SETTINGS, *own) for part in ("--set", each)]
        argv = [sys.executable, "-m", "qtctl", "serve", service, "--name", "x",
                "--redis-url", self.url, *sets, *more]  # fmt: skip
        environ = {**os.environ, "QTCTL_HISTORY_ENABLED": "true", "QTCTL_CONFIG": os.devnull}
        with (self.folder / f"{service}.log").open("ab") as log:
            process = subprocess.Popen(
                argv, cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        self._guard.watch(process.pid)
        self._running[service] = process

    def end(self, service: str, how: signal.Signals = signal.SIGKILL) -> None:
        process = self._running.pop(service)
        process.send_signal(how)
        process.send_signal(signal.SIGCONT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._guard.forget(process.pid)

    def close(self) -> None:
        """Ends what still runs."""
        for service in list(self._running):
            self.end(service)
        self._server.kill()

    def all_write(self) -> None:
        """Waits until the history has rows of each stream: what is lost before it begins is no gap
        in it."""
        until(self._has_begun, READY_SEC, "rows of all streams in the history")

    def _has_begun(self) -> bool:
        time.sleep(0.1)
        if not self.history.is_dir():
            return False
        there = History(self.history)
        streams = (there.passes(), there.decisions(), there.events(), there.rejected())
        return all(next(iter(rows), None) is not None for rows in streams)

    # Acts ------------------------------------------------------------------------------------

    def act(self, name: str) -> None:
        """One act of the nemesis, with its end."""
        self.acts[name] = self.acts.get(name, 0) + 1
        getattr(self, f"_{name}")()

    def _pause(self, most_sec: float) -> None:
        time.sleep(self._luck.uniform(0.0, most_sec))

    def _kill_recorder(self) -> None:
        self.end("recorder")
        self._pause(1.0)
        self.start("recorder")

    def _kill_allocation(self) -> None:
        self.end("allocation")
        self._pause(0.5)
        self.start("allocation")

    def _kill_governor(self) -> None:
        self.end("governor")
        self._pause(0.5)
        self.start("governor")

    def _kill_server(self) -> None:
        self._server.kill()
        self._pause(0.5)
        self._server = Server(self._guard, self.folder / "server", {}, "always")

    def _freeze_recorder(self) -> None:
        process = self._running["recorder"]
        process.send_signal(signal.SIGSTOP)
        self._pause(1.5)
        process.send_signal(signal.SIGCONT)

    def _trim(self) -> None:
        """What the recorder has not read is trimmed while it is down."""
        self.end("recorder")
        keys = Keys()
        key = self._luck.choice((keys.passes, keys.decisions, keys.events))
        with contextlib.closing(self.store()) as store:
            before = store.run("XREVRANGE", key, "+", "-", "COUNT", 1)
            until(
                lambda: store.run("XREVRANGE", key, "+", "-", "COUNT", 1) != before,
                READY_SEC, f"an entry of {key}",
            )  # fmt: skip
        self._pause(1.0)
        self.diary.take_away(("XTRIM", key, "MAXLEN", 0))
        self.start("recorder")

    def _empty(self) -> None:
        """Everything is gone, also what the recorder may not have read."""
        self.diary.take_away(("FLUSHALL",))


ACTS = {
    "kill_recorder": 6, "kill_allocation": 2, "kill_governor": 2, "kill_server": 2,
    "freeze_recorder": 1, "trim": 2, "empty": 1,
}  # fmt: skip
"""How often each comes, in proportion."""


def sequence(luck: random.Random) -> Iterator[str]:
    """Each act once, in any order, then as their weights say."""
    first = list(ACTS)
    luck.shuffle(first)
    yield from first
    while True:
        yield luck.choices(list(ACTS), list(ACTS.values()))[0]


def run(seconds: float, seed: int, say: Say = lambda _: None, keep: Path | None = None) -> Report:
    """Load and acts for so long; then the history is read to its end and compared. keep: where the
    history and the logs are copied to."""
    luck, began = random.Random(seed), time.monotonic()
    with guarded() as guard:
        scene = Scene(guard, luck)
        try:
            return _run(scene, seconds, luck, began, say)
        finally:
            scene.close()
            if keep is not None:
                _keep(scene, keep)


def _run(scene: Scene, seconds: float, luck: random.Random, began: float, say: Say) -> Report:
    for service in SERVICES:
        scene.start(service)
    load = Load(scene.store(), luck.randrange(1_000_000))
    load.start()
    scene.diary.start()
    scene.all_write()
    end = time.monotonic() + seconds
    for act in sequence(luck):
        if time.monotonic() >= end and set(scene.acts) == set(ACTS):
            break
        say(f"{time.monotonic() - began:.0f} s: {act}; {load.sent:,} plans")
        scene.act(act)
        time.sleep(luck.uniform(0.2, min(3.0, seconds / 12)))
    load.end()
    for service in ("allocation", "governor"):
        scene.end(service, signal.SIGTERM)
    scene.end("recorder")
    scene.diary.end()
    scene.start("recorder", "--once")
    assert scene._running["recorder"].wait(60) == 0, (scene.folder / "recorder.log").read_text()
    still = _still_there(scene)
    found = check(scene.history, scene.diary.entries, still)
    if scene.diary.twice:
        found.breaches.append(f"the diary read twice: {scene.diary.twice[:3]}")
    seconds = time.monotonic() - began
    return Report(found, scene.acts, load.sent, seconds, scene.diary.entries, still)


def _still_there(scene: Scene) -> dict[str, Sequence[str]]:
    with contextlib.closing(scene.store()) as store:
        return {
            kind: [text(entry_id) for entry_id, _ in store.run("XRANGE", key, "-", "+")]
            for kind, key in stream_keys(store.keys).items()
        }


def _keep(scene: Scene, keep: Path) -> None:
    def sockets(at: str, names: list[str]) -> list[str]:
        return [name for name in names if (Path(at) / name).is_socket()]

    shutil.copytree(scene.folder, keep, dirs_exist_ok=True, ignore=sockets)


class Load(threading.Thread):
    """Targets, scores and plans: opens and closes, duplicates, and some that can't be read."""

    def __init__(self, store: Store, seed: int) -> None:
        super().__init__(daemon=True)
        self._store, self._luck = store, random.Random(seed)
        self._ended = threading.Event()
        self.sent = 0

    def end(self) -> None:
        self._ended.set()
        self.join()

    def run(self) -> None:
        while not self._ended.wait(5 / RATE_PER_SEC):
            with contextlib.suppress(RedisUnreachable, WireError):
                self._store.batch([*self._market(), *(self._plan() for _ in range(5))])
                self.sent += 5

    def _market(self) -> list[tuple[object, ...]]:
        keys, symbol = self._store.keys, f"S{self._luck.randrange(SYMBOLS)}USDT"
        now, score = int(time.time()), round(self._luck.random(), 6)
        return [
            ("HSET", keys.at(TARGET, symbol), "target_usd", 1_000 + score, "timestamp", now),
            ("HSET", keys.at(EFFICIENCY, symbol), "efficiency_score", score, "confidence", 0.9,
             "ts", now),
        ]  # fmt: skip

    def _plan(self) -> tuple[object, ...]:
        luck = self._luck
        number = self.sent if luck.random() < 0.1 else luck.randrange(1 << 40)
        symbol = "" if luck.random() < 0.02 else f"S{luck.randrange(SYMBOLS)}USDT"
        action = luck.choice(("OPEN_PROPOSED", "OPEN_PROPOSED", "FULL_CLOSE_PROPOSED"))
        return (
            "XADD", self._store.keys.plans, "*", "plan_id", f"p{number}", "symbol", symbol,
            "action", action, "decision", "EXECUTE", "kill_score", round(luck.random(), 3),
            "qty", 0.001, "price", 43_250.5,
        )  # fmt: skip
