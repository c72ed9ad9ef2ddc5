"""`qtctl target` and `qtctl eff`: what lies in Redis, and what the running services make of it."""

from typing import Any

import pytest

from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import EFFICIENCY, PROPOSED, TARGET
from tests.support.cli import Cli, hosting

ROW = [
    "symbol",
    "base_target",
    "proposed_target",
    "change_pct",
    "multiplier",
    "eff_score",
    "eff_confidence",
    "eff_stale",
    "reason",
    "ts_epoch",
    "target_age_s",
    "proposed_age_s",
    "ttl_s",
]
SCORE_ROW = [
    "symbol",
    "efficiency_score",
    "confidence",
    "ts",
    "mode",
    "version",
    "stale_flags",
    "inputs_ok",
    "age_s",
    "counts_as",
    "governor_counts_as",
    "problem",
    "ttl_s",
]


@pytest.fixture
def cli(redis_url: str, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(redis_url, capsys)


def target(store: Store, symbol: str, usd: Any = "1000", age_sec: int = 5, **more: Any) -> None:
    fields = {"target_usd": usd, "timestamp": store.now_ms() // 1000 - age_sec} | more
    flat = [part for pair in fields.items() for part in pair]
    store.run("HSET", store.keys.at(TARGET, symbol), *flat)


def score(store: Store, symbol: str, value: Any, confidence: Any = "0.9", age_sec: int = 5) -> None:
    at = store.now_ms() // 1000 - age_sec
    store.run("HSET", store.keys.at(EFFICIENCY, symbol), "efficiency_score", value,
              "confidence", confidence, "ts", at)  # fmt: skip


def targets(cli: Cli, *args: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = cli.ok("target", "list", *args, "-o", "json").json
    return rows


def scores(cli: Cli, *args: str) -> dict[str, dict[str, Any]]:
    return {row["symbol"]: row for row in cli.ok("eff", "list", *args, "-o", "json").json}


# Targets ---------------------------------------------------------------------------------------


def test_the_widest_change_comes_first_up_or_down(cli: Cli, store: Store) -> None:
    for symbol, value in (("A", "0.6"), ("B", "0.1"), ("C", "0.95"), ("D", "0.5")):
        target(store, symbol)
        score(store, symbol, value)
    cli.ok("serve", "allocation", "--once")
    rows = targets(cli)
    assert [(row["symbol"], row["change_pct"]) for row in rows] == [
        ("C", 45.0),
        ("B", -40.0),
        ("A", 10.0),
        ("D", 0.0),
    ]
    shown = cli.ok("target").out.splitlines()
    assert [line.split()[3] for line in shown[1:]] == ["+45.0", "-40.0", "+10.0", "0.0"]


def test_the_json_of_a_target_has_all_that_is_known_of_it(cli: Cli, store: Store) -> None:
    target(store, "BTCUSDT", age_sec=12)
    store.run("EXPIRE", store.keys.at(TARGET, "BTCUSDT"), 300)
    score(store, "BTCUSDT", "0.2")
    cli.ok("serve", "allocation", "--once")
    (row,) = targets(cli)
    assert list(row) == ROW
    assert 11 <= row.pop("target_age_s") <= 14
    assert -1 <= row.pop("proposed_age_s") <= 2
    assert 270 < row.pop("ttl_s") <= 300
    assert row.pop("ts_epoch").isdecimal()
    assert row == {
        "symbol": "BTCUSDT",
        "base_target": "1000.00",
        "proposed_target": "700.00",
        "change_pct": -30.0,
        "multiplier": "0.7000",
        "eff_score": "0.2000",
        "eff_confidence": "0.9",
        "eff_stale": "0",
        "reason": "ok",
    }


def test_the_change_is_against_the_live_target_of_now(cli: Cli, store: Store) -> None:
    target(store, "BTCUSDT", "1000")
    cli.ok("serve", "allocation", "--once")
    target(store, "BTCUSDT", "800")
    (row,) = targets(cli)
    assert (row["base_target"], row["proposed_target"]) == ("800.00", "1000.00")
    assert row["change_pct"] == 25.0


def test_a_target_without_a_proposal_is_listed_as_such(cli: Cli, store: Store) -> None:
    target(store, "BTCUSDT")
    (row,) = targets(cli)
    assert (row["reason"], row["proposed_target"], row["change_pct"]) == ("no proposal", "", None)
    assert row["proposed_age_s"] is None
    assert row["ttl_s"] == -1


@pytest.mark.parametrize("usd", ["not yet", "nan", "-5", "", "1e999"])
def test_a_target_that_the_loop_skips_is_listed_as_unreadable(
    cli: Cli, store: Store, usd: str
) -> None:
    target(store, "BTCUSDT", usd)
    target(store, "ETHUSDT")
    rows = {row["symbol"]: row for row in targets(cli)}
    assert rows["BTCUSDT"]["reason"] == "unreadable target"
    assert rows["BTCUSDT"]["base_target"] == ""
    assert rows["ETHUSDT"]["reason"] == "no proposal"


def test_a_target_of_a_wrong_type_is_unreadable_and_not_missing(cli: Cli, store: Store) -> None:
    store.run("SET", store.keys.at(TARGET, "BTCUSDT"), "1000")
    (row,) = targets(cli)
    assert row["reason"] == "unreadable target"


def test_a_target_of_zero_has_no_change_in_percent(cli: Cli, store: Store) -> None:
    target(store, "BTCUSDT", "0")
    cli.ok("serve", "allocation", "--once")
    (row,) = targets(cli)
    assert (row["base_target"], row["change_pct"]) == ("0.00", None)


def test_a_proposal_is_no_target_and_nothing_is_listed_twice(cli: Cli, store: Store) -> None:
    target(store, "BTCUSDT")
    store.run("HSET", store.keys.at(PROPOSED, "GONE"), "proposed_target", "5")
    cli.ok("serve", "allocation", "--once")
    assert [row["symbol"] for row in targets(cli)] == ["BTCUSDT"]


def test_a_symbol_that_is_asked_for_is_shown_also_without_a_target(cli: Cli, store: Store) -> None:
    target(store, "BTCUSDT")
    store.run("HSET", store.keys.at(PROPOSED, "GONE"), "proposed_target", "5.00")
    rows = {row["symbol"]: row for row in targets(cli, "GONE", "BTCUSDT", "NEVER")}
    assert set(rows) == {"GONE", "BTCUSDT"}
    assert rows["GONE"]["reason"] == "no target"


def test_no_targets_are_an_empty_list_and_a_hint_with_the_real_names(cli: Cli) -> None:
    assert cli.ok("target", "list", "-o", "json").out == "[]\n"
    assert cli.ok("target", "list", "-o", "ndjson").out == ""
    assert "quantum:allocation:target:*" in cli.ok("target").err
    assert "lab:allocation:target:*" in cli.ok("target", "--set", "redis.prefix=lab:").err
    assert "lab:capital:efficiency:*" in cli.ok("eff", "--set", "redis.prefix=lab:").err


@pytest.mark.parametrize("noun", ["target", "eff"])
def test_a_bad_symbol_is_named(cli: Cli, noun: str) -> None:
    said = cli(noun, "list", "BTC:USDT")
    assert said.code == 2
    assert "SYMBOL 'BTC:USDT' has a colon" in said.err


# Scores ----------------------------------------------------------------------------------------


def test_a_score_is_shown_as_sent_with_what_it_counts_as(cli: Cli, store: Store) -> None:
    score(store, "OK", "0.2")
    score(store, "LOW", "0.2", confidence="0.5")
    score(store, "OLD", "0.2", age_sec=601)
    score(store, "AHEAD", "0.2", age_sec=-100)
    score(store, "BAD", "high")
    store.run("SET", store.keys.at(EFFICIENCY, "TYPE"), "0.2")
    store.run("HSET", store.keys.at(EFFICIENCY, "ISO"), "efficiency_score", "0.5",
              "confidence", "0.9", "timestamp", "2026-01-28T00:00:00")  # fmt: skip
    store.run("EXPIRE", store.keys.at(EFFICIENCY, "OK"), 600)
    found = scores(cli)
    assert {symbol: row["counts_as"] for symbol, row in found.items()} == {
        "OK": "ok",
        "LOW": "low_conf",
        "OLD": "stale_eff",
        "AHEAD": "stale_eff",
        "BAD": "redis_error",
        "TYPE": "redis_error",
        "ISO": "stale_eff",
    }
    assert list(found) == sorted(found)
    assert all(list(row) == SCORE_ROW for row in found.values())
    assert (found["OK"]["efficiency_score"], found["OK"]["confidence"]) == ("0.2", "0.9")
    assert 570 < found["OK"]["ttl_s"] <= 600
    assert 4 <= found["OK"]["age_s"] <= 8
    assert found["LOW"]["ttl_s"] == -1
    assert "efficiency_score 'high' is not a number" in found["BAD"]["problem"]
    assert "WRONGTYPE" in found["TYPE"]["problem"]
    assert found["ISO"]["ts"] == "2026-01-28T00:00:00"


def test_a_score_counts_by_the_running_services_own_settings(
    cli: Cli, store: Store, redis_url: str
) -> None:
    score(store, "BTCUSDT", "0.2", confidence="0.7")
    mine = ("--set", "allocation.min_conf=0.8", "--set", "governor.min_conf=0.8")
    row = scores(cli, *mine)["BTCUSDT"]
    assert (row["counts_as"], row["governor_counts_as"]) == ("low_conf", "low_conf")
    with hosting(redis_url, "allocation", "allocation.min_conf=0.6"):
        row = scores(cli, *mine)["BTCUSDT"]
        assert (row["counts_as"], row["governor_counts_as"]) == ("ok", "low_conf")
        told = cli.ok("eff", *mine).err
    assert "Allocation: confidence from 0.6, " in told
    assert "of the running allocation test " in told
    assert "Governor: confidence from 0.8, " in told
    assert "of this shell's settings, as no governor runs" in told


def test_the_two_services_may_disagree_and_both_are_shown(
    cli: Cli, store: Store, redis_url: str
) -> None:
    score(store, "BTCUSDT", "0.2", age_sec=100)
    with hosting(redis_url, "governor", "governor.eff_ttl_sec=60"):
        row = scores(cli)["BTCUSDT"]
    assert (row["counts_as"], row["governor_counts_as"]) == ("ok", "stale_eff")


def test_the_limits_of_the_multiplier_come_from_the_running_loop(
    cli: Cli, store: Store, redis_url: str
) -> None:
    target(store, "BTCUSDT")
    with hosting(redis_url, "allocation", "allocation.max_mult=1.1"):
        told = cli.ok("target", "--set", "allocation.max_mult=3").err
    assert "Multiplier 0.5 to 1.1, limits of the running allocation test " in told


def test_a_service_record_that_makes_no_sense_is_passed_over(cli: Cli, store: Store) -> None:
    score(store, "BTCUSDT", "0.2")
    for name, settings in (("a", "{"), ("b", '{"min_conf":"high"}'), ("c", "[" * 100_000)):
        store.run("HSET", store.keys.service("allocation", name), "settings", settings)
    store.run("SET", store.keys.service("allocation", "d"), "x")
    assert scores(cli)["BTCUSDT"]["counts_as"] == "ok"


def test_of_several_records_the_one_that_passed_last_counts(cli: Cli, store: Store) -> None:
    score(store, "BTCUSDT", "0.2", confidence="0.7")
    now = store.now_ms() // 1000
    for name, last, min_conf in (("a", now - 20, 0.8), ("b", now, 0.6), ("c", now - 9, 0.9)):
        settings = (f'{{"min_conf":{min_conf},"stale_sec":600,"min_mult":0.5,"max_mult":1.5,'
                    '"scale":1,"base":1}')  # fmt: skip
        store.run("HSET", store.keys.service("allocation", name), "settings", settings,
                  "last_pass_at", last)  # fmt: skip
    assert scores(cli)["BTCUSDT"]["counts_as"] == "ok"


def test_what_the_producer_says_against_its_score_is_shown(cli: Cli, store: Store) -> None:
    score(store, "GOOD", "0.5")
    store.run("HSET", store.keys.at(EFFICIENCY, "GOOD"), "stale_flags", "", "inputs_ok", "1")
    score(store, "LATE", "0.5", confidence="0.45")
    store.run("HSET", store.keys.at(EFFICIENCY, "LATE"), "stale_flags", "P29_STALE",
              "inputs_ok", "0")  # fmt: skip
    score(store, "ODD", "0.5", confidence="0.45")
    store.run("HSET", store.keys.at(EFFICIENCY, "ODD"), "stale_flags", "\x1b[31m" + "x" * 5000)
    found = scores(cli)
    assert (found["LATE"]["stale_flags"], found["LATE"]["inputs_ok"]) == ("P29_STALE", "0")
    lines = {line.split()[0]: line for line in cli.ok("eff", "list").out.splitlines()}
    assert "stale_flags=P29_STALE, inputs_ok=0" in lines["LATE"]
    assert "stale" not in lines["GOOD"]
    assert "\x1b" not in lines["ODD"]
    assert len(lines["ODD"]) < 400


@pytest.mark.parametrize(
    ("noun", "stream", "producer"),
    [
        ("target", "stream:allocation.decision", "P2.9"),
        ("eff", "stream:capital.efficiency.decision", "P3.1"),
    ],
)
def test_a_producer_in_shadow_is_told_from_one_that_is_off(
    cli: Cli, store: Store, noun: str, stream: str, producer: str
) -> None:
    assert "shadow" not in cli.ok(noun).err
    store.run("XADD", store.keys.prefix + stream, "*", "symbol", "BTCUSDT")
    said = cli.ok(noun).err
    assert f"{producer} runs in shadow: it writes the stream quantum:{stream}, no keys" in said
    assert "Set its mode to enforce" in said
    store.run("DEL", store.keys.prefix + stream)
    store.run("XADD", store.keys.prefix + stream, f"{store.now_ms() - 7_200_000}-0", "a", "b")
    assert f"{producer} ran in shadow and stopped 120 min ago" in cli.ok(noun).err
    store.run("DEL", store.keys.prefix + stream)
    store.run("SET", store.keys.prefix + stream, "no stream")
    assert "shadow" not in cli.ok(noun).err


def test_targets_whose_keys_hold_no_symbol_are_named(cli: Cli, store: Store) -> None:
    target(store, "BTCUSDT")
    target(store, "BTC/USDT:USDT")
    target(store, "proposed:BTCUSDT")
    said = cli.ok("target")
    assert "Not listed, since their names hold no symbol: " in said.err
    assert "'quantum:allocation:target:BTC/USDT:USDT'" in said.err
    assert "proposed:" not in said.err
    assert "BTC/USDT" not in said.out
