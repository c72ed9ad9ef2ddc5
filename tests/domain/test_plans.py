"""Reading a plan: what an open must not get past, and what must not trap a close."""

import pytest

from qtctl.domain.gates import Facts, Limits, judge
from qtctl.domain.plans import GIVEN_TWICE, Plan, PlanRules, Unreadable, read
from qtctl.domain.reasons import Kind, Reason

OPEN = {"plan_id": "p", "symbol": "S", "decision": "EXECUTE", "action": "OPEN", "qty": "1"}
CLOSE = OPEN | {"action": "CLOSE"}


def plan(fields: dict[str, str]) -> Plan:
    found = read(fields, PlanRules())
    assert isinstance(found, Plan), found
    return found


@pytest.mark.parametrize(
    ("prices", "notional"),
    [
        ({"price": "0", "entry_price": "50000"}, 50_000.0),
        ({"price": "-50000"}, 50_000.0),
        ({"price": "100", "entry_price": "50000"}, 100.0),
        ({"price": "0"}, None),
        ({"price": "0", "entry_price": "0"}, None),
    ],
)
def test_no_odd_price_gets_past_the_notional_gate(
    prices: dict[str, str], notional: float | None
) -> None:
    found = plan(OPEN | prices)
    assert found.notional_usd == notional
    facts = Facts("S", Kind.OPEN, 0.0, qty=found.qty, price=found.price)
    blocked = judge(facts, Limits()).reason is Reason.NOTIONAL
    assert blocked == (notional is not None and notional > 200)


def test_a_price_of_nothing_is_not_the_price_that_is_required() -> None:
    rules = PlanRules(require=frozenset(["price"]))
    assert isinstance(read(OPEN | {"price": "0"}, rules), Unreadable)
    assert isinstance(read(OPEN | {"price": "0", "entry_price": "5"}, rules), Plan)


@pytest.mark.parametrize("name", ["note", "price", "kill_score", "timestamp"])
def test_what_a_close_does_not_need_may_be_there_twice(name: str) -> None:
    assert plan(CLOSE | {name: GIVEN_TWICE}).kind is Kind.CLOSE
    found = read(OPEN | {name: GIVEN_TWICE}, PlanRules())
    assert isinstance(found, Unreadable)
    assert found.problem == f"{name} is there twice, with different values"


@pytest.mark.parametrize(
    "name", ["plan_id", "symbol", "decision", "reduceOnly", "qty", "action", "side"]
)
def test_what_a_close_is_read_by_must_be_there_once(name: str) -> None:
    found = read(CLOSE | {"reduceOnly": "true"} | {name: GIVEN_TWICE}, PlanRules())
    assert isinstance(found, Unreadable)
    assert "twice" in found.problem


@pytest.mark.parametrize("ahead_sec", [61.0, 1e9])
def test_an_open_whose_id_is_ahead_of_the_clock_is_blocked_and_a_close_is_not(
    ahead_sec: float,
) -> None:
    for kind, reason in ((Kind.OPEN, Reason.FUTURE_PLAN), (Kind.CLOSE, Reason.OK)):
        assert judge(Facts("S", kind, -ahead_sec), Limits()).reason is reason
    assert judge(Facts("S", Kind.OPEN, -59.0), Limits()).reason is Reason.OK
