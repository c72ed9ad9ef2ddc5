"""domain.gates.judge and the atomic step are two texts of the same rules: held together here, on
random facts on the real server."""

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from qtctl.domain.facts import facts_of, unrecorded
from qtctl.domain.gates import GATES, Gate, Limits, judge
from qtctl.domain.reasons import Reason, Verdict
from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import DECISION, LAST_CLOSE, LEDGER, PERMIT
from tests.domain.vectors import cases, of_the_stream
from tests.support import plans

DRAWN: dict[str, st.SearchStrategy[float]] = {
    "max_plan_age_sec": st.sampled_from([1.0, 60.0, 3600.0]),
    "max_queue_age_sec": st.sampled_from([1.0, 10.0, 3600.0]),
    "kill_score_critical": st.sampled_from([0.0, 0.5, 0.8]),
    "max_notional_per_trade_usd": st.sampled_from([0.0, 200.0]),
    "symbol_cooldown_sec": st.sampled_from([0.0, 0.5, 60.0, 3600.0]),
    "reopen_cooldown_sec": st.sampled_from([0.0, 0.5, 60.0, 3600.0]),
    "max_exec_per_5min": st.integers(0, 3),
    "max_exec_per_hour": st.integers(0, 4),
    "max_opens_per_5min_total": st.integers(0, 4),
}
limits = st.builds(Limits, **DRAWN)
RATES = [(gate, gate.wait) for gate in GATES if gate.wait and gate.wait.window_sec]
entries = st.fixed_dictionaries(
    {
        "action": st.sampled_from(["OPEN", "CLOSE", "", "PARTIAL_33"]),
        "kill_score": st.sampled_from(["", "0.1", "0.49999", "0.5", "0.8", "1"]),
        "qty": st.sampled_from(["", "0", "1", "-2", "1e300"]),
        "price": st.sampled_from(["", "0", "100", "200.004", "1e300"]),
        "reduceOnly": st.sampled_from(["", "true", "false"]),
    }
)
kills = st.lists(
    st.sampled_from([None, None, "", "0", " No ", "Reduce_Only", "reduce_only", "1", "?", "ALL"]),
    min_size=3, max_size=3,
)  # fmt: skip
opens = st.lists(st.integers(-5, 4000), max_size=5)


@given(
    entry=entries,
    limits=limits,
    kill=kills,
    own=opens,
    others=opens,
    closed_ago_ms=st.none() | st.sampled_from([-5_000, 100, 30_500, 60_500, 4_000_000]),
    queued_ago_ms=st.sampled_from([-70_000, -50_000, 0, 500, 1500, 9_000, 11_000, 4_000_000]),
    plan_ago_ms=st.none() | st.sampled_from([-120_000, -61_500, -1_000, 0, 59_000, 62_000]),
    since_ago_ms=st.sampled_from([0, 1_400, 10_000, 10**9]),
    jump=st.sampled_from([None, None, "found", "noted"]),
    permitted_before=st.sampled_from([False, False, True]),
)
@hypothesis_settings(
    max_examples=400,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_the_worksheet_gives_the_verdict_of_the_atomic_step(
    store: Store,
    entry: dict[str, str],
    limits: Limits,
    kill: list[str | None],
    own: list[int],
    others: list[int],
    closed_ago_ms: int | None,
    queued_ago_ms: int,
    plan_ago_ms: int | None,
    since_ago_ms: int,
    jump: str | None,
    permitted_before: bool,
) -> None:
    store.run("FLUSHALL")
    now = store.now_ms()
    _opens_before(store, now, own, others)
    if closed_ago_ms is not None:
        store.run("SET", store.keys.at(LAST_CLOSE, "BTCUSDT"), now - closed_ago_ms)
    for name, value in zip(plans.KILL_NAMES, kill, strict=True):
        if value is not None:
            store.run("SET", store.keys.prefix + name, value)
    if jump == "noted":
        store.run("SET", store.keys.clock_jump, "{}")
    timestamp = None if plan_ago_ms is None else now - plan_ago_ms
    outcome: Any = plans.judge(
        store,
        plans.fields(**entry, timestamp=timestamp),
        limits,
        entry_id=f"{now - queued_ago_ms}-0",
        since_ms=now - since_ago_ms,
        permitted_before=permitted_before,
        jumped_after_ms=now - 1 if jump == "found" else 10**15,
    )
    record = plans.decision(store)
    judgement = judge(facts_of(record), limits)
    assert (judgement.verdict, judgement.reason) == (outcome.verdict, outcome.reason)
    assert (record["verdict"], record["reason"]) == (outcome.verdict, outcome.reason)
    assert (plans.permit(store) is not None) == (outcome.verdict is Verdict.PERMITTED)
    if record["kind"] == "open":
        # The facts themselves are what was laid down, not merely consistent with the verdict.
        # What lies ahead of the clock, which stepped back, is none of them.
        for gate, wait in RATES:
            agos = own if wait.mark == "opens" else others
            within = sum(0 <= ago < (wait.window_sec or 0) for ago in agos)
            assert int(record[gate.facts[0]]) == within, gate.name
        last = min((ago for ago in own if ago >= 0), default=None)
        assert (record["last_open_age_sec"] == "") == (last is None)
        assert last is None or last <= float(record["last_open_age_sec"]) < last + 2
        kept = closed_ago_ms is not None and limits.reopen_cooldown_sec > 0
        assert (record["last_close_age_sec"] != "") == kept
    else:
        assert record["last_close_age_sec"] == "", "a close does not look"
    assert record["queued_before_server"] == str(int(queued_ago_ms > since_ago_ms))
    assert record["permitted_before"] == str(int(permitted_before))
    assert record["clock_jump"] == str(int(jump is not None))


def _opens_before(store: Store, now: int, own: list[int], others: list[int]) -> None:
    """Opens permitted so many seconds ago, half a second off any limit."""
    for key, agos in ((store.keys.at(LEDGER, "BTCUSDT"), own), (store.keys.ledger_total, others)):
        for number, ago in enumerate(agos):
            store.run("ZADD", key, f"{(now - ago * 1000 - 500) / 1000:.3f}", f"old{number}")


@pytest.mark.parametrize("gate", [gate for gate in GATES if gate.wait], ids=lambda gate: gate.name)
def test_a_gate_of_opens_blocks_from_its_limit_on_in_the_step_too(store: Store, gate: Gate) -> None:
    """Two opens, and a full close, half a minute ago; all other gates are off."""
    now = store.now_ms()
    assert gate.wait
    blocking, passing = (60, 20) if gate.wait.window_sec is None else (2, 3)
    for plan_id, limit, reason in (("p1", blocking, gate.reason), ("p2", passing, Reason.OK)):
        _opens_before(store, now, [30, 30], [30, 30])
        store.run("SET", store.keys.at(LAST_CLOSE, "BTCUSDT"), now - 30_500)
        limits = msgspec.structs.replace(plans.RATES_OFF, **{gate.limits[0]: limit})
        outcome: Any = plans.judge(store, plans.fields(plan_id=plan_id), limits)
        assert outcome.reason is reason


def test_ids_of_one_millisecond_are_told_apart(store: Store) -> None:
    now = store.now_ms()
    for number, held in ((6, True), (7, True), (8, False), (10, False)):
        entry = plans.fields(plan_id=f"p{number}")
        plans.judge(store, entry, entry_id=f"{now}-{number}", before=(now, 7))
        record = plans.decision(store, f"p{number}")
        assert record["queued_before_server"] == str(int(held))
        judgement = judge(facts_of(record), plans.RATES_OFF)
        assert (judgement.reason is Reason.QUARANTINE) == held


def test_a_record_of_a_version_before_tells_of_no_jump(store: Store) -> None:
    outcome = plans.judge(store, plans.fields(), since_ms=store.now_ms() + 10_000)
    record = plans.decision(store)
    del record["clock_jump"], record["permitted_before"]
    assert unrecorded(record) == {}
    assert judge(facts_of(record), plans.RATES_OFF).reason == outcome.reason
    assert "" in unrecorded(record | {"clock_jump": "perhaps"})


# What came before --------------------------------------------------------------------------------
# conflict, once and the decision as sent rest on what no record keeps: they are judged by the
# atomic step alone, and held here against the golden cases and against their rule in five lines.

OF_THE_STREAM = [case for case in cases("gates") if of_the_stream(case.values[0])]


@pytest.mark.parametrize("case", OF_THE_STREAM)
def test_golden_case_of_what_came_before(store: Store, case: dict[str, Any]) -> None:
    found, expect, now = case["facts"], case["expect"], store.now_ms()
    entry = case["entry"] | {"timestamp": now}
    queued = plans.queue(store, entry, f"{now - round(found['queue_age_sec'] * 1000)}-0")
    rest = set(found) - {"now", "queue_age_sec", "issued", "kill"}
    assert not rest, "nothing else is set up here"
    for name, value in zip(plans.KILL_NAMES, found.get("kill", ()), strict=False):
        store.run("SET", store.keys.prefix + name, value)
    if issued := found.get("issued"):
        first = queued if issued["entry"] == "same" else "1-1"
        decision = {"verdict": "permitted", "entry_id": first, **issued}
        flat = [part for pair in decision.items() for part in pair]
        store.run("HSET", store.keys.at(DECISION, entry["plan_id"]), *flat)
    assert plans.read(entry).kind == expect["kind"]
    outcome = plans.judge(store, entry, Limits(), again=queued)
    assert outcome.verdict == expect["verdict"]
    if expect["reason"]:
        assert outcome.reason == expect["reason"]
    assert plans.permit(store) is None
    assert plans.pending(store) == []


def rule_of_repeats(first: dict[str, str], then: dict[str, str], same: bool) -> tuple[str, str]:
    """Verdict and reason of an entry whose plan_id came before."""
    executed = first["decision"] == "EXECUTE"
    if executed and first["kill_score"] == "0.1":
        if same:
            return Verdict.REPLAY, Reason.OK
        changed = any(first[name] != then[name] for name in ("symbol", "action"))
        conflict = changed or then["decision"] != "EXECUTE"
        return Verdict.BLOCKED, Reason.PLAN_CONFLICT if conflict else Reason.DUPLICATE_PLAN
    if executed and same:
        return Verdict.REPLAY, Reason.OK
    if then["decision"] != "EXECUTE":
        return Verdict.SKIPPED, Reason.OK
    return (
        (Verdict.PERMITTED, Reason.OK)
        if then["kill_score"] == "0.1"
        else (Verdict.BLOCKED, Reason.KILL_SCORE)
    )


sent = st.fixed_dictionaries(
    {
        "symbol": st.sampled_from(["BTCUSDT", "ETHUSDT"]),
        "action": st.just("OPEN"),
        "decision": st.sampled_from(["EXECUTE", "EXECUTE", "SKIP"]),
        "kill_score": st.sampled_from(["0.1", "0.1", "0.9"]),
    }
)
closes = sent.map(lambda plan: plan | {"action": "CLOSE", "kill_score": "0.1"})


@given(first=sent | closes, then=sent | closes, same=st.booleans(), taken=st.booleans())
@hypothesis_settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_a_plan_id_that_comes_again_is_judged_by_what_came_before(
    store: Store, first: dict[str, str], then: dict[str, str], same: bool, taken: bool
) -> None:
    store.run("FLUSHALL")
    then = first if same else then
    entry_id = plans.queue(store, plans.fields(**first))
    plans.judge(store, plans.fields(**first), again=entry_id)
    permitted = plans.permit(store) is not None
    if taken:
        store.run("DEL", store.keys.at(PERMIT, "p1"))
    again = entry_id if same else None
    outcome = plans.judge(store, plans.fields(**then), again=again)
    assert (outcome.verdict, outcome.reason) == rule_of_repeats(first, then, same)
    contradicts = outcome.reason is Reason.PLAN_CONFLICT
    assert outcome.withdrawn == (contradicts and first["action"] == "OPEN" and not taken)
    issued = permitted + (outcome.verdict is Verdict.PERMITTED)
    assert issued <= 1
