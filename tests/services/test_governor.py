"""The governor on the real server: no readable plan is lost, nothing unreadable stops it."""

import hashlib
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qtctl import clock
from qtctl.errors import QtctlError
from qtctl.services import look as look_module
from qtctl.services.governor import Governor
from qtctl.wire.client.store import Store
from qtctl.wire.governor.plan_queue import group_state
from qtctl.wire.private_server.embedded import Embedded
from qtctl.wire.schema.keys import DECISION, GROUP, LIMITS, PERMIT, Keys
from qtctl.wire.schema.records import pairs, text
from tests.services.helpers import governor, messages, metric, score, send, serve_all
from tests.support.plans import decision, events, fields, pending, permit
from tests.support.processes import until


def rejected(store: Store) -> list[list[bytes]]:
    return [raw for _, raw in store.run("XRANGE", store.keys.rejected, "-", "+")]


def test_a_plan_gets_its_permit_with_the_downsize_hint(store: Store, gov: Governor) -> None:
    score(store, "BTCUSDT", "0.2")
    send(store, fields(qty="0.01", timestamp=store.now_ms() // 1000))
    serve_all(gov)
    found = json.loads(permit(store) or b"")
    assert (found["eff_action"], found["eff_factor"], found["extra_cooldown_sec"]) == (
        "DOWNSIZE", "0.4444", "96",
    )  # fmt: skip
    assert decision(store)["instance"] == "g1"
    assert metric(gov, "p32_eff_apply_total", action="DOWNSIZE", reason="ok") == 1
    assert metric(gov, "p32_eff_factor", symbol="BTCUSDT") == 0.4444
    assert metric(gov, "quantum_govern_allow_total", symbol="BTCUSDT") == 1
    assert metric(gov, "p32_plan_to_permit_seconds_count") == 1


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        (lambda store, key: store.run("SET", key, "x"), "redis_error"),
        (lambda store, key: store.run("HSET", key, "score", "0.2"), "redis_error"),
        (lambda store, key: store.run("HSET", key, "efficiency_score", "nan"), "redis_error"),
        (lambda store, key: None, "missing_eff"),
    ],
    ids=["wrong type", "renamed fields", "nan", "missing"],
)
def test_a_score_that_can_not_be_read_never_blocks(
    store: Store, gov: Governor, break_it: Any, reason: str
) -> None:
    break_it(store, "quantum:capital:efficiency:BTCUSDT")
    send(store, fields())
    serve_all(gov)
    found = json.loads(permit(store) or b"")
    assert (found["eff_reason"], found["eff_action"], found["downsize_factor"]) == (
        reason, "NONE", "1.0000",
    )  # fmt: skip


BAD = [
    pytest.param({"plan_id": None}, id="no plan_id"),
    pytest.param({"symbol": "BTC USDT"}, id="bad symbol"),
    pytest.param({"decision": None}, id="no decision"),
    pytest.param({"qty": "nan"}, id="nan"),
    pytest.param({"kill_score": "7"}, id="out of range"),
    pytest.param({"reduceOnly": "perhaps"}, id="not a flag"),
    pytest.param({"note": "x" * 1_000_000}, id="a field of 1 MB"),
    pytest.param({"plan_id": "y" * 1_000_000}, id="a plan_id of 1 MB"),
    pytest.param({"plan_id": "p33:x"}, id="another system's"),
]


@pytest.mark.parametrize("change", BAD)
def test_an_unreadable_plan_is_kept_and_the_next_is_served(
    store: Store, gov: Governor, change: dict[str, Any]
) -> None:
    entry_id = send(store, fields(**{"plan_id": "bad"} | change))
    send(store, fields(plan_id="good"))
    serve_all(gov)
    kept = pairs(rejected(store)[0])
    assert (kept["reason"], kept["entry_id"]) == ("invalid_plan", entry_id)
    assert kept["problem"]
    assert permit(store, "good") is not None
    assert pending(store) == []
    assert metric(gov, "p32_rejected_total", reason="invalid_plan") == 1
    assert store.run("EXISTS", store.keys.at(DECISION, "bad")) == 0


def test_what_is_rejected_is_kept_to_the_byte(store: Store, gov: Governor) -> None:
    raw = [
        b"plan_id",
        b"\xff\xfe",
        b"symbol",
        b"A\x00B",
        b"\xf0\x28",
        b"\x1b[31m",
        b"plan_id",
        b"2",
    ]
    store.run("XADD", store.keys.plans, "*", *raw)
    serve_all(gov)
    kept = rejected(store)[0]
    assert kept[8:] == [
        b"raw:" + part if place % 2 == 0 else part for place, part in enumerate(raw)
    ]
    whole = b"".join(b"%d:%s," % (len(part), part) for part in raw)
    assert text(kept[5]) == hashlib.sha256(whole).hexdigest()


def test_what_is_rejected_is_cut_at_64_kib_in_all(store: Store, gov: Governor) -> None:
    store.run("XADD", store.keys.plans, "*", "a", b"\xff" * 60_000, "b", b"x" * 60_000, "c", b"y")
    store.run(
        "XADD", store.keys.plans, "*", *[part for i in range(9000) for part in (f"f{i}", "v")]
    )
    serve_all(gov)
    first, second = rejected(store)
    body = first[8:]
    assert sum(map(len, body)) - 4 * (len(body) // 2) == 65_536
    assert body[1] == b"\xff" * 60_000
    assert len(second) == 8 + 2 * 3_000
    assert pending(store) == []


def test_a_close_is_not_trapped_by_fields_it_does_not_need(store: Store, gov: Governor) -> None:
    send(store, fields(action="FULL_CLOSE_PROPOSED", kill_score=b"\xff".decode("latin-1"),
                       price="n/a", timestamp="soon", note="z" * 100_000))  # fmt: skip
    serve_all(gov)
    assert permit(store) is not None


def test_siblings_of_execute_are_counted_by_name_and_the_rest_together(
    store: Store, gov: Governor
) -> None:
    for number, word in enumerate(["SKIP", "HALT", "RECONCILE_CLOSE", "execute"]):
        send(store, fields(plan_id=f"p{number}", decision=word))
    serve_all(gov)
    counted = [
        metric(gov, "p32_skipped_total", decision=word) for word in ("SKIP", "HALT", "other")
    ]
    assert counted == [1, 1, 2]
    assert pending(store) == []
    assert [event["decision"] for event in events(store)] == ["RECONCILE_CLOSE", "execute"]


def test_an_unknown_decision_leaves_one_event_a_word_and_source_and_then_their_number(
    store: Store, gov: Governor, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        send(store, fields(plan_id=f"p{number}", decision="EXECUTED", source="harvest"))
    send(store, fields(plan_id="other", decision="EXECUTED", source="intent"))
    serve_all(gov)
    found = events(store)
    assert [(it["event"], it["decision"], it["source"], it["count"]) for it in found] == [
        ("unknown_decision", "EXECUTED", "harvest", "5"),
        ("unknown_decision", "EXECUTED", "intent", "1"),
    ]
    assert found[0]["plan_id"] == "p4"
    assert found[0]["actor"] == "governor:g1"
    assert len(messages(caplog, "an unknown decision")) == 2
    for number in range(5, 8):
        send(store, fields(plan_id=f"p{number}", decision="EXECUTED", source="harvest"))
        serve_all(gov)
    assert len(events(store)) == 2
    later = clock.monotonic() + 601
    monkeypatch.setattr("qtctl.services.unknown_decisions.clock.monotonic", lambda: later)
    send(store, fields(plan_id="p9", decision="EXECUTED", source="harvest"))
    serve_all(gov)
    assert events(store)[-1]["count"] == "4", "with those that were only counted"


def test_a_publisher_of_garbage_cant_flood_the_events(store: Store, gov: Governor) -> None:
    for number in range(300):
        send(store, fields(plan_id=f"p{number}", decision=f"{number}" * 200, source="x" * 5000))
    serve_all(gov)
    found = events(store)
    assert len(found) == 21
    assert (found[-1]["decision"], found[-1]["count"]) == ("…", "280")
    assert max(len(it["decision"].encode()) for it in found) <= 64
    assert metric(gov, "p32_skipped_total", decision="other") == 300


def test_gates_without_their_input_are_counted(store: Store, gov: Governor) -> None:
    send(store, fields(kill_score=None))
    serve_all(gov)
    counted = {
        gate: metric(gov, "p32_gate_skipped_total", gate=gate)
        for gate in ("future", "kill_score", "notional")
    }
    assert counted == {"future": 1, "kill_score": 1, "notional": 1}


def test_a_plan_read_and_not_served_before_a_crash_is_served_after_it(store: Store) -> None:
    first = governor(store)
    first.open()
    first.step()
    entry_id = send(store, fields())
    first.wait(threading.Event())
    assert pending(store) == [entry_id], "read, but nothing done with it"
    first.close()  # As good as killed: what it held in memory is gone.
    second = governor(store)
    second.open()
    serve_all(second)
    assert permit(store) is not None
    assert decision(store)["deliveries"] == "2"
    second.close()


def test_what_another_consumer_left_lying_is_claimed(store: Store) -> None:
    dead = governor(store, "dead")
    dead.open()
    send(store, fields())
    dead.step()
    dead.wait(threading.Event())
    dead.close()
    alive = governor(store, "alive")
    alive.open()
    assert alive.once() is False, "it is not idle for long enough yet"
    entry = pending(store)[0]
    store.run("XCLAIM", store.keys.plans, GROUP, "dead", 0, entry, "IDLE", 6_000, "JUSTID")
    alive.close()
    alive.open()
    serve_all(alive)
    assert permit(store) is not None
    assert decision(store)["instance"] == "alive"
    alive.close()


def test_a_group_that_vanished_is_made_again_and_no_plan_gets_two_permits(
    store: Store, gov: Governor
) -> None:
    send(store, fields())
    serve_all(gov)
    store.run("DEL", store.keys.at(PERMIT, "p1"))
    store.run("XGROUP", "DESTROY", store.keys.plans, GROUP)
    with pytest.raises(QtctlError, match="NOGROUP"):
        gov.wait(threading.Event())
    gov.close()
    gov.open()
    send(store, fields(plan_id="p2"))
    serve_all(gov)
    assert permit(store, "p2") is not None
    assert permit(store, "p1") is None


def test_a_stream_of_the_wrong_type_is_an_error_that_names_it(store: Store) -> None:
    store.run("SET", store.keys.plans, "x")
    service = governor(store)
    with pytest.raises(QtctlError, match="WRONGTYPE"):
        service.open()
    service.close()


def test_the_group_begins_an_hour_ago_and_tells_once_what_lies_before(store: Store) -> None:
    now = store.now_ms()
    for number in range(50):
        send(store, fields(plan_id=f"old{number}"), f"{now - 7_200_000}-{number}")
    service = governor(store)
    service.open()
    send(store, fields(plan_id="new"))
    serve_all(service)
    assert permit(store, "new") is not None
    assert [(e["event"], e["reason"], e.get("count")) for e in events(store)] == [
        ("backlog_skipped", "stale_plan", "50"),
        ("permitted", "ok", None),
    ]
    state = group_state(store)
    assert state is not None
    assert state.pending == 0
    service.close()


def test_a_backlog_of_an_hour_is_passed_in_bulk_with_one_event(store: Store) -> None:
    """The group is there, the governor was away: 50,000 old entries, then one of now."""
    now, count = store.now_ms(), 50_000
    store.run("XGROUP", "CREATE", store.keys.plans, GROUP, "0", "MKSTREAM")
    flat = [part for pair in fields().items() for part in pair]
    store.batch(
        [
            ("XADD", store.keys.plans, f"{now - 5_000_000 + number}-0", *flat)
            for number in range(count)
        ]
    )
    send(store, fields(plan_id="new"))
    service = governor(store)
    began = time.process_time()
    service.open()
    serve_all(service)
    took = time.process_time() - began
    assert took < 3.0, "a million must be passed in under a minute"
    assert permit(store, "new") is not None
    told = [e for e in events(store) if e["event"] == "backlog_skipped"]
    assert [e["count"] for e in told] == [str(count)]
    assert decision(store) == {}, "no record for each"
    assert metric(service, "p32_skipped_total", decision="backlog") == count
    assert pending(store) == []
    service.close()


def test_a_backlog_is_one_event_though_claims_come_in_between(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A claim takes several passes where many entries are pending; none ends the backlog."""
    monkeypatch.setattr(look_module, "LOOK_SEC", 0)
    now, count = store.now_ms(), 12_000
    store.run("XGROUP", "CREATE", store.keys.plans, GROUP, "0", "MKSTREAM")
    store.batch(
        [("XADD", store.keys.plans, f"{now - 5_000_000 + n}-0", "plan_id", n) for n in range(count)]
    )
    service = governor(store)
    service.open()
    serve_all(service)
    assert [e["count"] for e in events(store)] == [str(count)]
    service.close()


def test_no_permit_while_redis_may_evict(
    store: Store, gov: Governor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(look_module, "LOOK_SEC", 0)
    store.run("CONFIG", "SET", "maxmemory", "100mb", "maxmemory-policy", "allkeys-lru")
    send(store, fields())
    gov.step()
    assert permit(store) is None
    assert "allkeys-lru" in (gov.not_ready() or "")
    allowed = governor(store, allow_eviction=True)
    allowed.open()
    serve_all(allowed)
    assert permit(store) is not None
    allowed.close()


def test_a_governor_that_may_not_issue_permits_waits_and_does_not_spin(store: Store) -> None:
    """Also right after its start, when its own pending entries have yet to be read."""
    store.run("CONFIG", "SET", "maxmemory", "100mb", "maxmemory-policy", "allkeys-lru")
    service = governor(store)
    service.open()
    service.step()
    begun = clock.monotonic()
    service.wait(threading.Event())
    assert clock.monotonic() - begun > 0.5
    service.close()


def test_redis_refusing_leaves_the_plan_pending_until_it_does_not(
    store: Store, gov: Governor
) -> None:
    store.run("SADD", "quantum:governor:ledger:BTCUSDT", "in the way")
    send(store, fields())
    send(store, fields(plan_id="p2", symbol="ETHUSDT"))
    gov.step()
    gov.wait(threading.Event())
    gov.step()
    assert permit(store) is None
    assert permit(store, "p2") is not None, "one plan's trouble is not another's"
    assert len(pending(store)) == 1
    assert (metric(gov, "p32_errors_total", kind="commit") or 0) >= 1
    store.run("DEL", "quantum:governor:ledger:BTCUSDT")
    while permit(store) is None:
        gov.wait(threading.Event())
        gov.step()
    assert permit(store) is not None
    assert int(decision(store)["deliveries"]) >= 2
    assert store.run("KEYS", "*tries*") == []
    assert pending(store) == []


def test_a_trimmed_pending_entry_is_let_go(store: Store, gov: Governor) -> None:
    entry_id = send(store, fields())

    def read() -> bool:
        gov.step()
        gov.wait(threading.Event())
        return pending(store) == [entry_id]

    until(read, what="the entry is read and not yet judged")
    store.run("XTRIM", store.keys.plans, "MAXLEN", 0)
    gov.close()
    gov.open()
    serve_all(gov)
    assert pending(store) == []
    assert metric(gov, "p32_errors_total", kind="trimmed") == 1
    (event,) = [it for it in events(store) if it["event"] == "trimmed"]
    assert event["count"] == "1"
    assert event["first"] == event["last"] == entry_id


def test_plans_that_were_trimmed_before_anybody_read_them_are_told_of(
    store: Store, gov: Governor
) -> None:
    last = send(store, fields(plan_id="read"))
    serve_all(gov)
    gov.close()
    for number in range(5):
        send(store, fields(plan_id=f"lost{number}"))
    store.run("XTRIM", store.keys.plans, "MAXLEN", 2)
    gov.open()
    assert metric(gov, "p32_errors_total", kind="trimmed") == 3
    (event,) = [it for it in events(store) if it["event"] == "trimmed"]
    assert (event["reason"], event["count"], event["value"]) == ("trimmed_unread", "3", last)
    gov.open()
    assert metric(gov, "p32_errors_total", kind="trimmed") == 3, "told once"
    store.run("XTRIM", store.keys.plans, "MAXLEN", 0)
    gov.open()
    assert metric(gov, "p32_errors_total", kind="trimmed") == 5, "and what was lost since"
    send(store, fields(plan_id="after"))
    serve_all(gov)
    gov.open()
    assert metric(gov, "p32_errors_total", kind="trimmed") == 5
    assert permit(store, "after") is not None


def test_what_is_trimmed_after_it_was_read_is_no_loss(store: Store, gov: Governor) -> None:
    for number in range(5):
        send(store, fields(plan_id=f"p{number}"))
    serve_all(gov)
    store.run("XTRIM", store.keys.plans, "MAXLEN", 0)
    gov.open()
    send(store, fields(plan_id="after"))
    gov.open()
    assert metric(gov, "p32_errors_total", kind="trimmed") == 0


def test_rates_count_permitted_opens_only(store: Store) -> None:
    service = governor(store, max_exec_per_5min=2)
    service.open()
    for number in range(4):
        send(store, fields(plan_id=f"o{number}"))
    send(store, fields(plan_id="c", action="CLOSE"))
    serve_all(service)
    verdicts = [decision(store, f"o{number}")["reason"] for number in range(4)]
    assert verdicts == ["ok", "ok", "burst_limit_exceeded", "burst_limit_exceeded"]
    assert decision(store, "c")["verdict"] == "permitted"
    labels = {"symbol": "BTCUSDT", "reason": "burst_limit_exceeded"}
    assert metric(service, "quantum_govern_block_total", **labels) == 2
    service.close()


def test_its_record_and_its_limits_are_there(store: Store, gov: Governor) -> None:
    send(store, fields())
    serve_all(gov)
    record = pairs(store.run("HGETALL", store.keys.service("governor", "g1")))
    assert set(record) == {
        "version", "host", "pid", "started_at", "last_pass_at", "settings", "digest", "metrics",
        "clock_ahead_sec",
    }  # fmt: skip
    assert json.loads(record["settings"])["max_plan_age_sec"] == 60
    assert 0 < store.run("TTL", store.keys.service("governor", "g1")) <= 30
    limits = store.run("GET", store.keys.at(LIMITS, decision(store)["limits"]))
    assert json.loads(limits)["max_queue_age_sec"] == 10
    assert store.run("TTL", store.keys.at(LIMITS, decision(store)["limits"])) > 6 * 86_400


def test_symbols_that_plans_merely_claim_are_capped_in_the_metrics(store: Store) -> None:
    service = governor(store, metrics_max_symbols=3)
    service.open()
    for number in range(6):
        send(store, fields(plan_id=f"p{number}", symbol=f"S{number}"))
    serve_all(service)
    assert metric(service, "quantum_govern_allow_total", symbol="S2") == 1
    assert metric(service, "quantum_govern_allow_total", symbol="S3") is None
    assert metric(service, "quantum_govern_allow_total", symbol="other") == 3
    service.close()


def test_a_batch_costs_round_trips_by_the_batch_and_not_by_the_plan(
    store: Store, gov: Governor
) -> None:
    for number in range(400):
        send(store, fields(plan_id=f"p{number}", symbol=f"S{number}"))
    gov.step()
    before = _reads(store)
    serve_all(gov)
    assert metric(gov, "quantum_govern_allow_total", symbol="S399") == 1
    assert _reads(store) - before < 120


@pytest.mark.parametrize("by", ["policy", "group"])
def test_a_close_that_comes_while_no_permits_are_issued_has_its_own_once_they_are(
    store: Store, by: str
) -> None:
    """The read under way takes it in before a look says so; then looks must go on all the same."""
    service, stop = governor(store), threading.Event()
    service.open()

    def pass_until(met: Callable[[], bool], sec: float = 8.0) -> None:
        end = time.monotonic() + sec
        while not met():
            assert time.monotonic() < end, service.not_ready()
            service.step()
            service.wait(stop)

    serve_all(service)
    service.wait(stop)  # The next read waits on the server.
    if by == "policy":
        store.run("CONFIG", "SET", "maxmemory", "100mb", "maxmemory-policy", "allkeys-lru")
        pass_until(lambda: service.not_ready() is not None)
    else:
        service._look.stranded = "made up"
    send(store, fields(plan_id="c", action="FULL_CLOSE_PROPOSED", reduceOnly="true"))
    store.run("CONFIG", "SET", "maxmemory", "0", "maxmemory-policy", "noeviction")
    pass_until(lambda: permit(store, "c") is not None)
    assert service.not_ready() is None
    service.close()


def _reads(store: Store) -> int:
    info = text(store.run("INFO", "stats"))
    return int(info.partition("total_reads_processed:")[2].partition("\r")[0])


def test_opens_queued_under_another_server_are_quarantined(tmp_path: Path) -> None:
    """The server restarts while an open waits: decisions may have been lost with the old one."""
    with Embedded.start(tmp_path / "s", appendonly=True) as server:
        store = Store(server.url, Keys())
        service = governor(store)
        service.open()
        serve_all(service)
        store.run("XADD", store.keys.plans, store.now_ms() - 2_500, *_flat(fields()))
        store.run("XADD", store.keys.plans, "*", *_flat(fields(plan_id="c", action="CLOSE")))
        service.close()
        store.close()
    with Embedded.start(tmp_path / "s", appendonly=True) as server:
        service.open()
        serve_all(service)
        assert decision(store)["reason"] == "failover_quarantine"
        assert decision(store, "c")["verdict"] == "permitted"
        service.close()
        store.close()


def _flat(entry: dict[str, str]) -> list[str]:
    return [part for pair in entry.items() for part in pair]
