"""Golden bytes: what others read must not change unseen."""

import json

from qtctl.domain.allocation import AllocationRules, propose
from qtctl.domain.downsize import DownsizeRules
from qtctl.domain.facts import limits_of
from qtctl.domain.gates import Limits
from qtctl.domain.plans import PlanRules
from qtctl.domain.readings import Efficiency
from qtctl.domain.reasons import EffReason
from qtctl.wire.allocation import proposals
from qtctl.wire.client.store import Store
from qtctl.wire.governor import commit
from qtctl.wire.schema.decision import limits_json
from qtctl.wire.schema.keys import DECISION, GROUP, PERMIT, PROPOSED
from qtctl.wire.schema.permit import permit_fields
from qtctl.wire.schema.records import pairs
from tests.support import plans

LOW = Efficiency(EffReason.OK, 0.2, 0.85, False, 12.5)
SEED_PERMIT = (
    '{"granted":true,"symbol":"BTCUSDT","decision":"EXECUTE","computed_qty":0.01,'
    '"computed_notional":150.0,"created_at":CREATED,"consumed":false,"eff_score":"0.2000",'
    '"eff_confidence":"0.85","eff_stale":"0","eff_factor":"0.4444","eff_action":"DOWNSIZE",'
    '"eff_reason":"ok","downsize_factor":"0.4444","extra_cooldown_sec":"96"}'
)


def _commit(store: Store, encoding: str) -> str:
    entry = plans.fields(
        qty="0.01", price="15000", side="BUY", source="test", timestamp=store.now_ms() // 1000
    )
    entry_id = plans.queue(store, entry)
    case = plans.case(plans.read(entry), entry_id, LOW)
    step = plans.settings(store, encoding=encoding)
    ((_, outcome),) = commit.commit(store, [case], step, commit.ServerMarks())
    assert isinstance(outcome, commit.CommitResult)
    return entry_id


def test_proposal(store: Store) -> None:
    proposal = propose("BTCUSDT", 1000.0, LOW, AllocationRules())
    assert (
        proposals.write(store, proposals.Packer(store.keys, 600), [proposal], 1769558400, 10_000)
        == {}
    )
    expected = [
        b"ts_epoch", b"1769558400", b"symbol", b"BTCUSDT", b"base_target", b"1000.00",
        b"proposed_target", b"700.00", b"multiplier", b"0.7000", b"eff_score", b"0.2000",
        b"eff_confidence", b"0.85", b"eff_stale", b"0", b"reason", b"ok", b"mode", b"shadow",
    ]  # fmt: skip
    ((_, entry),) = store.run("XRANGE", store.keys.proposed_stream, "-", "+")
    assert entry == expected
    assert store.run("HGETALL", store.keys.at(PROPOSED, "BTCUSDT")) == expected
    assert store.run("TTL", store.keys.at(PROPOSED, "BTCUSDT")) == 600


def test_permit_as_json(store: Store) -> None:
    _commit(store, "json")
    raw = store.run("GET", store.keys.at(PERMIT, "p1"))
    decided_at = plans.decision(store)["decided_at"]
    assert raw.decode() == SEED_PERMIT.replace("CREATED", decided_at)


def test_permit_as_hash_reads_the_same(store: Store) -> None:
    _commit(store, "hash")
    raw = store.run("HGETALL", store.keys.at(PERMIT, "p1"))
    decided_at = plans.decision(store)["decided_at"]
    assert raw == [
        b"granted", b"1", b"symbol", b"BTCUSDT", b"decision", b"EXECUTE", b"computed_qty", b"0.01",
        b"computed_notional", b"150.0", b"created_at", decided_at.encode(), b"consumed", b"0",
        b"eff_score", b"0.2000", b"eff_confidence", b"0.85", b"eff_stale", b"0",
        b"eff_factor", b"0.4444", b"eff_action", b"DOWNSIZE", b"eff_reason", b"ok",
        b"downsize_factor", b"0.4444", b"extra_cooldown_sec", b"96",
    ]  # fmt: skip
    assert permit_fields(raw) == json.loads(SEED_PERMIT.replace("CREATED", decided_at))


def test_decision(store: Store) -> None:
    entry_id = _commit(store, "json")
    record = plans.decision(store)
    moving = ("decided_at", "plan_age_sec", "queue_age_sec")
    for name in moving:
        assert record[name].partition(".")[2].isdecimal()
        assert len(record[name].partition(".")[2]) == 3
    assert {name: value for name, value in record.items() if name not in moving} == {
        "verdict": "permitted", "reason": "ok", "plan_id": "p1", "entry_id": entry_id,
        "symbol": "BTCUSDT", "kind": "open", "action": "OPEN_PROPOSED", "side": "BUY",
        "qty": "0.01", "price": "15000.0", "source": "test", "kill_score": "0.1",
        "notional_usd": "150.00", "eff_score": "0.2000", "eff_confidence": "0.85",
        "eff_stale": "0", "eff_factor": "0.4444", "eff_action": "DOWNSIZE", "eff_reason": "ok",
        "downsize_factor": "0.4444", "extra_cooldown_sec": "96", "eff_age_sec": "12.500",
        "deliveries": "1", "attempts": "1", "instance": "test", "version": "0.1.0",
        "limits": "abc", "kill_key": "", "kill_value": "", "kill_level": "0",
        "queued_before_server": "0", "permitted_before": "0",
        "clock_jump": "0",
        "last_open_at": "", "last_open_age_sec": "", "last_close_age_sec": "",
        "opens_5min": "0", "opens_1h": "0",
        "opens_total_5min": "0",
    }  # fmt: skip
    assert list(record)[:6] == ["verdict", "reason", "plan_id", "entry_id", "symbol", "kind"]
    assert store.run("TYPE", store.keys.at(DECISION, "p1")) == b"hash"


def test_event(store: Store) -> None:
    _commit(store, "json")
    ((_, raw),) = store.run("XRANGE", store.keys.events, "-", "+")
    ts = pairs(raw)["ts"]
    assert raw == [
        b"event", b"permitted", b"plan_id", b"p1", b"symbol", b"BTCUSDT", b"reason", b"ok",
        b"ts", ts.encode(), b"actor", b"governor:test",
    ]  # fmt: skip
    assert ts.isdecimal()


def test_limits_are_canonical_and_come_back() -> None:
    raw = limits_json(
        Limits(),
        PlanRules(open_actions=frozenset("BA"), close_actions=frozenset()),
        DownsizeRules(),
    )
    assert raw == (
        b'{"max_plan_age_sec":60.0,"max_queue_age_sec":10.0,"kill_score_critical":0.8,'
        b'"max_notional_per_trade_usd":200.0,"symbol_cooldown_sec":60.0,'
        b'"reopen_cooldown_sec":60.0,"max_exec_per_5min":2,"max_exec_per_hour":3,'
        b'"max_opens_per_5min_total":0,"open_actions":["A","B"],'
        b'"close_actions":[],"require":[],"min_conf":0.65,"downsize_threshold":0.45,'
        b'"min_factor":0.25,"max_extra_cooldown_sec":120.0,"eff_ttl_sec":600.0}'
    )
    assert limits_of(raw) == Limits()
    assert limits_of(b"[]") is None


def test_a_gate_that_stored_limits_do_not_name_was_off() -> None:
    now = limits_json(Limits(), PlanRules(), DownsizeRules())
    before = now.replace(b'"reopen_cooldown_sec":60.0,', b"")
    assert limits_of(before) == Limits(reopen_cooldown_sec=0)
    assert limits_of(before.replace(b'"max_plan_age_sec":60.0,', b"")) is None, "never off"


def test_the_group_and_the_usual_names_are_the_contracts(store: Store) -> None:
    keys = store.keys
    assert GROUP == "governor"
    assert [keys.plans, keys.proposed_stream, keys.events, keys.rejected] == [
        "quantum:stream:apply.plan",
        "quantum:stream:allocation.target.proposed",
        "quantum:stream:governor.events",
        "quantum:stream:governor.rejected",
    ]
    assert keys.at(PERMIT, "x") == "quantum:permit:x"
    assert keys.kills(("kill", "governor:halt")) == ("quantum:kill", "quantum:governor:halt")
