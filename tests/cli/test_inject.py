"""`qtctl inject`: what lands, what is refused, and that `clear` leaves things as they were."""

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import EFFICIENCY, INJECTED, PERMIT, PROPOSED, TARGET
from qtctl.wire.schema.records import pairs, text
from tests.support.cli import Cli, hosting
from tests.support.plans import events
from tests.support.processes import until

EFF = "quantum:capital:efficiency:BTCUSDT"
BTC_TARGET = "quantum:allocation:target:BTCUSDT"
FOREIGN = ("efficiency_score", "0.7", "confidence", "0.9", "mode", "enforce", "version", "p31_v1")


@pytest.fixture
def cli(redis_url: str, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(redis_url, capsys)


@pytest.fixture
def governor(redis_url: str) -> Iterator[None]:
    with hosting(redis_url):
        yield


def the_hash(store: Store, key: str) -> dict[str, str]:
    return pairs(store.run("HGETALL", key))


def foreign(store: Store, key: str = EFF, ttl_sec: int | None = 300, age_sec: int = 40) -> bytes:
    """A hash that upstream wrote; its bytes."""
    at = store.now_ms() // 1000 - age_sec
    store.run("HSET", key, *FOREIGN, "ts", at)
    if ttl_sec is not None:
        store.run("EXPIRE", key, ttl_sec)
    dumped: bytes = store.run("DUMP", key)
    return dumped


def names_left(store: Store) -> list[str]:
    return sorted(set(store.scan_keys("*")))


# What lands ------------------------------------------------------------------------------------


def test_a_score_lands_as_the_readers_of_the_contract_expect_it(cli: Cli, store: Store) -> None:
    said = cli.ok("inject", "eff", "BTCUSDT", "0.2", "--confidence", "0.7", "--age", "5m")
    found = the_hash(store, EFF)
    at = int(found.pop("ts"))
    assert abs(store.now_ms() / 1000 - 300 - at) < 30
    assert found == {
        "efficiency_score": "0.2",
        "confidence": "0.7",
        "mode": "synthetic",
        "version": "qtctl-inject",
    }
    assert 570 <= store.run("TTL", EFF) <= 600
    assert said.out == ""


def test_a_target_lands_as_the_readers_of_the_contract_expect_it(cli: Cli, store: Store) -> None:
    cli.ok("inject", "target", "BTCUSDT", "1000", "--ttl", "90")
    found = the_hash(store, BTC_TARGET)
    assert abs(store.now_ms() / 1000 - int(found.pop("timestamp"))) < 30
    assert found == {"target_usd": "1000.0", "confidence": "0.8", "mode": "synthetic"}
    assert 70 <= store.run("TTL", BTC_TARGET) <= 90


def test_a_plan_lands_whole_and_its_id_is_all_of_stdout(cli: Cli, store: Store) -> None:
    said = cli.ok("inject", "plan", "BTCUSDT", "--kill-score", "0.3", "--qty", "2", "--price", "9")
    ((_, raw),) = store.run("XRANGE", store.keys.plans, "-", "+")
    found = pairs(raw)
    assert said.out == found["plan_id"] + "\n"
    assert abs(store.now_ms() / 1000 - int(found.pop("timestamp"))) < 30
    assert re.fullmatch(r"inj-\d{13}-[0-9a-f]{6}", found.pop("plan_id"))
    assert found == {
        "symbol": "BTCUSDT",
        "action": "OPEN_PROPOSED",
        "decision": "EXECUTE",
        "kill_score": "0.3",
        "side": "BUY",
        "qty": "2.0",
        "price": "9.0",
        "source": "qtctl-inject",
    }


def test_a_reduce_only_plan_is_a_close(cli: Cli, store: Store) -> None:
    cli.ok("inject", "plan", "BTCUSDT", "--reduce-only", "--plan-id", "p1")
    cli.ok("inject", "plan", "BTCUSDT", "--reduce-only", "--plan-id", "p2", "--action", "CLOSE")
    first, second = (pairs(raw) for _, raw in store.run("XRANGE", store.keys.plans, "-", "+"))
    assert (first["plan_id"], first["action"]) == ("p1", "FULL_CLOSE_PROPOSED")
    assert (second["plan_id"], second["action"]) == ("p2", "CLOSE")
    assert first["reduceOnly"] == second["reduceOnly"] == "true"


@pytest.mark.parametrize("output", ["table", "json", "ndjson"])
def test_no_output_format_adds_to_the_plan_id(cli: Cli, output: str) -> None:
    said = cli.ok("inject", "plan", "BTCUSDT", "--plan-id", "p1", "-o", output)
    assert said.out == "p1\n"


def test_json_of_a_score_tells_what_was_written(cli: Cli, store: Store) -> None:
    said = cli.ok("inject", "eff", "BTCUSDT", "0.2", "-o", "json")
    assert said.json == {"key": EFF, "ttl_s": 600, **the_hash(store, EFF)}


@pytest.mark.parametrize(
    "line",
    ["eff BTCUSDT 0.2", "target BTCUSDT 5", "plan BTCUSDT", "clear"],
)
def test_what_changes_something_says_first_where(cli: Cli, redis_url: str, line: str) -> None:
    said = cli.ok("inject", *line.split())
    assert said.err.splitlines()[0].startswith(f"[{redis_url}, prefix quantum:] ")


@pytest.mark.parametrize(
    "line",
    ["eff BTCUSDT 0.2", "target BTCUSDT 5", "plan BTCUSDT", "clear"],
)
def test_a_dry_run_writes_nothing(cli: Cli, store: Store, line: str) -> None:
    before = foreign(store, "quantum:allocation:target:OTHER")
    said = cli.ok("inject", *line.split(), "--dry-run")
    assert names_left(store) == ["quantum:allocation:target:OTHER"]
    assert store.run("DUMP", "quantum:allocation:target:OTHER") == before
    assert said.out == ""


def test_a_dry_run_of_clear_names_what_it_would_look_at(cli: Cli, store: Store) -> None:
    cli.ok("inject", "eff", "BTCUSDT", "0.2")
    before = names_left(store)
    assert EFF in cli.ok("inject", "clear", "--dry-run").out
    assert names_left(store) == before


def test_a_dry_run_refuses_what_would_be_refused(cli: Cli, store: Store) -> None:
    foreign(store)
    assert cli("inject", "eff", "BTCUSDT", "0.2", "--dry-run").code == 4


# The proofs' scenarios ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("eff", "reason", "multiplier", "proposed"),
    [
        ("0.9 --confidence 0.9", "ok", "1.4000", "1400.00"),
        ("0.3 --confidence 0.9", "ok", "0.8000", "800.00"),
        ("", "missing_eff", "1.0000", "1000.00"),
        ("0.9 --confidence 0.5", "low_conf", "1.0000", "1000.00"),
        ("0.9 --age 601", "stale_eff", "1.0000", "1000.00"),
    ],
)
def test_each_step1_case_injected_by_hand_gives_the_seeds_proposal(
    cli: Cli, store: Store, eff: str, reason: str, multiplier: str, proposed: str
) -> None:
    cli.ok("inject", "target", "BTCUSDT", "1000")
    if eff:
        cli.ok("inject", "eff", "BTCUSDT", *eff.split())
    cli.ok("serve", "allocation", "--once")
    (row,) = cli.ok("tail", "proposed", "-o", "json").json
    got = the_hash(store, store.keys.at(PROPOSED, "BTCUSDT"))
    assert got == {name: value for name, value in row.items() if name != "id"}
    assert (got["reason"], got["multiplier"]) == (reason, multiplier)
    assert (got["base_target"], got["proposed_target"]) == ("1000.00", proposed)
    assert got["eff_stale"] == ("1" if reason == "stale_eff" else "0")
    assert got["mode"] == "shadow"
    assert the_hash(store, store.keys.at(TARGET, "BTCUSDT"))["target_usd"] == "1000.0"


@pytest.mark.parametrize(
    ("eff", "action", "factor", "cooldown", "reason"),
    [
        ("0.2 --confidence 0.9", "DOWNSIZE", "0.4444", "96", "ok"),
        ("0.8 --confidence 0.9", "NONE", "1.0000", "0", "ok"),
        ("", "NONE", "1.0000", "0", "missing_eff"),
        ("0.2 --confidence 0.3", "NONE", "1.0000", "0", "low_conf"),
    ],
)
def test_each_step2_case_injected_by_hand_gives_the_seeds_permit(
    cli: Cli, eff: str, action: str, factor: str, cooldown: str, reason: str
) -> None:
    if eff:
        cli.ok("inject", "eff", "BTCUSDT", *eff.split())
    plan_id = cli.ok("inject", "plan", "BTCUSDT").out.strip()
    cli.ok("serve", "governor", "--once")
    permit = cli.ok("permit", "show", plan_id, "-o", "json").json
    assert permit["eff_action"] == action
    assert permit["eff_factor"] == permit["downsize_factor"] == factor
    assert permit["extra_cooldown_sec"] == cooldown
    assert permit["eff_reason"] == reason
    assert permit["eff_score"] == (f"{float(eff.split()[0]):.4f}" if eff else "")


# What is in the way ----------------------------------------------------------------------------


def test_a_foreign_score_is_not_covered_and_the_refusal_tells_what_it_is(
    cli: Cli, store: Store
) -> None:
    before = foreign(store)
    said = cli("inject", "eff", "BTCUSDT", "0.2")
    assert said.code == 4
    assert said.out == ""
    told = said.err.splitlines()[-1]
    assert EFF in told
    assert re.search(r"a hash 4[0-2] s old", told)
    assert "efficiency_score=0.7" in told
    assert "mode=enforce" in told
    assert "--force" in told
    assert store.run("DUMP", EFF) == before
    assert names_left(store) == [EFF]


def test_a_foreign_hash_of_strange_fields_is_not_covered(cli: Cli, store: Store) -> None:
    store.run("HSET", EFF, "score", "0.7")
    said = cli("inject", "eff", "BTCUSDT", "0.2")
    assert said.code == 4
    assert "of unknown age (other fields)" in said.err


def test_a_huge_hash_in_the_way_is_refused_in_a_short_line(cli: Cli, store: Store) -> None:
    for start in range(0, 10_000, 1000):
        flat = [part for i in range(start, start + 1000) for part in (f"f{i}", "x")]
        store.run("HSET", EFF, *flat)
    store.run("HSET", EFF, "mode", "m" * 100_000)
    said = cli("inject", "eff", "BTCUSDT", "0.2")
    assert said.code == 4
    assert len(said.err) < 1000


def test_a_target_without_a_time_is_refused_by_what_it_holds(cli: Cli, store: Store) -> None:
    store.run("HSET", BTC_TARGET, "target_usd", "5", "timestamp", "2026-01-28T00:00:00Z")
    said = cli("inject", "target", "BTCUSDT", "1000")
    assert said.code == 4
    assert "target_usd=5" in said.err
    assert re.search(r"a hash [\d,.]+ d old", said.err)


def write_other(store: Store, kind: str) -> None:
    commands: dict[str, tuple[Any, ...]] = {
        "string": ("SET", EFF, "x"),
        "list": ("RPUSH", EFF, "x", "y"),
        "zset": ("ZADD", EFF, 1, "x"),
        "stream": ("XADD", EFF, "*", "a", "b"),
    }
    store.run(*commands[kind])


@pytest.mark.parametrize("kind", ["string", "list", "zset", "stream"])
def test_a_key_of_another_type_is_refused_and_forced_and_comes_back(
    cli: Cli, store: Store, kind: str
) -> None:
    write_other(store, kind)
    before = store.run("DUMP", EFF)
    said = cli("inject", "eff", "BTCUSDT", "0.2")
    assert said.code == 4
    assert f"holds a {kind}" in said.err
    assert store.run("DUMP", EFF) == before
    cli.ok("inject", "eff", "BTCUSDT", "0.2", "--force")
    assert store.run("TYPE", EFF) == b"hash"
    cli.ok("inject", "clear")
    assert store.run("DUMP", EFF) == before


@pytest.mark.parametrize("ttl_sec", [None, 300])
def test_what_force_covers_comes_back_to_the_byte_with_the_time_it_has_left(
    cli: Cli, store: Store, ttl_sec: int | None
) -> None:
    before = foreign(store, ttl_sec=ttl_sec)
    until_ms = store.run("PEXPIRETIME", EFF)
    cli.ok("inject", "eff", "BTCUSDT", "0.2", "--force")
    assert the_hash(store, EFF)["efficiency_score"] == "0.2"
    said = cli.ok("inject", "clear")
    assert "restored" in said.out
    assert store.run("DUMP", EFF) == before
    assert store.run("PEXPIRETIME", EFF) == until_ms
    assert names_left(store) == [EFF]


def test_the_record_of_what_is_covered_lives_as_long_as_it_is_needed(
    cli: Cli, store: Store
) -> None:
    record = store.keys.at(INJECTED, EFF)
    cli.ok("inject", "eff", "BTCUSDT", "0.2", "--ttl", "60")
    assert 40 <= store.run("TTL", record) <= 60
    cli.ok("inject", "clear")
    foreign(store, ttl_sec=300)
    cli.ok("inject", "eff", "BTCUSDT", "0.2", "--ttl", "60", "--force")
    assert 270 <= store.run("TTL", record) <= 300
    cli.ok("inject", "clear")
    store.run("PERSIST", EFF)
    cli.ok("inject", "eff", "BTCUSDT", "0.2", "--ttl", "60", "--force")
    assert store.run("TTL", record) == -1


def test_what_is_covered_and_would_have_expired_meanwhile_does_not_come_back(
    cli: Cli, store: Store
) -> None:
    foreign(store)
    store.run("PEXPIRE", EFF, 300)
    cli.ok("inject", "eff", "BTCUSDT", "0.2", "--force")
    time.sleep(0.35)
    cli.ok("inject", "clear")
    assert names_left(store) == []


def test_clear_leaves_what_somebody_changed_since(cli: Cli, store: Store) -> None:
    foreign(store)
    cli.ok("inject", "eff", "BTCUSDT", "0.2", "--force")
    store.run("HSET", EFF, "efficiency_score", "0.61")
    said = cli.ok("inject", "clear")
    assert "left" in said.out
    assert the_hash(store, EFF)["efficiency_score"] == "0.61"
    assert names_left(store) == [EFF]
    assert cli.ok("inject", "clear").out == ""


def test_an_injected_score_that_somebody_changed_is_not_covered_again(
    cli: Cli, store: Store
) -> None:
    cli.ok("inject", "eff", "BTCUSDT", "0.2")
    store.run("HSET", EFF, "efficiency_score", "0.61")
    assert cli("inject", "eff", "BTCUSDT", "0.3").code == 4
    assert the_hash(store, EFF)["efficiency_score"] == "0.61"


def test_injecting_again_covers_our_own_and_keeps_what_was_there_first(
    cli: Cli, store: Store
) -> None:
    before = foreign(store)
    cli.ok("inject", "eff", "BTCUSDT", "0.2", "--force")
    cli.ok("inject", "eff", "BTCUSDT", "0.9")
    assert the_hash(store, EFF)["efficiency_score"] == "0.9"
    cli.ok("inject", "clear")
    assert store.run("DUMP", EFF) == before


def test_what_was_covered_comes_back_also_after_ours_expired(cli: Cli, store: Store) -> None:
    before = foreign(store)
    cli.ok("inject", "eff", "BTCUSDT", "0.2", "--force")
    store.run("DEL", EFF)
    cli.ok("inject", "clear")
    assert store.run("DUMP", EFF) == before


def test_clear_takes_away_targets_scores_and_plans_and_is_then_done(cli: Cli, store: Store) -> None:
    store.run("XADD", store.keys.plans, "*", "plan_id", "theirs")
    cli.ok("inject", "target", "BTCUSDT", "1000")
    cli.ok("inject", "eff", "BTCUSDT", "0.2")
    cli.ok("inject", "plan", "BTCUSDT")
    cli.ok("inject", "plan", "ETHUSDT")
    rows = {row["key"]: row for row in cli.ok("inject", "clear", "-o", "json").json}
    assert rows == {
        BTC_TARGET: {"key": BTC_TARGET, "did": "removed", "count": 1},
        EFF: {"key": EFF, "did": "removed", "count": 1},
        store.keys.plans: {"key": store.keys.plans, "did": "removed", "count": 2},
    }
    assert names_left(store) == [store.keys.plans]
    ((_, raw),) = store.run("XRANGE", store.keys.plans, "-", "+")
    assert pairs(raw) == {"plan_id": "theirs"}
    said = cli.ok("inject", "clear", "-o", "json")
    assert said.json == []


# Plans -----------------------------------------------------------------------------------------


def test_a_plan_that_another_group_reads_is_refused_by_that_groups_name(
    cli: Cli, store: Store
) -> None:
    store.run("XGROUP", "CREATE", store.keys.plans, "governor", "$", "MKSTREAM")
    store.run("XGROUP", "CREATE", store.keys.plans, "intent_executor", "$")
    said = cli("inject", "plan", "BTCUSDT")
    assert said.code == 4
    assert said.out == ""
    assert "intent_executor" in said.err.splitlines()[-1]
    assert "--force" in said.err.splitlines()[-1]
    assert store.run("XLEN", store.keys.plans) == 0
    cli.ok("inject", "plan", "BTCUSDT", "--force")
    assert store.run("XLEN", store.keys.plans) == 1


def test_the_governors_own_group_is_in_nobodys_way(cli: Cli, store: Store) -> None:
    store.run("XGROUP", "CREATE", store.keys.plans, "governor", "$", "MKSTREAM")
    cli.ok("inject", "plan", "BTCUSDT")


@pytest.mark.usefixtures("governor")
def test_wait_tells_the_verdict_and_leaves_stdout_to_the_id(cli: Cli, store: Store) -> None:
    said = cli.ok("inject", "plan", "BTCUSDT", "--plan-id", "p1", "--wait", "5")
    assert said.out == "p1\n"
    assert said.err.splitlines()[-1] == "p1: permitted (ok)"
    assert store.run("EXISTS", store.keys.at(PERMIT, "p1")) == 1

    said = cli.ok("inject", "plan", "ETHUSDT", "--kill-score", "0.9", "--wait", "5")
    assert said.err.endswith(": blocked (kill_score_critical)\n")
    said = cli.ok("inject", "plan", "BTCUSDT", "--plan-id", "p1", "--wait", "5")
    assert said.err.endswith("p1: blocked (duplicate_plan)\n")
    said = cli.ok("inject", "plan", "BTCUSDT", "--decision", "SKIP", "--wait", "5")
    assert said.err.endswith(": skipped (SKIP)\n")
    said = cli.ok("inject", "plan", "ETHUSDT", "--plan-id", "p1", "--wait", "5")
    assert said.err.endswith("p1: blocked (plan_conflict)\n")
    assert [event["reason"] for event in events(store)] == [
        "ok",
        "kill_score_critical",
        "duplicate_plan",
        "plan_conflict",
        "plan_conflict",
    ]


@pytest.mark.usefixtures("governor")
def test_wait_tells_a_plan_that_was_blocked_and_is_permitted_when_sent_again(
    cli: Cli, store: Store
) -> None:
    store.run("SET", "quantum:kill", "1")
    said = cli.ok("inject", "plan", "BTCUSDT", "--plan-id", "p1", "--wait", "5")
    assert "p1: blocked (kill_switch_active)\n" in said.err
    store.run("DEL", "quantum:kill")
    said = cli.ok("inject", "plan", "BTCUSDT", "--plan-id", "p1", "--wait", "5")
    assert said.err.endswith("p1: permitted (ok)\n")


def test_wait_tells_a_rejection_by_what_the_running_governor_requires(
    cli: Cli, redis_url: str
) -> None:
    with hosting(redis_url, "governor", 'governor.require=["price"]'):
        said = cli("inject", "plan", "BTCUSDT", "--plan-id", "p1", "--wait", "2")
    assert said.err.endswith("p1: rejected (invalid_plan)\n")
    assert said.code == 0


def test_wait_goes_by_what_the_running_governor_takes_for_a_close(cli: Cli, redis_url: str) -> None:
    with hosting(redis_url, "governor", 'governor.close_actions=["TRIM"]'):
        first = ("inject", "plan", "BTCUSDT", "--plan-id", "p1", "--action", "TRIM")
        assert "permitted" in cli.ok(*first, "--wait", "5").err
        said = cli.ok(*first, "--wait", "5")
    assert said.err.endswith("p1: blocked (duplicate_plan)\n")


def test_wait_without_a_governor_is_exit_1_and_says_why(cli: Cli, store: Store) -> None:
    said = cli("inject", "plan", "BTCUSDT", "--plan-id", "p1", "--wait", "0.1")
    assert said.code == 1
    assert said.out == "p1\n", "the plan was sent: its id is needed all the same"
    assert "no verdict on p1 within 0.1 s" in said.err
    assert "qtctl serve governor" in said.err
    assert store.run("XLEN", store.keys.plans) == 1


def test_the_lines_of_the_help_page_can_be_put_together(cli: Cli, redis_url: str) -> None:
    with hosting(redis_url):
        plan_id = cli.ok("inject", "plan", "BTCUSDT", "--wait", "2").out.strip()
        assert cli.ok("permit", "show", plan_id, "-o", "json").json["plan_id"] == plan_id


def test_an_injected_close_is_permitted_while_opens_are_halted(
    cli: Cli, redis_url: str, store: Store
) -> None:
    store.run("SET", "quantum:kill", "reduce_only")
    with hosting(redis_url):
        close = ("inject", "plan", "BTCUSDT", "--reduce-only", "--qty", "0", "--wait", "5")
        assert "permitted" in cli.ok(*close).err
        assert "kill_switch_active" in cli.ok("inject", "plan", "BTCUSDT", "--wait", "5").err


# What makes no sense ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "named", "allowed"),
    [
        ("eff BTCUSDT 1.01", "SCORE '1.01'", "0 to 1"),
        ("eff BTCUSDT -0.1", "SCORE '-0.1'", "0 to 1"),
        ("eff BTCUSDT nan", "SCORE 'nan'", "0 to 1"),
        ("eff BTCUSDT 1e999", "SCORE '1e999'", "0 to 1"),
        ("eff BTCUSDT 0_5", "SCORE '0_5'", "0 to 1"),
        ("eff BTCUSDT 0x1", "SCORE '0x1'", "0 to 1"),
        ("eff BTCUSDT high", "SCORE 'high'", "0 to 1"),
        ("eff BTC:USDT 0.5", "SYMBOL 'BTC:USDT'", "1 to 64"),
        ("eff BTC* 0.5", "SYMBOL 'BTC*'", "1 to 64"),
        ("eff BTCUSDT 0.5 --confidence 2", "--confidence '2'", "0 to 1"),
        ("eff BTCUSDT 0.5 --age soon", "--age 'soon'", "0s to 30d"),
        ("eff BTCUSDT 0.5 --age 31d", "--age '31d'", "0s to 30d"),
        ("eff BTCUSDT 0.5 --ttl 0", "--ttl '0'", "1s to 30d"),
        ("eff BTCUSDT 0.5 --ttl=-5", "--ttl '-5'", "1s to 30d"),
        ("target BTCUSDT -1", "USD '-1'", "0 to"),
        ("target BTCUSDT inf", "USD 'inf'", "0 to"),
        ("target BTCUSDT 5 --ttl 1w", "--ttl '1w'", "1s to 30d"),
        ("plan BTC{USDT", "SYMBOL 'BTC{USDT'", "1 to 64"),
        ("plan BTCUSDT --plan-id p33:x", "--plan-id 'p33:x'", "another system"),
        ("plan BTCUSDT --plan-id a*b", "--plan-id 'a*b'", "1 to 64"),
        ("plan BTCUSDT --kill-score 1.5", "--kill-score '1.5'", "0 to 1"),
        ("plan BTCUSDT --qty lots", "--qty 'lots'", "not a number"),
        ("plan BTCUSDT --price -3", "--price '-3'", "0 or more"),
        ("plan BTCUSDT --wait 2h", "--wait '2h'", "0s to 1h"),
    ],
)
def test_what_makes_no_sense_is_named_with_the_allowed_range(
    cli: Cli, store: Store, line: str, named: str, allowed: str
) -> None:
    said = cli("inject", *line.split())
    assert said.code == 2
    assert said.out == ""
    told = said.err.splitlines()[-1]
    assert named in told
    assert allowed in told
    assert names_left(store) == []


def test_a_symbol_may_be_64_characters_long_and_no_longer(cli: Cli, store: Store) -> None:
    cli.ok("inject", "eff", "A" * 64, "0.5")
    said = cli("inject", "eff", "A" * 65, "0.5")
    assert said.code == 2
    assert "longer than 64" in said.err


def test_another_prefix_is_another_world(cli: Cli, store: Store) -> None:
    cli.ok("inject", "eff", "BTCUSDT", "0.2", "--set", "redis.prefix=lab:")
    assert names_left(store) == [
        "lab:capital:efficiency:BTCUSDT",
        "lab:qtctl:injected:lab:capital:efficiency:BTCUSDT",
    ]
    assert cli.ok("inject", "clear", "-o", "json").json == []
    cli.ok("inject", "clear", "--set", "redis.prefix=lab:")
    assert names_left(store) == []


def test_a_pending_plan_that_is_cleared_leaves_the_governor_at_work(cli: Cli, store: Store) -> None:
    cli.ok("inject", "plan", "BTCUSDT", "--plan-id", "p1")
    store.run("XGROUP", "CREATE", store.keys.plans, "governor", "0")
    store.run("XREADGROUP", "GROUP", "governor", "gone", "STREAMS", store.keys.plans, ">")
    cli.ok("inject", "clear")
    cli.ok("inject", "plan", "BTCUSDT", "--plan-id", "p2")
    assert cli("serve", "governor", "--once").code in (0, 1)
    until(lambda: store.run("EXISTS", store.keys.at(PERMIT, "p2")), what="the permit")


def test_a_symbol_beyond_ascii_is_a_symbol(cli: Cli, store: Store) -> None:
    cli.ok("inject", "eff", "币安人生USDT", "0.5")
    key = store.keys.at(EFFICIENCY, "币安人生USDT")
    assert text(store.run("HGET", key, "efficiency_score")) == "0.5"


def test_a_symbol_that_is_not_in_upper_case_is_a_warning(cli: Cli) -> None:
    for words in (("plan", "btcusdt"), ("eff", "btcusdt", "0.5"), ("target", "btcusdt", "5")):
        assert "warning: btcusdt is not BTCUSDT: " in cli.ok("inject", *words).err
    assert "warning" not in cli.ok("inject", "plan", "BTCUSDT").err


@pytest.mark.parametrize(
    "words",
    [("target", "list"), ("eff", "list"), ("tail", "plans"), ("tail", "events"), ("why",)],
)
def test_a_symbol_that_is_misspelt_has_the_nearest_named(cli: Cli, words: tuple[str, ...]) -> None:
    cli.ok("inject", "target", "BTCUSDT", "5")
    cli.ok("inject", "eff", "BTCUSDT", "0.5")
    assert "id you mean BTCUSDT?" in cli(*words, "BTCUSD").err
    assert "id you mean" not in cli(*words, "QQQQ").err
