"""The options of lists on real Redis and real terminals: what is read, what is printed, the pager,
`--watch`; `help` and `version`."""

import json
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pexpect
import pytest

from qtctl.cli.main import run
from qtctl.wire.client.store import Store
from qtctl.wire.queries import decisions
from qtctl.wire.schema.keys import DECISION, EFFICIENCY
from qtctl.wire.schema.records import text
from tests.support.cli import NO_FILE, Cli, interruptible
from tests.support.processes import QTCTL, until

REASONS = ("ok", "symbol_cooldown", "stale_plan", "hourly_limit_exceeded")
SYMBOLS = ("BTCUSDT", "ETHUSDT", "solusdt")
LONG_ID = "9f8e7d6c-5b4a-4321-8765-{:012d}"


@pytest.fixture(autouse=True)
def _interruptible() -> Iterator[None]:
    with interruptible():
        yield


@pytest.fixture
def cli(redis_url: str, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(redis_url, capsys)


def decided(store: Store, count: int, *, every_sec: float = 1.0, events: bool = True) -> None:
    """Decisions and their events as the atomic step writes them, the last one now."""
    now_ms = store.now_ms()
    commands: list[tuple[Any, ...]] = []
    for number in range(count):
        at = now_ms - int((count - 1 - number) * every_sec * 1000)
        plan_id = LONG_ID.format(number)
        reason, symbol = REASONS[number % 4], SYMBOLS[number % 3]
        verdict = "permitted" if reason == "ok" else "blocked"
        fields = {
            "verdict": verdict, "reason": reason, "plan_id": plan_id, "symbol": symbol,
            "kind": ("open", "close")[number % 5 == 0], "action": "FULL_CLOSE_PROPOSED",
            "decided_at": f"{at / 1000:.3f}", "notional_usd": f"{number % 7}.50",
        }  # fmt: skip
        flat = [part for pair in fields.items() for part in pair]
        commands.append(("HSET", store.keys.at(DECISION, plan_id), *flat))
        if events:
            event = ("event", verdict, "plan_id", plan_id, "symbol", symbol, "reason", reason)
            commands.append(("XADD", store.keys.events, f"{at}-{number}", *event, "ts", at // 1000))
    store.batch(commands)


def calls(store: Store) -> dict[str, int]:
    """How often each command was sent to the server since its statistics were reset."""
    lines = text(store.run("INFO", "commandstats")).splitlines()
    stats = (line.removeprefix("cmdstat_").split(":") for line in lines if ":" in line)
    return {name: int(rest.split(",")[0].removeprefix("calls=")) for name, rest in stats}


def listed(cli: Cli, *args: str) -> list[str]:
    return [row["plan_id"] for row in cli.ok("plan", "list", *args, "-o", "json").json]


# What is read ----------------------------------------------------------------------------------


def test_the_latest_decisions_are_found_without_a_look_at_the_others(
    cli: Cli, store: Store
) -> None:
    decided(store, 3_000)
    store.run("CONFIG", "RESETSTAT")
    said = cli.ok("plan", "list", "-o", "json")
    read = calls(store)
    assert [row["plan_id"] for row in said.json] == [
        LONG_ID.format(number) for number in range(2_999, 2_979, -1)
    ]
    assert said.err == "The first 20; there are more: -n 100 or -n all shows them.\n"
    assert "scan" not in read
    assert read["hgetall"] < 60


@pytest.mark.parametrize("kept", [400, 60, 0])
def test_whatever_the_events_still_have_the_answer_is_the_same(
    cli: Cli, store: Store, kept: int
) -> None:
    """Trimmed events, events about other things, decisions judged again."""
    chance = random.Random(kept)
    decided(store, 300)
    for _ in range(60):
        number = chance.randrange(300)
        reason = chance.choice(("duplicate_plan", "plan_conflict"))
        event = ("event", "blocked", "plan_id", LONG_ID.format(number), "reason", reason)
        store.run("XADD", store.keys.events, "*", *event, "symbol", SYMBOLS[number % 3])
    store.run("XTRIM", store.keys.events, "MAXLEN", "=", kept)
    every = decisions.every(store)
    now = store.now_ms() / 1000
    for _ in range(12):
        limit = chance.choice(("1", "7", "all", "299"))
        args, rows = ["-n", limit], every
        if chance.random() < 0.5:
            symbol = chance.choice(SYMBOLS)
            args.append(symbol.upper())
            rows = [row for row in rows if row["symbol"] == symbol]
        if chance.random() < 0.5:
            reason = chance.choice(REASONS)
            args += ["--reason", reason]
            rows = [row for row in rows if row["reason"] == reason]
        if chance.random() < 0.5:
            kind = chance.choice(("open", "close"))
            args += ["--kind", kind]
            rows = [row for row in rows if row["kind"] == kind]
        if chance.random() < 0.5:
            # Between two decisions, so that the time this takes changes nothing.
            at = float(chance.choice(every)["decided_at"]) - 0.5
            args += [f"--since={int(at * 1000)}"]
            rows = [row for row in rows if float(row["decided_at"]) > at]
            assert at < now
        expected = [row["plan_id"] for row in rows]
        assert listed(cli, *args) == (expected if limit == "all" else expected[: int(limit)]), args


def test_a_decision_whose_event_is_missing_is_found_where_the_limit_is_not_reached(
    cli: Cli, store: Store
) -> None:
    decided(store, 5)
    store.run("HSET", store.keys.at(DECISION, "no-event"), "verdict", "permitted")
    assert listed(cli)[-1] == "no-event"
    assert len(listed(cli)) == 6


def test_events_that_cant_be_read_cost_no_decision(cli: Cli, store: Store) -> None:
    decided(store, 5, events=False)
    store.run("SET", store.keys.events, "x")
    assert listed(cli, "-n", "2") == [LONG_ID.format(4), LONG_ID.format(3)]
    assert len(listed(cli, "--since", "1h")) == 5


def test_sorting_looks_at_all_and_a_window_lifts_the_usual_limit(cli: Cli, store: Store) -> None:
    decided(store, 70)
    rows = cli.ok("plan", "list", "--sort", "-notional_usd,plan_id", "-n", "3", "-o", "json").json
    assert [row["notional_usd"] for row in rows] == ["6.50"] * 3
    assert rows[0]["plan_id"] == LONG_ID.format(6)
    said = cli.ok("plan", "list", "--since", "1h", "-o", "ndjson")
    assert (said.out.count("\n"), said.err) == (70, "")
    assert len(listed(cli, "--since", "1h", "-n", "4")) == 4
    assert listed(cli, "--until", "30", "-n", "1") == [LONG_ID.format(39)]
    assert listed(cli, "-n", "0") == []


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("plan list -n -1", "-n '-1' is out of range; allowed: 0 to 1,000,000"),
        ("plan list --columns plan,nix", "--columns 'nix': no such column"),
        ("plan list --sort nix", "--sort 'nix': no such column. Columns: decided_at, plan_id"),
        ("plan list --where nix", "--where 'nix' is not FIELD=VALUE"),
        ("plan list --reason cooldown", "--reason 'cooldown' must be one of ok, kill_switch"),
        ("plan list --verdict yes", "--verdict 'yes' must be one of permitted, blocked"),
        ("plan list --since 5m --until 1h", "--since is later than --until"),
        ("plan list --watch 0", "--watch '0' is out of range"),
        ("plan list --watch -o json", "--output json can't go with --watch"),
        ("tail proposed --verdict permitted", "--verdict does not go with this list (it has"),
        ("permit list --verdict x", "--verdict does not go with this list (it has --kind, --rea"),
        ("stream list --reason x", "--reason does not go with this list (it has none)"),
        ("tail nix --columns id", "STREAM 'nix' must be one of"),
        ("tail events -f --sort ts", "--sort and --follow don't go together"),
        ("tail events --where nix=1", "--where 'nix': no such field. Fields: ts, event"),
        ("permit list --columns nix", "--columns 'nix': no such column"),
        ("eff list --reason nix", "--reason 'nix' must be one of ok, missing_eff"),
        ("target list --columns ''", "lacks a name"),
        ("status -o csv", "--output 'csv' must be one of table, json, ndjson"),
    ],
)
def test_what_makes_no_sense_is_exit_2_with_what_would(cli: Cli, line: str, says: str) -> None:
    args = [part if part != "''" else "" for part in line.split()]
    said = cli(*args)
    assert said.code == 2
    assert says in said.err
    assert said.out == ""


def test_permits_are_found_by_the_kind_of_their_plans(cli: Cli) -> None:
    cli.ok("inject", "plan", "BTCUSDT", "--plan-id", "opens")
    cli.ok("inject", "plan", "ETHUSDT", "--plan-id", "closes", "--reduce-only")
    cli.ok("serve", "governor", "--once")
    (row,) = cli.ok("permit", "list", "--kind", "close", "-o", "json").json
    assert row["plan_id"] == "closes"
    assert "kind" not in row, "the JSON of a permit is the permit"
    rows = cli.ok("permit", "list", "--columns", "plan,kind", "--sort", "plan", "-o", "json").json
    assert [(row["plan_id"], row["kind"]) for row in rows] == [
        ("closes", "close"),
        ("opens", "open"),
    ]
    assert cli.ok("permit", "list", "--kind", "open").out.count("\n") == 2


# Streams ---------------------------------------------------------------------------------------


def test_a_tail_is_narrowed_by_time_and_by_any_field(cli: Cli, store: Store) -> None:
    now_ms = store.now_ms()
    for ago_sec, actor in ((300, "gov-1"), (200, "gov-2"), (100, "gov-1"), (1, "gov-2")):
        store.run("XADD", store.keys.events, f"{now_ms - ago_sec * 1000}-0", "event", "permitted",
                  "plan_id", f"p{ago_sec}", "actor", actor, "reason", "ok")  # fmt: skip

    def found(*args: str) -> list[str]:
        rows = cli.ok("tail", "events", *args, "-o", "ndjson").out.splitlines()
        return [json.loads(row)["plan_id"] for row in rows]

    assert found("--since", "4m") == ["p200", "p100", "p1"]
    assert found("--since", "4m", "--until", "90s") == ["p200", "p100"]
    assert found("--where", "actor=gov-1") == ["p300", "p100"]
    assert found("--where", "actor!=gov-1", "-n", "1") == ["p1"]
    assert found("--where", "actor=gov-1", "--where", "plan_id=p1") == []
    assert found("--sort", "plan_id", "-n", "2") == ["p1", "p100"]
    said = cli.ok("tail", "events", "--where", "actor=nobody")
    assert said.err == f"{store.keys.events} has no entries that match.\n"
    assert cli.ok("tail", "events", "-n", "0") == (0, "", "")


def test_following_prints_only_what_is_asked_for(store: Store, redis_url: str) -> None:
    child = subprocess.Popen(
        [*QTCTL, "tail", "events", "-n", "0", "-f", "--where", "actor=us", "-o", "csv",
         "--columns", "n,actor", "--redis-url", redis_url],
        env={**os.environ, **NO_FILE}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        until(lambda: b"xread" in store.run("CLIENT", "LIST"), what="the follower")
        for number in range(4):
            actor = ("us", "them")[number % 2]
            store.run("XADD", store.keys.events, "*", "event", "x", "actor", actor, "n", number)
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(3)]
        assert lines == ["n,actor\n", "0,us\n", "2,us\n"]
    finally:
        child.send_signal(signal.SIGINT)
        child.wait()
        child.stdout.close() if child.stdout else None


def test_numbers_and_csv_are_the_same_everywhere(cli: Cli, store: Store) -> None:
    cli.ok("inject", "eff", "BTCUSDT", "0.2")
    cli.ok("inject", "target", "BTCUSDT", "1000")
    cli.ok("inject", "plan", "BTCUSDT", "--plan-id", "007", "--reduce-only")
    cli.ok("serve", "governor", "--once")
    cli.ok("serve", "allocation", "--once")
    (decision,) = cli.ok("plan", "list", "-o", "json", "--numbers").json
    assert (decision["plan_id"], decision["eff_factor"], decision["price"]) == ("007", 0.4444, None)
    assert cli.ok("plan", "show", "007", "-o", "json", "--numbers").json["qty"] == 0.01
    (score,) = cli.ok("eff", "list", "-o", "json", "--numbers").json
    assert score["efficiency_score"] == 0.2
    (proposal,) = cli.ok("tail", "proposed", "-o", "json", "--numbers").json
    assert proposal["base_target"] == 1000
    lists = ["plan list", "permit list", "tail proposed", "eff list", "target list"]
    for line in (*lists, "group list", "stream list", "config show redis", "inject clear"):
        header, *rows = cli(*line.split(), "-o", "csv").out.splitlines()
        assert rows, line
        assert header.count(",") >= 0
        assert " " not in header


# Terminals -------------------------------------------------------------------------------------


def spawn(url: str, *args: str, size: tuple[int, int] = (24, 80), **environ: str) -> Any:
    env = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "LESS", "PAGER")}
    env |= {"TERM": "xterm-256color", "QTCTL_REDIS_URL": url, **NO_FILE, **environ}
    return pexpect.spawn(
        sys.executable, ["-m", "qtctl", *args], dimensions=size, env=env, encoding="utf-8",
        timeout=30,
    )  # fmt: skip


@pytest.mark.parametrize("columns", [80, 100])
def test_time_kind_and_action_stay_and_an_id_goes_on_in_the_next_line(
    redis_url: str, store: Store, columns: int
) -> None:
    decided(store, 4)
    child = spawn(redis_url, "plan", "list", size=(50, columns))
    shown = child.read()
    child.close()
    assert child.exitstatus == 0
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in shown.splitlines()]
    head = lines[0]
    for title in ("decided", "plan", "symbol", "kind", "verdict", "reason", "action"):
        assert title in head
    assert "Hidden columns: notional USD, size hint, in queue" in shown
    assert all(len(line) <= columns for line in lines)
    # Column by column, the pieces of an id are the whole.
    start = head.index("plan")
    body = [line for line in lines[2:] if "Hidden" not in line]
    pieces = "".join(line[start : start + 36].split("  ")[0].strip() for line in body)
    assert "".join(LONG_ID.format(number) for number in (3, 2, 1, 0)) in pieces


def test_what_does_not_fit_goes_through_the_pager_and_quitting_it_is_no_error(
    redis_url: str, store: Store
) -> None:
    decided(store, 300)
    child = spawn(redis_url, "plan", "list", "-n", "all", PAGER="head -n 5; echo SEEN ENOUGH")
    shown = child.read()
    child.close()
    assert child.exitstatus == 0
    assert "SEEN ENOUGH" in shown
    assert shown.count("BTCUSDT") < 5
    for args, pager in ((("--no-pager",), "head -n 5"), ((), "cat"), ((), "")):
        child = spawn(redis_url, "plan", "list", "-n", "all", "--wide", *args, PAGER=pager)
        shown = child.read()
        child.close()
        assert child.exitstatus == 0
        assert shown.count("BTCUSDT") == 100


def test_what_fits_needs_no_pager_and_a_pipe_never_has_one(
    redis_url: str, store: Store, cli: Cli
) -> None:
    decided(store, 3)
    child = spawn(redis_url, "plan", "list", size=(40, 160), PAGER="echo PAGED; cat")
    shown = child.read()
    child.close()
    assert "PAGED" not in shown
    assert shown.count("USDT") + shown.count("usdt") == 3
    decided(store, 300)
    assert "PAGED" not in cli.ok("plan", "list", "-n", "all", environ={"PAGER": "echo PAGED"}).out


def test_watching_draws_the_same_place_again_until_it_is_interrupted(
    redis_url: str, store: Store
) -> None:
    decided(store, 60)
    child = spawn(redis_url, "plan", "list", "-n", "all", "--watch", "0.2", size=(12, 120))
    child.expect_exact("\x1b[H")
    child.expect_exact("more lines: -n shows fewer rows")
    store.run("DEL", *store.run("KEYS", "quantum:governor:decision:*"), store.keys.events)
    child.expect_exact("No decisions match")
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130


def test_watching_goes_on_where_a_list_alone_would_exit_1(redis_url: str, store: Store) -> None:
    """As in an incident: one stream can't be read, all else can."""
    store.run("SET", store.keys.events, "no stream")
    child = spawn(redis_url, "timeline", "--watch", "0.2", size=(24, 160))
    child.expect_exact("events could not be read")
    store.run("DEL", store.keys.events)
    child.expect_exact("events: none are kept")
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130


def test_watching_in_a_pipe_is_one_list_behind_the_other(redis_url: str, store: Store) -> None:
    decided(store, 2)
    child = subprocess.Popen(
        [*QTCTL, "plan", "list", "-o", "ndjson", "--watch", "0.1", "--redis-url", redis_url],
        env={**os.environ, **NO_FILE}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout is not None
    seen = [json.loads(child.stdout.readline())["plan_id"] for _ in range(4)]
    child.send_signal(signal.SIGINT)
    assert child.wait() == 130
    child.stdout.close()
    assert seen == [LONG_ID.format(1), LONG_ID.format(0)] * 2


# Help, version, and errors that help -----------------------------------------------------------


@pytest.mark.parametrize("path", [[], ["plan"], ["plan", "list"], ["tail"], ["config", "show"]])
def test_help_is_the_page_that_the_option_shows(
    path: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*path, "--help"], NO_FILE) == 0
    page = capsys.readouterr().out
    assert run(["help", *path], NO_FILE) == 0
    assert capsys.readouterr().out == page


def test_help_for_no_command_names_those_there_are(cli: Cli) -> None:
    said = cli("help", "plan", "lst")
    assert (said.code, said.out) == (2, "")
    assert said.err == "qtctl: 'qtctl plan' has no command 'lst'; there are list, show\n"
    assert cli("help", "tail", "events").code == 2


def test_the_version_is_an_object_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"], NO_FILE) == 0
    version = capsys.readouterr().out.split()[1]
    assert run(["version", "-o", "json"], NO_FILE) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["version"] == version
    assert list(found) == ["version", "python", "redis_py", "platform"]


def test_an_error_of_redis_says_what_to_do_about_it(
    redis_url: str, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    store.run("ACL", "SETUSER", "eve", "reset", "on", ">pw", "~*", "+@connection", "+@read",
              "-zrange", "-xrevrange")  # fmt: skip
    try:
        said = Cli(f"{redis_url}?username=eve&password=pw", capsys)("permit", "list")
    finally:
        store.run("ACL", "DELUSER", "eve")
    assert said.code == 1
    assert "Logged in as the user eve: looking takes the rights of the role viewer" in said.err
    said = Cli(f"{redis_url}?db=99", capsys)("permit", "list")
    assert "this server has no database of that number" in said.err
    assert run(["permit", "list"], {**NO_FILE, "REDIS_PORT": "1"}) == 3
    assert "--redis-url names another" in capsys.readouterr().err
    environ = {**NO_FILE, "QTCTL_REDIS_URL": "redis://127.0.0.1:1"}
    assert run(["permit", "list"], environ) == 3
    assert "The URL comes from environment QTCTL_REDIS_URL" in capsys.readouterr().err


def test_what_is_refused_is_not_announced_first(cli: Cli, store: Store) -> None:
    store.run("HSET", store.keys.at(EFFICIENCY, "BTCUSDT"), "efficiency_score", "0.5")
    refused = cli("inject", "eff", "BTCUSDT", "0.2")
    assert (refused.code, refused.err.count("\n")) == (4, 1)
    assert "injecting" not in refused.err
    store.run("XGROUP", "CREATE", store.keys.plans, "apply", "0", "MKSTREAM")
    for line in ("inject plan BTCUSDT", "permit take p1"):
        refused = cli(*line.split())
        assert (refused.code, refused.err.count("\n")) == (4, 1)


def test_words_of_a_plan_that_the_governor_does_not_know_are_a_warning(
    cli: Cli, store: Store
) -> None:
    odd = ("--side", "BYU", "--action", "OPN_PROPOSED", "--decision", "EXECUT")
    said = cli.ok("inject", "plan", "BTCUSDT", *odd)
    warnings = [line for line in said.err.splitlines() if "warning" in line]
    assert len(warnings) == 3
    assert "did you mean OPEN_PROPOSED? It counts as an open" in said.err
    assert "'EXECUT' is none that the governor knows (EXECUTE, SKIP," in said.err
    assert "--side 'BYU' is not one of BUY, SELL" in said.err
    usual = ("--side", "sell", "--action", "partial_75", "--decision", "HOLD")
    assert "warning" not in cli.ok("inject", "plan", "BTCUSDT", *usual).err
