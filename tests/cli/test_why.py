"""`qtctl why`: each cause, made on the real server by the real services, and its sentence."""

import json
import re
import shlex
from typing import Any

import pytest

from qtctl.cli import main
from qtctl.cli.views.why_commands import COMMANDS
from qtctl.cli.views.why_sentences import SENTENCES
from qtctl.domain.causes import Cause
from qtctl.domain.reasons import Reason
from qtctl.wire.client.store import Store
from qtctl.wire.queries import diagnosis as why_wire
from qtctl.wire.schema.keys import (
    DECISION,
    EFFICIENCY,
    GROUP,
    LAST_CLOSE,
    LEDGER,
    LIMITS,
    PERMIT,
    TARGET,
)
from qtctl.wire.schema.records import text
from tests.services.helpers import score, send, target
from tests.support.cli import Cli, hosting
from tests.support.plans import fields, judge, queue
from tests.support.processes import qtctl, until

PORT_0 = "governor.metrics_port=0"


@pytest.fixture
def cli(redis_url: str, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(redis_url, capsys)


@pytest.fixture
def governor(store: Store) -> None:
    """The record of one that runs, where no plan is judged: it alone is what counts then."""
    record = store.keys.service("governor", "gov-1")
    store.run("HSET", record, "last_pass_at", store.now_ms() // 1000, "settings", "{}")


def serve(cli: Cli, *sets: str) -> None:
    """A governor that judges what is there, and ends."""
    cli.ok("serve", "governor", "--once", *(part for each in sets for part in ("--set", each)))


def why(cli: Cli, symbol: str = "BTCUSDT", *args: str) -> Any:
    """The answer as JSON; its commands ask the same Redis, which is left out here."""
    found = cli.ok("why", symbol, *args, "-o", "json").json
    for answer in (found, *found["also"]):
        own = f"qtctl --redis-url {cli.url} "
        assert answer["command"].startswith(own)
        answer["command"] = f"qtctl {answer['command'].removeprefix(own)}"
    return found


def also(found: Any) -> list[str]:
    return [each["cause"] for each in found["also"]]


def make_older(store: Store, plan_id: str, sec: float) -> None:
    """A decision from a while ago, and the index of permits with it."""
    key, now = store.keys.at(DECISION, plan_id), store.now_ms() / 1000
    store.run("HSET", key, "decided_at", f"{now - sec:.3f}")
    store.run("ZADD", store.keys.permits, "XX", f"{now - sec + 60:.3f}", plan_id)


def waited(store: Store, sec: float, **more: Any) -> str:
    """A plan that has been in the queue for so long; its entry id."""
    return send(store, fields(**more), f"{store.now_ms() - int(sec * 1000)}-0")


# Everything stopped, or nothing judged -----------------------------------------------------------


@pytest.mark.usefixtures("governor")
def test_a_kill_switch_that_is_set_comes_before_all_else(cli: Cli, store: Store) -> None:
    target(store, "BTCUSDT")
    store.run("SET", "quantum:kill", "maintenance")
    found = why(cli)
    assert found["cause"] == "halted"
    assert found["sentence"] == (
        "The kill switch stops everything: quantum:kill='maintenance', not set by qtctl halt."
    )
    assert found["command"] == "qtctl doctor"
    assert "WRONG    kill.switch: quantum:kill is 'maintenance'" in cli("doctor").out
    assert found["kill_switch"]["mode"] == "halted"


@pytest.mark.usefixtures("governor")
def test_a_kill_key_of_another_type_stops_everything(cli: Cli, store: Store) -> None:
    target(store, "BTCUSDT")
    store.run("RPUSH", "quantum:kill", "x")
    assert why(cli)["cause"] == "halted"


@pytest.mark.usefixtures("governor")
def test_a_halt_of_the_symbol_alone_is_told_with_who_and_why(cli: Cli, store: Store) -> None:
    target(store, "ETHUSDT")
    permitted(cli, store)
    assert cli("halt", "BTCUSDT", "--reason", "odd fills").code in (0, 1)
    found = why(cli)
    assert (found["cause"], found["permits"]["withdrawn"]) == ("reduce_only", 1)
    assert found["sentence"].startswith("The kill switch lets only closes of BTCUSDT pass: ")
    assert re.search(r"set [\d:]+Z by operator:.* \(odd fills\)\.$", found["sentence"])
    assert found["command"] == "qtctl resume BTCUSDT --reason '…'"
    assert why(cli, "ETHUSDT")["cause"] == "no_plan"
    cli.ok(*shlex.split(found["command"])[1:], "--yes")
    assert why(cli)["cause"] == "permit_withdrawn"


def test_reduce_only_explains_an_open_and_not_a_close(cli: Cli, store: Store) -> None:
    store.run("SET", "quantum:kill", "reduce_only")
    cli.ok("inject", "plan", "BTCUSDT")
    cli.ok("inject", "plan", "ETHUSDT", "--reduce-only")
    serve(cli)
    assert why(cli)["cause"] == "reduce_only"
    assert "lets only closes pass: quantum:kill='reduce_only'" in why(cli)["sentence"]
    closed = why(cli, "ETHUSDT")
    assert closed["cause"] == "permit_open"
    assert "reduce_only" in also(closed)


def test_no_governor_is_told_with_how_long_a_plan_waits(cli: Cli, store: Store) -> None:
    waited(store, 180)
    found = why(cli)
    assert found["cause"] == "no_governor"
    sentence = "No governor is running on this Redis, and p1 has been waiting 3 min."
    assert found["sentence"] == sentence
    assert "plan_waiting" in also(found)
    assert found["group"] == {"there": False, "lag": None, "pending": 0}
    assert found["verdicts"][0]["verdict"] == "waiting"


def test_a_governor_that_finishes_no_pass_is_told(cli: Cli, store: Store, redis_url: str) -> None:
    target(store, "BTCUSDT")
    with hosting(redis_url, "governor", PORT_0):
        record = store.keys.service("governor", "test")
        kept = store.run("DUMP", record)
    # It was killed: its record outlives it.
    store.run("RESTORE", record, 30_000, kept)
    store.run("HSET", record, "last_pass_at", store.now_ms() // 1000 - 180)
    found = why(cli)
    assert found["cause"] == "governor_stuck"
    assert "The governor test is late, no pass for 3 min" in found["sentence"]


def test_a_governor_that_is_not_ready_says_why_itself(
    cli: Cli, store: Store, redis_url: str
) -> None:
    target(store, "BTCUSDT")
    store.run("CONFIG", "SET", "maxmemory", "1gb", "maxmemory-policy", "allkeys-lru")
    command = ("serve", "governor", "--redis-url", redis_url, "--set", PORT_0)
    with qtctl(*command) as child:
        child.wait_for_line("no permits are issued")
        until(lambda: store.scan_keys("quantum:qtctl:service:governor:*"))
        found = until(lambda: (w := why(cli))["cause"] == "governor_not_ready" and w)
    assert "allkeys-lru" in found["sentence"]
    assert "allow_eviction" in found["sentence"]


def test_where_the_governor_cant_be_asked_the_server_tells(
    cli: Cli, store: Store, redis_url: str
) -> None:
    store.run("CONFIG", "SET", "maxmemory", "1gb", "maxmemory-policy", "allkeys-lru")
    send(store, fields())
    with hosting(redis_url, "governor", PORT_0):
        found = why(cli)
    assert found["cause"] == "governor_not_ready"
    assert "Redis may evict decisions (maxmemory-policy allkeys-lru)" in found["sentence"]


def test_a_plan_that_redis_refuses_to_settle_is_pending(
    cli: Cli, store: Store, redis_url: str
) -> None:
    store.run("SET", store.keys.at(LEDGER, "BTCUSDT"), "no ledger")
    with hosting(redis_url, "governor", PORT_0):
        send(store, fields())
        until(lambda: store.run("XPENDING", store.keys.plans, GROUP)[0] == 1)
        found = why(cli)
    assert found["cause"] == "plan_waiting"
    assert "p1 was delivered and has been pending for" in found["sentence"]
    key = store.keys.at(LEDGER, "BTCUSDT")
    assert f"since {key} is a string, and should be a sorted set" in found["sentence"]
    # Which has the command that moves it out of the way.
    assert found["command"] == "qtctl doctor"


@pytest.mark.parametrize("lag", ["1", "unknown"])
def test_a_plan_that_nobody_took_yet_waits_with_the_lag(cli: Cli, store: Store, lag: str) -> None:
    queue(store, fields(plan_id="p0", decision="SKIP"))
    if lag == "unknown":
        # An entry that was deleted behind the group's place: Redis can't count any more.
        gone = send(store, fields(plan_id="gone"))
        send(store, fields(plan_id="p1"))
        store.run("XDEL", store.keys.plans, gone)
    else:
        send(store, fields(plan_id="p1"))
    record = store.keys.service("governor", "slow")
    store.run("HSET", record, "last_pass_at", store.now_ms() // 1000, "settings", "{}")
    found = why(cli)
    assert found["cause"] == "plan_waiting"
    assert found["sentence"].startswith("p1 has been waiting ")
    assert found["sentence"].endswith(f"the governors' lag is {lag}.")


# No plan --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("governor")
def test_no_target_is_told_where_no_plan_was_seen(cli: Cli, store: Store) -> None:
    score(store, "BTCUSDT", "0.5")
    found = why(cli)
    assert found["cause"] == "no_target"
    key = "quantum:allocation:target:BTCUSDT"
    assert found["sentence"] == f"P2.9 writes no target for BTCUSDT: {key} does not exist."


@pytest.mark.usefixtures("governor")
@pytest.mark.parametrize("value", ["much", "-5", None])
def test_a_target_that_cant_be_read_is_told_with_what_is_wrong(
    cli: Cli, store: Store, value: str | None
) -> None:
    key = store.keys.at(TARGET, "BTCUSDT")
    store.run("SET", key, "x") if value is None else store.run("HSET", key, "target_usd", value)
    found = why(cli)
    assert found["cause"] == "target_unreadable"
    assert (value or "WRONGTYPE") in found["sentence"]


@pytest.mark.usefixtures("governor")
def test_a_target_that_is_not_renewed_is_told(cli: Cli, store: Store) -> None:
    target(store, "BTCUSDT")
    at = store.now_ms() // 1000 - 700
    store.run("HSET", store.keys.at(TARGET, "BTCUSDT"), "timestamp", at)
    found = why(cli)
    assert found["cause"] == "target_stale"
    assert found["sentence"] == "P2.9 has not renewed the target of BTCUSDT for 12 min."
    assert also(found) == []


@pytest.mark.usefixtures("governor")
def test_no_plan_is_told_with_how_many_were_looked_at(cli: Cli, store: Store) -> None:
    target(store, "BTCUSDT")
    target(store, "ADAUSDT", 0)
    for number in range(3):
        send(store, fields(plan_id=f"e{number}", symbol="ETHUSDT"))
    found = why(cli)
    assert (found["cause"], found["plans"]["looked_at"]) == ("no_plan", 3)
    assert found["sentence"] == (
        "No plan for BTCUSDT in the last 60 min, of 3 in the stream: upstream asked for nothing."
    )
    assert "(its target is 0.00 USD)" in why(cli, "ADAUSDT")["sentence"]
    assert "in the last 5 min" in why(cli, "BTCUSDT", "--since", "5m")["sentence"]


@pytest.mark.usefixtures("governor")
def test_plans_whose_symbol_field_was_renamed_are_told(cli: Cli, store: Store) -> None:
    target(store, "BTCUSDT")
    send(store, fields(symbol=None, sym="BTCUSDT"))
    serve(cli)
    found = why(cli)
    assert found["cause"] == "unreadable_plans"
    assert found["sentence"].startswith("1 unreadable plan names no symbol in the last 60 min")
    assert found["command"] == "qtctl tail rejected"


def test_plans_that_are_all_skipped_are_told_by_their_decisions(cli: Cli, store: Store) -> None:
    for number, decision in enumerate(("SKIP", "SKIP", "HOLD")):
        send(store, fields(plan_id=f"p{number}", decision=decision))
    serve(cli)
    found = why(cli)
    # No governor runs now, which would have to be mended first.
    assert found["cause"] == "no_governor"
    record = store.keys.service("governor", "g")
    store.run("HSET", record, "last_pass_at", store.now_ms() // 1000)
    found = why(cli)
    assert found["cause"] == "all_skipped"
    assert "by decision 2 SKIP, 1 HOLD" in found["sentence"]
    assert found["plans"] | {"last_age_s": 0} == {
        "seen": 3, "meant": 0, "waiting": 0, "last_age_s": 0, "last_plan_id": "p2",
        "looked_at": 3, "looked_back_s": None, "from_history": 0, "unreadable_without_symbol": 0,
    }  # fmt: skip


# The gates ------------------------------------------------------------------------------------


def blocked(cli: Cli, reason: str) -> str:
    """The sentence for the last plan, which was blocked for this reason."""
    found = why(cli)
    assert found["cause"] == reason
    said: str = found["sentence"]
    assert f"({reason}): " in said or reason == "invalid_plan"
    return said


def test_a_plan_that_cant_be_read_is_told_with_what_is_wrong(cli: Cli, store: Store) -> None:
    send(store, fields(kill_score="high"))
    serve(cli)
    assert "p1 could not be read" in blocked(cli, "invalid_plan")
    assert "kill_score" in blocked(cli, "invalid_plan")
    assert why(cli)["command"] == "qtctl tail rejected BTCUSDT"


def test_a_kill_switch_that_is_off_again_blocked_it_then(cli: Cli, store: Store) -> None:
    store.run("SET", "quantum:kill", "1")
    send(store, fields())
    serve(cli)
    store.run("DEL", "quantum:kill")
    said = blocked(cli, "kill_switch_active")
    assert "the kill switch (quantum:kill was '1'); it is off now" in said


def test_a_close_that_was_blocked_is_not_called_free_while_opens_are_halted(
    cli: Cli, store: Store
) -> None:
    store.run("SET", "quantum:kill", "1")
    send(store, fields(action="FULL_CLOSE_PROPOSED"))
    serve(cli)
    store.run("SET", "quantum:kill", "reduce_only")
    said = blocked(cli, "kill_switch_active")
    assert said.endswith("the kill switch (quantum:kill was '1'); it lets closes pass now.")


def test_a_quarantine_says_that_sending_again_helps(cli: Cli, store: Store) -> None:
    judge(store, fields(), since_ms=store.now_ms() + 10_000)
    assert "sent again, it is judged" in blocked(cli, "failover_quarantine")


def test_a_plan_that_was_too_old_says_by_which_clock(cli: Cli, store: Store) -> None:
    # A close, since opens from before the server started are in quarantine.
    waited(store, 180, reduceOnly="true", action="CLOSE")
    serve(cli)
    said = blocked(cli, "stale_plan")
    assert "it waited 3 min in the queue, the limit is 10 s" in said
    send(store, fields(plan_id="p2", timestamp=store.now_ms() // 1000 - 300))
    serve(cli)
    said = blocked(cli, "stale_plan")
    assert "its own timestamp was 5 min old, the limit is 60 s" in said


def test_a_plan_of_the_future_says_by_how_much(cli: Cli, store: Store) -> None:
    send(store, fields(timestamp=store.now_ms() // 1000 + 90))
    serve(cli)
    assert "ahead of the server's clock by " in blocked(cli, "future_plan")


def test_scores_and_amounts_stand_beside_their_limits(cli: Cli, store: Store) -> None:
    send(store, fields(kill_score="0.9"))
    serve(cli)
    assert "its kill score 0.9 reached 0.8" in blocked(cli, "kill_score_critical")
    send(store, fields(plan_id="p2", qty="5", price="100"))
    serve(cli)
    said = blocked(cli, "notional_per_trade_exceeded")
    assert "it was worth 500.00 USD, the limit is 200.00 USD" in said


def test_a_cooldown_says_when_an_open_passes_again(cli: Cli, store: Store) -> None:
    for plan_id in ("p1", "p2"):
        send(store, fields(plan_id=plan_id))
        serve(cli)
    found = why(cli)
    assert found["cause"] == "symbol_cooldown"
    assert "before, the cooldown is 60 s; an open passes again at " in found["sentence"]
    assert re.search(r"\(in (5\d|60) s\)\.$", found["sentence"])
    assert found["command"] == "qtctl plan show --what-if symbol_cooldown_sec=0 p2"
    store.run("DEL", store.keys.at(LEDGER, "BTCUSDT"))
    assert "an open would pass now" in why(cli)["sentence"]


def test_a_reopen_says_when_an_open_passes_again(cli: Cli, store: Store) -> None:
    for entry in (fields(plan_id="c", action="FULL_CLOSE_PROPOSED"), fields(plan_id="p2")):
        send(store, entry)
        serve(cli)
    found = why(cli)
    assert found["cause"] == "reopen_cooldown"
    told = "the symbol was closed [^;]+ before, the cooldown is 60 s; an open passes again at "
    assert re.search(told, found["sentence"])
    assert re.search(r"\(in (5\d|60) s\)\.$", found["sentence"])
    command = shlex.split(found["command"])
    assert command == ["qtctl", "plan", "show", "--what-if", "reopen_cooldown_sec=0", "p2"]
    assert "permitted, ok, under reopen_cooldown_sec=0" in cli.ok(*command[1:]).out
    key = store.keys.at(LAST_CLOSE, "BTCUSDT")
    store.run("SET", key, store.now_ms() + 30_000)
    assert "an open would pass now" in why(cli)["sentence"], "it lies ahead of the clock"
    store.run("DEL", key)
    assert "an open would pass now" in why(cli)["sentence"]


@pytest.mark.parametrize(
    ("limit", "reason", "said", "passes_in"),
    [
        ("max_exec_per_5min", "burst_limit_exceeded", "1 open of the symbol in 5 min", "5 min"),
        ("max_exec_per_hour", "hourly_limit_exceeded", "1 open of the symbol in 1 h", "60 min"),
        ("max_opens_per_5min_total", "total_limit_exceeded", "1 open of all symbols in 5 min",
         "5 min"),
    ],
)  # fmt: skip
def test_a_rate_says_its_count_and_when_the_oldest_leaves(
    cli: Cli, store: Store, limit: str, reason: str, said: str, passes_in: str
) -> None:
    limits = {"symbol_cooldown_sec": 0, "max_exec_per_5min": 0, "max_exec_per_hour": 0, limit: 1}
    given = [f"governor.{name}={value}" for name, value in limits.items()]
    for plan_id in ("p1", "p2"):
        send(store, fields(plan_id=plan_id))
        serve(cli, *given)
    # None runs now: when an open passes again goes by the limits of this shell.
    found = why(cli, "BTCUSDT", *(part for each in given for part in ("--set", each)))
    assert found["cause"] == reason
    told = found["sentence"]
    own = " ".join(["qtctl", *(f"--set {each}" for each in given)])
    assert found["command"] == f"{own} plan show --what-if {limit}=2 p2"
    assert f"{said}, the limit is 1; an open passes again at " in told
    assert told.endswith(f"(in {passes_in}).")


def test_a_command_with_what_if_does_what_it_promises(cli: Cli, store: Store) -> None:
    for plan_id in ("p1", "p2"):
        send(store, fields(plan_id=plan_id))
        serve(cli)
    command = shlex.split(why(cli)["command"])
    assert "permitted, ok, under symbol_cooldown_sec=0" in cli.ok(*command[1:]).out


def test_a_rate_that_another_gate_outlasts_names_that_gate_and_both_limits(
    cli: Cli, store: Store
) -> None:
    given = ["governor.symbol_cooldown_sec=0", "governor.max_exec_per_5min=1",
             "governor.max_exec_per_hour=1"]  # fmt: skip
    for plan_id in ("p1", "p2"):
        send(store, fields(plan_id=plan_id))
        serve(cli, *given)
    found = why(cli, "BTCUSDT", *(part for each in given for part in ("--set", each)))
    assert found["cause"] == "burst_limit_exceeded"
    assert found["sentence"].endswith("(in 60 min), held so long by the gate hourly.")
    command = shlex.split(found["command"])
    asked = [word for word in command if word.startswith("max_exec")]
    assert asked == ["max_exec_per_5min=2", "max_exec_per_hour=2"]
    at = command.index("plan")
    assert "permitted, ok, under" in cli.ok(*command[at:]).out


def test_no_what_if_is_offered_where_no_limit_would_let_it_pass(cli: Cli, store: Store) -> None:
    for plan_id, worth in (("p1", "100"), ("p2", "900")):
        send(store, fields(plan_id=plan_id, qty="1", price=worth, kill_score="0.9")
             if plan_id == "p2" else fields(plan_id=plan_id))  # fmt: skip
        serve(cli)
    found = why(cli)
    assert found["cause"] == "kill_score_critical"
    assert "--what-if" not in found["command"]


def test_plans_that_the_stream_no_longer_holds_are_counted_apart(cli: Cli, store: Store) -> None:
    for number in range(3):
        send(store, fields(plan_id=f"p{number}"))
    serve(cli)
    store.run("XTRIM", store.keys.plans, "MAXLEN", 1)
    row = next(it for it in cli.ok("why", "BTCUSDT").out.splitlines() if it.startswith("plans "))
    assert row.split(maxsplit=1)[1].startswith("1 of 1 in the stream, 2 more by their events, the")
    store.run("DEL", store.keys.plans)
    row = next(it for it in cli.ok("why", "BTCUSDT").out.splitlines() if it.startswith("plans "))
    assert row.split(maxsplit=1)[1].startswith("0 of 0 in the stream, 3 more by their events, the")


def test_forgotten_limits_leave_the_reason_without_numbers(cli: Cli, store: Store) -> None:
    send(store, fields(kill_score="0.9"))
    serve(cli)
    digest = text(store.run("HGET", store.keys.at(DECISION, "p1"), "limits"))
    store.run("DEL", store.keys.at(LIMITS, digest))
    assert "its kill score reached the limit" in blocked(cli, "kill_score_critical")


def test_a_repeated_plan_id_says_what_became_of_its_permit(cli: Cli, store: Store) -> None:
    for _ in range(2):
        send(store, fields())
        serve(cli)
    assert re.search(r"\(issued [\d.]+ s ago, still open\)", blocked(cli, "duplicate_plan"))
    send(store, fields(decision="SKIP"))
    serve(cli)
    assert ", withdrawn)" in blocked(cli, "plan_conflict")


def test_a_repeated_plan_id_is_shown_by_the_entries_of_the_stream(cli: Cli, store: Store) -> None:
    for _ in range(2):
        send(store, fields())
        serve(cli)
    command = why(cli)["command"]
    assert command == "qtctl tail plans -n 20 BTCUSDT"
    rows = cli.ok(*shlex.split(command)[1:], "-o", "json").json
    assert [row["verdict_reason"] for row in rows] == ["ok", "duplicate_plan"]


@pytest.mark.parametrize(("sent", "asked"), [("btcusdt", "BTCUSDT"), ("BTCUSDT", "btcUsdt")])
def test_every_spelling_of_a_symbol_is_one(cli: Cli, store: Store, sent: str, asked: str) -> None:
    target(store, "BTCUSDT")
    send(store, fields(plan_id="good", symbol=sent))
    send(store, fields(plan_id="bad", symbol=sent, qty="lots"))
    serve(cli)
    found = why(cli, asked)
    assert found["symbol"] == asked
    assert found["cause"] == "invalid_plan"
    assert found["target"]["target_usd"] == 1000, "it lies under the upper case"
    (row,) = cli.ok("plan", "list", asked, "-o", "json").json
    assert row["symbol"] == sent, "as it was sent"
    for stream, rows in (("plans", 2), ("events", 1), ("rejected", 1)):
        assert len(cli.ok("tail", stream, asked, "-o", "json").json) == rows
    store.run("DEL", store.keys.plans, store.keys.rejected)
    assert [each["last_plan_id"] for each in why(cli, asked)["verdicts"]] == ["good"]


# Permits --------------------------------------------------------------------------------------


def permitted(cli: Cli, store: Store) -> None:
    send(store, fields())
    serve(cli)


def test_a_permit_just_issued_is_open(cli: Cli, store: Store) -> None:
    permitted(cli, store)
    found = why(cli)
    assert found["cause"] == "permit_open"
    assert " p1 has just got its permit, which expires in " in found["sentence"]
    assert found["permits"] == {
        "issued": 1, "open": 1, "withdrawn": 0, "taken": 0, "taken_or_expired": 0, "late": 0
    }  # fmt: skip


def test_a_permit_that_nobody_takes_is_told(cli: Cli, store: Store) -> None:
    permitted(cli, store)
    make_older(store, "p1", 180)
    found = why(cli)
    assert found["cause"] == "permit_untaken"
    assert "the permit of p1 has been open for 3 min and nobody has taken it" in found["sentence"]
    assert found["command"] == "qtctl permit show p1"


@pytest.mark.parametrize("taker", ["apply_layer", "qtctl"])
def test_a_permit_that_is_gone_before_its_time_was_taken(
    cli: Cli, store: Store, redis_url: str, taker: str
) -> None:
    with hosting(redis_url, "governor", PORT_0):
        cli.ok("inject", "plan", "BTCUSDT", "--plan-id", "p1", "--wait", "5")
        if taker == "qtctl":
            cli.ok("permit", "take", "p1")
        else:
            store.run("DEL", store.keys.at(PERMIT, "p1"))
        found = why(cli)
    assert found["cause"] == "permit_taken"
    assert found["permits"]["taken"] == 1


def test_a_permit_whose_time_is_over_was_taken_or_ran_out_and_nobody_can_tell(
    cli: Cli, store: Store
) -> None:
    permitted(cli, store)
    make_older(store, "p1", 300)
    store.run("DEL", store.keys.at(PERMIT, "p1"))
    found = why(cli)
    assert found["cause"] == "taken_or_expired"
    assert (
        "p1 got its permit 5 min ago; whether it was taken or expired is unknown"
        in (found["sentence"])
    )
    assert found["permits"]["taken_or_expired"] == 1


def test_without_a_governor_a_take_with_qtctl_leaves_nothing_to_tell_it_by(
    cli: Cli, store: Store
) -> None:
    permitted(cli, store)
    cli.ok("permit", "take", "p1")
    assert why(cli)["cause"] == "taken_or_expired"


def test_a_withdrawn_permit_is_told_with_its_time(cli: Cli, store: Store) -> None:
    permitted(cli, store)
    # As halt does it: the permit goes, and the decision says when.
    store.run("DEL", store.keys.at(PERMIT, "p1"))
    now = store.now_ms() // 1000
    store.run("HSET", store.keys.at(DECISION, "p1"), "withdrawn_at", now)
    found = why(cli)
    assert found["cause"] == "permit_withdrawn"
    assert "Nothing blocked p1, but its permit was withdrawn " in found["sentence"]


def test_a_permit_that_came_too_late_is_told(cli: Cli, store: Store) -> None:
    waited(store, 4, reduceOnly="true", action="CLOSE")
    serve(cli)
    found = why(cli)
    assert found["cause"] == "permit_late"
    assert re.search(r"came [4-7] s after the plan, too late: .* waits 1.2 s", found["sentence"])
    assert found["permits"]["late"] == 1


def test_blocks_before_a_permit_are_told_beside_it(cli: Cli, store: Store) -> None:
    for plan_id, kill_score in (("p1", "0.9"), ("p2", "0.9"), ("p3", "0.1")):
        send(store, fields(plan_id=plan_id, kill_score=kill_score))
        serve(cli)
    found = why(cli)
    assert found["cause"] == "permit_open"
    told = next(each for each in found["also"] if each["cause"] == "some_blocked")
    assert told["sentence"] == (
        "Of 3 plans in the last 60 min 2 were blocked: 2 kill_score_critical."
    )
    assert told["command"] == "qtctl plan list --blocked --since 1h BTCUSDT"
    assert cli.ok(*told["command"].split()[1:]).out.count("\n") == 3


def test_a_plan_that_was_read_and_has_no_decision_is_unknown(cli: Cli, store: Store) -> None:
    entry = queue(store, fields())
    store.run("XACK", store.keys.plans, GROUP, entry)
    found = why(cli)
    assert found["cause"] == "verdict_unknown"
    assert "no decision about it is known" in found["sentence"]
    assert found["verdicts"][0]["verdict"] == "unknown"


# How far it looks -----------------------------------------------------------------------------


def test_what_the_cap_cut_off_is_told_and_the_events_reach_further(
    cli: Cli, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    permitted(cli, store)
    for number in range(10):
        send(store, fields(plan_id=f"e{number}", symbol="ETHUSDT", decision="SKIP"))
    serve(cli)
    monkeypatch.setattr(why_wire, "PLAN_CAP", 5)
    found = why(cli)
    assert found["cause"] == "permit_open"
    assert found["plans"]["looked_at"] == 5
    assert found["plans"]["looked_back_s"] < 60
    assert "the cap was reached" in cli.ok("why", "BTCUSDT").out


def test_plans_that_were_trimmed_are_known_from_their_events(cli: Cli, store: Store) -> None:
    for plan_id, kill_score in (("p1", "0.9"), ("p2", "high")):
        send(store, fields(plan_id=plan_id, kill_score=kill_score))
        serve(cli)
    store.run("XTRIM", store.keys.plans, "MAXLEN", 0)
    found = why(cli)
    assert found["cause"] == "invalid_plan"
    assert {row["verdict"] for row in found["verdicts"]} == {"blocked", "rejected"}


def test_what_lies_before_the_time_asked_for_does_not_count(cli: Cli, store: Store) -> None:
    target(store, "BTCUSDT")
    waited(store, 100)
    serve(cli)
    assert why(cli)["plans"]["seen"] == 1
    # The event of its decision is from just now, its plan from before.
    store.run("DEL", store.keys.events)
    assert why(cli, "BTCUSDT", "--since", "60")["plans"]["seen"] == 0


# How it is told -------------------------------------------------------------------------------


def test_the_page_is_one_screen_that_ends_in_the_sentence_and_the_command(
    cli: Cli, store: Store
) -> None:
    score(store, "BTCUSDT", "0.2")
    target(store, "BTCUSDT")
    for plan_id in ("p1", "p2"):
        send(store, fields(plan_id=plan_id))
        serve(cli)
    lines = cli.ok("why", "BTCUSDT").out.splitlines()
    assert len(lines) < 24
    titles = [line[:11].strip() for line in lines[:8]]
    assert titles == ["symbol", "target", "score", "kill switch", "governor", "group", "plans",
                      "permits"]  # fmt: skip
    assert "DOWNSIZE × 0.4444" in lines[2]
    assert lines[-3].startswith("why  p2 was blocked ")
    own = f"qtctl --redis-url {cli.url}"
    assert lines[-1] == f"next  {own} plan show --what-if symbol_cooldown_sec=0 p2"


def test_json_and_ndjson_hold_the_same(cli: Cli, store: Store) -> None:
    permitted(cli, store)
    whole = cli.ok("why", "BTCUSDT", "-o", "ndjson").out
    assert whole.count("\n") == 1
    found = json.loads(whole)
    assert list(found) == [
        "symbol", "now", "since_s", "cause", "sentence", "command", "also", "target", "score",
        "kill_switch", "governors", "group", "plans", "verdicts", "permits",
    ]  # fmt: skip
    assert list(found["verdicts"][0]) == [
        "verdict", "reason", "count", "last_age_s", "last_plan_id"
    ]  # fmt: skip
    assert list(found["target"]) == ["target_usd", "age_s", "ttl_s", "problem", "shadow"]


def test_a_score_of_low_confidence_has_its_producers_reason(cli: Cli, store: Store) -> None:
    score(store, "BTCUSDT", "0.2", confidence="0.3")
    store.run("HSET", store.keys.at(EFFICIENCY, "BTCUSDT"), "stale_flags", "P29_STALE",
              "inputs_ok", "0")  # fmt: skip
    found = why(cli)
    assert (found["score"]["stale_flags"], found["score"]["inputs_ok"]) == ("P29_STALE", "0")
    page = cli.ok("why", "BTCUSDT").out
    assert "low_conf, full size; its producer says stale_flags=P29_STALE, inputs_ok=0" in page


def test_upstream_in_shadow_is_the_reason_for_no_target_and_no_score(
    cli: Cli, store: Store
) -> None:
    for stream in ("stream:allocation.decision", "stream:capital.efficiency.decision"):
        store.run("XADD", store.keys.prefix + stream, "*", "symbol", "BTCUSDT")
    said = cli("why", "BTCUSDT")
    assert said.code == 1
    assert "P2.9 runs in shadow" in said.err
    assert "P3.1 runs in shadow" in said.err
    score(store, "BTCUSDT", "0.2")
    found = why(cli)
    assert "P2.9 runs in shadow" in found["target"]["shadow"]
    assert found["score"]["shadow"] == ""


def test_a_score_that_cant_be_read_is_told(cli: Cli, store: Store) -> None:
    store.run("HSET", store.keys.at(EFFICIENCY, "BTCUSDT"), "efficiency_score", "good")
    found = why(cli)
    assert found["score"]["counts_as"] == "redis_error"
    assert "efficiency_score 'good' is not a number" in cli.ok("why", "BTCUSDT").out


def test_a_plan_id_is_one_harmless_word_of_the_command(cli: Cli, store: Store) -> None:
    for plan_id in ("$(reboot)", "-rf", "a'b;c"):
        send(store, fields(plan_id=plan_id))
        serve(cli, "governor.symbol_cooldown_sec=0", "governor.max_exec_per_5min=0",
              "governor.max_exec_per_hour=0")  # fmt: skip
        command = shlex.split(why(cli)["command"])
        assert command[-1] == plan_id
        assert plan_id in cli.ok(*command[1:]).out


def test_a_symbol_that_nobody_knows_is_exit_1_with_the_nearest(cli: Cli, store: Store) -> None:
    target(store, "BTCUSDT")
    said = cli("why", "btcusd")
    assert (said.code, said.out) == (1, "")
    assert "nothing is known of btcusd" in said.err
    assert "did you mean BTCUSDT?" in said.err
    assert "qtctl target list" in cli("why", "XYZ").err


@pytest.mark.parametrize("args", ["A:B", "BTCUSDT --since 31d", "BTCUSDT --since 0", "BTCUSDT x"])
def test_what_makes_no_sense_is_exit_2(cli: Cli, args: str) -> None:
    assert cli("why", *args.split()).code == 2


def test_a_stream_of_another_type_is_named(cli: Cli, store: Store) -> None:
    store.run("SET", store.keys.events, "x")
    said = cli("why", "BTCUSDT")
    assert said.code == 1
    assert "quantum:stream:governor.events is not a stream" in said.err


def test_every_cause_has_a_sentence_and_a_command_that_is_there() -> None:
    assert set(SENTENCES) == {*map(str, Cause), *map(str, Reason)} - {"ok"}
    for line in COMMANDS.values():
        program, noun, *_ = line.split()
        assert program == "qtctl"
        assert noun in main.COMMANDS, line


EVIL = "\x1b[31m[bold]x[/]\u202e\x9b31m"


def test_what_a_plan_says_of_itself_reaches_no_terminal_raw(cli: Cli, store: Store) -> None:
    """Where it is in the sentence and in the command as well."""
    store.run("SET", "quantum:kill", EVIL)
    send(store, fields(plan_id=EVIL, action=EVIL))
    serve(cli)
    for output in ("table", "json"):
        said = cli.ok("why", "BTCUSDT", "-o", output)
        assert not any(char in said.out for char in "\x1b\u202e\x9b")
    assert EVIL in why(cli)["kill_switch"]["value"]
    store.run("DEL", "quantum:kill")
    found = why(cli)
    assert (found["cause"], found["command"]) == ("invalid_plan", "qtctl tail rejected BTCUSDT")
    assert "\x1b" not in cli.ok("why", "BTCUSDT").out
