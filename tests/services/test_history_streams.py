"""What both loops publish for the history: whole, enough to decide everything again, and never in
the way of a verdict or a proposal."""

import msgspec
import pytest

from qtctl.domain.allocation import AllocationRules, propose
from qtctl.domain.downsize import DownsizeRules, hint
from qtctl.domain.facts import facts_of, limits_of
from qtctl.domain.gates import judge
from qtctl.domain.numbers import four
from qtctl.domain.passes import Pass
from qtctl.domain.plans import PlanRules
from qtctl.domain.readings import assess, target_usd
from qtctl.services.allocation import AllocationLoop
from qtctl.settings import Allocation
from qtctl.settings.rules import rules_from
from qtctl.wire.client.store import Store
from qtctl.wire.governor.decision_stream import DecisionStream
from qtctl.wire.schema import pass_entry
from qtctl.wire.schema.decision import HISTORY
from qtctl.wire.schema.keys import (
    ALLOCATION_RULES,
    EFFICIENCY,
    LAST_CLOSE,
    LIMITS,
    STREAM_KEEP_BYTES,
    TARGET,
)
from qtctl.wire.schema.records import pairs
from tests.services.helpers import governor, send, serve_all
from tests.support.plans import RATES_OFF, decision, fields, pending, permit

CLOSE = {"action": "FULL_CLOSE_PROPOSED"}


def decisions(store: Store) -> list[dict[str, str]]:
    return [pairs(raw) for _, raw in store.run("XRANGE", store.keys.decisions, "-", "+")]


def score(store: Store, symbol: str, **more: object) -> None:
    flat = [str(part) for pair in more.items() for part in pair]
    store.run("HSET", store.keys.at(EFFICIENCY, symbol), *flat)


def passes(store: Store) -> list[Pass]:
    found = []
    for _, raw in store.run("XRANGE", store.keys.passes, "-", "+"):
        found.append(pass_entry.read(dict(zip(raw[::2], raw[1::2], strict=True))))
    return found


def test_every_decision_is_published_with_all_its_facts(store: Store) -> None:
    now = store.now_ms() / 1000
    score(store, "BTCUSDT", efficiency_score="0.44996", confidence="0.9000001", ts=now)
    gov = governor(store, symbol_cooldown_sec=60)
    gov.open()
    send(store, fields(qty="0.001", price="15000", timestamp=now))
    send(store, fields())
    send(store, fields(symbol="ETHUSDT"))
    send(store, fields(plan_id="again"))
    send(store, fields(plan_id="skipped", decision="SKIP"))
    send(store, fields(plan_id="close", **CLOSE))
    serve_all(gov)
    found = decisions(store)
    assert [(each["plan_id"], each["verdict"], each["reason"]) for each in found] == [
        ("p1", "permitted", "ok"),
        ("p1", "blocked", "duplicate_plan"),
        ("p1", "blocked", "plan_conflict"),
        ("again", "blocked", "symbol_cooldown"),
        ("close", "permitted", "ok"),
    ]
    own = [name for name, _ in HISTORY]
    for each in found:
        assert [*each][: len(own)] == own
        assert set(each) == {*own, *decision(store, "p1")} - {"withdrawn_at"}
        assert each["decided_at"], each
        assert each["queue_age_sec"], each
    first, duplicate, conflict, again, close = found
    assert {name: first[name] for name in decision(store) if name != "withdrawn_at"} == {
        name: value for name, value in decision(store).items() if name != "withdrawn_at"
    }
    assert (first["score"], first["confidence"], first["eff_score"], first["eff_action"]) == (
        "0.44996", "0.9000001", "0.4500", "DOWNSIZE",
    )  # fmt: skip
    assert (first["score_at"], first["plan_at"]) == (str(now), repr(float(str(now))))
    assert [each["withdrawn"] for each in found] == ["0", "0", "1", "0", "0"]
    assert (duplicate["opens_5min"], conflict["symbol"]) == ("1", "ETHUSDT")
    assert (again["full_close"], close["full_close"]) == ("0", "1")
    assert [each["entry_id"] for each in found] == sorted(each["entry_id"] for each in found)
    gov.close()


def test_what_is_published_decides_the_same_again(store: Store) -> None:
    now = store.now_ms() / 1000
    score(store, "A", efficiency_score="0.3", confidence="0.9", timestamp=now - 700)
    score(store, "B", efficiency_score="0.30004", confidence="0.65", ts=f"{now * 1e6:.0f}")
    score(store, "C", efficiency_score="x", confidence="0.65", ts=now)
    gov = governor(store, max_exec_per_5min=1)
    gov.open()
    for place, symbol in enumerate(["A", "B", "C", "D", "B", "B"]):
        send(store, fields(plan_id=f"p{place}", symbol=symbol, kill_score="0.1", qty="1.5"))
    serve_all(gov)
    found = decisions(store)
    assert {each["eff_reason"] for each in found} == {
        "stale_eff",
        "ok",
        "redis_error",
        "missing_eff",
    }
    for each in found:
        record = store.run("GET", store.keys.at(LIMITS, each["limits"]))
        limits = limits_of(record)
        assert limits is not None
        assert limits == msgspec.structs.replace(RATES_OFF, max_exec_per_5min=1)
        downsize = rules_from(msgspec.json.decode(record), DownsizeRules)
        again = judge(facts_of(each), limits)
        assert (again.verdict.value, again.reason.value) == (each["verdict"], each["reason"])
        raw = {"efficiency_score": each["score"], "confidence": each["confidence"]}
        raw["ts"] = each["score_at"]
        read = None if each["eff_reason"] == "missing_eff" else raw
        made = hint(
            assess(read, float(each["score_read_at"]), downsize.eff_ttl_sec, downsize.min_conf),
            downsize,
        )
        assert (made.efficiency.reason.value, four(made.factor), made.action.value) == (
            each["eff_reason"], each["eff_factor"], each["eff_action"],
        )  # fmt: skip
        rules_from(msgspec.json.decode(record), PlanRules)
    gov.close()


def test_a_stream_that_can_not_be_written_costs_no_verdict(store: Store) -> None:
    store.run("SET", store.keys.decisions, "not a stream")
    gov = governor(store)
    gov.open()
    send(store, fields(plan_id="open"))
    send(store, fields(plan_id="close", **CLOSE))
    serve_all(gov)
    assert permit(store, "open") is not None
    assert permit(store, "close") is not None
    assert pending(store) == []
    assert gov.metrics.errors.labels("history")._value.get() >= 2
    assert gov.not_ready() is None
    store.run("DEL", store.keys.decisions)
    send(store, fields(plan_id="after", symbol="X"))
    serve_all(gov)
    assert [each["plan_id"] for each in decisions(store)] == ["after"]
    gov.close()


def test_of_the_last_close_only_opens_ask_for_its_type(store: Store) -> None:
    store.run("HSET", store.keys.at(LAST_CLOSE, "BTCUSDT"), "not", "a string")
    gov = governor(store)
    gov.open()
    send(store, fields(plan_id="close", **CLOSE))
    serve_all(gov)
    assert permit(store, "close") is not None
    assert [each["plan_id"] for each in decisions(store)] == ["close"]
    gov.close()


def test_nothing_is_published_where_that_is_off(store: Store) -> None:
    gov = governor(store, publish=False)
    gov.open()
    send(store, fields())
    serve_all(gov)
    assert permit(store) is not None
    store.run("HSET", store.keys.at(TARGET, "BTCUSDT"), "target_usd", "10")
    loop = AllocationLoop(store, Allocation(), publish=False)
    loop.open()
    assert loop.step() == 1
    for key in (store.keys.decisions, store.keys.passes):
        assert store.run("EXISTS", key) == 0
    gov.close()


def test_the_stream_of_decisions_is_trimmed_by_time_and_by_bytes(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream, key = DecisionStream(store), store.keys.decisions
    now = store.now_ms()
    for place in range(1_000):
        at = now - 7_300_000 if place < 500 else now
        store.run("XADD", key, f"{at}-{place}", "field", "x" * 500)
    stream.trim(now)
    assert 500 <= store.run("XLEN", key) < 600, "by nodes of 100"
    size = store.run("MEMORY", "USAGE", key)
    kept = stream.maxlen * size / store.run("XLEN", key)
    assert STREAM_KEEP_BYTES * 0.9 < kept <= STREAM_KEEP_BYTES * 1.01


def test_every_pass_is_published_with_all_it_decided_on(store: Store) -> None:
    now = store.now_ms() / 1000
    for symbol, target in (("B", "1000.123456789"), ("A", "-5"), ("C", "20"), ("D", "30")):
        at = store.keys.at(TARGET, symbol)
        store.run("HSET", at, "target_usd", target, "timestamp", str(int(now)))
    score(store, "B", efficiency_score="0.61234567", confidence="0.9", ts=str(now))
    score(store, "C", efficiency_score="0.7", confidence="0.9", timestamp="2026-01-01T00:00:00Z")
    store.run("SET", store.keys.at(EFFICIENCY, "D"), "wrong type")
    settings = Allocation(interval_sec=5)
    loop = AllocationLoop(store, settings)
    loop.open()
    loop.step()
    loop.step()
    first, second = passes(store)
    assert (first.number, second.number) == (1, 2)
    assert first.columns == second.columns
    assert abs(first.ts_ms - now * 1000) < 10_000
    kept = [getattr(first.columns, name) for name in first.columns.__struct_fields__]
    got = [*zip(*kept, strict=True)]
    stamp = str(int(now))
    assert got == [
        ("A", "-5", stamp, "", "", "", "", "", ""),
        ("B", "1000.123456789", stamp, "0.61234567", "0.9", str(now), "", "ok", "1.1123"),
        ("C", "20", stamp, "0.7", "0.9", "", "2026-01-01T00:00:00Z", "stale_eff", "1.0000"),
        ("D", "30", stamp, "", "", "", "", "redis_error", "1.0000"),
    ]
    raw = msgspec.json.decode(store.run("GET", store.keys.at(ALLOCATION_RULES, first.rules)))
    assert raw["interval_sec"] == 5
    rules = rules_from(raw, AllocationRules)
    assert rules == rules_from(settings, AllocationRules)
    fields_b = {"efficiency_score": got[1][3], "confidence": got[1][4], "ts": got[1][5]}
    base = target_usd({"target_usd": got[1][1]})
    assert isinstance(base, float)
    by = first.ts_ms / 1000
    again = propose("B", base, assess(fields_b, by, rules.stale_sec, rules.min_conf), rules)
    assert four(again.multiplier) == "1.1123"


def test_a_pass_without_targets_is_published_too(store: Store) -> None:
    loop = AllocationLoop(store, Allocation())
    loop.open()
    loop.step()
    assert [(each.number, len(each.columns)) for each in passes(store)] == [(1, 0)]


def test_a_pass_that_can_not_be_published_proposes_all_the_same(store: Store) -> None:
    store.run("SET", store.keys.passes, "not a stream")
    store.run("HSET", store.keys.at(TARGET, "BTCUSDT"), "target_usd", "10")
    loop = AllocationLoop(store, Allocation())
    loop.open()
    assert loop.step() == 1
    assert store.run("XLEN", store.keys.proposed_stream) == 1
    assert loop.metrics.errors.labels("history")._value.get() == 1


def test_large_passes_are_kept_by_their_bytes(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qtctl.wire.allocation.pass_stream.STREAM_KEEP_BYTES", 3 * 3_000)
    for place in range(400):
        store.run("HSET", store.keys.at(TARGET, f"S{place}"), "target_usd", str(place / 7))
    loop = AllocationLoop(store, Allocation())
    loop.open()
    for _ in range(12):
        loop.step()
    kept = passes(store)
    assert 1 <= len(kept) <= 4
    assert kept[-1].number == 12
