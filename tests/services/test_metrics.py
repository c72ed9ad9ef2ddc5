"""What is counted beside what the loops must count, and what is there from the start."""

import time

import pytest

from qtctl.domain.gates import CLOSE_REASONS, Facts, Limits, judge
from qtctl.domain.reasons import Kind, Reason
from qtctl.services import metrics
from qtctl.services.governor import Governor
from qtctl.services.metrics import ALLOCATION_ERRORS, GOVERNOR_ERRORS
from qtctl.wire.client.store import Store
from tests.services.helpers import allocation, governor, metric, send, serve_all
from tests.support.plans import fields

CLOSE = {"action": "FULL_CLOSE_PROPOSED", "side": "CLOSE", "reduceOnly": "true"}


def refused(gov: Governor) -> dict[tuple[str, str], float]:
    """The refusals that were counted, by kind and reason."""
    (family,) = gov.metrics.refused.collect()
    return {
        (sample.labels["kind"], sample.labels["reason"]): sample.value
        for sample in family.samples
        if sample.value
    }


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (fields(kill_score=0.9), ("open", "kill_score_critical")),
        (fields(kill_score="high"), ("open", "invalid_plan")),
        (fields(**CLOSE, qty="all"), ("close", "invalid_plan")),
        (fields(**CLOSE, plan_id=None), ("close", "invalid_plan")),
        (fields(side="CLOSE", action=None, reduceOnly="maybe"), ("close", "invalid_plan")),
        (fields(**CLOSE, decision=None), ("close", "invalid_plan")),
        (fields(**CLOSE, decision="SKIP", qty="all"), None),
        (fields(decision="SKIP"), None),
        (fields(**CLOSE), None),
    ],
    ids=["open", "bad open", "bad close", "close without id", "reduceOnly maybe",
         "close without decision", "bad and not to be executed", "skipped", "permitted"],
)  # fmt: skip
def test_refusals_tell_opens_from_closes(
    store: Store, gov: Governor, entry: dict[str, str], expected: tuple[str, str] | None
) -> None:
    send(store, entry)
    serve_all(gov)
    assert refused(gov) == ({} if expected is None else {expected: 1})


def test_a_close_that_waited_too_long_is_a_refused_close(store: Store, gov: Governor) -> None:
    send(store, fields(**CLOSE), f"{store.now_ms() - 11_000}-0")
    serve_all(gov)
    assert refused(gov) == {("close", "stale_plan"): 1}


def test_a_close_under_the_id_of_an_open_is_refused_and_a_hold_is_not(
    store: Store, gov: Governor
) -> None:
    send(store, fields())
    send(store, fields(decision="HOLD"))
    serve_all(gov)
    assert refused(gov) == {}, "nobody asked for a permit"
    send(store, fields(**CLOSE))
    serve_all(gov)
    assert refused(gov) == {("close", "plan_conflict"): 1}


def test_the_kill_switch_shows_without_a_plan(store: Store, gov: Governor) -> None:
    for value, level in (("reduce_only", 1), ("on", 1), ("all", 2), ("off", 0)):
        store.run("SET", "quantum:governor:halt", value)
        gov.open()
        assert metric(gov, "p32_kill_switch_level") == level
    store.run("RPUSH", "quantum:kill", "x")
    gov.open()
    assert metric(gov, "p32_kill_switch_level") == 2, "a wrong type stops everything"


def test_what_can_be_counted_is_there_at_0(store: Store, gov: Governor) -> None:
    loop = allocation(store)
    for kind in GOVERNOR_ERRORS:
        assert metric(gov, "p32_errors_total", kind=kind) == 0
    for kind in ALLOCATION_ERRORS:
        assert metric(loop, "p29_shadow_errors_total", kind=kind) == 0
    for gate in ("future", "kill_score", "notional"):
        assert metric(gov, "p32_gate_skipped_total", gate=gate) == 0
    assert metric(gov, "p32_skipped_total", decision="backlog") == 0
    for reason in Reason:
        there = reason is not Reason.OK
        value = metric(gov, "p32_refused_total", kind="open", reason=reason.value)
        assert value == (0 if there else None)
    for each, name in ((gov, "p32_start_time_seconds"), (loop, "p29_shadow_start_time_seconds")):
        started = metric(each, name)
        assert started is not None
        assert abs(time.time() - started) < 60
    loop.close()


def opens(gov: Governor, window: str, symbol: str) -> float | None:
    return metric(gov, f"quantum_govern_exec_count_{window}", symbol=symbol)


def look(gov: Governor) -> None:
    gov.open()


def test_opens_of_all_governors_are_counted_and_fall_as_time_passes(
    store: Store, gov: Governor, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert opens(gov, "hour", "BTCUSDT") is None
    other = governor(store, "g2")
    other.open()
    for number in range(3):
        send(store, fields(plan_id=f"p{number}"))
    serve_all(other)
    other.close()
    send(store, fields(plan_id="close", **CLOSE))
    send(store, fields(plan_id="blocked", kill_score=0.9))
    send(store, fields(plan_id="eth", symbol="ETHUSDT"))
    serve_all(gov)
    look(gov)
    assert (opens(gov, "5min", "BTCUSDT"), opens(gov, "hour", "BTCUSDT")) == (3, 3)
    assert (opens(gov, "5min", "ETHUSDT"), opens(gov, "hour", "ETHUSDT")) == (1, 1)
    begun = time.monotonic()
    monkeypatch.setattr("qtctl.clock.monotonic", lambda: begun + 301)
    assert (opens(gov, "5min", "BTCUSDT"), opens(gov, "hour", "BTCUSDT")) == (0, 3)
    monkeypatch.setattr("qtctl.clock.monotonic", lambda: begun + 3601)
    assert (opens(gov, "5min", "BTCUSDT"), opens(gov, "hour", "BTCUSDT")) == (0, 0)


def test_only_what_is_new_in_the_ledger_is_read_and_a_cleared_one_shows_within_a_minute(
    store: Store, gov: Governor, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(250):
        send(store, fields(plan_id=f"p{number}", symbol=f"S{number % 2}"))
    serve_all(gov)
    look(gov)
    assert (opens(gov, "hour", "S0"), opens(gov, "hour", "S1")) == (125, 125)
    seen: list[str] = []
    real = Store.batch

    def batch(self: Store, commands: list[tuple[str, ...]], **more: object) -> list[object]:
        seen.extend(command[1] for command in commands if command[0] == "HMGET")
        return real(self, commands, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Store, "batch", batch)
    send(store, fields(plan_id="new", symbol="S0"))
    serve_all(gov)
    seen.clear()
    look(gov)
    assert opens(gov, "hour", "S0") == 126
    assert seen in ([], ["quantum:governor:decision:new"])
    store.run("DEL", store.keys.ledger_total)
    begun = time.monotonic()
    monkeypatch.setattr("qtctl.clock.monotonic", lambda: begun + 61)
    look(gov)
    assert opens(gov, "hour", "S0") == 0


def test_the_symbols_of_opens_are_capped(store: Store) -> None:
    gov = governor(store, metrics_max_symbols=2)
    gov.open()
    for number in range(5):
        send(store, fields(plan_id=f"p{number}", symbol=f"S{number}"))
    serve_all(gov)
    look(gov)
    (family,) = [it for it in gov.registry.collect() if it.name.endswith("exec_count_5min")]
    assert len(family.samples) == 3
    assert sum(sample.value for sample in family.samples) == 5
    assert opens(gov, "5min", "other") == 3
    gov.close()


def test_no_gate_refuses_a_close_for_another_reason_than_is_counted_from_the_start() -> None:
    worst = Facts(
        symbol="BTCUSDT", kind=Kind.CLOSE, queue_age_sec=99.0, kill_level=2, plan_age_sec=-99.0,
        kill_score=1.0, qty=1e9, price=1e9, last_open_age_sec=0.0, opens_5min=99, opens_1h=99,
        last_close_age_sec=0.0, opens_total_5min=99, queued_before_server=True,
    )  # fmt: skip
    limits = Limits(max_opens_per_5min_total=1)
    failed = {check.reason for check in judge(worst, limits).worksheet if check.passed is False}
    assert failed == {Reason.KILL_SWITCH, Reason.STALE_PLAN}
    assert failed < set(CLOSE_REASONS)


def test_the_factor_of_a_symbol_goes_when_it_says_nothing_any_more(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    gov = governor(store)
    for symbol in ("BTCUSDT", "QTPROOFA1B2USDT"):
        gov.metrics.eff_factor.set(symbol, 0.5)
    assert metric(gov, "p32_eff_factor", symbol="QTPROOFA1B2USDT") == 0.5, "a proof checks it"
    monkeypatch.setattr(metrics, "PROOF_KEPT_SEC", -1.0)
    assert metric(gov, "p32_eff_factor", symbol="QTPROOFA1B2USDT") is None
    assert metric(gov, "p32_eff_factor", symbol="BTCUSDT") == 0.5
    monkeypatch.setattr(metrics, "FACTOR_KEPT_SEC", -1.0)
    assert metric(gov, "p32_eff_factor", symbol="BTCUSDT") is None
