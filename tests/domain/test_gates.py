"""The gates against the golden cases, and what must hold for any facts."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtctl.domain import numbers, plans
from qtctl.domain.gates import (
    CLOSE_REASONS,
    GATES,
    Facts,
    Limits,
    judge,
    kill_level,
    lacking_input,
)
from qtctl.domain.plans import PlanRules, Unreadable
from qtctl.domain.reasons import Kind, Reason, Verdict
from tests.domain.vectors import cases, load, of_the_stream


def limits_and_rules(case: dict[str, Any]) -> tuple[Limits, PlanRules]:
    merged = load("gates")["defaults"] | case["limits"]
    require = merged.pop("require")
    return Limits(**merged), PlanRules(require=frozenset(require))


_GIVEN = {*Facts.__struct_fields__} - {"queue_age_sec"}
"""The facts that a case gives as they are."""


def facts_of(plan: plans.Plan, found: dict[str, Any]) -> Facts:
    levels = [(kill_level(value or ""), value or "") for value in found.get("kill", ())]
    levels += [(kill_level(value, halts=True), value) for value in found.get("halt", ())]
    level, value = max(levels, default=(0, ""))
    return Facts(
        symbol=plan.symbol,
        kind=plan.kind,
        queue_age_sec=found["queue_age_sec"],
        plan_age_sec=None if plan.at is None else found["now"] - plan.at,
        kill_score=plan.kill_score,
        qty=plan.qty,
        price=plan.price,
        kill_key="quantum:kill",
        kill_value=value,
        kill_level=level,
        **{name: value for name, value in found.items() if name in _GIVEN},
    )


@pytest.mark.parametrize("case", cases("gates"))
def test_golden_case(case: dict[str, Any]) -> None:
    limits, rules = limits_and_rules(case)
    expect = case["expect"]
    plan = plans.read(case["entry"], rules)
    assert plan.kind == expect["kind"]
    if isinstance(plan, Unreadable):
        assert (expect["verdict"], expect["reason"]) == ("rejected", "invalid_plan")
        assert plan.problem
        return
    if of_the_stream(case):
        return  # See tests/wire/test_judge_agrees.py.
    judgement = judge(facts_of(plan, case["facts"]), limits)
    assert judgement.verdict == expect["verdict"]
    if expect["reason"]:
        assert judgement.reason == expect["reason"]


limit_values = st.one_of(st.just(0), st.floats(0, 1e6), st.integers(0, 10))
any_limits = st.builds(
    Limits,
    max_plan_age_sec=st.floats(1, 3600),
    max_queue_age_sec=st.floats(1, 3600),
    kill_score_critical=st.floats(0, 1),
    max_notional_per_trade_usd=limit_values,
    symbol_cooldown_sec=st.floats(0, 3600),
    reopen_cooldown_sec=st.floats(0, 3600),
    max_exec_per_5min=st.integers(0, 5),
    max_exec_per_hour=st.integers(0, 5),
    max_opens_per_5min_total=st.integers(0, 5),
)
any_facts = st.builds(
    Facts,
    symbol=st.sampled_from(["A", "B"]),
    kind=st.sampled_from(Kind),
    queue_age_sec=st.floats(-10, 4000),
    kill_key=st.just("quantum:kill"),
    kill_level=st.integers(0, 2),
    queued_before_server=st.booleans(),
    permitted_before=st.booleans(),
    clock_jump=st.booleans(),
    plan_age_sec=st.none() | st.floats(-1e4, 1e4),
    kill_score=st.none() | st.floats(0, 1),
    qty=st.none() | st.floats(-1e9, 1e9),
    price=st.none() | st.floats(-1e9, 1e9),
    last_open_age_sec=st.none() | st.floats(-5, 4000),
    last_close_age_sec=st.none() | st.floats(-5, 4000),
    opens_5min=st.integers(0, 6),
    opens_1h=st.integers(0, 6),
    opens_total_5min=st.integers(0, 6),
)


@given(any_facts, any_limits)
def test_the_first_failing_gate_names_the_reason(facts: Facts, limits: Limits) -> None:
    judgement = judge(facts, limits)
    assert [check.gate for check in judgement.worksheet] == [gate.name for gate in GATES]
    failing = [check for check in judgement.worksheet if check.passed is False]
    if judgement.verdict is Verdict.PERMITTED:
        assert not failing
    if judgement.verdict is Verdict.BLOCKED:
        assert judgement.reason is failing[0].reason


@given(any_facts, any_limits)
def test_a_close_is_stopped_by_nothing_but_its_id_the_switch_and_the_queue(
    facts: Facts, limits: Limits
) -> None:
    judgement = judge(facts, limits)
    if facts.kind is Kind.CLOSE and judgement.verdict is Verdict.BLOCKED:
        assert judgement.reason in {Reason.KILL_SWITCH, Reason.STALE_PLAN}
        assert judgement.reason in CLOSE_REASONS


@given(any_facts, any_limits)
def test_a_gate_that_lacks_its_input_never_fails(facts: Facts, limits: Limits) -> None:
    by_gate = {check.gate: check.passed for check in judge(facts, limits).worksheet}
    for gate in lacking_input(facts, limits):
        assert by_gate[gate] is None


def test_each_reason_belongs_to_exactly_one_gate() -> None:
    assert [gate.reason for gate in GATES] == [reason for reason in Reason if reason != Reason.OK]


def test_a_close_that_lies_ahead_of_the_clock_holds_nothing_back() -> None:
    ahead = Facts(symbol="A", kind=Kind.OPEN, queue_age_sec=0, last_close_age_sec=-0.001)
    assert judge(ahead, Limits()).verdict is Verdict.PERMITTED
    now = msgspec.structs.replace(ahead, last_close_age_sec=0.0)
    assert judge(now, Limits()).reason is Reason.REOPEN


@pytest.mark.parametrize("value", ["", "0", "false", "off", "False", "OFF", " 0", "0\n", "no", " "])
def test_normal_kill_values(value: str) -> None:
    assert kill_level(value) == kill_level(value, halts=True) == 0


@pytest.mark.parametrize("value", ["1", "true", "<list>", "b'0'", "None", "0.0", "\xa00", "all"])
def test_an_unknown_kill_value_stops_everything(value: str) -> None:
    assert kill_level(value) == 2


@pytest.mark.parametrize(
    ("value", "level"),
    [("1", 1), ("true", 1), ("lockdown", 1), ("reduce_only", 1), ("all", 2), (" ALL ", 2),
     ("all!", 1)],
)  # fmt: skip
def test_a_halt_key_stops_opens_only_unless_it_is_all(value: str, level: int) -> None:
    assert kill_level(value, halts=True) == level


number_texts = st.one_of(
    st.floats().map(repr),
    st.text(max_size=8),
    st.sampled_from(["nan", "inf", "-inf", "1e999", "0x1", "1_0", " 1 ", "", "１", "+1", "-", "."]),
)


@given(number_texts)
def test_only_finite_ascii_decimals_are_numbers(text: str) -> None:
    value = numbers.number(text)
    if value is not None:
        assert abs(value) < float("inf")
        assert text.isascii()
        assert "_" not in text
        assert value == float(text)


@given(st.dictionaries(st.sampled_from(
    ["plan_id", "symbol", "action", "decision", "kill_score", "side", "qty", "price",
     "entry_price", "reduceOnly", "timestamp", "source", "x"]),
    st.one_of(st.text(max_size=70), number_texts, st.sampled_from(["EXECUTE", "true", "CLOSE"])),
))  # fmt: skip
def test_reading_a_plan_never_raises(fields: dict[str, str]) -> None:
    plan = plans.read(fields, PlanRules())
    if isinstance(plan, Unreadable):
        assert plan.problem
    else:
        assert plan.symbol == fields["symbol"]
