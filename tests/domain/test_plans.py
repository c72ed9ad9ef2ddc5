"""Reading a plan: what an open must not get past, and what must not trap a close."""

import msgspec
import pytest

from qtctl.domain import plans
from qtctl.domain.gates import Facts, Limits, judge
from qtctl.domain.plans import GIVEN_TWICE, Plan, PlanRules, Unreadable, kind_of, read
from qtctl.domain.reasons import Kind, Reason
from qtctl.settings import Governor
from qtctl.wire.schema.permit import permit_json

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
    assert plans.notional(found.qty, found.price) == notional
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


@pytest.mark.parametrize("action", ["trim", "TRIM", "Trim"])
def test_actions_of_the_settings_count_in_any_case(action: str) -> None:
    for word in ("trim", "TRIM"):
        closing = PlanRules(close_actions=frozenset([word]))
        opening = PlanRules(open_actions=frozenset([word]))
        assert kind_of(action, "", None, closing) is Kind.CLOSE
        assert kind_of(action, "", True, opening) is Kind.OPEN


def test_another_script_is_not_another_case() -> None:
    assert kind_of("ex\u0131t", "", None, PlanRules()) is Kind.OPEN, "dotless i"


@pytest.mark.parametrize(
    ("fields", "qty"),
    [
        ({"qty": "17889", "close_qty": "4472.25"}, 4472.25),
        ({"close_qty": "4472.25"}, 4472.25),
        ({"qty": "17889"}, 17889.0),
        ({"qty": "-17889", "close_qty": "4472.25"}, 4472.25),
        ({"qty": "17889", "close_qty": "0.0"}, 17889.0),
        ({"qty": "17889", "close_qty": "-1"}, 17889.0),
        ({"qty": "17889", "close_qty": "much"}, 17889.0),
        ({"qty": "17889", "close_qty": GIVEN_TWICE}, 17889.0),
        ({}, 0.0),
    ],
)
def test_the_permit_of_a_close_is_for_what_it_closes(fields: dict[str, str], qty: float) -> None:
    found = plan({"plan_id": "p", "symbol": "S", "decision": "EXECUTE", "action": "CLOSE"} | fields)
    head, _ = permit_json(found)
    written = msgspec.json.decode(head.partition(b',"created_at"')[0] + b"}")
    assert written["computed_qty"] == qty


def test_the_notional_of_a_permit_is_that_of_its_qty() -> None:
    found = plan(CLOSE | {"qty": "100", "close_qty": "25", "price": "2"})
    head, _ = permit_json(found)
    assert b'"computed_qty":25.0,"computed_notional":50.0' in head
    assert plans.notional(found.qty, found.price) == 200.0, "the record keeps that of the plan"


def test_the_close_qty_of_an_open_is_nothing() -> None:
    head, _ = permit_json(plan(OPEN | {"qty": "2", "close_qty": "1"}))
    assert b'"computed_qty":2.0' in head


def test_the_settings_have_the_actions_of_the_rules() -> None:
    settings, rules = Governor(), PlanRules()
    assert frozenset(settings.open_actions) == rules.open_actions
    assert frozenset(settings.close_actions) == rules.close_actions
