"""Every trouble, made for real, is found; what is printed to fix it fixes it."""

import json
import shlex
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from qtctl import __version__
from qtctl.wire.schema.keys import EFFICIENCY, EVENTS, LEDGER, PERMIT, TARGET
from tests.doctor.conftest import System

OTHER = ("--set", "governor.stream_plans=other:stream")
"""The doctor looks at another plan stream than the governor, which would settle what is there."""
HINT = {
    "eff_score": "", "eff_confidence": "", "eff_stale": "0", "eff_factor": "1.0000",
    "eff_action": "NONE", "eff_reason": "missing_eff", "downsize_factor": "1.0000",
    "extra_cooldown_sec": "0",
}  # fmt: skip


def test_a_healthy_system_has_no_finding(system: System) -> None:
    assert system.found("--strict") == []
    assert system.doctor("--strict").code == 0


class Trouble(NamedTuple):
    """How it is made, and what is to be found; fixes: can the printed command be run here."""

    name: str
    make: Callable[[System], Any]
    check: str
    level: str
    said: str
    fixes: bool = True
    args: tuple[str, ...] = ()


def emptied(how: str) -> Callable[[System], Any]:
    record = f'{{"at":1769558400,"how":"{how}","by":"governor:g1"}}'
    return lambda system: system.run("SET", system.store.keys.emptied, record)


def config(**options: str) -> Callable[[System], Any]:
    flat = [part for name, value in options.items() for part in (name.replace("_", "-"), value)]
    return lambda system: system.run("CONFIG", "SET", *flat)


def tight(system: System) -> None:
    used = int(system.run("INFO", "memory").split(b"used_memory:")[1].split(b"\r")[0])
    system.run("CONFIG", "SET", "maxmemory", str(int(used * 1.1)))


def kill(name: str, value: str) -> Callable[[System], Any]:
    return lambda system: system.run("SET", system.store.keys.prefix + name, value)


def permit(*ttl: Any, **changes: str) -> Callable[[System], Any]:
    """One that no index knows and no decision stands for."""

    def make(system: System) -> None:
        fields = {"granted": True, "symbol": "BTCUSDT", "created_at": system.store.now_ms() / 1000}
        value = json.dumps(fields | HINT | changes)
        system.run("SET", system.store.keys.at(PERMIT, "p1"), value, *ttl)

    return make


def hash_permit(system: System) -> None:
    flat = [part for pair in HINT.items() for part in pair]
    system.run("HSET", system.store.keys.at(PERMIT, "p1"), "symbol", "BTCUSDT", *flat)
    system.run("EXPIRE", system.store.keys.at(PERMIT, "p1"), 60)


def instead(spec: Any, *command: Any) -> Callable[[System], Any]:
    """Another thing under the key of BTCUSDT."""

    def make(system: System) -> None:
        key = system.store.keys.at(spec, "BTCUSDT")
        system.run("DEL", key)
        system.run(command[0], key, *command[1:])
        system.run("EXPIRE", key, 300)

    return make


def aged(spec: Any, field: str, ago: int, symbols: tuple[str, ...]) -> Callable[[System], Any]:
    def make(system: System) -> None:
        for symbol in symbols:
            at = system.store.now_ms() // 1000 - ago
            system.run("HSET", system.store.keys.at(spec, symbol), field, at)

    return make


def ahead(system: System) -> None:
    system.plan("5-1", "other:stream")
    system.run("XGROUP", "CREATE", "other:stream", "governor", "9999999999999-0")


def grown(name: str, count: int) -> Callable[[System], Any]:
    script = "for i = 1, ARGV[1] do redis.call('XADD', KEYS[1], '*', 'event', 'x') end"
    return lambda system: system.run("EVAL", script, 1, name, count)


def grown_for_days(system: System) -> None:
    script = """for i = 1, 100001 do
        redis.call('XADD', KEYS[1], ARGV[1] + i .. '-0', 'plan_id', 'x', 'symbol', 'X',
                   'decision', 'SKIP') end"""
    system.run("EVAL", script, 1, "other:stream", system.store.now_ms() - 3 * 86_400_000)
    system.plan(stream="other:stream", decision="SKIP")


def group(name: str, read: int, ago_sec: int) -> Callable[[System], Any]:
    """A group that has read so many of three entries, which came so long ago."""

    def make(system: System) -> None:
        ms = system.store.now_ms() - ago_sec * 1000
        for place in range(3):
            system.plan(f"{ms + place}-0", "other:stream", plan_id=f"p{place}")
        system.run("XGROUP", "CREATE", "other:stream", name, "0")
        if read:
            system.run("XREADGROUP", "GROUP", name, "gone", "COUNT", read, "STREAMS",
                       "other:stream", ">")  # fmt: skip
            ids = [f"{ms + place}-0" for place in range(read)]
            system.run("XCLAIM", "other:stream", name, "gone", 0, *ids, "IDLE", ago_sec * 1000,
                       "JUSTID")  # fmt: skip

    return make


def pending_for(sec: int) -> Callable[[System], Any]:
    """An entry that was queued so long ago, and is tried again and again."""

    def make(system: System) -> None:
        system.plan(f"{system.store.now_ms() - sec * 1000}-0", "other:stream")
        system.run("XGROUP", "CREATE", "other:stream", "governor", "0")
        system.run("XREADGROUP", "GROUP", "governor", "g1", "STREAMS", "other:stream", ">")

    return make


def lag_null(system: System) -> None:
    """A group put into the middle, and an entry deleted: Redis does not know its lag."""
    ms = system.store.now_ms() - 90_000
    for place in range(5):
        system.plan(f"{ms + place}-0", "other:stream", plan_id=f"p{place}")
    system.run("XDEL", "other:stream", f"{ms + 3}-0")
    system.run("XGROUP", "CREATE", "other:stream", "governor", f"{ms + 1}-0")


def service(service: str, **changes: Any) -> Callable[[System], Any]:
    def make(system: System) -> None:
        now = system.store.now_ms() // 1000
        plain = {"version": __version__, "host": "far", "pid": 1, "started_at": now,
                 "settings": "{}", "last_pass_at": now, "metrics": "127.0.0.1:1"}  # fmt: skip
        fields = plain | changes
        key = system.store.keys.service(service, "ghost")
        system.run("HSET", key, *[part for pair in fields.items() for part in pair])
        system.run("PEXPIRE", key, 1500)

    return make


def shadow(spec: Any, stream: str) -> Callable[[System], Any]:
    """Its stream instead of its keys."""

    def make(system: System) -> None:
        system.run("DEL", *(system.store.keys.at(spec, each) for each in BOTH))
        system.run("XADD", system.store.keys.prefix + stream, "*", "symbol", "BTCUSDT")

    return make


def test_a_producer_in_shadow_is_named_with_what_to_set(system: System) -> None:
    for spec, stream, check in (
        (EFFICIENCY, "stream:capital.efficiency.decision", "upstream.scores"),
        (TARGET, "stream:allocation.decision", "upstream.targets"),
    ):
        shadow(spec, stream)(system)
        why = system.one(check)["why"]
        assert f"runs in shadow: it writes the stream quantum:{stream}, no keys" in why
        assert "Set its mode to enforce" in why
        system.upstream()


@pytest.mark.parametrize("name", ["kill", "global:kill_switch", "governor:halt"])
def test_what_another_system_set_is_never_deleted_by_advice(system: System, name: str) -> None:
    kill(name, "1")(system)
    found = system.one("kill.switch")
    assert "del" not in found["command"].lower()
    assert "resume" not in found["command"]
    assert "who runs that system must clear it" in found["why"]
    assert ("drawdown guard" in found["why"]) == (name == "governor:halt")


@pytest.mark.parametrize(
    "name", ["kill_switch", "EMERGENCY_STOP", "trading:halt", "trading:enabled", "circuit_breaker"]
)  # fmt: skip
def test_a_key_that_looks_like_a_kill_switch_and_that_nobody_reads(
    system: System, name: str
) -> None:
    system.run("SET", f"quantum:{name}", "1")
    try:
        found = system.one("kill.unread")
        assert f"quantum:{name} is '1'" in found["what"]
        assert "no governor reads it" in found["what"]
        assert system.found("--set", f'governor.halt_keys=["{name}"]') != []
    finally:
        system.run("DEL", f"quantum:{name}")


@pytest.mark.parametrize("name", ["skills", "killers:list", "shaltz", "trading:modes"])
def test_a_key_that_only_sounds_like_one_is_nobodys_finding(system: System, name: str) -> None:
    system.run("SET", f"quantum:{name}", "1")
    try:
        assert [row for row in system.found() if row["check"] == "kill.unread"] == []
    finally:
        system.run("DEL", f"quantum:{name}")


def exists(system: System, command: str) -> bool:
    """Is it a command that there is: qtctl's own are asked for their help."""
    words = [word for word in shlex.split(command) if word != "sudo"]
    if words[0] != "qtctl":
        return words[0] in ("redis-cli", "timedatectl", "systemctl", "sed", "sudoedit", "ss")
    place = words.index("--redis-url")
    rest = words[place + 2 :]
    while rest[0] == "--set":
        rest = rest[2:]
    return system.cli(*rest[:2], "--help").code == 0


BOTH = ("BTCUSDT", "ETHUSDT")
TROUBLES = (
    Trouble("evicts", config(maxmemory="1gb", maxmemory_policy="allkeys-lru"),
            "redis.eviction", "wrong", "allkeys-lru with maxmemory 1.0 GB"),
    Trouble("may evict one day", config(maxmemory_policy="volatile-ttl"),
            "redis.eviction", "warning", "volatile-ttl, without"),
    Trouble("little memory", tight, "redis.memory", "warning", "of maxmemory"),
    Trouble("nothing on disk", config(appendonly="no"),
            "redis.persistence", "", "no append-only file"),
    Trouble("halted", kill("kill", "1"), "kill.switch", "wrong", "quantum:kill is '1'", False),
    Trouble("the drawdown guard's halt", kill("governor:halt", "1"), "kill.switch", "warning",
            "quantum:governor:halt is '1'", False),
    Trouble("a switch that nobody reads", kill("emergency_stop", "1"), "kill.unread", "warning",
            "quantum:emergency_stop is '1'", False),
    Trouble("a mode that nobody reads", kill("system:mode", "HALT"), "kill.unread", "warning",
            "quantum:system:mode is 'HALT'", False),
    Trouble("reduce only", kill("global:kill_switch", "reduce_only"),
            "kill.switch", "warning", "global:kill_switch is 'reduce_only'", False),
    Trouble("emptied", emptied("empty"), "redis.emptied", "wrong",
            "Redis came back EMPTY, found by governor:g1", False),
    Trouble("started on an empty Redis", emptied("start"), "redis.emptied", "warning",
            "governor:g1 started and found no trace of the control plane", False),
    Trouble("halted under a name of this shell", kill("stop:all", "yes"), "kill.switch", "wrong",
            "no running governor reads that key", False,
            ("--set", 'governor.kill_keys=["kill", "stop:all"]')),
    Trouble("another name here", lambda _: None, "kill.names", "wrong", "does not read", False,
            ("--set", 'governor.kill_keys=["stop:all"]')),
    Trouble("permit for ever", permit(), "permit.lifetime", "wrong", "without a lifetime: p1"),
    Trouble("permit for an hour", permit("EX", 3600), "permit.lifetime", "warning",
            "permit_ttl_sec (60 s)", False),
    Trouble("permit as a hash", hash_permit, "permit.encoding", "wrong", "but hash: p1"),
    Trouble("permit as a list", lambda it: it.run("LPUSH", it.store.keys.at(PERMIT, "p1"), "x"),
            "permit.encoding", "wrong", "unreadable"),
    Trouble("permit that blocks", permit("EX", 60, eff_action="BLOCK"), "permit.hint", "wrong",
            "'BLOCK' where the formula gives NONE"),
    Trouble("permit of nobody", permit("EX", 60), "permit.decision", "warning", "p1", False),
    Trouble("target as a string", instead(TARGET, "SET", "1000"), "upstream.targets", "wrong",
            "1 of 2 targets: is no hash (wrong type) (quantum:allocation:target:BTCUSDT)"),
    Trouble("target renamed", instead(TARGET, "HSET", "target_usdt", "5", "mode", "live"),
            "upstream.targets", "wrong",
            "has no target_usd but 'target_usdt': P2.9 (mode live) has renamed it", False),
    Trouble("score renamed",
            instead(EFFICIENCY, "HSET", "eff_score", "0.5", "confidence", "1", "ts", "1",
                    "version", "2"),
            "upstream.scores", "wrong",
            "has no efficiency_score but 'eff_score': P3.1 (version 2) has renamed it", False),
    Trouble("one score is stale", aged(EFFICIENCY, "ts", 700, ("ETHUSDT",)),
            "upstream.scores", "warning", "1 of 2 scores are stale: ETHUSDT", False),
    Trouble("all scores are stale", aged(EFFICIENCY, "ts", 700, BOTH),
            "upstream.scores", "wrong", "2 of 2 scores are stale", False),
    Trouble("scores of the future", aged(EFFICIENCY, "ts", -300, BOTH),
            "upstream.scores", "wrong", "from the future", False),
    Trouble("old targets", aged(TARGET, "timestamp", 700, BOTH),
            "upstream.targets", "wrong", "older than 10 min", False),
    Trouble("target whose key holds no symbol",
            lambda it: it.run("HSET", it.store.keys.at(TARGET, "BTC/USDT:USDT"), "target_usd", 5),
            "upstream.targets", "wrong",
            "1 of the keys of targets: the symbol has a colon "
            "('quantum:allocation:target:BTC/USDT:USDT')", False),
    Trouble("score whose key holds no symbol",
            lambda it: it.run("HSET", it.store.keys.at(EFFICIENCY, "A B"), "efficiency_score", 5),
            "upstream.scores", "wrong", "'quantum:capital:efficiency:A B'", False),
    Trouble("scores with flags",
            lambda it: [it.run("HSET", it.store.keys.at(EFFICIENCY, each), "confidence", "0.45",
                               "stale_flags", "P29_STALE", "inputs_ok", "0") for each in BOTH],
            "upstream.scores", "warning",
            "2 of 2 scores have stale_flags=P29_STALE, inputs_ok=0: BTCUSDT, ETHUSDT", False),
    Trouble("P3.1 in shadow", shadow(EFFICIENCY, "stream:capital.efficiency.decision"),
            "upstream.scores", "wrong", "no key quantum:capital:efficiency:*", False),
    Trouble("target for ever", lambda it: it.run("PERSIST", it.store.keys.at(TARGET, "BTCUSDT")),
            "upstream.targets", "warning", "no lifetime: BTCUSDT"),
    Trouble("plan renamed",
            lambda it: it.plan(symbol=None, sym="BTCUSDT", decision="SKIP", source="harvest"),
            "upstream.plans", "warning", "but 'sym' is there: harvest has renamed it", False),
    Trouble("plans skipped as too old",
            lambda it: it.run("XADD", it.store.keys.events, "*", "event", "backlog_skipped",
                              "count", "1500"),
            "upstream.plans", "warning", "1,500 plans were skipped as too old", False),
    Trouble("plans trimmed unread",
            lambda it: it.run("XADD", it.store.keys.events, "*", "event", "trimmed", "count", "3"),
            "upstream.plans", "warning", "3 plans were trimmed from the stream", False),
    Trouble("unknown decision",
            lambda it: it.plan(decision="EXECUTED", source="harvest"),
            "upstream.plans", "warning", "plans of harvest have the decision 'EXECUTED'", False),
    Trouble("decision that nobody knew within the hour",
            lambda it: it.run("XADD", it.store.keys.events, "*", "event", "unknown_decision",
                              "decision", "DO", "source", "intent", "count", "7"),
            "upstream.plans", "warning", "plans of intent have the decision 'DO': 7", False),
    Trouble("plans of many bytes",
            lambda it: it.plan(source="harvest", action="FULL_CLOSE", note="x" * 2_000_000),
            "upstream.plans", "warning", "plans of harvest have up to 2.0 MB each", False),
    Trouble("ids in microseconds",
            lambda it: it.plan(f"{it.store.now_ms()}000-0", "other:stream", source="harvest"),
            "upstream.clock", "wrong",
            "are in µs, not in ms by Redis's clock", args=OTHER),
    Trouble("ids in seconds",
            lambda it: it.plan(f"{it.store.now_ms() // 1000}-0", "other:stream", source="harvest"),
            "upstream.clock", "wrong", "ids of its own from harvest", False, OTHER),
    Trouble("plan of the future", lambda it: it.plan(timestamp="9999999999", source="harvest"),
            "upstream.clock", "wrong", "plans of harvest are", False),
    Trouble("gate without input", lambda it: it.plan(kill_score=None, killScore="0.1"),
            "gate.input", "warning", "kill_score from intent-bridge (has it 'killScore' become?)",
            False),
    Trouble("events untrimmed", grown(f"quantum:{EVENTS.template}", 21_000),
            "stream.bounded", "warning", "should have about 10,000"),
    Trouble("plans untrimmed", grown_for_days, "stream.bounded", "warning", "100,002 entries",
            args=OTHER),
    Trouble("plans are a string", lambda it: it.run("SET", "other:stream", "x"),
            "stream.bounded", "wrong", "is not a stream", args=OTHER),
    Trouble("ledger as a string",
            lambda it: it.run("SET", it.store.keys.at(LEDGER, "BTCUSDT"), "x"), "key.types",
            "wrong", "ledger:BTCUSDT is a string, and should be a sorted set"),
    Trouble("plan stream deleted",
            lambda it: it.run("XADD", it.store.keys.events, "*", "event", "blocked"),
            "upstream.plans", "wrong", "other:stream was deleted: plans were judged until 0 s ago",
            False, OTHER),
    Trouble("pending while a governor works", pending_for(20), "group.pending", "wrong",
            "1 pending, the first was queued 20 s ago", False, OTHER),
    Trouble("no group", lambda it: it.plan(stream="other:stream"), "group.lag", "wrong",
            "no group governor", args=OTHER),
    Trouble("group stands", group("governor", 0, 30), "group.lag", "wrong",
            "lag 3, the first has been waiting 30 s", False, OTHER),
    Trouble("group ahead of its stream", ahead, "group.lag", "wrong",
            "group governor lies ahead of its stream: at 9999999999999-0, past 5-1", False, OTHER),
    Trouble("lag is null", lag_null, "group.lag", "wrong",
            "lag unknown (NULL), 2 entries counted behind it", False, OTHER),
    Trouble("pending", group("governor", 2, 1200), "group.pending", "wrong",
            "2 pending, 2 of them untouched for up to 20 min, held by gone", False, OTHER),
    Trouble("service hangs", service("governor", last_pass_at="1"), "service.alive", "wrong",
            "governor ghost is late: no pass for", False),
    Trouble("service of another version", service("allocation", version="0.0.9"),
            "service.version", "warning", "allocation ghost is 0.0.9, this is", False),
)  # fmt: skip


@pytest.mark.parametrize("trouble", TROUBLES, ids=[it.name for it in TROUBLES])
def test_a_trouble_is_found_and_fixed(system: System, trouble: Trouble) -> None:
    trouble.make(system)
    found = system.one(trouble.check, *trouble.args)
    assert trouble.said in found["what"]
    assert found["level"] == trouble.level or not trouble.level
    assert found["why"]
    assert exists(system, found["command"]), found
    code = system.doctor(*trouble.args).code
    wrong = any(row["level"] == "wrong" for row in system.found(*trouble.args))
    assert code == int(wrong)
    assert system.doctor("--strict", *trouble.args).code == 1
    if trouble.fixes:
        system.fix(found["command"])
        left = [row for row in system.found(*trouble.args) if row["check"] == trouble.check]
        assert [row for row in left if row["what"] == found["what"]] == []
        assert left == [] or "target" in trouble.check
