"""`qtctl plan`: which decisions are listed, and what explains each."""

import json
from typing import Any

import pytest

from qtctl.domain.gates import GATES
from qtctl.wire.client.store import Store
from qtctl.wire.schema.decision import DECISION_FIELDS
from qtctl.wire.schema.keys import DECISION, LIMITS, PERMIT
from qtctl.wire.schema.records import text
from tests.services.helpers import send
from tests.support.cli import Cli, hosting
from tests.support.plans import fields, judge

RATES = ("governor.symbol_cooldown_sec=0", "governor.max_exec_per_5min=0",
         "governor.max_exec_per_hour=0")  # fmt: skip
GATE_NAMES = [gate.name for gate in GATES]


@pytest.fixture
def cli(redis_url: str, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(redis_url, capsys)


def decide(cli: Cli, plan_id: str, symbol: str = "BTCUSDT", *more: str) -> None:
    """A decision of a governor with the limits that it has by default."""
    cli.ok("inject", "plan", symbol, "--plan-id", plan_id, *more)
    cli.ok("serve", "governor", "--once", "--name", "gov-1")


def listed(cli: Cli, *args: str) -> list[str]:
    return [row["plan_id"] for row in cli.ok("plan", "list", *args, "-o", "json").json]


def age(store: Store, plan_id: str, sec: float) -> None:
    """Makes a decision older than it is."""
    at = f"{store.now_ms() / 1000 - sec:.3f}"
    store.run("HSET", store.keys.at(DECISION, plan_id), "decided_at", at)


# The list --------------------------------------------------------------------------------------


def test_the_latest_decision_comes_first_and_the_filters_add_up(cli: Cli, store: Store) -> None:
    decide(cli, "p1")
    decide(cli, "p2", "ETHUSDT", "--kill-score", "0.9")
    decide(cli, "p3", "BTCUSDT", "--kill-score", "0.9")
    decide(cli, "p4", "SOLUSDT")
    for plan_id, sec in (("p1", 7000), ("p2", 3000), ("p3", 100), ("p4", 1)):
        age(store, plan_id, sec)
    assert listed(cli) == ["p4", "p3", "p2", "p1"]
    assert listed(cli, "--blocked") == ["p3", "p2"]
    assert listed(cli, "--since", "1h") == ["p4", "p3", "p2"]
    assert listed(cli, "--since", "90") == ["p4"]
    assert listed(cli, "BTCUSDT") == ["p3", "p1"]
    assert listed(cli, "BTCUSDT", "ETHUSDT", "--blocked", "--since", "2h") == ["p3", "p2"]
    assert listed(cli, "XRPUSDT") == []
    rows = cli.ok("plan", "--blocked", "-o", "json").json
    assert [row["plan_id"] for row in rows] == ["p3", "p2"]


def test_a_listed_decision_is_the_whole_record(cli: Cli, store: Store) -> None:
    decide(cli, "p1", "BTCUSDT", "--qty", "0.5", "--price", "300")
    (row,) = cli.ok("plan", "list", "-o", "json").json
    record = [name for name, _ in DECISION_FIELDS if name != "withdrawn_at"]
    assert sorted(row) == sorted(record)
    assert list(row)[:2] == ["verdict", "reason"]
    assert row["notional_usd"] == "150.00"
    assert row["instance"] == "gov-1"
    assert all(isinstance(value, str) for value in row.values())


def test_an_id_is_never_cut_in_a_list(cli: Cli) -> None:
    decide(cli, "x" * 64)
    assert "x" * 64 in cli.ok("plan", "list").out


def test_no_decision_is_an_empty_list_in_every_format(cli: Cli) -> None:
    assert cli.ok("plan", "list", "-o", "json").out == "[]\n"
    assert cli.ok("plan", "list", "-o", "ndjson").out == ""
    said = cli.ok("plan", "list")
    assert said.out == ""
    assert "24 h" in said.err


@pytest.mark.parametrize("since", ["1w", "-1h", "soon", "1e3", "25:00", "2026-13-01", ""])
def test_a_since_that_makes_no_sense_is_named_with_what_would(cli: Cli, since: str) -> None:
    said = cli("plan", "list", f"--since={since}")
    assert said.code == 2
    assert f"--since '{since}' is not a time: an age as 90, 5m, 1h or 2d, or a time as" in said.err


def test_what_lies_under_a_decisions_name_and_is_none_hides_no_other(
    cli: Cli, store: Store
) -> None:
    decide(cli, "p1")
    store.run("SET", store.keys.at(DECISION, "odd"), "x")
    store.run("HSET", store.keys.at(DECISION, "strange"), "verdict", "permitted")
    assert listed(cli) == ["p1", "strange"]
    assert cli.ok("plan", "list").out.count("\n") == 3
    assert cli("plan", "show", "odd").code == 1
    assert cli.ok("plan", "show", "strange").code == 0


# One decision, explained -----------------------------------------------------------------------


def test_the_gates_explain_a_block_with_value_and_limit(cli: Cli) -> None:
    decide(cli, "p1", "BTCUSDT", "--qty", "5", "--price", "100", "--kill-score", "0.3")
    shown = cli.ok("plan", "show", "p1", "-o", "json").json
    assert (shown["verdict"], shown["reason"]) == ("blocked", "notional_per_trade_exceeded")
    assert list(shown)[-1] == "gates"
    assert [gate["gate"] for gate in shown["gates"]] == GATE_NAMES
    assert all(list(gate) == ["gate", "value", "limit", "passed"] for gate in shown["gates"])
    gates = {gate.pop("gate"): gate for gate in shown["gates"]}
    assert 0 <= gates.pop("age").pop("value") < 60
    assert -2 <= gates.pop("future").pop("value") <= 2
    assert gates == {
        "readable": {"value": None, "limit": None, "passed": True},
        "conflict": {"value": None, "limit": None, "passed": None},
        "once": {"value": None, "limit": None, "passed": None},
        "kill_switch": {"value": None, "limit": None, "passed": True},
        "quarantine": {"value": 0, "limit": 0, "passed": True},
        "kill_score": {"value": 0.3, "limit": 0.8, "passed": True},
        "notional": {"value": 500.0, "limit": 200.0, "passed": False},
        "cooldown": {"value": None, "limit": 60.0, "passed": True},
        "reopen": {"value": None, "limit": 60.0, "passed": True},
        "burst": {"value": 0, "limit": 2, "passed": True},
        "hourly": {"value": 0, "limit": 3, "passed": True},
        "total": {"value": 0, "limit": 0, "passed": None},
    }


def test_the_page_says_which_gate_failed_and_why_others_were_not_judged(cli: Cli) -> None:
    decide(cli, "p1", "BTCUSDT", "--qty", "5", "--price", "100")
    said = cli.ok("plan", "show", "p1")
    lines = {line.split()[0]: line.split() for line in said.out.splitlines() if line}
    assert lines["verdict"] == ["verdict", "blocked"]
    assert lines["notional"] == ["notional", "FAIL", "500", "USD", "200", "USD"]
    assert lines["total"][:2] == ["total", "off"]
    for gate in ("conflict", "once"):
        assert lines[gate][:3] == [gate, "not", "recorded"], "no record keeps what came before"
    assert said.err.startswith("Limits: in force at decision time (")


def test_a_close_shows_the_gates_that_are_not_for_closes(cli: Cli) -> None:
    decide(cli, "p1", "BTCUSDT", "--reduce-only")
    shown = cli.ok("plan", "show", "p1", "-o", "json").json
    unjudged = [gate["gate"] for gate in shown["gates"] if gate["passed"] is None]
    assert unjudged == GATE_NAMES[1:3] + GATE_NAMES[4:5] + GATE_NAMES[6:]
    assert "not for closes" in cli.ok("plan", "show", "p1").out


def test_explain_is_another_name_for_show(cli: Cli) -> None:
    decide(cli, "p1")
    for output in ("table", "json", "ndjson"):
        shown = cli.ok("plan", "show", "p1", "-o", output)
        assert cli.ok("plan", "explain", "p1", "-o", output) == shown


def test_a_kill_switch_is_explained_by_its_key_and_value(cli: Cli, store: Store) -> None:
    store.run("SET", "quantum:governor:halt", "maintenance")
    decide(cli, "p1")
    shown = cli.ok("plan", "show", "p1", "-o", "json").json
    gate = next(gate for gate in shown["gates"] if gate["gate"] == "kill_switch")
    assert gate["value"] == "quantum:governor:halt=maintenance"
    assert gate["passed"] is False


def test_a_withdrawn_permit_is_told(cli: Cli, store: Store) -> None:
    judge(store, fields())
    judge(store, fields(symbol="ETHUSDT"))
    assert store.run("EXISTS", store.keys.at(PERMIT, "p1")) == 0
    assert "withdrawn" in cli.ok("plan", "show", "p1").out
    shown = cli.ok("plan", "show", "p1", "-o", "json").json
    assert shown["verdict"] == "permitted"
    assert shown["withdrawn_at"].isdecimal()


def test_no_decision_is_exit_1_with_where_to_look_next(cli: Cli) -> None:
    said = cli("plan", "show", "nope")
    assert (said.code, said.out) == (1, "")
    assert "no decision about nope" in said.err
    assert "qtctl tail rejected" in said.err


def test_another_systems_id_is_bad_input(cli: Cli) -> None:
    said = cli("plan", "show", "p33:x")
    assert said.code == 2
    assert "another system" in said.err


# Whose limits ----------------------------------------------------------------------------------


def notional_limit(cli: Cli, *args: str) -> Any:
    shown = json.loads(cli.ok("plan", "show", "p1", "-o", "json", *args).out)
    return next(gate["limit"] for gate in shown["gates"] if gate["gate"] == "notional")


def test_the_limits_are_those_it_was_judged_by_not_those_of_this_shell(cli: Cli) -> None:
    decide(cli, "p1")
    other = ("--set", "governor.max_notional_per_trade_usd=7")
    assert notional_limit(cli, *other) == 200.0
    assert "in force at decision time" in cli.ok("plan", "show", "p1", *other).err


def test_forgotten_limits_are_those_of_the_running_governor_and_it_says_so(
    cli: Cli, redis_url: str, store: Store
) -> None:
    decide(cli, "p1")
    # It ended: its record says so by its age, until it expires.
    ended = store.keys.service("governor", "gov-1")
    store.run("HSET", ended, "last_pass_at", store.now_ms() // 1000 - 20)
    with hosting(redis_url, "governor", "governor.max_notional_per_trade_usd=111"):
        digest = text(store.run("HGET", store.keys.at(DECISION, "p1"), "limits"))
        store.run("DEL", store.keys.at(LIMITS, digest))
        assert notional_limit(cli) == 111.0
        told = cli.ok("plan", "show", "p1").err
    assert "of the running governor test " in told
    assert f"; those in force at decision time ({digest}) are forgotten" in told


@pytest.mark.parametrize("left", [None, b"{", b'{"max_plan_age_sec":"x"}', b"[" * 100_000])
def test_forgotten_limits_without_a_governor_are_this_shells_and_it_says_so(
    cli: Cli, store: Store, left: bytes | None
) -> None:
    decide(cli, "p1")
    digest = text(store.run("HGET", store.keys.at(DECISION, "p1"), "limits"))
    store.run("DEL", store.keys.at(LIMITS, digest))
    if left is not None:
        store.run("SET", store.keys.at(LIMITS, digest), left)
    store.run("DEL", store.keys.service("governor", "gov-1"))
    assert notional_limit(cli, "--set", "governor.max_notional_per_trade_usd=7") == 7.0
    told = cli.ok("plan", "show", "p1").err
    assert "of this shell's settings, as no governor runs" in told
    assert "are forgotten" in told


def test_the_rates_of_a_permitted_open_are_the_facts_at_its_time(cli: Cli) -> None:
    rates = tuple(part for rate in RATES for part in ("--set", rate))
    for plan_id in ("p1", "p2"):
        cli.ok("inject", "plan", "BTCUSDT", "--plan-id", plan_id)
    cli.ok("serve", "governor", "--once", *rates)
    shown = cli.ok("plan", "show", "p2", "-o", "json").json
    gates = {gate["gate"]: gate for gate in shown["gates"]}
    assert gates["burst"] == {"gate": "burst", "value": 1, "limit": 0, "passed": None}
    assert gates["cooldown"]["passed"] is None


# Plans without a decision ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "verdict", "note"),
    [
        ({"decision": "SKIP"}, "skipped", "sent it as SKIP"),
        ({"decision": "EXECUTED"}, "skipped", "'EXECUTED' is an unknown word"),
        ({"qty": "many"}, "rejected", "it could not be read: qty 'many' is not a number"),
    ],
)
def test_a_plan_that_was_never_judged_is_found_and_explained(
    cli: Cli, store: Store, changes: dict[str, str], verdict: str, note: str
) -> None:
    send(store, fields(plan_id="lost", source="harvest", **changes))
    waiting = cli.ok("plan", "show", "lost", "-o", "json").json
    assert (waiting["verdict"], waiting["note"]) == ("", "no governor has read it yet")
    cli.ok("serve", "governor", "--once")
    found = cli.ok("plan", "show", "lost", "-o", "json").json
    assert (found["verdict"], found["source"], found["symbol"]) == (verdict, "harvest", "BTCUSDT")
    assert note in found["note"]
    assert found["gates"] == []
    assert note in cli.ok("plan", "show", "lost").out


def test_a_rejected_plan_is_found_when_its_entry_is_gone(cli: Cli, store: Store) -> None:
    send(store, fields(plan_id="lost", qty="many"))
    cli.ok("serve", "governor", "--once")
    store.run("XTRIM", store.keys.plans, "MAXLEN", 0)
    found = cli.ok("plan", "show", "lost", "-o", "json").json
    assert (found["verdict"], found["symbol"], found["qty"]) == ("rejected", "BTCUSDT", "many")


def test_a_plan_that_was_skipped_as_too_old_is_found(cli: Cli, store: Store) -> None:
    send(store, fields(plan_id="old"), f"{store.now_ms() - 3_500_000}-0")
    cli.ok("serve", "governor", "--once")
    store.run("DEL", store.keys.at(DECISION, "old"))
    assert "skipped as too old" in cli.ok("plan", "show", "old").out
    assert cli("plan", "show", "never").code == 1
