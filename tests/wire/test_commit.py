"""The atomic step on the real server: at most one permit, whatever repeats, conflicts or breaks."""

import json
import re
from typing import Any

import msgspec
import pytest

from qtctl.domain.reasons import Reason, Verdict
from qtctl.errors import WireError, WrongTypeError
from qtctl.wire.client.store import Store
from qtctl.wire.control import kill_switch
from qtctl.wire.governor.commit import CommitResult
from qtctl.wire.schema.decision import DECISION_FIELDS, DECISION_LATER
from qtctl.wire.schema.keys import BLOCK, DECISION, LAST_CLOSE, LEDGER, PERMIT
from qtctl.wire.schema.kill_names import KillNames
from tests.support.plans import (
    NAMES,
    RATES_OFF,
    decision,
    dump,
    events,
    fields,
    judge,
    pending,
    permit,
    queue,
)


def test_an_open_gets_its_permit_and_everything_that_goes_with_it(store: Store) -> None:
    outcome = judge(store, fields(qty="0.01", price="15000"))
    assert (outcome.verdict, outcome.reason) == (Verdict.PERMITTED, Reason.OK)
    assert json.loads(permit(store) or b"")["computed_notional"] == 150.0
    assert 40 <= store.run("TTL", store.keys.at(PERMIT, "p1")) <= 60
    assert store.run("TTL", store.keys.at(DECISION, "p1")) > 86_390
    assert store.run("ZRANGE", store.keys.at(LEDGER, "BTCUSDT"), 0, -1) == [b"p1"]
    assert store.run("ZRANGE", store.keys.ledger_total, 0, -1) == [b"p1"]
    assert store.run("ZRANGE", store.keys.permits, 0, -1) == [b"p1"]
    assert [(e["event"], e["reason"], e["actor"]) for e in events(store)] == [
        ("permitted", "ok", "governor:test")
    ]
    assert pending(store) == []


def test_a_decision_has_all_its_fields_and_stays_compact(store: Store) -> None:
    judge(store, fields(plan_id="币" * 64, symbol="安" * 64, source="s" * 500, action="A" * 5000))
    record = decision(store, "币" * 64)
    later = {name for name, _ in DECISION_LATER}
    assert list(record) == [
        name for name in [*record] if name in {field for field, _ in DECISION_FIELDS} - later
    ]
    assert set(record) == {name for name, _ in DECISION_FIELDS} - later
    assert max(len(value.encode()) for value in record.values()) <= 64
    encoding = store.run("OBJECT", "ENCODING", store.keys.at(DECISION, "币" * 64))
    assert encoding == b"listpack"


def test_a_close_leaves_no_trace_in_the_ledgers(store: Store) -> None:
    assert judge(store, fields(action="FULL_CLOSE_PROPOSED")).verdict is Verdict.PERMITTED
    assert store.run("EXISTS", store.keys.at(LEDGER, "BTCUSDT"), store.keys.ledger_total) == 0
    assert permit(store)


def test_a_blocked_plan_leaves_a_block_and_no_permit(store: Store) -> None:
    outcome = judge(store, fields(kill_score="0.9"))
    assert (outcome.verdict, outcome.reason) == (Verdict.BLOCKED, Reason.KILL_SCORE)
    assert permit(store) is None
    block = store.run("GET", store.keys.at(BLOCK, "p1"))
    assert re.fullmatch(
        rb'\{"reason":"kill_score_critical","timestamp":\d{10},"symbol":"BTCUSDT"\}', block
    )
    assert 3500 <= store.run("TTL", store.keys.at(BLOCK, "p1")) <= 3600
    assert store.run("EXISTS", store.keys.permits, store.keys.ledger_total) == 0


def test_a_blocked_plan_that_is_sent_again_is_judged_again(store: Store) -> None:
    judge(store, fields(kill_score="0.9"))
    assert judge(store, fields(kill_score="0.1")).verdict is Verdict.PERMITTED
    assert decision(store)["verdict"] == "permitted"
    assert store.run("EXISTS", store.keys.at(BLOCK, "p1")) == 0, "the projection follows"


def test_the_same_entry_again_changes_nothing(store: Store) -> None:
    entry = fields()
    entry_id = queue(store, entry)
    judge(store, entry, again=entry_id)
    keys = [store.keys.at(DECISION, "p1"), store.keys.permits, store.keys.events,
            store.keys.ledger_total]  # fmt: skip
    before = dump(store, keys)
    store.run("DEL", store.keys.at(PERMIT, "p1"))  # Taken meanwhile.
    outcome = judge(store, entry, again=entry_id)
    assert outcome.verdict is Verdict.REPLAY
    assert permit(store) is None, "a taken permit must not come back"
    assert dump(store, keys) == before


def test_another_entry_with_the_same_plan_gets_no_second_permit(store: Store) -> None:
    judge(store, fields())
    store.run("DEL", store.keys.at(PERMIT, "p1"))
    before = dump(store, [store.keys.at(DECISION, "p1")])
    outcome = judge(store, fields())
    assert (outcome.verdict, outcome.reason) == (Verdict.BLOCKED, Reason.DUPLICATE_PLAN)
    assert permit(store) is None
    assert dump(store, [store.keys.at(DECISION, "p1")]) == before
    assert store.run("EXISTS", store.keys.at(BLOCK, "p1")) == 0
    assert [e["reason"] for e in events(store)] == ["ok", "duplicate_plan"]
    assert pending(store) == []


@pytest.mark.parametrize(
    "change",
    [{"symbol": "ETHUSDT"}, {"action": "CLOSE"}, {"decision": "SKIP"}],
    ids=["symbol", "kind", "decision"],
)
def test_a_contradiction_takes_an_untaken_open_permit_back(
    store: Store, change: dict[str, str]
) -> None:
    judge(store, fields())
    outcome = judge(store, fields(**change))
    assert (outcome.verdict, outcome.reason) == (Verdict.BLOCKED, Reason.PLAN_CONFLICT)
    assert outcome.withdrawn
    assert permit(store) is None
    record = decision(store)
    assert record["verdict"] == "permitted", "what was decided stays decided"
    assert record["symbol"] == "BTCUSDT"
    assert int(record["withdrawn_at"]) > 0
    assert store.run("ZCARD", store.keys.permits) == 0
    assert [e["event"] for e in events(store)] == ["permitted", "blocked", "withdrawn"]


def test_a_contradiction_does_not_take_a_close_permit_back(store: Store) -> None:
    judge(store, fields(action="CLOSE"))
    outcome = judge(store, fields(action="CLOSE", symbol="ETHUSDT"))
    assert outcome.reason is Reason.PLAN_CONFLICT
    assert not outcome.withdrawn
    assert permit(store) is not None
    assert "withdrawn_at" not in decision(store)


def test_a_contradiction_after_the_permit_was_taken_only_tells(store: Store) -> None:
    judge(store, fields())
    store.run("DEL", store.keys.at(PERMIT, "p1"))
    outcome = judge(store, fields(decision="HALT"))
    assert outcome.reason is Reason.PLAN_CONFLICT
    assert not outcome.withdrawn
    assert "withdrawn_at" not in decision(store)


def test_what_is_not_to_be_executed_is_only_acknowledged(store: Store) -> None:
    outcome = judge(store, fields(decision="SKIP"))
    assert outcome.verdict is Verdict.SKIPPED
    assert store.run("EXISTS", store.keys.at(DECISION, "p1"), store.keys.events) == 0
    assert pending(store) == []


def test_a_permit_whose_decision_was_forgotten_is_not_doubled(store: Store) -> None:
    judge(store, fields())
    store.run("DEL", store.keys.at(DECISION, "p1"))
    outcome = judge(store, fields())
    assert outcome.reason is Reason.DUPLICATE_PLAN


@pytest.mark.parametrize("name", NAMES.kills)
@pytest.mark.parametrize(
    ("value", "opens", "closes"),
    [("0", True, True), ("false", True, True), ("off", True, True), ("", True, True),
     ("False", True, True), (" OFF ", True, True), ("no", True, True),
     ("reduce_only", False, True), ("1", False, False), ("anything", False, False)],
)  # fmt: skip
def test_every_kill_key_counts(
    store: Store, name: str, value: str, opens: bool, closes: bool
) -> None:
    key = store.keys.prefix + name
    store.run("SET", key, value)
    for plan_id, action, passes in (("o", "OPEN", opens), ("c", "CLOSE", closes)):
        outcome = judge(store, fields(plan_id=plan_id, action=action))
        assert (outcome.verdict is Verdict.PERMITTED) == passes
        if not passes:
            assert outcome.reason is Reason.KILL_SWITCH
            record = decision(store, plan_id)
            assert (record["kill_key"], record["kill_value"]) == (key, value)
            assert record["kill_level"] == ("1" if closes else "2")


@pytest.mark.parametrize("name", ["governor:halt", "governor:halt_kept"])
@pytest.mark.parametrize(
    ("value", "opens", "closes"),
    [("", True, True), ("0", True, True), ("False", True, True), ("no", True, True),
     ("1", False, True), ("true", False, True), ("reduce_only", False, True),
     ("all", False, False), (" ALL ", False, False)],
)  # fmt: skip
def test_a_halt_key_stops_opens_only_unless_it_is_all(
    store: Store, name: str, value: str, opens: bool, closes: bool
) -> None:
    store.run("SET", store.keys.prefix + name, value)
    for plan_id, action, passes in (("o", "OPEN", opens), ("c", "CLOSE", closes)):
        outcome = judge(store, fields(plan_id=plan_id, action=action))
        assert (outcome.verdict is Verdict.PERMITTED) == passes
    assert decision(store, "o")["kill_level"] == ("0" if opens else "1" if closes else "2")


def test_a_halted_symbol_is_read_as_a_halt_key_is(store: Store) -> None:
    store.run("HSET", store.keys.halted_symbols, "BTCUSDT", "1", "ETHUSDT", "All", "X", "off")
    assert judge(store, fields(plan_id="b", action="CLOSE")).verdict is Verdict.PERMITTED
    assert judge(store, fields(plan_id="bo")).reason is Reason.KILL_SWITCH
    eth = fields(plan_id="e", symbol="ETHUSDT", action="CLOSE")
    assert judge(store, eth).reason is Reason.KILL_SWITCH
    assert judge(store, fields(plan_id="x", symbol="X")).verdict is Verdict.PERMITTED
    # As sent, and where nothing is there in upper case.
    assert judge(store, fields(plan_id="l", symbol="ethUsdt")).reason is Reason.KILL_SWITCH


@pytest.mark.parametrize(
    ("record", "closes"),
    [('{"value":"1","who":"operator:a@b"}', False), ('{"value":"1","level":1}', True),
     ('{"value":"reduce_only"}', True), ("{", True), ("[1]", True)],
)  # fmt: skip
def test_a_1_that_a_halt_record_of_before_vouches_for_counts_as_all(
    store: Store, record: str, closes: bool
) -> None:
    keys = store.keys
    store.run("SET", "quantum:governor:halt", "1")
    store.run("HSET", keys.halt_records, "governor:halt", record)
    outcome = judge(store, fields(plan_id="c", action="CLOSE"))
    assert (outcome.verdict is Verdict.PERMITTED) == closes
    row = kill_switch.strictest(kill_switch.read(store, NAMES))
    assert row is not None
    assert row.mode.level == (1 if closes else 2), "qtctl sees what the step sees"
    store.run("DEL", "quantum:governor:halt")
    store.run("HSET", keys.halted_symbols, "BTCUSDT", "1")
    store.run("HSET", keys.halt_records, "governor:halt:symbols:BTCUSDT", record)
    outcome = judge(store, fields(plan_id="c2", action="CLOSE"))
    assert (outcome.verdict is Verdict.PERMITTED) == closes


def test_a_name_in_both_lists_is_a_halt_key() -> None:
    before = KillNames(("kill", "governor:halt", "global:kill_switch"), ("governor:halt",))
    assert before.kills == ("kill", "global:kill_switch")
    assert before.halts == ("governor:halt", "governor:halt_kept")


def test_a_kill_key_of_a_wrong_type_stops_everything_and_is_named(store: Store) -> None:
    store.run("RPUSH", "quantum:governor:halt", "0")
    for action in ("OPEN", "CLOSE"):
        outcome = judge(store, fields(plan_id=action, action=action))
        assert outcome.reason is Reason.KILL_SWITCH
        assert decision(store, action)["kill_key"] == "quantum:governor:halt"
        assert decision(store, action)["kill_value"] == "<list>"


def _keys(store: Store) -> dict[str, str]:
    at = store.keys.at
    return {
        "decision": at(DECISION, "p1"),
        "permit": at(PERMIT, "p1"),
        "block": at(BLOCK, "p1"),
        "ledger": at(LEDGER, "BTCUSDT"),
        "ledger_total": store.keys.ledger_total,
        "permits": store.keys.permits,
        "events": store.keys.events,
        "last_close": at(LAST_CLOSE, "BTCUSDT"),
    }


@pytest.mark.parametrize(
    "name", ["decision", "permit", "block", "ledger", "ledger_total", "permits", "events"]
)
@pytest.mark.parametrize("kill_score", ["0.1", "0.9"], ids=["permitted", "blocked"])
def test_a_key_of_a_wrong_type_leaves_the_plan_pending_and_nothing_written(
    store: Store, name: str, kill_score: str
) -> None:
    keys = _keys(store)
    entry = fields(kill_score=kill_score)
    entry_id = queue(store, entry)
    store.run("SADD", keys[name], "in the way")
    before = dump(store, list(keys.values()))
    outcome = judge(store, entry, again=entry_id)
    assert isinstance(outcome, WrongTypeError)
    assert keys[name] in str(outcome), "an operator must see which key"
    assert dump(store, list(keys.values())) == before
    assert pending(store) == [entry_id]
    store.run("DEL", keys[name])
    expected = Verdict.PERMITTED if kill_score == "0.1" else Verdict.BLOCKED
    assert judge(store, entry, again=entry_id).verdict is expected


COMMANDS = ["xack", "xadd", "hset", "expire", "zadd", "zremrangebyscore", "set", "del", "hmget",
            "type", "time", "zcount", "zrevrange", "get"]  # fmt: skip
KEYS = [
    "decision",
    "permit",
    "block",
    "ledger",
    "ledger_total",
    "permits",
    "events",
    "plans",
    "kill",
    "halted_symbols",
    "halt_records",
]


@pytest.fixture
def limited(store: Store) -> Any:
    """A user that may do everything but what a test takes from it; a store in its name."""
    made = []

    def make(*rules: str) -> Store:
        store.run("ACL", "SETUSER", "limited", "reset", "on", ">secret", "+@all", *rules)
        url = store.url.replace("unix://", "unix://limited:secret@")
        made.append(Store(url, store.keys))
        return made[-1]

    yield make
    for each in made:
        each.close()
    store.run("ACL", "DELUSER", "limited")


@pytest.mark.parametrize("name", KEYS)
def test_a_denied_key_issues_nothing_and_leaves_the_plan_pending(
    store: Store, limited: Any, name: str
) -> None:
    keys = _keys(store) | {"plans": store.keys.plans, "kill": "quantum:kill"}
    keys |= {name: getattr(store.keys, name) for name in ("halted_symbols", "halt_records")}
    entry = fields()
    entry_id = queue(store, entry)
    allowed = [f"~{key}" for other, key in keys.items() if other != name]
    others = [f"~{key}" for key in store.keys.kills(NAMES.names[1:])]
    outcome = judge(limited(*allowed, *others), entry, again=entry_id)
    assert isinstance(outcome, WireError)
    assert permit(store) is None
    assert pending(store) == [entry_id]
    outcome = judge(store, entry, again=entry_id)
    assert isinstance(outcome, CommitResult)
    assert outcome.verdict is Verdict.PERMITTED, "nothing was half done"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_denied_command_never_leads_to_two_permits(
    store: Store, limited: Any, command: str
) -> None:
    """A script that stops midway keeps what it wrote: the permit may be lost, never doubled."""
    judge(store, fields(plan_id="before"))
    store.run("DEL", "quantum:governor:ledger_total")
    store.run("ZADD", "quantum:governor:ledger:BTCUSDT", 1, "before")  # Long ago.
    blocked = fields(kill_score="0.9")
    judge(store, blocked)
    entry = fields()
    entry_id = queue(store, entry)
    # What is not there need not be asked: a kill key, a ledger and a block are.
    store.run("SET", "quantum:kill", "0")
    outcome = judge(limited("~*", f"-{command}"), entry, again=entry_id)
    issued = 0
    if permit(store) is not None:
        issued += 1
        store.run("DEL", store.keys.at(PERMIT, "p1"))
    again = judge(store, entry, again=entry_id)
    if permit(store) is not None:
        issued += 1
    assert issued <= 1
    assert isinstance(outcome, WireError)
    assert again.verdict in (Verdict.REPLAY, Verdict.PERMITTED)
    assert pending(store) == []


def test_no_memory_left_means_no_permit_and_the_plan_stays(store: Store) -> None:
    entry = fields()
    entry_id = queue(store, entry)
    store.run("CONFIG", "SET", "maxmemory", "1")
    outcome = judge(store, entry, again=entry_id)
    assert isinstance(outcome, WireError)
    store.run("CONFIG", "SET", "maxmemory", "0")
    assert decision(store) == {}
    assert judge(store, entry, again=entry_id).verdict is Verdict.PERMITTED


def test_a_flushed_script_cache_is_taught_again_within_the_call(store: Store) -> None:
    judge(store, fields())
    store.run("SCRIPT", "FLUSH")
    assert judge(store, fields(plan_id="p2")).verdict is Verdict.PERMITTED


def test_quarantine_is_for_opens_queued_before_the_server(store: Store) -> None:
    now = store.now_ms()
    for ago, plan_id, blocked in ((2001, "a", True), (2000, "b", False)):
        entry_id = f"{now - ago}-0"
        outcome = judge(store, fields(plan_id=plan_id), since_ms=now - 2000, entry_id=entry_id)
        assert (outcome.reason is Reason.QUARANTINE) == blocked
    close = fields(plan_id="c", action="CLOSE")
    assert judge(store, close, since_ms=now + 9000).verdict is Verdict.PERMITTED


def test_what_waited_too_long_is_stale_also_a_close(store: Store) -> None:
    now = store.now_ms()
    for number, action in enumerate(("OPEN", "CLOSE")):
        entry_id = f"{now - 11_000}-{number}"
        entry = fields(plan_id=action, action=action)
        assert judge(store, entry, entry_id=entry_id).reason is Reason.STALE_PLAN
    assert RATES_OFF.max_queue_age_sec == 10


def test_a_hash_permit_is_written_with_its_lifetime(store: Store) -> None:
    judge(store, fields(), encoding="hash")
    key = store.keys.at(PERMIT, "p1")
    assert store.run("TYPE", key) == b"hash"
    assert 40 <= store.run("TTL", key) <= 60
    assert store.run("HGET", key, "granted") == b"1"


@pytest.mark.parametrize("name", ["ledger", "ledger_total"])
def test_a_close_is_not_trapped_by_a_broken_ledger(store: Store, name: str) -> None:
    store.run("SADD", _keys(store)[name], "in the way")
    outcome = judge(store, fields(action="FULL_CLOSE_PROPOSED"))
    assert outcome.verdict is Verdict.PERMITTED
    assert permit(store) is not None


# The reopen gate ---------------------------------------------------------------------------------

REOPEN_60 = msgspec.structs.replace(RATES_OFF, reopen_cooldown_sec=60.0)


def close(plan_id: str = "c", **changes: str) -> dict[str, str]:
    return fields(plan_id=plan_id, **{"action": "FULL_CLOSE_PROPOSED", **changes})


def test_a_full_close_keeps_its_symbol_closed_for_the_cooldown(store: Store) -> None:
    key = store.keys.at(LAST_CLOSE, "BTCUSDT")
    before = store.now_ms()
    assert judge(store, close(), REOPEN_60).verdict is Verdict.PERMITTED
    assert before <= int(store.run("GET", key)) <= store.now_ms()
    assert 40_000 <= store.run("PTTL", key) <= 60_000
    outcome = judge(store, fields(), REOPEN_60)
    assert (outcome.verdict, outcome.reason) == (Verdict.BLOCKED, Reason.REOPEN)
    assert 0 <= float(decision(store)["last_close_age_sec"]) < 60
    other = judge(store, fields(plan_id="other", symbol="ETHUSDT"), REOPEN_60)
    assert other.verdict is Verdict.PERMITTED
    assert judge(store, close("c2"), REOPEN_60).verdict is Verdict.PERMITTED, "never a close"
    store.run("DEL", key)
    assert judge(store, fields(), REOPEN_60).verdict is Verdict.PERMITTED


@pytest.mark.parametrize(
    "plan",
    [
        close(action="PARTIAL_CLOSE_PROPOSED"),
        close(action="PARTIAL_25"),
        close(action="PARTIAL_33", side="CLOSE"),
        close(action="REDUCE", reduceOnly="true"),
        close(action="REDUCE_PROPOSED", reduceOnly="true"),
        close(action="UPDATE_SL"),
        close(qty="2", close_qty="1"),
        close(qty="-2", close_qty="1.99"),
        fields(plan_id="c"),
    ],
    ids=lambda plan: f"{plan['action']} {plan.get('close_qty', '')}",
)
def test_what_closes_no_position_wholly_leaves_no_mark(store: Store, plan: dict[str, str]) -> None:
    assert judge(store, plan, REOPEN_60).verdict is Verdict.PERMITTED
    assert store.run("EXISTS", store.keys.at(LAST_CLOSE, "BTCUSDT")) == 0


@pytest.mark.parametrize(
    "plan",
    [
        close(qty="2", close_qty="2"),
        close(qty="2", close_qty="0"),
        close(qty="2", close_qty="3"),
        close(close_qty="1"),
        close(qty="2", close_qty="some"),
        close(action="MANUAL_CLOSE"),
        close(action="", reduceOnly="true"),
        close(action="", side="CLOSE"),
    ],
    ids=lambda plan: f"{plan['action']} {plan.get('close_qty', '')}",
)
def test_what_may_close_all_leaves_one(store: Store, plan: dict[str, str]) -> None:
    assert judge(store, plan, REOPEN_60).verdict is Verdict.PERMITTED
    assert store.run("EXISTS", store.keys.at(LAST_CLOSE, "BTCUSDT")) == 1


def test_a_close_without_a_permit_leaves_no_mark(store: Store) -> None:
    store.run("SET", "quantum:kill", "1")
    assert judge(store, close(), REOPEN_60).reason is Reason.KILL_SWITCH
    store.run("DEL", "quantum:kill")
    assert judge(store, close(decision="SKIP"), REOPEN_60).verdict is Verdict.SKIPPED
    assert store.run("EXISTS", store.keys.at(LAST_CLOSE, "BTCUSDT")) == 0


def test_without_the_cooldown_nothing_is_marked_and_nothing_is_looked_at(store: Store) -> None:
    judge(store, close(), RATES_OFF)
    key = store.keys.at(LAST_CLOSE, "BTCUSDT")
    assert store.run("EXISTS", key) == 0
    store.run("SADD", key, "in the way")
    assert judge(store, fields(), RATES_OFF).verdict is Verdict.PERMITTED


@pytest.mark.parametrize("value", ["", "soon", "-5", "0x1", "9" * 400])
def test_a_mark_that_cant_be_read_permits_no_open_and_traps_no_close(
    store: Store, value: str
) -> None:
    key = store.keys.at(LAST_CLOSE, "BTCUSDT")
    store.run("SET", key, value)
    outcome = judge(store, fields(), REOPEN_60)
    assert isinstance(outcome, WireError)
    assert key in str(outcome)
    assert permit(store) is None
    assert judge(store, close(), REOPEN_60).verdict is Verdict.PERMITTED
    assert store.run("GET", key).isdigit(), "and it is right again"


def test_a_mark_of_a_wrong_type_holds_opens_back_and_no_close(store: Store) -> None:
    key = store.keys.at(LAST_CLOSE, "BTCUSDT")
    store.run("SADD", key, "in the way")
    entry_id = queue(store, fields())
    outcome = judge(store, fields(), REOPEN_60, again=entry_id)
    assert isinstance(outcome, WrongTypeError)
    assert key in str(outcome), "an operator must see which key"
    assert (permit(store), pending(store)) == (None, [entry_id])
    assert judge(store, close(action="PARTIAL_25"), REOPEN_60).verdict is Verdict.PERMITTED
    assert judge(store, close("c2"), REOPEN_60).verdict is Verdict.PERMITTED
    assert judge(store, fields(), REOPEN_60, again=entry_id).reason is Reason.REOPEN


def test_a_close_that_cant_be_noted_has_its_verdict_all_the_same(
    store: Store, limited: Any
) -> None:
    entry_id = queue(store, close())
    outcome = judge(limited("~*", "-set"), close(), REOPEN_60, again=entry_id, encoding="hash")
    assert outcome.verdict is Verdict.PERMITTED
    assert "set" in outcome.unwritten
    assert (pending(store), store.run("TYPE", store.keys.at(PERMIT, "c"))) == ([], b"hash")
    assert decision(store, "c")["verdict"] == "permitted"
    assert judge(store, fields(), REOPEN_60).verdict is Verdict.PERMITTED, "nothing is known of it"


def test_a_mark_that_may_not_be_read_permits_no_open(store: Store, limited: Any) -> None:
    entry_id = queue(store, fields())
    outcome = judge(limited("~*", "-get"), fields(), REOPEN_60, again=entry_id)
    assert isinstance(outcome, WireError)
    assert (permit(store), pending(store)) == (None, [entry_id])
