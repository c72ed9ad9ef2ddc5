"""`qtctl plan … --what-if`: stored decisions under other limits, both worksheets, and the gaps."""

from collections.abc import Sequence

import pytest

from qtctl.domain.gates import GATES
from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import DECISION, LIMITS
from qtctl.wire.schema.records import text
from tests.support.cli import Cli

HOUR_5 = ("--what-if", "max_exec_per_hour=5")
NO_COOLDOWN = ("--what-if", "symbol_cooldown_sec=0")
BESIDE = ["what_if_verdict", "what_if_reason", "what_if_changed", "what_if_unknown"]


@pytest.fixture
def cli(redis_url: str, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(redis_url, capsys)


def decide(cli: Cli, *plans: Sequence[str], sets: Sequence[str] = ()) -> None:
    """Decisions of a governor, in this order and no two in a millisecond: (plan_id, symbol, more
    options …)."""
    given = [part for each in sets for part in ("--set", each)]
    for plan_id, symbol, *more in plans:
        cli.ok("inject", "plan", symbol, "--plan-id", plan_id, *more)
        cli.ok("serve", "governor", "--once", "--name", "gov-1", *given)


def digest_of(store: Store, plan_id: str) -> str:
    return text(store.run("HGET", store.keys.at(DECISION, plan_id), "limits"))


def in_short(rows: list[dict[str, str]]) -> list[tuple[str, ...]]:
    return [(row["plan_id"], row["verdict"], row["what_if_verdict"], row["what_if_reason"])
            for row in rows]  # fmt: skip


# One decision ----------------------------------------------------------------------------------


def test_both_worksheets_are_shown_with_both_verdicts(cli: Cli) -> None:
    decide(cli, ("p1", "BTCUSDT"), ("p2", "BTCUSDT"))
    shown = cli.ok("plan", "show", "p2", *NO_COOLDOWN, "-o", "json").json
    assert (shown["verdict"], shown["reason"]) == ("blocked", "symbol_cooldown")
    other = shown["what_if"]
    assert list(other) == ["limits", "verdict", "reason", "changed", "unknown", "gates"]
    assert other["limits"] == {"symbol_cooldown_sec": 0.0}
    assert (other["verdict"], other["reason"], other["changed"]) == ("permitted", "ok", True)
    for gates in (shown["gates"], other["gates"]):
        assert [gate["gate"] for gate in gates] == [gate.name for gate in GATES]
    before, after = (
        next(gate for gate in gates if gate["gate"] == "cooldown")
        for gates in (shown["gates"], other["gates"])
    )
    assert (before["limit"], before["passed"]) == (60.0, False)
    assert (after["limit"], after["passed"]) == (0.0, None)
    assert before["value"] == after["value"]


def test_the_page_has_both_limits_and_results_beside_each_other(cli: Cli) -> None:
    decide(cli, ("p1", "BTCUSDT"), ("p2", "BTCUSDT"))
    said = cli.ok("plan", "show", "p2", "--what-if", "symbol_cooldown_sec=0",
                  "--what-if", "governor.max_exec_per_5min=1")  # fmt: skip
    lines = {line.split()[0]: line.split() for line in said.out.splitlines() if line}
    assert lines["gate"][-4:] == ["what-if", "result", "what-if", "limit"]
    assert lines["cooldown"][1] == "FAIL"
    assert lines["cooldown"][-5:] == ["60", "s", "off", "0", "s"]
    assert " ".join(lines["burst"]) == "burst pass 1 in 5 min 2 in 5 min FAIL 1 in 5 min"
    alone = cli.ok("plan", "show", "p2").out.splitlines()
    (head,) = (line.split() for line in alone if line.startswith("gate "))
    assert lines["gate"][: len(head)] == head, "the columns stay where they are"
    told = "blocked, burst_limit_exceeded, under symbol_cooldown_sec=0, max_exec_per_5min=1"
    assert told in said.out


def test_where_the_age_gate_compares_another_age_both_are_shown(cli: Cli, store: Store) -> None:
    decide(cli, ("p1", "BTCUSDT"))
    # It waited 5 s in the queue, and its own timestamp was 7 s old.
    store.run("HSET", store.keys.at(DECISION, "p1"), "queue_age_sec", "5", "plan_age_sec", "7")
    said = cli.ok("plan", "show", "p1", "--what-if", "max_queue_age_sec=2")
    (line,) = (line for line in said.out.splitlines() if line.startswith("age "))
    assert line.split() == ["age", "pass", "7", "s,", "then", "5", "s", "60", "s", "FAIL", "2", "s"]


def test_forgotten_limits_are_said_and_nothing_is_guessed(cli: Cli, store: Store) -> None:
    decide(cli, ("p1", "BTCUSDT"), ("p2", "BTCUSDT"))
    store.run("DEL", store.keys.at(LIMITS, digest_of(store, "p2")))
    shown = cli.ok("plan", "show", "p2", *NO_COOLDOWN, "-o", "json").json["what_if"]
    assert (shown["verdict"], shown["changed"], shown["gates"]) == ("", None, [])
    assert shown["unknown"] == "the limits it was judged by are forgotten"
    page = cli.ok("plan", "show", "p2", *NO_COOLDOWN).out
    assert "unknown: the limits it was judged by are forgotten" in page
    assert "result if" not in page


def test_limits_that_lack_one_are_forgotten_and_not_filled_up_with_a_default(
    cli: Cli, store: Store
) -> None:
    decide(cli, ("p1", "BTCUSDT"))
    store.run("SET", store.keys.at(LIMITS, digest_of(store, "p1")), '{"max_exec_per_hour":3}')
    shown = cli.ok("plan", "show", "p1", *HOUR_5, "-o", "json").json["what_if"]
    assert "forgotten" in shown["unknown"]


def test_a_fact_that_is_not_in_the_record_is_named(cli: Cli, store: Store) -> None:
    decide(cli, ("p1", "BTCUSDT"))
    store.run("HDEL", store.keys.at(DECISION, "p1"), "opens_total_5min")
    key = ("plan", "show", "p1", "-o", "json", "--what-if")
    assert cli.ok(*key, "max_exec_per_hour=5").json["what_if"]["verdict"] == "permitted"
    shown = cli.ok(*key, "max_opens_per_5min_total=5").json["what_if"]
    assert (shown["verdict"], shown["unknown"]) == (
        "",
        "its record has no usable opens_total_5min",
    )


def test_a_record_that_somebody_changed_is_no_ground(cli: Cli, store: Store) -> None:
    decide(cli, ("p1", "BTCUSDT"))
    store.run("HSET", store.keys.at(DECISION, "p1"), "opens_1h", 9)
    shown = cli.ok("plan", "show", "p1", *HOUR_5, "-o", "json").json["what_if"]
    assert shown["unknown"] == "its record does not lead to its own verdict"


def test_without_what_if_nothing_of_it_is_shown(cli: Cli) -> None:
    decide(cli, ("p1", "BTCUSDT"))
    assert "what_if" not in cli.ok("plan", "show", "p1", "-o", "json").json
    (row,) = cli.ok("plan", "list", "-o", "json").json
    assert not [name for name in row if name.startswith("what_if")]


# The list --------------------------------------------------------------------------------------


def many(cli: Cli, store: Store) -> None:
    decide(
        cli,
        ("p1", "BTCUSDT"),
        ("p2", "BTCUSDT"),
        ("p3", "BTCUSDT", "--kill-score", "0.9"),
        ("p4", "ETHUSDT", "--qty", "2", "--price", "90"),
        ("p5", "SOLUSDT", "--reduce-only"),
    )
    decide(cli, ("p6", "ADAUSDT"), sets=("governor.max_exec_per_hour=4",))
    store.run("DEL", store.keys.at(LIMITS, digest_of(store, "p6")))


def test_what_changes_comes_first_then_what_cant_be_told(cli: Cli, store: Store) -> None:
    many(cli, store)
    changes = ("--what-if", "symbol_cooldown_sec=0", "--what-if", "max_notional_per_trade_usd=100",
               "--what-if", "kill_score_critical=0")  # fmt: skip
    said = cli.ok("plan", "list", *changes, "-o", "json")
    assert in_short(said.json) == [
        ("p4", "permitted", "blocked", "notional_per_trade_exceeded"),
        ("p3", "blocked", "permitted", "ok"),
        ("p2", "blocked", "permitted", "ok"),
        ("p6", "permitted", "", ""),
    ]
    assert [row["what_if_changed"] for row in said.json] == [True, True, True, None]
    assert list(said.json[0])[-4:] == BESIDE
    assert said.err.splitlines() == [
        "3 of 6 verdicts would change: 2 to permitted (1 kill_score_critical, 1 symbol_cooldown), "
        "1 to blocked (1 notional_per_trade_exceeded), 1 unknown (1: the limits it was "
        "judged by are forgotten)."
    ]


def test_all_lists_also_what_stays(cli: Cli, store: Store) -> None:
    many(cli, store)
    rows = cli.ok("plan", "list", "--all", *NO_COOLDOWN, "-o", "json").json
    assert [row["plan_id"] for row in rows] == ["p2", "p6", "p5", "p4", "p3", "p1"]
    assert [row["what_if_changed"] for row in rows] == [True, None, False, False, False, False]


def test_another_reason_for_the_same_verdict_is_told_and_counted_apart(cli: Cli) -> None:
    decide(cli, ("p1", "BTCUSDT"), ("p2", "BTCUSDT"))
    changes = (*NO_COOLDOWN, "--what-if", "max_exec_per_hour=1")
    said = cli.ok("plan", "list", *changes, "-o", "json")
    assert in_short(said.json) == [("p2", "blocked", "blocked", "hourly_limit_exceeded")]
    assert said.json[0]["what_if_changed"] is False
    assert said.err == "0 of 2 verdicts would change: 1 stays blocked for another reason.\n"


def test_the_table_has_the_new_verdict_beside_the_old_and_says_what_is_not_simulated(
    cli: Cli,
) -> None:
    decide(cli, ("p1", "BTCUSDT"), ("p2", "BTCUSDT"), ("p3", "BTCUSDT"))
    said = cli.ok("plan", "list", *NO_COOLDOWN)
    header, *rows = said.out.splitlines()
    assert header.split()[:7] == ["decided", "plan", "symbol", "kind", "was", "would", "be"]
    # The third would be one too many after the second: that is what is not simulated.
    assert [row.split()[1:7] for row in rows] == [
        [plan, "BTCUSDT", "open", "blocked", "symbol_cooldown", "permitted"]
        for plan in ("p3", "p2")
    ]
    assert said.err.startswith("2 of 3 verdicts would change: 2 to permitted (2 symbol_cooldown).")
    assert "the counts of later plans stay as they were" in said.err


def test_the_filters_narrow_what_is_judged_again(cli: Cli) -> None:
    decide(cli, ("p1", "BTCUSDT"), ("p2", "BTCUSDT"), ("e1", "ETHUSDT"), ("e2", "ETHUSDT"))
    said = cli.ok("plan", "list", "ETHUSDT", "--blocked", *NO_COOLDOWN, "-o", "json")
    assert [row["plan_id"] for row in said.json] == ["e2"]
    assert said.err.startswith("1 of 1 verdict would change: 1 to permitted")


def test_nothing_that_changes_is_an_empty_list_and_still_counted(cli: Cli) -> None:
    decide(cli, ("p1", "BTCUSDT"))
    said = cli.ok("plan", "list", *HOUR_5, "-o", "json")
    assert said.out == "[]\n"
    assert said.err == "0 of 1 verdict would change.\n"
    assert cli.ok("plan", "list", *HOUR_5, "-o", "ndjson").out == ""


# What may be asked -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ("max_exec_hour=5", "did you mean max_exec_per_hour?"),
        ("nonsense=5", "limits: max_plan_age_sec, max_queue_age_sec"),
        ("permit_ttl_sec=5", "no gate compares with that setting"),
        ("redis.url=x", "no such limit"),
        ("max_exec_per_hour", "is not KEY=VALUE"),
        ("max_exec_per_hour=", "a whole number, 0 to 1000000000"),
        ("max_exec_per_hour=1.5", "a whole number, 0 to 1000000000"),
        ("max_exec_per_hour=-1", "a whole number, 0 to 1000000000"),
        ("kill_score_critical=1.1", "a number, 0 to 1"),
        ("max_plan_age_sec=0", "a number, 1 to 3600"),
        ("symbol_cooldown_sec=nan", "a number, 0 to 3600"),
        ("max_notional_per_trade_usd=1e999", "a number, 0 or more"),
    ],
)
@pytest.mark.parametrize("verb", ["list", "show p1"])
def test_what_can_be_no_limit_is_exit_2_with_what_is_allowed(
    cli: Cli, asked: str, named: str, verb: str
) -> None:
    said = cli("plan", *verb.split(), "--what-if", asked)
    assert (said.code, said.out) == (2, "")
    assert named in said.err
    assert asked.partition("=")[0] in said.err
    assert said.err.count("\n") == 1


def test_all_without_what_if_makes_no_sense(cli: Cli) -> None:
    assert cli("plan", "list", "--all").code == 2


def test_as_many_are_judged_as_are_asked_for(cli: Cli) -> None:
    decide(cli, *((f"p{number}", "BTCUSDT") for number in range(4)))
    said = cli.ok("plan", "list", "-n", "2", *NO_COOLDOWN)
    assert "2 of 2 verdicts would change" in said.err
    assert "Only the latest 2 were judged; there are more: -n all judges them." in said.err
    said = cli.ok("plan", "list", "-n", "all", *NO_COOLDOWN)
    assert "of 4 verdicts would change" in said.err
    assert "Only the latest" not in said.err
