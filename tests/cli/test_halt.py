"""`qtctl halt` and `qtctl resume`: what they say, what they end with, and what every other command
says meanwhile."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
import pexpect
import pytest

from qtctl.cli.main import run
from qtctl.wire.client.connect import is_error
from qtctl.wire.client.store import Store
from qtctl.wire.control import halt, kill_switch
from qtctl.wire.control.halt import HaltRequest
from qtctl.wire.control.permits import take_permit
from qtctl.wire.governor.plan_queue import group_state
from qtctl.wire.private_server.embedded import Embedded
from qtctl.wire.private_server.folder import SOCKET
from qtctl.wire.queries import permits
from qtctl.wire.schema.keys import DECISION, LAST_CLOSE, LEDGER, Keys
from qtctl.wire.schema.records import pairs, text
from tests.support.cli import NO_FILE, Cli, hosting, interruptible
from tests.support.plans import NAMES, events, fields, judge, permit
from tests.support.ports import free_port
from tests.support.processes import Process, qtctl, until
from tests.support.proxy import HALF_OPEN, Fault, Proxy

OWN = "quantum:governor:halt"
ENV = {**os.environ, **NO_FILE, "LOGNAME": "alice", "SUDO_USER": ""}
ALICE = {"LOGNAME": "alice"}
CLOSE = {"action": "FULL_CLOSE_PROPOSED", "reduceOnly": "true"}


@pytest.fixture
def cli(redis_url: str, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(redis_url, capsys)


@pytest.fixture
def governor(store: Store) -> None:
    """One that is alive by its record, and judges nothing."""
    settings, now = json.dumps(msgspec.to_builtins(NAMES)), store.now_ms() // 1000
    record = store.keys.service("governor", "test")
    store.run("HSET", record, "settings", settings, "last_pass_at", now)


def own(store: Store) -> str:
    return text(store.run("GET", OWN) or b"")


# What it says ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("governor")
def test_one_line_says_what_is_stopped_and_where(cli: Cli, store: Store, redis_url: str) -> None:
    for plan_id in ("p1", "p2"):
        judge(store, fields(plan_id=plan_id))
    said = cli.ok("halt", "--reason", "exchange is down")
    assert said.out == (
        f"HALTED opens on {redis_url} · 2 permits withdrawn · closes still pass (--all stops them) "
        "· 1 governor alive\n"
    )
    assert said.err == f"[{redis_url}, prefix quantum:] halting opens\n"
    assert own(store) == "reduce_only"


@pytest.mark.usefixtures("governor")
@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--all"], "HALTED opens and closes on"),
        (["BTCUSDT", "--force"], "HALTED opens of BTCUSDT on"),
        (["BTCUSDT", "--all", "--force"], "HALTED opens and closes of BTCUSDT on"),
        (["--yes"], "HALTED opens on"),
        (["--no-input"], "HALTED opens on"),
    ],
)
def test_what_is_stopped(cli: Cli, args: list[str], words: str) -> None:
    assert cli.ok("halt", *args).out.startswith(words)


@pytest.mark.usefixtures("governor")
def test_close_permits_that_stay_are_counted_and_explained(cli: Cli, store: Store) -> None:
    judge(store, fields(plan_id="c", **CLOSE))
    said = cli.ok("halt", "--all")
    assert "· 1 close permit NOT withdrawn (takeable for up to 60 s) ·" in said.out
    assert "the Apply Layer may still take them for up to 60 s; --revoke" in said.err
    assert take_permit(store, "c") is not None, "as it says"


@pytest.mark.usefixtures("governor")
@pytest.mark.parametrize("symbol", [[], ["BTCUSDT"]])
def test_revoke_withdraws_close_permits_too(cli: Cli, store: Store, symbol: list[str]) -> None:
    judge(store, fields(plan_id="c", **CLOSE))
    judge(store, fields(plan_id="e", symbol="ETHUSDT", **CLOSE))
    judge(store, fields(plan_id="o"))
    assert "to withdraw" in cli.ok("halt", *symbol, "--all", "--revoke", "--dry-run").out
    said = cli.ok("halt", *symbol, "--all", "--revoke")
    closes = "1 close permit" if symbol else "2 close permits"
    assert f"· 1 permit withdrawn · {closes} withdrawn ·" in said.out
    assert "NOT" not in said.out + said.err
    assert take_permit(store, "c") is None
    assert (take_permit(store, "e") is None) == (not symbol)
    record = pairs(store.run("HGETALL", store.keys.at(DECISION, "c")))
    assert record["verdict"] == "permitted", "the verdict stays"
    assert record["withdrawn_at"]
    assert ("withdrawn", "c") in [(each["event"], each["plan_id"]) for each in events(store)]


def test_revoke_goes_with_all(cli: Cli, store: Store) -> None:
    assert cli("halt", "--revoke").code == 2
    assert own(store) == ""


@pytest.mark.usefixtures("governor")
def test_a_halt_again_changes_nothing_and_tells_whose_it_is(cli: Cli, store: Store) -> None:
    cli.ok("halt", "--all", "--reason", "mine", environ=ALICE)
    said = cli.ok("halt")
    assert "HALTED opens and closes" in said.out
    assert re.search(
        rf"stopped by {OWN}='all' since \S+ \S+Z by operator:alice@\S+: mine", said.out
    )
    assert own(store) == "all"


@pytest.mark.usefixtures("governor")
def test_somebody_elses_stop_is_told_since_closes_stop_by_it(cli: Cli, store: Store) -> None:
    store.run("SET", "quantum:kill", "true")
    out = cli.ok("halt").out
    assert "HALTED opens and closes" in out
    assert "stopped by quantum:kill='true' (not set by qtctl halt)" in out
    assert own(store) == "reduce_only"


def test_without_a_governor_it_is_set_and_ends_with_1(cli: Cli, store: Store) -> None:
    said = cli("halt")
    assert said.code == 1
    assert said.out.endswith("· no governor is running: nothing enforces this halt yet\n")
    assert "no governor is running: nothing enforces this halt yet. Is this the right" in said.err
    assert own(store) == "reduce_only"


def test_one_that_was_just_killed_is_not_alive(cli: Cli, redis_url: str) -> None:
    setting = f"governor.metrics_port={free_port()}"
    with qtctl("--redis-url", redis_url, "serve", "governor", "--set", setting, env=ENV) as child:
        until(lambda: "1 governor alive" in cli("halt").out, what="it to be ready")
        child.signal(signal.SIGKILL)
        child.wait()
        said = cli("halt")
    assert said.code == 1
    assert re.search(
        r"gives NO ANSWER: nobody listens at \S+, and its process \d+ is gone", said.out
    )
    assert "no governor is working: nothing enforces this halt yet" in said.out
    assert "or was killed: look with 'qtctl doctor'" in said.err
    (row,) = (it for it in cli("status", "-o", "json").json["services"] if it["state"] == "silent")
    assert cli("halt", "-o", "json").json["late"] == [row["name"]]
    assert "gives NO ANSWER: nobody listens at" in cli("resume", "--reason", "x", "--yes").err


def test_one_without_a_port_goes_by_its_process(cli: Cli, store: Store) -> None:
    record = store.keys.service("governor", "g1")
    store.run("HSET", record, "host", socket.gethostname(), "metrics", "127.0.0.1:0", "pid",
              os.getpid(), "last_pass_at", store.now_ms() // 1000)  # fmt: skip
    assert "1 governor alive" in cli("halt").out
    with subprocess.Popen(["true"]) as gone:
        pass
    store.run("HSET", record, "pid", gone.pid)
    assert f"gives NO ANSWER: its process {gone.pid} is gone" in cli("halt").out
    judge(store, fields())  # Just now, which is no sign that it still runs.
    (found,) = cli("why", "BTCUSDT", "-o", "json").json["governors"]
    assert found["silent"] == f"its process {gone.pid} is gone"
    assert "NO ANSWER, last pass" in cli("why", "BTCUSDT").out
    (row,) = (it for it in cli("status", "-o", "json").json["services"] if it["name"] == "g1")
    assert row["state"] == "silent"


def test_a_governor_with_other_kill_keys_gets_one_that_it_reads(
    cli: Cli, store: Store, redis_url: str
) -> None:
    with hosting(redis_url, "governor", 'governor.halt_keys=["ours"]', "governor.metrics_port=0"):
        said = cli.ok("halt", "--all")
        assert "1 governor alive" in said.out
        assert store.run("GET", "quantum:ours") == b"all"
        cli("inject", "plan", "BTCUSDT", "--plan-id", "p1", "--wait", "5", "--reduce-only")
        record = pairs(store.run("HGETALL", store.keys.at(DECISION, "p1")))
        assert record["kill_key"] == "quantum:ours"
        assert "quantum:ours='all'" in cli.ok("permit").err, "told, though our settings lack it"
        cli.ok("resume", "--reason", "back", "--yes")
        assert store.run("EXISTS", "quantum:ours", OWN) == 0


def test_a_governor_that_does_not_tell_its_kill_keys_is_named_loudly(
    cli: Cli, store: Store
) -> None:
    store.run("HSET", store.keys.service("governor", "old"), "version", "0.0.9")
    said = cli("halt")
    assert said.code == 1
    assert "governor old does not report which kill keys it reads" in said.err
    assert "systemctl stop quantum-governor.service" in said.err


@pytest.mark.usefixtures("governor")
def test_a_symbol_that_nothing_knows_is_refused_with_the_nearest(cli: Cli, store: Store) -> None:
    said = cli("halt", "ethusdt")
    assert said.code == 2
    assert "nothing here knows ethusdt" in said.err
    assert "nearest" not in said.err
    cli.ok("inject", "target", "ETHUSDT", "5")
    for misspelt in ("ethusdt", "ETHUSD", "ETHUSDT.P"):
        said = cli("halt", misspelt)
        assert said.code == 2
        assert "the nearest that is known is ETHUSDT" in said.err
        assert store.run("EXISTS", store.keys.halted_symbols) == 0
    cli.ok("halt", "ETHUSDT")
    cli.ok("halt", "ethusdt", "--force")
    assert store.run("HKEYS", store.keys.halted_symbols) == [b"ETHUSDT", b"ethusdt"]
    cli.ok("halt", "ethusdt")  # It is halted: the same again.


def test_a_spelling_that_nobody_sends_is_not_known_by_the_trades_of_another(
    cli: Cli, store: Store
) -> None:
    """Ledgers are kept in upper case, whatever the spelling of the plans."""
    judge(store, fields(plan_id="p1", symbol="BTCUSDT"))
    assert store.run("EXISTS", store.keys.at(LEDGER, "BTCUSDT")) == 1
    said = cli("halt", "btcusdt")
    assert said.code == 2
    assert "the nearest that is known is BTCUSDT" in said.err
    assert store.run("EXISTS", store.keys.halted_symbols) == 0


@pytest.mark.usefixtures("governor")
def test_a_halt_withdraws_the_permits_of_every_spelling_that_it_stops(
    cli: Cli, store: Store
) -> None:
    judge(store, fields(plan_id="p1", symbol="btcusdt"))
    judge(store, fields(plan_id="p2", symbol="BTCUSDT"))
    judge(store, fields(plan_id="p3", symbol="ETHUSDT"))
    said = cli.ok("halt", "btcusdt")
    assert "1 permit withdrawn" in said.out
    assert "'qtctl halt BTCUSDT' stops every spelling" in said.err
    judge(store, fields(plan_id="p4", symbol="btcUSDT"))
    said = cli.ok("halt", "BTCUSDT")
    assert "2 permits withdrawn" in said.out
    assert "spelling" not in said.err
    assert [permit.plan_id for permit in permits.listed(store)] == ["p3"]


@pytest.mark.usefixtures("governor")
@pytest.mark.parametrize("known_by", ["score", "plan", "decision", "last close"])
def test_a_symbol_is_known_by_any_trace_of_it(cli: Cli, store: Store, known_by: str) -> None:
    if known_by == "score":
        cli.ok("inject", "eff", "XUSDT", "0.5")
    elif known_by == "last close":
        store.run("SET", store.keys.at(LAST_CLOSE, "XUSDT"), "1")
    else:
        judge(store, fields(symbol="XUSDT"))
        store.run("DEL", store.keys.at(LEDGER, "XUSDT"))
        store.run("DEL", store.keys.events if known_by == "plan" else store.keys.plans)
    cli.ok("halt", "XUSDT")


def test_a_permit_without_its_decision_is_left_and_ends_with_1(
    cli: Cli, store: Store, governor: None
) -> None:
    judge(store, fields())
    store.run("DEL", store.keys.at(DECISION, "p1"))
    said = cli("halt")
    assert said.code == 1
    assert "the permit of p1 was not withdrawn: its decision is gone" in said.err


@pytest.mark.usefixtures("governor")
def test_a_dry_run_changes_nothing(cli: Cli, store: Store) -> None:
    judge(store, fields())
    said = cli.ok("halt", "--dry-run", "--all")
    assert "WOULD HALT opens and closes" in said.out
    assert "1 permit to withdraw" in said.out
    assert own(store) == ""
    assert len(permits.listed(store)) == 1
    assert not [event for event in events(store) if event["event"] == "halted"]


@pytest.mark.usefixtures("governor")
def test_json_of_both(cli: Cli, store: Store, redis_url: str) -> None:
    judge(store, fields())
    judge(store, fields(plan_id="c", **CLOSE))
    said = cli.ok("halt", "--reason", "why not", "-o", "json", environ=ALICE).json
    assert 0 < said.pop("since") <= time.time() + 1
    assert said.pop("who").startswith("operator:alice@")
    assert said == {
        "halted": "opens", "symbol": None, "redis": redis_url, "key": OWN, "value": "reduce_only",
        "why": "why not", "before": None, "withdrawn": 1, "closes_withdrawn": 0, "closes_left": 1,
        "unknown_left": [], "governors": ["test"], "late": [],
    }  # fmt: skip
    assert cli.ok("resume", "--reason", "x", "--yes", "-o", "json").json == {
        "resumed": [{"name": "governor:halt", "value": "reduce_only", "restored": None}],
        "symbol": None, "redis": redis_url, "acknowledged": None, "still_halted": [],
    }  # fmt: skip


@pytest.mark.usefixtures("governor")
def test_a_reason_is_one_line_and_steers_no_terminal(cli: Cli, store: Store) -> None:
    judge(store, fields())
    cli.ok("halt", "--reason", "a\nb \x1b]0;owned\x07\u202e\udcff")
    for said in (cli.ok("halt"), cli.ok("permit"), cli("resume", "--reason", "\x1b[2J")):
        whole = said.out + said.err
        assert "a b \\x1b]0;owned\\x07\\u202e" in whole
        assert not set("\x1b\x07\u202e") & set(whole)


# By settings that are wrong elsewhere ---------------------------------------------------------

WRONG = [
    ("governor", "symbol_cooldown_sec = -1"),
    ("governor", "no_such_setting = 1"),
    ("allocation", "min_mult = 9.0"),
    ("logging", 'level = "loud"'),
    ("colours", "x = 1"),
]


@pytest.mark.usefixtures("governor")
@pytest.mark.parametrize(("section", "line"), WRONG)
def test_only_the_section_of_redis_must_be_right(
    store: Store, redis_url: str, capsys: pytest.CaptureFixture[str], tmp_path: Path,
    section: str, line: str,
) -> None:  # fmt: skip
    file = tmp_path / "qtctl.toml"
    file.write_text(f'[redis]\nurl = "{redis_url}"\n[{section}]\n{line}\n')
    environ = {"QTCTL_CONFIG": str(file), "LOGNAME": "alice"}
    cli = Cli(redis_url, capsys)
    assert cli("permit", environ=environ).code == 5, "it is really wrong"
    said = cli.ok("halt", "--reason", "x", environ=environ)
    assert own(store) == "reduce_only"
    assert "warning" in said.err
    assert str(file) in said.err
    assert "; going on with the defaults of [" in said.err
    cli.ok("resume", "--reason", "x", "--yes", environ=environ)
    assert own(store) == ""


@pytest.mark.usefixtures("governor")
@pytest.mark.parametrize(
    ("environ", "sets"),
    [({"GOV_MAX_EXEC_PER_HOUR": "many"}, ()), ({"P31_MIN_CONF": "7"}, ()),
     ({"QTCTL_NO_SUCH": "1"}, ()), ({}, ("governor.batch=x",)), ({}, ("nowhere.at_all=1",))],
)  # fmt: skip
def test_nor_need_variables_and_flags_be(
    cli: Cli, store: Store, environ: dict[str, str], sets: tuple[str, ...]
) -> None:
    flags = [part for each in sets for part in ("--set", each)]
    assert cli("permit", *flags, environ=environ).code == 5, "it is really wrong"
    cli.ok("halt", *flags, environ=environ)
    assert own(store) == "reduce_only"


@pytest.mark.parametrize("line", ["url = 5", "no_such = 1", 'prefix = ""', "timeout_sec = -1"])
def test_what_is_wrong_about_redis_itself_is_an_error(
    store: Store, capsys: pytest.CaptureFixture[str], tmp_path: Path, line: str
) -> None:
    file = tmp_path / "qtctl.toml"
    file.write_text(f"[redis]\n{line}\n")
    assert Cli(store.url, capsys)("halt", environ={"QTCTL_CONFIG": str(file)}).code == 5


@pytest.mark.usefixtures("governor")
@pytest.mark.parametrize("content", [b'[redis]\nprefix = "oth', None, b"\xff\xfe"])
def test_a_file_that_is_no_file_is_a_warning_where_the_url_is_given(
    cli: Cli,
    store: Store,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    content: bytes | None,
) -> None:
    file = tmp_path / "half-saved.toml"
    if content is not None:
        file.write_bytes(content)
    assert cli("permit", "--config", str(file)).code == 5, "it is really wrong"
    said = cli.ok("halt", "--config", str(file))
    assert own(store) == "reduce_only"
    assert f"warning: file {file}" in said.err
    assert "going on without it, with the prefix quantum: (default); --set redis.pre" in said.err
    cli.ok("resume", "--reason", "x", "--yes", "--config", str(file))
    assert own(store) == ""
    said = cli("halt", "--config", str(file), "--set", "redis.prefix=other:", "--dry-run")
    assert "with the prefix other: (--set)" in said.err

    assert run(["halt"], {"QTCTL_REDIS_URL": store.url, "QTCTL_CONFIG": str(file)}) == 0
    assert own(store) == "reduce_only"
    assert run(["halt"], {"QTCTL_CONFIG": str(file)}) == 5
    assert "without the file: name the Redis by --redis-url" in capsys.readouterr().err


# Where it can't be done ------------------------------------------------------------------------


@pytest.mark.parametrize("line", ["halt", "halt --all", "halt BTCUSDT"])
def test_with_redis_away_it_says_how_to_stop_by_systemd(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = Cli("redis://127.0.0.1:1", capsys)(*line.split())
    assert said.code == 3
    assert "systemctl stop quantum-governor.service" in said.err
    assert "qtctl.service" in said.err


def test_a_redis_that_takes_no_writes_stops_nothing_and_says_so(cli: Cli, store: Store) -> None:
    store.run("CONFIG", "SET", "min-replicas-to-write", "1")
    said = cli("halt")
    store.run("CONFIG", "SET", "min-replicas-to-write", "0")
    assert said.code == 1
    assert "nothing is stopped: " in said.err
    assert "systemctl stop" in said.err


@pytest.mark.parametrize("what", ["", "--all", "BTCUSDT"])
def test_halt_and_resume_work_while_memory_is_full(cli: Cli, store: Store, what: str) -> None:
    judge(store, fields())
    store.run("CONFIG", "SET", "maxmemory", "1")
    try:
        cli("halt", *what.split(), "--reason", "full", "--force")
        halted = [row.mode.level for row in kill_switch.read(store, NAMES)]
        assert max(halted) == (2 if what == "--all" else 1)
        assert permit(store) is None, "it was withdrawn"
        cli("resume", *([what] if what == "BTCUSDT" else ()), "--reason", "full", "--yes")
        assert not any(row.mode.level for row in kill_switch.read(store, NAMES))
    finally:
        store.run("CONFIG", "SET", "maxmemory", "0")


@pytest.mark.parametrize("args", [["--reason", "x" * 201], ["BTC:USDT"], ["A", "B"]])
def test_what_makes_no_sense_is_told_before_anything_is_done(
    cli: Cli, store: Store, args: list[str]
) -> None:
    assert cli("halt", *args).code == 2
    assert own(store) == ""


def test_a_halt_that_is_killed_midway_leaves_the_stop_in_force(
    server: Embedded, store: Store
) -> None:
    judge(store, fields())
    with (
        Proxy(server.directory / SOCKET, Fault(HALF_OPEN, name="ZSCAN")) as proxy,
        qtctl("halt", "--redis-url", proxy.url, "--reason", "me", env=ENV) as child,
    ):
        until(lambda: proxy.fired, what="the halt to come to the permits")
        child.signal(9)
        child.wait()
    assert own(store) == "reduce_only"
    row = kill_switch.strictest(kill_switch.read(store, NAMES))
    assert row is not None
    assert row.why == "me"
    assert judge(store, fields(plan_id="p2")).reason.value == "kill_switch_active"


def test_a_connection_lost_midway_says_that_the_stop_stands(
    server: Embedded, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    with Proxy(server.directory / SOCKET, Fault("cut before the command", name="ZSCAN")) as proxy:
        said = Cli(proxy.url, capsys)("halt")
    assert said.code == 3
    assert f"the stop stands ({OWN}='reduce_only')" in said.err
    assert "run it again" in said.err


# Going on --------------------------------------------------------------------------------------


def test_a_resume_needs_a_reason_and_somebody_to_ask(cli: Cli, store: Store) -> None:
    cli("halt")
    for args in ([], ["--yes"], ["--reason", " ", "--yes"]):
        assert cli("resume", *args).code == 2
    for args in ([], ["--no-input"]):
        said = cli("resume", "--reason", "back", *args)
        assert said.code == 4
        assert "--yes" in said.err
    assert own(store) == "reduce_only"
    said = cli.ok("resume", "--reason", "back", "--yes")
    assert said.out.startswith("RESUMED all that halt stopped on ")
    assert own(store) == ""
    said = cli("resume", "--reason", "back", "--yes")
    assert said.code == 1
    assert "nothing is halted on" in said.err


@pytest.mark.parametrize("key", ["kill", "global:kill_switch"])
def test_a_resume_names_the_key_of_another_system_that_is_set(
    cli: Cli, store: Store, key: str
) -> None:
    cli("halt")
    store.run("SET", f"quantum:{key}", "1")
    for more in ([], ["--force"]):
        said = cli("resume", "--reason", "back", "--yes", *more)
        assert said.code == 4
        assert f"quantum:{key}='1' is set" in said.err
    assert own(store) == "reduce_only"


def test_a_value_by_hand_under_our_key_goes_with_force(cli: Cli, store: Store) -> None:
    store.run("SET", OWN, "1")
    said = cli("resume", "--reason", "back", "--yes")
    assert said.code == 4
    assert "--force" in said.err
    cli.ok("resume", "--reason", "back", "--yes", "--force")
    assert own(store) == ""


def test_the_question_names_who_halted_also_where_nobody_can_answer_it(
    cli: Cli, store: Store
) -> None:
    cli("halt", environ={"LOGNAME": "alice"})
    said = cli("resume", "--reason", "back", "--no-input")
    assert said.code == 4
    assert f"by operator:alice@{socket.gethostname()}. Resume?" in said.err
    assert own(store) == "reduce_only"


def test_what_was_there_before_is_put_back_and_said(cli: Cli, store: Store) -> None:
    store.run("SET", OWN, "true")
    cli("halt", "--all")
    said = cli("resume", "--reason", "back", "--yes")
    assert said.code == 1, "it does not go on"
    assert "'true' is put back" in said.out
    assert f"STILL HALTED by {OWN}='true' (not set by qtctl halt)" in said.out
    assert own(store) == "true"


def test_one_symbol_goes_on_and_the_others_do_not(cli: Cli, store: Store) -> None:
    for symbol in ("BTCUSDT", "ETHUSDT"):
        cli("halt", symbol, "--force")
    said = cli("resume", "--reason", "back", "--yes")
    assert said.code == 1
    assert "but for BTCUSDT, ETHUSDT" in said.err
    said = cli.ok("resume", "BTCUSDT", "--reason", "back", "--yes")
    assert said.out.startswith("RESUMED BTCUSDT on ")
    assert "symbols still halted: ETHUSDT" in said.out
    assert cli("resume", "BTCUSDT", "--reason", "back", "--yes").code == 1
    assert judge(store, fields()).verdict.value == "permitted"
    assert judge(store, fields(plan_id="e", symbol="ETHUSDT")).verdict.value == "blocked"


def test_a_symbol_does_not_go_on_while_all_are_halted(cli: Cli, store: Store) -> None:
    cli("halt", "BTCUSDT", "--force")
    cli("halt")
    said = cli("resume", "BTCUSDT", "--reason", "back", "--yes")
    assert said.code == 1
    assert "RESUMED BTCUSDT" in said.out
    assert f"STILL HALTED by {OWN}='reduce_only'" in said.out


def test_a_dry_resume_changes_nothing(cli: Cli, store: Store) -> None:
    cli("halt")
    said = cli.ok("resume", "--reason", "back", "--dry-run")
    assert said.out.startswith("WOULD RESUME")
    assert own(store) == "reduce_only"


@contextmanager
def terminal(redis_url: str, *args: str) -> Iterator[pexpect.spawn]:
    child = pexpect.spawn(
        sys.executable, ["-m", "qtctl", "--redis-url", redis_url, *args],
        env=ENV, timeout=30, encoding="utf-8", dimensions=(40, 200),
    )  # fmt: skip
    try:
        yield child
    finally:
        child.close(force=True)


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 4), ("", 4)])
def test_on_a_terminal_halt_never_asks_and_resume_does(
    redis_url: str, store: Store, answer: str, code: int, governor: None
) -> None:
    with terminal(redis_url, "halt", "--reason", "down") as child:
        child.expect("HALTED opens on")
        child.expect(pexpect.EOF)
        child.wait()
        assert child.exitstatus == 0
    with terminal(redis_url, "resume", "--reason", "back") as child:
        child.expect("by operator:alice@.*: down. Resume\\? \\[y/N\\]")
        child.sendline(answer)
        child.expect(pexpect.EOF)
        child.wait()
        assert child.exitstatus == code
    assert own(store) == ("" if code == 0 else "reduce_only")


# Meanwhile -------------------------------------------------------------------------------------

LOOKS = ["permit list", "plan list", "target list", "eff list", "tail events", "inject clear"]


@pytest.mark.parametrize("line", LOOKS)
def test_every_command_tells_it_while_it_lasts(cli: Cli, store: Store, line: str) -> None:
    judge(store, fields())
    quiet = cli(*line.split())
    assert "HALTED" not in quiet.err
    cli("halt", "--reason", "feed is wrong", environ=ALICE)
    said = cli(*line.split(), "-o", "json")
    json.loads(said.out)
    told = [row for row in said.err.splitlines() if "HALTED" in row]
    assert len(told) == 1
    assert re.fullmatch(
        rf"qtctl: HALTED opens: {OWN}='reduce_only' since \S+ \S+Z by operator:alice@\S+: "
        "feed is wrong",
        told[0],
    )
    cli.ok("resume", "--reason", "back", "--yes")
    assert "HALTED" not in cli(*line.split()).err


def test_a_command_that_fails_tells_it_too(cli: Cli) -> None:
    cli("halt")
    said = cli("permit", "show", "nothing")
    assert said.code == 1
    assert "HALTED opens" in said.err


def test_all_that_is_set_is_named(cli: Cli, store: Store) -> None:
    cli("halt")
    store.run("SET", "quantum:kill", "\x1b[31m")
    store.run("SADD", "quantum:global:kill_switch", "x")
    for symbol in ("A", "B", "C", "D", "E"):
        halt.stop(store, HaltRequest("operator:bob@b", "", NAMES, 1000, symbol), False)
    (told,) = [row for row in cli.ok("permit").err.splitlines() if "HALTED" in row]
    assert "HALTED opens and closes: quantum:kill='\\x1b[31m' (not set by qtctl halt)" in told
    assert "quantum:global:kill_switch='<another type>'" in told
    assert f"{OWN}='reduce_only' since" in told
    assert "opens of A: " in told
    assert "and of 2 more symbols" in told


def test_the_notice_costs_one_round_trip_and_needs_no_permission(
    server: Embedded, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    with Proxy(server.directory / SOCKET) as proxy:
        Cli(proxy.url, capsys).ok("permit")
        assert proxy.seen[-5:] == ["GET", "GET", "GET", "HGETALL", "HGETALL"]
    store.run("SET", OWN, "1")
    store.run("ACL", "SETUSER", "poor", "reset", "on", ">x", "+zrange", "~quantum:governor:permits")
    try:
        said = Cli(store.url.replace("unix://", "unix://poor:x@"), capsys).ok("permit")
        assert said.err == "No permits are open.\n"
    finally:
        store.run("ACL", "DELUSER", "poor")


def test_following_tells_it_at_the_start_and_when_it_changes(
    redis_url: str, store: Store, cli: Cli
) -> None:
    cli("halt", "--reason", "one")
    with interruptible():
        follow = ("tail", "events", "-n", "1", "-f", "-o", "ndjson", "--redis-url", redis_url)
        with qtctl(*follow, env=ENV) as child:
            child.wait_for_line("HALTED opens: ")
            cli.ok("resume", "--reason", "two", "--yes")
            child.wait_for_line("nothing is halted any more")
            assert child.stderr.count("HALTED") == 1
            for line in child.stdout.splitlines():
                json.loads(line)


# Under load ------------------------------------------------------------------------------------

RATES_OFF = ("symbol_cooldown_sec=0", "reopen_cooldown_sec=0",
             "max_exec_per_5min=0", "max_exec_per_hour=0")  # fmt: skip


class Load:
    """Plans by the hundred a second, opens and closes, until the end of a `with`."""

    def __init__(self, url: str) -> None:
        self._store, self._stop = Store(url, Keys()), threading.Event()
        self._thread = threading.Thread(target=self._send)
        self.sent = 0

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._store.close()

    def _send(self) -> None:
        while not self._stop.wait(0.005):
            batch = []
            for number in range(self.sent, self.sent + 4):
                more = CLOSE if number % 4 == 0 else {}
                plan = fields(plan_id=f"p{number}", symbol=f"S{number % 7}", **more)
                flat = [part for pair in plan.items() for part in pair]
                batch.append(("XADD", self._store.keys.plans, "*", *flat))
            assert not any(is_error(reply) for reply in self._store.batch(batch))
            self.sent += len(batch)


@contextmanager
def governors(url: str, count: int) -> Iterator[list[Process]]:
    rates = [part for rate in RATES_OFF for part in ("--set", f"governor.{rate}")]
    with ExitStack() as stack:
        started = [
            stack.enter_context(
                qtctl("serve", "governor", "--redis-url", url, *rates, "--set",
                      "governor.metrics_port=0", "--set", f"governor.name=g{number}", env=ENV)
            )
            for number in range(count)
        ]  # fmt: skip
        for child in started:
            child.wait_for_line("listening", timeout=30)
        yield started


def test_under_load_not_one_open_is_permitted_after_a_halt_has_returned(
    redis_url: str, store: Store, cli: Cli
) -> None:
    taken: list[str] = []
    done = threading.Event()

    def take() -> None:
        own_ = Store(redis_url, Keys())
        while not done.wait(0.01):
            held = [permit.plan_id for permit in permits.listed(own_)]
            mine = [id_ for id_ in held if int(id_[1:]) % 3 == 0]
            taken.extend(id_ for id_ in mine if take_permit(own_, id_) is not None)
        own_.close()

    taker = threading.Thread(target=take)
    with governors(redis_url, 3):
        taker.start()
        with Load(redis_url) as load:
            until(lambda: len(permits.listed(store)) > 150, what="permits")
            said = cli.ok("halt")
            begun = load.sent
            until(lambda: load.sent > begun + 300, what="more plans")
        until(lambda: settled(store), what="the governors to catch up")
        done.set()
        taker.join()
    assert "3 governors alive" in said.out
    kinds = {
        text(key).rpartition(":")[2]: pairs(store.run("HGETALL", key))
        for key in store.scan_keys("quantum:governor:decision:*")
    }
    # The order in the stream is the order in which things happened: each step writes its event.
    told = events(store)
    halted = next(place for place, event in enumerate(told) if event["event"] == "halted")
    permitted = [e["plan_id"] for e in told[halted:] if e["event"] == "permitted"]
    assert len(permitted) > 50, "closes still pass"
    assert {kinds[plan_id]["kind"] for plan_id in permitted} == {"close"}
    assert {
        event["reason"]
        for event in told[halted:]
        if event["event"] == "blocked"
    } == {"kill_switch_active"}  # fmt: skip
    # Of the opens permitted before, each was taken or withdrawn, and none is left.
    opens = {
        e["plan_id"]
        for e in told[:halted]
        if e["event"] == "permitted" and kinds[e["plan_id"]]["kind"] == "open"
    }
    withdrawn = {id_ for id_, record in kinds.items() if "withdrawn_at" in record}
    assert withdrawn <= opens
    assert withdrawn.isdisjoint(taken)
    assert withdrawn | set(taken) >= opens
    assert {kinds[held.plan_id]["kind"] for held in permits.listed(store)} <= {"close"}


def settled(store: Store) -> bool:
    state = group_state(store)
    return state is not None and state.pending == 0 and state.lag == 0
