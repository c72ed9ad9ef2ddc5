"""What lies in Redis is data: whatever it is, nothing of it steers a terminal, is taken for markup,
or gets lost in JSON."""

import os
import random
import re
import sys
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pexpect
import pytest

from qtctl.cli.output import tables
from qtctl.domain.names import plan_id_problem
from qtctl.wire.client.store import Store
from qtctl.wire.schema.decision import DECISION_FIELDS
from qtctl.wire.schema.keys import (
    DECISION,
    EFFICIENCY,
    GROUP,
    INJECTED,
    LIMITS,
    PERMIT,
    PROPOSED,
    SERVICE,
    TARGET,
)
from qtctl.wire.schema.permit import PERMIT_HEAD, PERMIT_TAIL
from qtctl.wire.schema.records import HINT, PROPOSAL_FIELDS, pairs, text
from tests.faults import hostile
from tests.support.cli import NO_FILE, Cli

LONG = os.environ.get("TESTS_LONG") == "1"
SEED = int(os.environ.get("TESTS_SEED", hostile.SEED))
ROUNDS, ROWS = (40, 60) if LONG else (2, 40)
pytestmark = pytest.mark.timeout(1800 if LONG else 120)

MAGENTA = "[bold magenta]m[/bold magenta]"
"""If a terminal ever gets a magenta, it comes from here: qtctl has no use for it."""
STEERING = (
    MAGENTA, "[link=http://x]y[/link]", ":skull:", "[/]", "\\[b]", "\x1b[35mm\x1b[0m", "\x1b[2J",
    "\x1b]0;title\x07", "\x1b]8;;http://x\x1b\\y", "\x1bP1$r\x1b\\", "\x9b35m", "\x9d0;t\x9c",
    "\x90q\x9c", "a\nb", "a\r\nb", "a\tb", "\x08\x08", "\x0e", "\x00", "\x7f", "\x85", "\u2028",
    "\u2029", "\u202eevil", "\u2066a\u2069", "\u061c", "\u200e\u200f", "\u200b\u200d", "\ufeff",
    "\xad", "\u180e", "\ufff9a\ufffb", "\U000e0041\U000e007f", "\U0001d173", "\U000110bd",
)  # fmt: skip
STYLES = re.compile(r"\x1b\[(?:0|1|2|4|31|32|33|36|;)+m")
"""What rich may send for qtctl's own styles."""
TURNING = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
MARKS = "\u200e\u200f\u061c"
FOLLOWED = ("proposed", "plans", "events", "rejected")


def steering(text_: str, *, strict: bool = True) -> set[str]:
    """The characters in an output that a terminal could act on; where it is strict, also those
    that are merely invisible."""
    kinds = ("Cc", "Cf", "Cs", "Zl", "Zp") if strict else ("Cc", "Cs", "Zl", "Zp")
    return {
        char
        for char in set(text_) - {"\n"}
        if unicodedata.category(char) in kinds
        or unicodedata.bidirectional(char) in TURNING
        or char in MARKS
    }


class Poison:
    """Hostile bytes for every field that any command reads."""

    def __init__(self, store: Store, seed: int) -> None:
        self.store = store
        self._random = random.Random(seed)
        self.decided: list[str] = []
        self.held: dict[str, dict[str, Any]] = {}

    def value(self) -> bytes:
        pick, dice = self._random, self._random.random()
        if dice < 0.55:
            return pick.choice(STEERING).encode()
        if dice < 0.65:
            return pick.choice(hostile.NUMERALS)[:90]
        if dice < 0.75:
            return pick.choice(hostile.NOT_UTF8)
        if dice < 0.85:
            return pick.randbytes(pick.randrange(1, 30))
        made = "".join(pick.choice(pick.choice(STEERING)) for _ in range(pick.randrange(1, 9)))
        return (made + chr(pick.randrange(0x20, 0xD7FF))).encode()

    def word(self) -> str:
        return self.value().decode("utf-8", "replace")

    def record(self, names: Any) -> list[Any]:
        """These fields, and one that nobody knows; now and then one is not there."""
        kept = [name for name in names if self._random.random() < 0.95]
        flat = [part for name in kept for part in (name, self.value())]
        return [*flat, b"x" + self.value(), self.value()]

    def streams(self) -> None:
        keys, commands = self.store.keys, []
        plan = [name.decode() for name in hostile.NAMES]
        raw = [f"raw:{name}" for name in plan]
        for stream, names in (
            (keys.proposed_stream, [field.name for field in PROPOSAL_FIELDS]),
            (keys.plans, plan),
            (keys.events, ["event", "plan_id", "symbol", "reason", "ts", "actor"]),
            (keys.rejected, ["reason", "entry_id", "sha256", "problem", *raw]),
        ):
            commands += [("XADD", stream, "*", *self.record(names)) for _ in range(ROWS)]
        self.store.batch(commands)

    def closes(self) -> None:
        """Plans that a governor reads, and tells all about."""
        for number in range(ROWS):
            known = ["plan_id", f"c{number}:%s'", "symbol", "C<i>", "decision", "EXECUTE"]
            more = [part for name in ("action", "side", "source") for part in (name, self.value())]
            entry = [*known, "reduceOnly", "true", *more]
            self.store.run("XADD", self.store.keys.plans, "*", *entry)

    def hashes(self) -> None:
        at, commands = self.store.keys.at, []
        shown = [field.name for field in PROPOSAL_FIELDS]
        for number in range(ROWS):
            # What a symbol may be: everything but blanks, controls and a few signs.
            symbol = f"{number}<i>%s'\"\\é計"
            commands += [
                ("HSET", at(TARGET, symbol), *self.record(["target_usd", "timestamp", "mode"])),
                ("HSET", at(PROPOSED, symbol), *self.record(shown)),
                ("HSET", at(EFFICIENCY, symbol), *self.record(
                    ["efficiency_score", "confidence", "ts", "mode", "version"])),
            ]  # fmt: skip
            plan_id = f"d{number}:%s'\"\\é計"
            self.decided.append(plan_id)
            names = [name for name, _ in DECISION_FIELDS]
            commands.append(("HSET", at(DECISION, plan_id), *self.record(names)))
            commands += self._permit(plan_id if number % 2 else f"{number}{self.word()}", number)
        self.store.batch(commands)

    def _permit(self, plan_id: str, number: int) -> list[tuple[Any, ...]]:
        key = self.store.keys.at(PERMIT, plan_id)
        names = [name for name, _ in (*PERMIT_HEAD, *PERMIT_TAIL)]
        names += ["created_at", *[field.name for field in HINT]]
        listed = ("ZADD", self.store.keys.permits, "9999999999", plan_id)
        if number % 5 == 0:
            return [("SET", key, self.value()), listed]
        if number % 5 == 1:
            return [("HSET", key, *self.record(names)), listed]
        fields = {name: self.word() for name in [*names, self.word()]}
        self.held[plan_id] = fields
        return [("SET", key, msgspec.json.encode(fields)), listed]

    def services(self) -> None:
        """Services, limits and groups that are said to be there."""
        store, names = (
            self.store,
            ["version", "host", "pid", "started_at", "last_pass_at", "metrics"],
        )
        for service in ("governor", "allocation"):
            for _ in range(3):
                key = store.keys.service(service, self.word())
                settings = msgspec.json.encode(
                    {"min_conf": self.word(), "kill_keys": [self.word()]}
                )
                store.run("HSET", key, *self.record(names), "settings", settings)
        # One that is believed: its name and version are told.
        key = f"{store.keys.prefix}{SERVICE.head}governor:a{self.word()}"
        store.run("HSET", key, *self.record(names), "settings", believable())
        store.run("SET", store.keys.at(LIMITS, self.word()), self.value())
        store.run("HSET", store.keys.at(INJECTED, self.word()), *self.record(["digest"]))
        for word in STEERING[:20]:
            store.run("XGROUP", "CREATE", store.keys.plans, word, "0")
        store.run("XGROUP", "CREATE", store.keys.plans, GROUP, "0")


def believable() -> bytes:
    from qtctl.settings import Governor

    return msgspec.json.encode(Governor())


def commands(poison: Poison) -> Iterator[tuple[str, ...]]:
    yield from (("tail", stream, "-n", "1000") for stream in FOLLOWED)
    yield from (("permit", "list"), ("plan", "list"), ("plan", "list", "--blocked"))
    yield from (("target", "list"), ("eff", "list"))
    for plan_id in poison.decided[:3]:
        yield from (("permit", "show", plan_id), ("plan", "show", plan_id))
        yield from (("plan", "explain", plan_id), ("permit", "take", plan_id))
    yield ("permit", "show", "d2:%s'\"\\é計")
    yield ("inject", "clear", "--dry-run")
    yield ("inject", "plan", "BTCUSDT")
    yield ("inject", "eff", "0<i>%s'\"\\é計", "0.5")
    yield ("inject", "target", "0<i>%s'\"\\é計", "5")


@pytest.fixture
def cli(redis_url: str, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(redis_url, capsys)


@pytest.fixture
def poisoned(store: Store) -> Callable[[int], Poison]:
    def make(seed: int) -> Poison:
        store.run("FLUSHALL")
        poison = Poison(store, seed)
        poison.streams()
        poison.hashes()
        poison.services()
        return poison

    return make


@pytest.mark.parametrize("output", ["table", "json", "ndjson"])
def test_nothing_from_redis_steers_what_a_pipe_leads_to(
    poisoned: Callable[[int], Poison], cli: Cli, output: str
) -> None:
    for number in range(ROUNDS):
        poison = poisoned(SEED + number)
        shown = ""
        for command in commands(poison):
            said = cli(*command, "-o", output)
            where = f"seed {SEED + number}: {command} -o {output}"
            assert said.code in (0, 1, 4), f"{where}: {said}"
            assert "internal error" not in said.err, f"{where}: {said.err[-2000:]}"
            assert not steering(said.out, strict=output == "table"), where
            assert not steering(said.err), where
            shown += said.out
        assert MAGENTA in shown, "markup stands there as it is"
        assert ":skull:" in shown


def test_nothing_from_redis_steers_a_terminal(
    poisoned: Callable[[int], Poison], cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a terminal, with colours: no sequence but those of our own styles."""
    monkeypatch.setattr(tables, "on_terminal", lambda env: True)
    for number in range(ROUNDS):
        poison = poisoned(SEED + 1_000 + number)
        for width in ("80", "3000"):
            monkeypatch.setenv("COLUMNS", width)
            for command in commands(poison):
                said = cli(*command)
                where = f"seed {SEED + 1_000 + number}, {width} columns: {command}"
                assert "internal error" not in said.err, f"{where}: {said.err[-2000:]}"
                assert not steering(STYLES.sub("", said.out)), where
                assert not steering(STYLES.sub("", said.err)), where


def test_json_has_what_lies_in_redis(poisoned: Callable[[int], Poison], cli: Cli) -> None:
    """What could steer a terminal is there as an escape, and comes back as what it was."""
    for number in range(ROUNDS):
        poison = poisoned(SEED + 2_000 + number)
        store = poison.store
        for name, stream in zip(
            FOLLOWED,
            (store.keys.proposed_stream, store.keys.plans, store.keys.events, store.keys.rejected),
            strict=True,
        ):
            rows = cli.ok("tail", name, "-n", "1000", "-o", "json").json
            for row in rows:
                row.pop("verdict", None)
                row.pop("verdict_reason", None)
                if name == "plans":
                    row.pop("kind")
            entries = store.run("XRANGE", stream, "-", "+")
            assert rows == [pairs(raw) | {"id": text(id_)} for id_, raw in entries]
        listed = {
            row["plan_id"]: row for row in cli.ok("plan", "list", "-n", "all", "-o", "json").json
        }
        for plan_id in poison.decided:
            record = pairs(store.run("HGETALL", store.keys.at(DECISION, plan_id)))
            # One that claims to be from before 1970 is older than anything that is listed.
            if plan_id in listed or not record["decided_at"].startswith("-"):
                assert listed[plan_id] == record | {"plan_id": plan_id}
            shown = cli.ok("plan", "show", plan_id, "-o", "json").json
            assert shown | {"gates": 0} == record | {"plan_id": plan_id, "gates": 0}
        permits = {row["plan_id"]: row for row in cli.ok("permit", "list", "-o", "json").json}
        for plan_id, fields in poison.held.items():
            if plan_id_problem(plan_id) is not None:
                assert plan_id not in permits, "no permit of ours"
                continue
            assert permits[plan_id] == {"plan_id": plan_id, "ttl_s": -1} | fields


def test_what_the_loops_log_steers_nothing(poisoned: Callable[[int], Poison], cli: Cli) -> None:
    for number in range(ROUNDS):
        poison = poisoned(SEED + 3_000 + number)
        for service in ("governor", "allocation"):
            for form in ("plain", "rich"):
                poison.closes()
                said = cli("serve", service, "--once", "--set", f'logging.format="{form}"')
                assert "Traceback" not in said.err, said.err[-3000:]
                assert said.err.count("\n") > 20
                assert not steering(STYLES.sub("", said.out + said.err))


@pytest.mark.parametrize(
    "args",
    [("tail", "plans"), ("tail", "events", "-f"), ("tail", "rejected", "-f"), ("permit", "list"),
     ("plan", "show", "d3:%s'\"\\é計"), ("eff", "list"), ("serve", "governor", "--once")],
    ids=" ".join,
)  # fmt: skip
def test_nothing_from_redis_steers_a_real_terminal(
    poisoned: Callable[[int], Poison], args: tuple[str, ...]
) -> None:
    poison = poisoned(SEED + 4_000)
    poison.closes()
    url = poison.store.url
    outside = {name: value for name, value in os.environ.items() if "QTCTL" not in name}
    environ = {**outside, **NO_FILE, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "PAGER": "cat"}
    child = pexpect.spawn(
        sys.executable, ["-m", "qtctl", "--redis-url", url, *args], env=environ,
        dimensions=(50, 160), timeout=30,
    )  # fmt: skip
    seen = b""
    if "-f" in args:
        child.expect(rb"\n(?=[^\n]*\Z)")
        seen = child.before + child.after
        is_quiet = False
        while not is_quiet or seen.count(b"\n") <= 5:
            is_quiet = bool(child.expect([rb".+", pexpect.TIMEOUT], timeout=0.5))
            seen += b"" if is_quiet else child.after
        child.sendintr()
    child.expect(pexpect.EOF)
    seen += child.before
    child.close()
    lines = seen.decode().replace("\r\n", "\n").replace("^C", "")
    assert lines.count("\n") > 5
    assert not steering(STYLES.sub("", lines))
