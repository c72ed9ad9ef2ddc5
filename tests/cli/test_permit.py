"""`qtctl permit`: what is open, what one says, and that a permit is taken once."""

import json
import subprocess
import threading
from typing import Any

import pytest

from qtctl.errors import NotFoundError
from qtctl.wire.client.store import Store
from qtctl.wire.control.permits import take_permit
from qtctl.wire.queries import permits
from qtctl.wire.queries.permits import StoredPermit
from qtctl.wire.schema.keys import DECISION, PERMIT, Keys
from tests.support.cli import NO_FILE, Cli
from tests.support.plans import fields, judge
from tests.support.processes import QTCTL

PERMIT_FIELDS = [
    "granted",
    "symbol",
    "decision",
    "computed_qty",
    "computed_notional",
    "created_at",
    "consumed",
    "eff_score",
    "eff_confidence",
    "eff_stale",
    "eff_factor",
    "eff_action",
    "eff_reason",
    "downsize_factor",
    "extra_cooldown_sec",
]


@pytest.fixture
def cli(redis_url: str, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(redis_url, capsys)


def issue(cli: Cli, plan_id: str = "p1", *, encoding: str = "json", score: str = "0.2") -> None:
    """A permit from the governor itself."""
    cli.ok("inject", "eff", "BTCUSDT", score)
    plan = ("inject", "plan", "BTCUSDT", "--plan-id", plan_id, "--qty", "0.5", "--price", "300")
    cli.ok(*plan)
    rates = ("--set", "governor.symbol_cooldown_sec=0", "--set", "governor.max_exec_per_5min=0",
             "--set", "governor.max_exec_per_hour=0")  # fmt: skip
    cli.ok("serve", "governor", "--once", *rates, "--set", f"governor.permit_encoding={encoding}")


def put(store: Store, plan_id: str, permit: Any, ttl_sec: int | None = 60) -> None:
    """Whatever somebody may have left under the key of a permit, in the index too."""
    raw = permit if isinstance(permit, (bytes, str)) else json.dumps(permit)
    store.run("SET", store.keys.at(PERMIT, plan_id), raw)
    if ttl_sec is not None:
        store.run("EXPIRE", store.keys.at(PERMIT, plan_id), ttl_sec)
    store.run("ZADD", store.keys.permits, store.now_ms() / 1000 + 60, plan_id)


@pytest.mark.parametrize("encoding", ["json", "hash"])
def test_both_encodings_look_the_same_to_whoever_reads_the_json(cli: Cli, encoding: str) -> None:
    issue(cli, encoding=encoding)
    shown = cli.ok("permit", "show", "p1", "-o", "json").json
    (listed,) = cli.ok("permit", "list", "-o", "json").json
    assert list(shown) == list(listed) == ["plan_id", "ttl_s", *PERMIT_FIELDS]
    assert 30 < shown.pop("ttl_s") <= 60
    assert isinstance(shown.pop("created_at"), float)
    assert shown == {
        "plan_id": "p1",
        "granted": True,
        "symbol": "BTCUSDT",
        "decision": "EXECUTE",
        "computed_qty": 0.5,
        "computed_notional": 150.0,
        "consumed": False,
        "eff_score": "0.2000",
        "eff_confidence": "0.9",
        "eff_stale": "0",
        "eff_factor": "0.4444",
        "eff_action": "DOWNSIZE",
        "eff_reason": "ok",
        "downsize_factor": "0.4444",
        "extra_cooldown_sec": "96",
    }


@pytest.mark.parametrize("encoding", ["json", "hash"])
def test_a_take_prints_the_cap_and_the_cooldown_that_a_consumer_applies(
    cli: Cli, store: Store, encoding: str
) -> None:
    issue(cli, encoding=encoding)
    taken = cli.ok("permit", "take", "p1", "--cap", "150", "-o", "json").json
    assert list(taken) == ["plan_id", *PERMIT_FIELDS, "cap_usd", "adjusted_cap_usd"]
    assert (taken["cap_usd"], taken["adjusted_cap_usd"]) == (150.0, 66.66)
    assert taken["extra_cooldown_sec"] == "96"
    assert store.run("EXISTS", store.keys.at(PERMIT, "p1")) == 0
    assert store.run("ZCARD", store.keys.permits) == 0
    assert store.run("HGET", store.keys.at(DECISION, "p1"), "verdict") == b"permitted"


def test_the_page_of_a_take_shows_the_adjusted_cap_beside_the_cap(cli: Cli) -> None:
    issue(cli)
    said = cli.ok("permit", "take", "p1", "--cap", "15000")
    lines = dict(line.rsplit("  ", 1) for line in said.out.splitlines())
    assert {name.strip(): value for name, value in lines.items()} == {
        "plan": "p1",
        "symbol": "BTCUSDT",
        "size hint": "DOWNSIZE",
        "factor": "0.4444",
        "cap USD": "15,000.00",
        "adjusted cap USD": "6,666.00",
        "extra cooldown": "96 s",
        "score reason": "ok",
    }


def test_a_take_says_first_where(cli: Cli, redis_url: str) -> None:
    issue(cli)
    said = cli.ok("permit", "take", "p1")
    assert said.err.splitlines()[0] == f"[{redis_url}, prefix quantum:] taking the permit of p1"


def test_without_a_cap_there_is_none_to_adjust(cli: Cli) -> None:
    issue(cli)
    taken = cli.ok("permit", "take", "p1", "-o", "json").json
    assert (taken["cap_usd"], taken["adjusted_cap_usd"]) == (None, None)
    assert taken["downsize_factor"] == "0.4444"


@pytest.mark.parametrize(
    ("factor", "adjusted"),
    [
        ("0.25", 37.5),
        ("1.0000", 150.0),
        ("0", 0.0),
        (0.5, 75.0),
        (None, 150.0),
        ("", 150.0),
        ("nan", 150.0),
        ("2", 150.0),
        ("-1", 150.0),
        ("half", 150.0),
        ([0.5], 150.0),
    ],
)
def test_a_factor_that_is_missing_or_senseless_changes_no_cap(
    cli: Cli, store: Store, factor: Any, adjusted: float
) -> None:
    put(store, "p1", {"granted": True, "symbol": "BTCUSDT"} | (
        {} if factor is None else {"downsize_factor": factor}))  # fmt: skip
    taken = cli.ok("permit", "take", "p1", "--cap", "150", "-o", "json").json
    assert taken["adjusted_cap_usd"] == adjusted


@pytest.mark.parametrize("cap", ["-1", "nan", "much", "1e999"])
def test_a_cap_that_makes_no_sense_takes_nothing(cli: Cli, store: Store, cap: str) -> None:
    issue(cli)
    said = cli("permit", "take", "p1", "--cap", cap)
    assert said.code == 2
    assert f"--cap '{cap}'" in said.err
    assert "0 or more" in said.err
    assert store.run("EXISTS", store.keys.at(PERMIT, "p1")) == 1


def test_a_permit_is_taken_once(cli: Cli) -> None:
    issue(cli)
    assert cli("permit", "take", "p1").code == 0
    said = cli("permit", "take", "p1")
    assert (said.code, said.out) == (1, "")
    assert "any more" in said.err
    assert "taken or expired" in said.err


@pytest.mark.parametrize("encoding", ["json", "hash"])
def test_of_twenty_who_take_at_once_one_gets_the_permit(
    redis_url: str, store: Store, encoding: str
) -> None:
    for round_ in range(5):
        plan_id = f"p{round_}"
        judge(store, fields(plan_id=plan_id), encoding=encoding)
        begin = threading.Barrier(20)
        got: list[Any] = []

        def take(plan_id: str = plan_id, begin: threading.Barrier = begin, got: Any = got) -> None:
            mine = Store(redis_url, Keys())
            mine.run("PING")
            begin.wait()
            got.append(take_permit(mine, plan_id))
            mine.close()

        threads = [threading.Thread(target=take) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(got) == 20
        (one,) = (found for found in got if found is not None)
        assert one["symbol"] == "BTCUSDT"


def test_of_four_processes_that_take_at_once_one_gets_the_permit(
    redis_url: str, store: Store
) -> None:
    judge(store, fields())
    argv = [*QTCTL, "--redis-url", redis_url, "permit", "take", "p1", "-o", "json"]
    takers = [
        subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=NO_FILE)
        for _ in range(4)
    ]
    ended = [(taker.communicate(timeout=30), taker.returncode) for taker in takers]
    assert sorted(code for _, code in ended) == [0, 1, 1, 1]
    assert [json.loads(out)["plan_id"] for (out, _), code in ended if code == 0] == ["p1"]


def test_a_permit_that_another_group_waits_for_is_not_taken(cli: Cli, store: Store) -> None:
    issue(cli)
    store.run("XGROUP", "CREATE", store.keys.plans, "apply_layer", "$")
    said = cli("permit", "take", "p1")
    assert (said.code, said.out) == (4, "")
    assert "apply_layer" in said.err.splitlines()[-1]
    assert store.run("EXISTS", store.keys.at(PERMIT, "p1")) == 1
    assert cli("permit", "take", "p1", "--force").code == 0


@pytest.mark.parametrize("verb", ["show", "take"])
def test_what_is_not_there_is_told_by_why(cli: Cli, store: Store, verb: str) -> None:
    cli.ok("inject", "plan", "BTCUSDT", "--plan-id", "bad", "--kill-score", "0.9")
    issue(cli, "gone")
    judge(store, fields(plan_id="back"))
    judge(store, fields(plan_id="back", symbol="ETHUSDT"))
    store.run("DEL", store.keys.at(PERMIT, "gone"))

    def told(plan_id: str) -> str:
        said = cli("permit", verb, plan_id)
        assert (said.code, said.out) == (1, "")
        return said.err.splitlines()[-1]

    assert "no permit for gone any more: issued 20" in told("gone")
    assert "taken or expired since" in told("gone")
    assert "blocked 20" in told("bad")
    assert "kill_score_critical" in told("bad")
    assert "withdrawn 20" in told("back")
    assert "no decision" in told("never")
    assert all(told(plan_id).count("\n") == 0 for plan_id in ("gone", "bad", "back", "never"))


def test_the_next_to_expire_comes_first_and_one_without_an_end_before_all(
    cli: Cli, store: Store
) -> None:
    put(store, "late", {"granted": True, "symbol": "A"}, 50)
    put(store, "soon", {"granted": True, "symbol": "B"}, 10)
    put(store, "stuck", {"granted": True, "symbol": "C"}, None)
    rows = cli.ok("permit", "list", "-o", "json").json
    assert [row["plan_id"] for row in rows] == ["stuck", "soon", "late"]
    assert rows[0]["ttl_s"] == -1
    said = cli.ok("permit")
    assert "never" in next(line for line in said.out.splitlines() if "stuck" in line)


def test_permits_of_other_systems_are_never_listed(cli: Cli, store: Store) -> None:
    issue(cli)
    for name in ("p33:x", "p26:y"):
        put(store, name, {"granted": True, "symbol": "BTCUSDT"})
    rows = cli.ok("permit", "list", "-o", "json").json
    assert [row["plan_id"] for row in rows] == ["p1"]
    for verb in ("show", "take"):
        said = cli("permit", verb, "p33:x")
        assert said.code == 2
        assert "another system" in said.err
    assert store.run("EXISTS", store.keys.at(PERMIT, "p33:x")) == 1


@pytest.mark.parametrize("raw", ["{", "[1]", "null", "\xff", "[" * 100_000])
def test_what_is_no_permit_is_told_and_hides_no_other(cli: Cli, store: Store, raw: str) -> None:
    issue(cli)
    put(store, "odd", raw.encode("latin-1"))
    said = cli.ok("permit", "list", "-o", "json")
    assert {row["plan_id"] for row in said.json} == {"p1", "odd"}
    assert "warning: permit odd is neither a JSON object nor a hash" in said.err
    said = cli("permit", "show", "odd")
    assert (said.code, said.out) == (1, "")
    assert "neither a JSON object nor a hash" in said.err
    assert cli("permit", "take", "odd").code == 1


def test_a_list_where_a_permit_should_be_is_told_and_not_taken(cli: Cli, store: Store) -> None:
    key = store.keys.at(PERMIT, "odd")
    store.run("RPUSH", key, "x")
    store.run("ZADD", store.keys.permits, store.now_ms() / 1000 + 60, "odd")
    assert "neither" in cli.ok("permit", "list").err
    assert cli("permit", "show", "odd").code == 1
    said = cli("permit", "take", "odd")
    assert said.code == 1
    assert "WRONGTYPE" in said.err
    assert store.run("EXISTS", key) == 1


def test_a_permit_cannot_pass_for_another_plans(cli: Cli, store: Store) -> None:
    put(store, "p1", {"plan_id": "p2", "ttl_s": 9999, "granted": True, "symbol": "BTCUSDT"})
    shown = cli.ok("permit", "show", "p1", "-o", "json").json
    assert shown["plan_id"] == "p1"
    assert shown["ttl_s"] <= 60
    assert list(shown)[:2] == ["plan_id", "ttl_s"]
    assert cli.ok("permit", "take", "p1", "-o", "json").json["plan_id"] == "p1"


def test_nothing_open_is_an_empty_list_in_every_format(cli: Cli) -> None:
    assert cli.ok("permit", "list", "-o", "json").out == "[]\n"
    assert cli.ok("permit", "list", "-o", "ndjson").out == ""
    said = cli.ok("permit", "list")
    assert (said.out, said.err) == ("", "No permits are open.\n")


def test_a_permit_that_expired_is_not_listed(cli: Cli, store: Store) -> None:
    put(store, "p1", {"granted": True, "symbol": "BTCUSDT"})
    store.run("DEL", store.keys.at(PERMIT, "p1"))
    assert cli.ok("permit", "list", "-o", "json").json == []


def test_a_reader_of_the_book_gets_nothing_for_what_is_not_there(store: Store) -> None:
    assert permits.one(store, "p1") is None
    assert take_permit(store, "p1") is None
    put(store, "p1", {"granted": True})
    held = permits.one(store, "p1")
    assert isinstance(held, StoredPermit)
    assert held.fields == {"granted": True}
    assert NotFoundError.exit_code == 1


def test_the_seeds_own_command_reads_the_permit(cli: Cli, store: Store) -> None:
    issue(cli)
    raw = store.run("GET", "quantum:permit:p1")
    assert json.loads(raw)["eff_factor"] == "0.4444"


@pytest.mark.parametrize(
    ("age_sec", "why"),
    [(1_860, "it is 1860 s old, and a permit lives 60 s"), (-95, "ahead of the server's clock")],
)
def test_a_permit_that_outlived_its_lifetime_is_void(
    cli: Cli, store: Store, age_sec: int, why: str
) -> None:
    """The server's clock stepped back by half an hour, and the lifetimes of its keys with it."""
    put(store, "p1", {"granted": True, "created_at": store.now_ms() / 1000 - age_sec}, 1_900)
    said = cli("permit", "take", "p1")
    assert said.code == 4, said
    assert why in said.err
    assert said.out == ""
    assert cli("permit", "take", "p1").code == 1, "nobody else takes it either"
