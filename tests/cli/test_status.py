"""`qtctl status`: one screen, and what its exit code says."""

import signal
import time

import pytest

from qtctl.settings import Settings
from qtctl.wire.client import xinfo
from qtctl.wire.client.store import Store
from qtctl.wire.governor.plan_queue import PlanQueue, group_state
from qtctl.wire.queries import status
from qtctl.wire.queries.status import Watch
from qtctl.wire.schema.keys import EFFICIENCY, TARGET
from tests.support.cli import Cli, hosting
from tests.support.plans import fields
from tests.support.processes import qtctl, until

KEYS = {
    "": ["ok", "where", "at", "services", "redis", "kill_switch", "plans", "group", "permits",
         "problems", "banner", "upstream", "other_groups"],
    "redis": ["url", "primary", "name", "version", "role", "up_s", "may_evict", "emptied", "lost",
              "acknowledged", "restarted", "wrong_database"],
    "kill_switch": ["mode", "told", "keys", "unread"],
    "plans": ["per_minute", "decided_per_minute", "permitted", "blocked", "since_s", "cut",
              "blocks", "per_minute_at_least", "recent", "recent_stale", "closes_refused",
              "closes_refused_at_least", "close_refused_age_s", "close_refused_symbol", "stream",
              "stream_name", "stream_type", "deleted_age_s"],
    "group": ["lag", "pending", "stuck", "consumers", "behind", "first_waits_s", "pending_s",
              "max_queue_age_s", "served_within_limit"],
    "upstream": ["whole", "targets", "scores", "last_plan_age_s", "last_proposal_age_s"],
    "permits": ["open", "next_ttl_s", "without_ttl", "newest_only"],
}  # fmt: skip
SERVICE = [
    "service",
    "name",
    "state",
    "detail",
    "last_pass_age_s",
    "up_s",
    "version",
    "host",
    "metrics",
    "clock_ahead_s",
]

NO_PORTS = ("governor.metrics_port=0", "allocation.metrics_port=0")


@pytest.fixture
def cli(redis_url: str, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(redis_url, capsys)


def send(store: Store, **changes: str) -> None:
    flat = [part for pair in fields(**changes).items() for part in pair]
    store.run("XADD", store.keys.plans, "*", *flat)


def upstream(store: Store) -> None:
    """A fresh target and a fresh score."""
    now = store.now_ms() // 1000
    store.run("HSET", store.keys.at(TARGET, "BTCUSDT"), "target_usd", "100", "timestamp", now)
    store.run("HSET", store.keys.at(EFFICIENCY, "BTCUSDT"), "efficiency_score", "0.6",
              "confidence", "0.9", "ts", now)  # fmt: skip


def test_all_is_well_is_0_and_the_document_is_as_described(
    cli: Cli, store: Store, redis_url: str
) -> None:
    with (
        hosting(redis_url, "governor", *NO_PORTS),
        hosting(redis_url, "allocation", *NO_PORTS),
    ):
        upstream(store)
        send(store, plan_id="p1")
        send(store, plan_id="p2", kill_score="0.9")
        until(lambda: cli("status", "-o", "json").json["plans"]["blocked"])
        found = cli.ok("status", "-o", "json").json
    assert list(found) == KEYS[""]
    for part in list(KEYS)[1:]:
        assert list(found[part]) == KEYS[part]
    assert [list(row) for row in found["services"]] == [SERVICE, SERVICE]
    assert found["plans"]["blocks"] == {"kill_score_critical": 1}
    assert found["plans"]["permitted"] == 1
    assert found["plans"]["per_minute"] == 2, "within a minute from the first one on"
    assert found["permits"]["open"] == 1
    assert 0 < found["permits"]["next_ttl_s"] <= 60
    assert found["kill_switch"] == {"mode": "normal", "told": "normal", "keys": [], "unread": []}
    assert found["banner"] == []


def test_a_service_that_is_not_there_is_named_and_is_1(cli: Cli, redis_url: str) -> None:
    with hosting(redis_url):
        said = cli("status")
    assert said.code == 1
    assert "NOT RUNNING" in said.out
    (row,) = (line for line in said.out.splitlines() if line.startswith("allocation"))
    assert "NOT RUNNING" in row


def test_nothing_at_all_is_told_and_no_error(cli: Cli) -> None:
    said = cli("status")
    assert said.code == 1
    assert said.out.count("NOT RUNNING") == 2
    assert "no governor has run on this Redis" in said.out
    assert "none open" in said.out


def test_a_service_that_finishes_no_pass_is_late(cli: Cli, store: Store) -> None:
    record = store.keys.service("governor", "stuck")
    at = store.now_ms() // 1000
    store.run("HSET", record, "started_at", at - 900, "last_pass_at", at - 300, "settings", "{}")
    said = cli("status", "-o", "json")
    (row,) = (row for row in said.json["services"] if row["service"] == "governor")
    assert row["state"] == "late"
    assert row["detail"].startswith("no pass for 5 min")
    assert "LATE: no pass for 5 min" in cli("status").out


def test_what_is_stopped_is_told_with_who_and_why_and_is_1(
    cli: Cli, store: Store, redis_url: str
) -> None:
    with hosting(redis_url, "governor", *NO_PORTS), hosting(redis_url, "allocation"):
        cli.ok("halt", "--reason", "a drill")
        said = cli("status", "-o", "json")
        assert said.code == 1
        assert said.json["kill_switch"]["mode"] == "reduce_only"
        (key,) = said.json["kill_switch"]["keys"]
        assert (key["key"], key["why"]) == ("quantum:governor:halt", "a drill")
        page = cli("status")
    assert "a drill" in page.out
    assert "HALTED" not in page.err, "once is enough"


def test_a_lag_that_redis_does_not_know_is_unknown(cli: Cli, store: Store) -> None:
    for name in ("a", "b", "c"):
        send(store, plan_id=name)
    first = store.run("XRANGE", store.keys.plans, "-", "+", "COUNT", 1)[0][0]
    store.run("XGROUP", "CREATE", store.keys.plans, "governor", first)
    store.run("XDEL", store.keys.plans, store.run("XRANGE", store.keys.plans, "-", "+")[1][0])
    assert cli("status", "-o", "json").json["group"]["lag"] is None
    assert "lag unknown (1 counted behind it)" in cli("status").out


def test_a_group_at_the_end_of_its_stream_is_behind_nothing(cli: Cli, store: Store) -> None:
    """Redis 7.0 forgets with a restart how many entries a group has read, and counts on from there:
    a group that has read everything keeps a lag for good."""
    for name in ("a", "b", "c"):
        send(store, plan_id=name)
    plans = store.keys.plans
    store.run("XGROUP", "CREATE", plans, "governor", "$", "ENTRIESREAD", 1)
    assert xinfo.groups(store, plans)[0].lag == 2, "what Redis says"
    group = cli("status", "-o", "json").json["group"]
    assert (group["lag"], group["behind"]) == (0, 0)
    assert cli.ok("group", "list", "-o", "json").json[0]["lag"] == 0
    store.run("XTRIM", plans, "MAXLEN", 0)
    assert PlanQueue(store, store, "g1").look().trimmed_unread() is None, "all of it was read"
    for found in (PlanQueue(store, store, "g1").look().group, group_state(store)):
        assert found is not None
        assert found.lag == 0
    send(store, plan_id="d")
    assert cli("status", "-o", "json").json["group"]["lag"] == 3


def test_text_from_redis_is_no_control_sequence(cli: Cli, store: Store) -> None:
    record = store.keys.service("governor", "x")
    store.run("HSET", record, "version", "\x1b[2J[red]", "metrics", "\x1b]0;t\x07")
    said = cli("status")
    assert "\x1b" not in said.out + said.err
    assert "[red]" in said.out


def test_a_service_is_asked_whether_it_is_ready(cli: Cli, redis_url: str) -> None:
    def state() -> str:
        rows = cli("status", "-o", "json").json["services"]
        (row,) = (row for row in rows if row["service"] == "governor")
        return str(row["state"])

    options = ("--redis-url", redis_url, "--set", "governor.metrics_port=0")
    with qtctl("serve", "governor", *options) as child:
        until(lambda: state() == "ready", what="it to be ready")
        child.signal(signal.SIGSTOP)
        assert state() == "silent"
        assert "NO ANSWER: no answer in time from" in cli("status").out
        child.signal(signal.SIGCONT)


def test_looks_again_and_again_add_up_to_the_same_as_one(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "MOST_EVENTS", 5)
    watch = Watch(store, Settings(), 3600)

    def tell(count: int) -> None:
        for _ in range(count):
            store.run("XADD", store.keys.events, "*", "event", "blocked", "reason", "r")

    for count, blocked, cut in ((2, 2, False), (2, 4, False), (2, 5, True), (9, 5, True)):
        tell(count)
        lately, fresh = watch.read().lately, Watch(store, Settings(), 3600).read().lately
        assert (lately.blocked, lately.cut) == (blocked, cut)
        assert (fresh.blocked, fresh.cut) == (blocked, cut)
        assert lately.blocks == fresh.blocks
    store.run("DEL", store.keys.events)
    store.close()  # Another server may answer from now on.
    tell(1)
    assert watch.read().lately.blocked == 1


@pytest.mark.parametrize("anew", [True, False])
def test_a_stream_that_was_made_anew_counts_from_its_beginning(store: Store, anew: bool) -> None:
    event = ("XADD", store.keys.events, "*", "event", "blocked", "reason", "r")
    watch = Watch(store, Settings(), 3600)
    for _ in range(3):
        store.run(*event)
    assert watch.read().lately.blocked == 3
    store.run("FLUSHALL")
    time.sleep(0.005)  # Within the same millisecond the new entry would have the old one's id.
    for _ in range(anew):
        store.run(*event)
    for _ in range(2):
        assert watch.read().lately.blocked == anew
    store.run(*event)
    assert watch.read().lately.blocked == anew + 1


def test_what_cant_be_read_is_told_in_its_place(cli: Cli, store: Store) -> None:
    store.run("SET", store.keys.events, "x")
    found = cli("status", "-o", "json").json
    assert "events" in found["problems"]
    assert found["permits"]["open"] == 0
    assert found["ok"] is False


@pytest.mark.parametrize(("unit", "factor"), [("s", 0.001), ("µs", 1000), ("ns", 1_000_000)])
def test_plan_ids_by_another_clock_are_named(
    cli: Cli, store: Store, unit: str, factor: float
) -> None:
    store.run("XADD", store.keys.plans, f"{int(store.now_ms() * factor)}-0", "plan_id", "p1",
              "symbol", "BTCUSDT", "decision", "EXECUTE", "source", "harvest")  # fmt: skip
    said = cli("status", "-o", "json")
    assert said.code == 1
    problem = said.json["problems"]["plan_ids"]
    assert f"are in {unit}, not in ms" in problem
    assert "from harvest" in problem
    assert f"are in {unit}" in cli("status").out
    assert "p1" in cli.ok("tail", "plans").out
    cli.ok("serve", "governor", "--once")
    why = cli.ok("why", "BTCUSDT", "-o", "json").json
    assert why["cause"] == "plan_ids"
    assert f"are in {unit}, not in ms" in why["sentence"]
    assert "1. " in why["sentence"]
    assert "XADD … *" in why["sentence"]
    assert f"the id of its entry is in {unit}, not in ms" in cli.ok("plan", "show", "p1").out


def test_that_redis_lost_what_it_knew_is_said_for_an_hour(cli: Cli, store: Store) -> None:
    record = f'{{"at":{store.now_ms() // 1000 - 120},"how":"empty","by":"governor:g1"}}'
    store.run("SET", store.keys.emptied, record)
    said = "2 min ago Redis came back EMPTY, found by governor:g1"
    assert cli("status", "-o", "json").json["redis"]["emptied"] == said
    assert said in cli("status").out
    assert "warning: 2 min ago Redis came back EMPTY" in cli("status").err
    fresh = f'{{"at":{store.now_ms() // 1000},"how":"empty","by":"governor:g1"}}'
    store.run("SET", store.keys.emptied, fresh)
    # Whether it runs is not known until its next pass.
    assert "no record of an allocation: Redis lost it" in cli("status").out
    store.run("DEL", store.keys.emptied)
    assert cli("status", "-o", "json").json["redis"]["emptied"] is None


@pytest.mark.parametrize(("how", "code"), [("empty", 1), ("older", 1), ("start", 0)])
def test_status_ends_with_1_while_a_loss_is_reported(
    cli: Cli, store: Store, redis_url: str, how: str, code: int
) -> None:
    with (
        hosting(redis_url, "governor", *NO_PORTS),
        hosting(redis_url, "allocation", *NO_PORTS),
    ):
        send(store, decision="SKIP")
        upstream(store)
        until(lambda: cli("status").code == 0)
        record = f'{{"at":{store.now_ms() // 1000},"how":"{how}","by":"governor:g1"}}'
        store.run("SET", store.keys.emptied, record)
        said = cli("status", "-o", "json")
        assert (said.code, said.json["ok"]) == (code, code == 0)


def test_a_loop_that_looks_for_targets_by_scan_is_named_with_the_reason(
    cli: Cli, store: Store
) -> None:
    now = store.now_ms() // 1000
    record = store.keys.service("allocation", "a1")
    store.run("HSET", record, "last_pass_at", now, "started_at", now, "host", "desk-7", "settings",
              "{}", "discovery", "scan: NOPERM client|tracking")  # fmt: skip
    (row,) = (it for it in cli("status", "-o", "json").json["services"] if it["name"] == "a1")
    assert row["detail"] == "finds new targets by SCAN, see 'qtctl doctor'"
    findings = cli("doctor", "-o", "json").json
    (finding,) = (it for it in findings if it["check"] == "service.discovery")
    assert finding["level"] == "warning"
    assert "a1 looks for new targets by SCAN: NOPERM client|tracking" in finding["what"]
    store.run("HSET", record, "discovery", "tracking")
    (row,) = (it for it in cli("status", "-o", "json").json["services"] if it["name"] == "a1")
    assert row["detail"] == ""
