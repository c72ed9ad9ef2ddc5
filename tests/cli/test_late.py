"""A governor that finished no pass for 14 s: every command calls it late, by the one rule."""

import json
import socket
import subprocess

import pytest

from qtctl.cli.views.groups import recover
from qtctl.wire.client.store import Store
from qtctl.wire.queries.services import running
from qtctl.wire.schema.keys import GROUP
from qtctl.wire.schema.service import LATE_PASSES, ServiceRecord
from tests.support.cli import Cli
from tests.support.plans import KILL_NAMES

AGE_SEC = 14


@pytest.fixture
def cli(redis_url: str, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(redis_url, capsys)


@pytest.fixture(autouse=True)
def late(store: Store) -> str:
    """The record of one that hangs."""
    settings = json.dumps({"kill_keys": KILL_NAMES})
    now = store.now_ms() // 1000
    record = store.keys.service("governor", "g1")
    store.run("HSET", record, "settings", settings, "host", "elsewhere",
              "metrics", "10.0.0.1:8045", "started_at", now - 60,
              "last_pass_at", now - AGE_SEC)  # fmt: skip
    return record


def test_status_and_top(cli: Cli) -> None:
    rows = cli("status", "-o", "json").json["services"]
    (row,) = [row for row in rows if row["service"] == "governor"]
    assert row["state"] == "late"
    assert row["detail"].startswith("no pass for 1")
    assert "LATE" in cli("status").out
    assert "late" in cli("top", "-n", "1").out.lower()


def test_that_its_process_is_gone_is_not_forgotten_when_it_is_late(
    cli: Cli, store: Store, late: str
) -> None:
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    store.run("HSET", late, "host", socket.gethostname(), "pid", gone.pid)
    said = f"its process {gone.pid} is gone"
    assert said in cli("status", "-o", "json").json["banner"][1]["text"] + cli("status").out
    assert said in cli("doctor").out
    assert said in cli("halt").out


def test_doctor(cli: Cli) -> None:
    found = cli("doctor", "-o", "json").json
    (row,) = [it for it in found if it["check"] == "service.alive" and "g1" in it["what"]]
    assert row["level"] == "wrong"
    assert "governor g1 is late: no pass for 1" in row["what"]


def test_why(cli: Cli, store: Store) -> None:
    store.run("HSET", "quantum:allocation:target:BTCUSDT", "target_usd", "100",
              "timestamp", store.now_ms() // 1000)  # fmt: skip
    found = cli("why", "BTCUSDT", "-o", "json").json
    assert found["cause"] == "governor_stuck"
    assert "The governor g1 is late, no pass for 1" in found["sentence"]
    assert "LATE, last pass 1" in cli("why", "BTCUSDT").out


def test_halt_says_it_and_no_governor_is_alive(cli: Cli) -> None:
    said = cli("halt", "--reason", "test")
    assert said.code == 1
    assert "governor g1 is LATE: no pass for 1" in said.out
    assert said.out.endswith("· no governor is working: nothing enforces this halt yet\n")
    assert "qtctl doctor" in said.err
    assert cli("halt", "-o", "json").json["late"] == ["g1"]
    assert "alive" not in said.out


def test_resume(cli: Cli) -> None:
    cli("halt", "--reason", "test")
    said = cli.ok("resume", "--reason", "again", "--yes")
    assert "governor g1 is LATE: no pass for 1" in said.err


def test_nothing_is_handed_over_to_it(store: Store) -> None:
    store.run("XGROUP", "CREATE", store.keys.plans, GROUP, "0", "MKSTREAM")
    store.run("XADD", store.keys.plans, "*", "plan_id", "p1")
    store.run("XREADGROUP", "GROUP", GROUP, "dead", "STREAMS", store.keys.plans, ">")
    entry = store.run("XPENDING", store.keys.plans, GROUP, "-", "+", 1)[0][0]
    store.run("XCLAIM", store.keys.plans, GROUP, "dead", 0, entry, "IDLE", 120_000)
    assert recover(store, store.keys.plans, GROUP, dry_run=True).stuck == 1


def test_one_that_passed_just_now_is_not(cli: Cli, store: Store, late: str) -> None:
    store.run("HSET", late, "last_pass_at", store.now_ms() // 1000)
    assert "1 governor alive" in cli("halt").out
    assert "LATE" not in cli("status").out


def test_the_rule_goes_by_the_interval_of_the_service(store: Store) -> None:
    (record,) = running(store, "governor")
    assert record.late_after_sec == LATE_PASSES * 1.0 + 10.0
    slow = ServiceRecord("allocation", "a", "", "", "", 0, 100, {"interval_sec": 60}, "", "")
    assert [slow.is_late(100.0 + age) for age in (189, 190, 190.5)] == [False, False, True]
    odd = ServiceRecord("allocation", "a", "", "", "", 0, 100, {"interval_sec": "x"}, "", "")
    assert odd.late_after_sec == record.late_after_sec
