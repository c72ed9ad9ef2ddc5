"""What happened, from what each source still knows."""

from pathlib import Path
from typing import Any

import pytest

from qtctl.domain import event_moments
from qtctl.domain.moments import Change, Moment, Refusal, Run, Source, of_runs, rows, runs

ROOT = Path(__file__).parents[2]


def moment(at: float, what: str = "x", id: str = "") -> Moment:
    return Moment(at=at, kind="other", what=what, id=id)


def test_sources_are_one_list_in_order_within_the_window() -> None:
    sources = [Source("a", [moment(30), moment(5)]), Source("b", [moment(20), moment(99)])]
    found = rows(sources, 10, 50)
    assert [(it.at, it.source) for it in found] == [(20, "b"), (30, "a")]


def test_what_two_sources_know_is_there_once() -> None:
    """The history will have the same entries as the stream."""
    sources = [Source("events", [moment(1, id="1-0")]), Source("history", [moment(1, id="1-0")])]
    assert [it.source for it in rows(sources, 0, 9)] == ["events"]


def test_a_source_that_could_not_be_read_costs_no_other() -> None:
    assert len(rows([Source("a", problem="no"), Source("b", [moment(1)])], 0, 9)) == 1


def refusal(at: float, reason: str = "stale_plan", symbol: str = "A") -> Refusal:
    return Refusal(at, "close", "refused", reason, f"p{at:g}", symbol, "governor:x", f"{at:g}-0")


def test_refusals_that_follow_each_other_are_one_row() -> None:
    found = runs("refused", [refusal(1), refusal(2, "kill"), refusal(50, symbol="B"), refusal(111)])
    told = {(it.at, it.count, it.until, it.symbol): it.what for it in found}
    assert told == {
        (1, 2, 50, ""): "2 closes refused: stale_plan (p1, p50)",
        (2, 1, None, "A"): "1 close refused: kill (p2)",
        (111, 1, None, "A"): "1 close refused: stale_plan (p111)",
    }


def test_a_flood_of_refusals_names_the_first() -> None:
    (found,) = runs("refused", [refusal(at / 100) for at in range(5000)])
    assert found.what == "5,000 closes refused: stale_plan (p0, p0.01, p0.02, …)"


def run(at: float, started: bool = True, version: str = "1", **settings: Any) -> Run:
    return Run(at, started, "governor", "g", version, "host", "7", settings, f"{at:g}-0")


def test_what_changed_between_two_runs_is_before_and_after() -> None:
    found = of_runs([run(1, a=1, b=["x"]), run(2, False), run(3, version="2", a=2, b=["x"], new=1)])
    assert [it.kind for it in found] == ["service", "service", "service", "settings"]
    assert found[-1].changes == (Change("version", "1", "2"), Change("governor.a", 1, 2))


def test_a_start_without_a_stop_says_so() -> None:
    first, second = of_runs([run(1), run(2)])
    assert "had not stopped" not in first.what
    assert "had not stopped" in second.what
    assert second.alert == "QtctlRestarting"


def test_a_run_whose_start_is_forgotten_has_no_before() -> None:
    assert [it.kind for it in of_runs([run(1, False), run(2, a=1)])] == ["service", "service"]


EVENTS: list[tuple[dict[str, str], str, str]] = [
    ({"event": "halted", "key": "governor:halt", "value": "reduce_only"}, "halt", "HALTED opens"),
    ({"event": "halted", "key": "governor:halt", "value": "all"}, "halt", "HALTED everything"),
    ({"event": "halted", "symbol": "BTC", "value": "all"}, "halt", "HALTED BTC"),
    ({"event": "resumed", "key": "kill", "before": "1"}, "resume", "resumed everything"),
    ({"event": "resumed", "key": "governor:clock_jump"}, "resume", "jump of the clock"),
    ({"event": "halt_kept", "value": "all"}, "halt", "had lost a halt: everything"),
    ({"event": "redis_emptied", "reason": "empty"}, "redis", "came back EMPTY"),
    ({"event": "redis_emptied", "reason": "older"}, "redis", "OLDER"),
    ({"event": "server_changed", "reason": "promoted"}, "redis", "FAILOVER"),
    ({"event": "server_changed", "reason": "restarted"}, "redis", "Redis restarted"),
    ({"event": "permits_stopped", "reason": "may evict"}, "permits", "no permits"),
    ({"event": "clock_step", "reason": "forward", "value": "7.0"}, "clock", "forward by 7.0 s"),
    ({"event": "clock_jump", "value": "99.0"}, "clock", "jumped ahead 99.0 s"),
    ({"event": "group_set_back", "before": "9-0", "value": "1-0"}, "gap", "9-0"),
    ({"event": "trimmed", "count": "1234"}, "gap", "1,234 plans trimmed"),
    ({"event": "backlog_skipped"}, "gap", "an unknown number of plans skipped"),
    ({"event": "unknown_decision", "decision": "GO", "count": "2"}, "plans", "'GO'"),
    ({"event": "plan_ids", "reason": "s", "source": "x"}, "plans", "from x"),
    ({"event": "of_a_later_version", "reason": "why"}, "other", "of_a_later_version: why"),
    ({}, "other", ""),
]


@pytest.mark.parametrize(("fields", "kind", "words"), EVENTS)
def test_an_event_is_a_sentence(fields: dict[str, str], kind: str, words: str) -> None:
    found = event_moments.moment("5-0", 5.0, {**fields, "actor": "who"})
    assert found is not None
    assert (found.kind, found.by, found.id, found.at) == (kind, "who", "events:5-0", 5.0)
    assert words in found.what


@pytest.mark.parametrize("event", ["permitted", "blocked", "withdrawn"])
def test_an_event_of_a_single_plan_is_none_of_these(event: str) -> None:
    assert event_moments.moment("1-0", 1, {"event": event}) is None


def test_every_alert_that_is_named_exists() -> None:
    there = (ROOT / "etc/prometheus/qtctl.rules.yml").read_text("utf-8")
    named = [alert for _, alert, _ in event_moments._EVENTS.values() if alert]
    for alert in [*named, "QtctlRestarting", "QtctlCloseRefused"]:
        assert f"alert: {alert}\n" in there


def test_every_event_that_the_contract_names_has_a_sentence() -> None:
    from docs.generators.contract_tables import EVENT_FIELDS

    words = EVENT_FIELDS[0][1].replace(",", " ").replace("(", " ").split()
    known = {*event_moments._EVENTS, *event_moments.OF_PLANS}
    assert known - {"plan_ids"} <= set(words)
