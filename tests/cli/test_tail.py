"""`qtctl tail`: the last entries in their order, and following without a gap or a repeat."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from qtctl.wire.client.store import Store
from qtctl.wire.private_server.embedded import Embedded, temporary
from qtctl.wire.queries.streams import PAGE
from qtctl.wire.schema.keys import TARGET, Keys
from qtctl.wire.schema.records import text
from tests.services.helpers import allocation
from tests.support.cli import NO_FILE, Cli, interruptible
from tests.support.plans import fields
from tests.support.processes import QTCTL, Process, qtctl, until

STREAMS = ["proposed", "plans", "events", "decisions", "rejected"]
ENV = {**os.environ, **NO_FILE}


@pytest.fixture(autouse=True)
def _interruptible() -> Iterator[None]:
    with interruptible():
        yield


@pytest.fixture
def cli(redis_url: str, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(redis_url, capsys)


def add(store: Store, stream: str, entry_id: str = "*", **entry: Any) -> str:
    flat = [part for pair in entry.items() for part in pair]
    return text(store.run("XADD", stream, entry_id, *flat))


def name_of(store: Store, stream: str) -> str:
    keys = store.keys
    names = (keys.proposed_stream, keys.plans, keys.events, keys.decisions, keys.rejected)
    return dict(zip(STREAMS, names, strict=True))[stream]


def test_a_pass_is_shown_without_its_block(cli: Cli, store: Store) -> None:
    for symbol in ("A", "B", "C"):
        store.run("HSET", store.keys.at(TARGET, symbol), "target_usd", "-1" if symbol == "C" else 1)
    for _ in range(25):
        allocation(store).step()
    rows = cli.ok("tail", "passes", "-n", "22", "-o", "json").json
    assert len(rows) == 22
    assert rows[0].keys() == {
        "id", "pass", "ts_ms", "instance", "version", "rules", "symbols", "codec", "reasons",
        "block_bytes", "problem",
    }  # fmt: skip
    assert rows[0]["reasons"] == "missing_eff 2, no proposal 1"
    assert int(rows[0]["block_bytes"]) > 20
    assert "missing_eff 2" in cli.ok("tail", "passes").out
    store.run("XADD", store.keys.passes, "*", "pass", "1", "codec", "x/9")
    (bad,) = cli.ok("tail", "passes", "-n", "1", "-o", "json").json
    assert "codec" in bad["problem"]
    refused = cli("tail", "passes", "BTCUSDT")
    assert (refused.code, refused.out) == (2, "")


# Last entries ----------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", STREAMS)
def test_an_entry_is_its_fields_as_they_are_and_its_id(cli: Cli, store: Store, stream: str) -> None:
    entry_id = add(store, name_of(store, stream), plan_id="p1", symbol="BTCUSDT", extra="x")
    (row,) = cli.ok("tail", stream, "-o", "json").json
    more = {"kind": "", "verdict": "", "verdict_reason": ""} if stream == "plans" else {}
    assert row == {"id": entry_id, "plan_id": "p1", "symbol": "BTCUSDT", "extra": "x"} | more
    assert next(iter(row)) == "id"
    assert cli.ok("tail", stream).out.count("\n") == 2


@pytest.mark.parametrize("stream", STREAMS)
def test_an_empty_stream_is_an_empty_list_or_nothing_at_all(
    cli: Cli, store: Store, stream: str
) -> None:
    assert cli.ok("tail", stream, "-o", "json").out == "[]\n"
    assert cli.ok("tail", stream, "-o", "ndjson").out == ""
    said = cli.ok("tail", stream)
    assert said.out == ""
    assert said.err == f"{name_of(store, stream)} has no entries.\n"
    assert "for these symbols" in cli.ok("tail", stream, "BTCUSDT").err


def test_events_say_whether_opens_or_everything_was_halted(cli: Cli) -> None:
    cli("halt")
    cli("halt", "--all")
    _, opens, everything = cli.ok("tail", "events").out.splitlines()
    assert "reduce_only" in opens
    assert " all " in everything


def test_the_last_entries_come_oldest_first(cli: Cli, store: Store) -> None:
    for i in range(15):
        add(store, store.keys.events, symbol="BTCUSDT", n=i)
    assert [int(row["n"]) for row in cli.ok("tail", "events", "-o", "json").json] == [*range(5, 15)]
    rows = cli.ok("tail", "events", "-n", "3", "-o", "ndjson").out.splitlines()
    assert [int(json.loads(row)["n"]) for row in rows] == [12, 13, 14]
    assert cli.ok("tail", "events", "-n", "0", "-o", "json").json == []
    assert len(cli.ok("tail", "events", "-n", "1000", "-o", "json").json) == 15


@pytest.mark.parametrize("stream", ["proposed", "plans", "events"])
def test_a_symbol_is_found_also_far_behind_the_last_page(
    cli: Cli, store: Store, stream: str
) -> None:
    name = name_of(store, stream)
    add(store, name, symbol="RARE", n=1)
    store.batch([("XADD", name, "*", "symbol", "BTCUSDT")] * (2 * PAGE))
    add(store, name, symbol="RARE", n=2)
    store.batch([("XADD", name, "*", "symbol", "BTCUSDT")] * PAGE)
    rows = cli.ok("tail", stream, "RARE", "-o", "json").json
    assert [row["n"] for row in rows] == ["1", "2"]
    rows = cli.ok("tail", stream, "RARE", "BTCUSDT", "-n", "2", "-o", "json").json
    assert [row["symbol"] for row in rows] == ["BTCUSDT", "BTCUSDT"]


def test_a_rejected_plan_is_found_by_the_symbol_it_claimed(cli: Cli, store: Store) -> None:
    cli.ok("inject", "plan", "BTCUSDT", "--decision", "")
    add(store, store.keys.plans, **fields(symbol="ETHUSDT", qty="lots"))
    cli.ok("serve", "governor", "--once")
    (row,) = cli.ok("tail", "rejected", "ETHUSDT", "-o", "json").json
    assert row["reason"] == "invalid_plan"
    assert row["raw:qty"] == "lots"
    assert "qty 'lots' is not a number" in row["problem"]
    assert "qty 'lots' is not a number" in cli.ok("tail", "rejected", "ETHUSDT").out


def test_a_field_called_id_does_not_hide_the_entrys_own(cli: Cli, store: Store) -> None:
    entry_id = add(store, store.keys.events, id="fake", event="x")
    (row,) = cli.ok("tail", "events", "-o", "json").json
    assert row["id"] == entry_id


def test_plans_come_with_the_verdict_of_each_entry(cli: Cli, store: Store) -> None:
    bad = {"plan_id": b"bytes", "symbol": b"BTC\xff", "decision": "EXECUTE"}
    for entry in (
        fields(plan_id="open"),
        fields(plan_id="open"),
        fields(plan_id="open", symbol="ETHUSDT"),
        fields(plan_id="risky", kill_score="0.9"),
        fields(plan_id="skip", decision="SKIP"),
        fields(plan_id="bad", qty="lots"),
        bad,
    ):
        add(store, store.keys.plans, **entry)
    store.run("XADD", store.keys.plans, "*", *sum(fields(plan_id="twice").items(), ()),
              "symbol", "ETHUSDT")  # fmt: skip
    cli.ok("serve", "governor", "--once")
    add(store, store.keys.plans, **fields(plan_id="later"))
    rows = cli.ok("tail", "plans", "-o", "json").json
    assert [(row["plan_id"], row["verdict"], row["verdict_reason"]) for row in rows] == [
        ("open", "permitted", "ok"),
        ("open", "blocked", "duplicate_plan"),
        ("open", "blocked", "plan_conflict"),
        ("risky", "blocked", "kill_score_critical"),
        ("skip", "skipped", "SKIP"),
        ("bad", "rejected", "invalid_plan"),
        ("bytes", "rejected", "invalid_plan"),
        ("twice", "rejected", "invalid_plan"),
        ("later", "", ""),
    ]


def test_a_wrong_type_under_a_streams_name_is_told_in_one_line(cli: Cli, store: Store) -> None:
    store.run("SET", store.keys.events, "x")
    said = cli("tail", "events")
    assert (said.code, said.out) == (1, "")
    assert f"{store.keys.events} is not a stream" in said.err
    assert said.err.count("\n") == 1


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (
            "nonsense",
            "STREAM 'nonsense' must be one of proposed, plans, events, decisions, passes, rejected",
        ),
        ("events -n -1", "-n '-1' is out of range; allowed: 0 to 1,000,000"),
        ("events -n many", "-n 'many' is not a whole number; allowed: 0 to 1,000,000"),
        ("events -n 1.5", "-n '1.5' is not a whole number"),
        ("events BTC:USDT", "SYMBOL 'BTC:USDT' has a colon"),
        ("events -f -o json", "can't follow"),
    ],
)
def test_what_makes_no_sense_is_named(cli: Cli, line: str, says: str) -> None:
    said = cli("tail", *line.split())
    assert (said.code, said.out) == (2, "")
    assert says in said.err


def test_a_stream_of_another_name_is_followed_where_the_settings_say_so(
    cli: Cli, store: Store
) -> None:
    add(store, "quantum:stream:plans.v2", plan_id="p1")
    more = ("--set", "governor.stream_plans=quantum:stream:plans.v2")
    (row,) = cli.ok("tail", "plans", "-o", "json", *more).json
    assert row["plan_id"] == "p1"


# Following -------------------------------------------------------------------------------------


def rows_of(child: Process) -> list[dict[str, str]]:
    return [
        json.loads(line) for line in child.stdout.splitlines(keepends=True) if line[-1:] == "\n"
    ]


def follow(url: str, *args: str, env: Mapping[str, str] = ENV) -> Any:
    return qtctl("--redis-url", url, "tail", "events", "-f", *args, env=env)


def test_following_shows_the_last_ones_then_each_new_one_once(redis_url: str, store: Store) -> None:
    for i in range(5):
        add(store, store.keys.events, symbol="BTCUSDT", n=i)
    with follow(redis_url, "-n", "2", "-o", "ndjson") as child:
        until(lambda: len(rows_of(child)) == 2)
        for i in range(5, 9):
            add(store, store.keys.events, symbol="BTCUSDT", n=i)
        until(lambda: len(rows_of(child)) == 6)
        store.batch([("XADD", store.keys.events, "*", "n", i) for i in range(9, 2009)])
        until(lambda: len(rows_of(child)) == 2006)
        assert [int(row["n"]) for row in rows_of(child)] == [*range(3, 2009)]
        child.signal(signal.SIGINT)
        assert child.wait() == 130
        assert child.stderr == ""


def test_following_from_zero_shows_only_what_is_new_and_wanted(
    redis_url: str, store: Store
) -> None:
    add(store, store.keys.events, symbol="BTCUSDT", n=0)
    with follow(redis_url, "BTCUSDT", "-n", "0", "-o", "ndjson") as child:
        until(lambda: clients(store) >= 2, what="tail to wait for entries")
        add(store, store.keys.events, symbol="ETHUSDT", n=1)
        add(store, store.keys.events, symbol="BTCUSDT", n=2)
        until(lambda: rows_of(child))
        assert [row["n"] for row in rows_of(child)] == ["2"]


def clients(store: Store) -> int:
    """How many wait in a blocking read."""
    info = text(store.run("INFO", "clients"))
    blocked = next(line for line in info.splitlines() if line.startswith("blocked_clients"))
    return 1 + int(blocked.partition(":")[2])


def test_a_stream_that_is_not_there_yet_is_followed_from_its_first_entry(
    redis_url: str, store: Store
) -> None:
    with follow(redis_url, "-o", "ndjson") as child:
        until(lambda: clients(store) >= 2, what="tail to wait for entries")
        add(store, store.keys.events, n=0)
        until(lambda: rows_of(child))
        assert child.code is None


def test_a_followed_table_has_one_header_and_a_line_for_each_entry(
    redis_url: str, store: Store
) -> None:
    add(store, store.keys.events, event="permitted", plan_id="p1", symbol="BTCUSDT", reason="ok")
    with follow(redis_url) as child:
        child.wait_for_line("p1")
        add(store, store.keys.events, event="blocked", plan_id="p2", symbol="ETHUSDT")
        child.wait_for_line("p2")
        assert child.stdout.count("event") == 1
        assert len(child.stdout.splitlines()) == 3
        child.signal(signal.SIGTERM)
        child.wait()


def test_followed_plans_come_with_their_verdicts_once_each(
    cli: Cli, redis_url: str, store: Store
) -> None:
    line = ("--redis-url", redis_url, "tail", "plans", "-f", "-o", "ndjson")
    with qtctl(*line, env=ENV) as child:
        until(lambda: clients(store) >= 2, what="tail to wait for entries")
        cli.ok("inject", "plan", "BTCUSDT", "--plan-id", "p1")
        cli.ok("serve", "governor", "--once")
        until(lambda: rows_of(child))
        (row,) = rows_of(child)
        assert (row["plan_id"], row["verdict"], row["verdict_reason"]) == ("p1", "permitted", "ok")
        cli.ok("inject", "plan", "BTCUSDT", "--plan-id", "p2")
        until(lambda: len(rows_of(child)) == 2)
        assert rows_of(child)[1]["verdict"] == ""


@pytest.fixture
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory short enough for a socket, for a server that is stopped and started."""
    with temporary() as outer:
        yield outer.directory / "own"


def test_a_restart_of_the_server_makes_neither_gap_nor_repeat(own_server: Path) -> None:
    server = Embedded.start(own_server)
    store = Store(server.url, Keys())
    try:
        for i in range(3):
            add(store, store.keys.events, n=i)
        with follow(server.url, "-o", "ndjson") as child:
            until(lambda: len(rows_of(child)) == 3)
            store.close()
            server.stop()
            child.wait_for_line("waiting for it")
            server = Embedded.start(own_server)
            store.batch([("XADD", store.keys.events, "*", "n", i) for i in range(3, 50)])
            until(lambda: len(rows_of(child)) >= 50)
            child.wait_for_line("Redis is back")
            add(store, store.keys.events, n=50)
            until(lambda: len(rows_of(child)) >= 51)
            assert [int(row["n"]) for row in rows_of(child)] == [*range(51)]
            assert child.stderr.count("waiting for it") == 1
            assert "trimmed" not in child.stderr
    finally:
        store.close()
        server.stop()


def test_what_was_trimmed_meanwhile_is_counted_and_told(own_server: Path) -> None:
    server = Embedded.start(own_server)
    store = Store(server.url, Keys())
    try:
        for i in range(3):
            add(store, store.keys.events, n=i)
        with follow(server.url, "-o", "ndjson") as child:
            until(lambda: len(rows_of(child)) == 3)
            child.signal(signal.SIGSTOP)
            for i in range(3, 20):
                add(store, store.keys.events, n=i)
            store.run("XTRIM", store.keys.events, "MAXLEN", "=", 5)
            child.signal(signal.SIGCONT)
            until(lambda: rows_of(child)[-1]["n"] == "19")
            told = child.wait_for_line("trimmed")
            seen = [int(row["n"]) for row in rows_of(child)]
            lost = int(told.split()[0])
            # One may have been on its way before the stop.
            assert seen == [*range(20 - 5 - lost), *range(15, 20)]
            assert store.keys.events in told
    finally:
        store.close()
        server.stop()


def test_a_stream_that_is_made_anew_is_followed_on(redis_url: str, store: Store) -> None:
    add(store, store.keys.events, n=0)
    with follow(redis_url, "-o", "ndjson") as child:
        until(lambda: rows_of(child))
        store.run("DEL", store.keys.events)
        add(store, store.keys.events, n=1)
        until(lambda: len(rows_of(child)) == 2)
        assert [row["n"] for row in rows_of(child)] == ["0", "1"]


def test_a_stream_that_is_made_anew_behind_its_old_ids_is_followed_on(
    redis_url: str, store: Store
) -> None:
    """As after a clock that was ahead: the new ids are smaller than the last one seen."""
    ahead = int(time.time() * 1000) + 3_600_000
    for i in range(3):
        store.run("XADD", store.keys.events, f"{ahead}-{i}", "n", i)
    with follow(redis_url, "-o", "ndjson") as child:
        until(lambda: len(rows_of(child)) == 3)
        store.run("DEL", store.keys.events)
        for i in range(3, 6):
            add(store, store.keys.events, n=i)
        until(lambda: len(rows_of(child)) == 6)
        for i in range(6, 9):
            add(store, store.keys.events, n=i)
        until(lambda: len(rows_of(child)) == 9)
        assert [int(row["n"]) for row in rows_of(child)] == [*range(9)]
        assert child.stderr.count("was deleted and made anew") == 1
        assert "trimmed" not in child.stderr


def test_a_stream_that_lost_its_end_is_followed_without_a_repeat(
    redis_url: str, store: Store
) -> None:
    """As after a restart of a server that had not written the last second to its file."""
    for i in range(3):
        store.run("XADD", store.keys.events, f"1000-{i}", "n", i)
    before = store.run("DUMP", store.keys.events)
    with follow(redis_url, "-o", "ndjson") as child:
        until(lambda: len(rows_of(child)) == 3)
        store.run("XADD", store.keys.events, "2000-0", "n", 3)
        until(lambda: len(rows_of(child)) == 4)
        store.run("RESTORE", store.keys.events, 0, before, "REPLACE")
        child.wait_for_line("has lost its newest entries")
        store.run("XADD", store.keys.events, "1500-0", "n", 4)
        until(lambda: len(rows_of(child)) == 5)
        assert [int(row["n"]) for row in rows_of(child)] == [*range(5)]


def test_a_pipe_that_is_closed_ends_a_follower(redis_url: str, store: Store) -> None:
    add(store, store.keys.events, n=0)
    argv = [*QTCTL, "--redis-url", redis_url, "tail", "events", "-f", "-o", "ndjson"]
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENV
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        try:
            assert json.loads(child.stdout.readline())["n"] == "0"
            child.stdout.close()
            for i in range(1, 3):
                add(store, store.keys.events, n=i)
            assert child.wait() == 141
            assert child.stderr.read() == ""
        finally:
            child.kill()
