"""A jump of the server's clock that stops opens: where it is shown, and how it is lifted."""

import pytest

from qtctl.wire.client.store import Store
from qtctl.wire.control import clock_jump
from tests.cli.test_status import NO_PORTS
from tests.services.helpers import send
from tests.support.cli import Cli, hosting
from tests.support.plans import decision, events, fields, judge
from tests.support.processes import until

JUMP_MS = 90_000_000


@pytest.fixture
def cli(redis_url: str, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(redis_url, capsys)


@pytest.fixture
def jumped(store: Store) -> None:
    assert clock_jump.note(store, JUMP_MS, "governor:g1")
    assert not clock_jump.note(store, 1, "governor:g2"), "the first one is kept"


@pytest.mark.usefixtures("jumped")
def test_every_command_and_the_status_say_that_opens_are_stopped(cli: Cli) -> None:
    said = cli("target", "list")
    assert "HALTED opens: quantum:governor:clock_jump='ahead by 90000 s' since" in said.err
    assert "by governor:g1" in said.err
    assert "qtctl resume --clock" in said.err
    status = cli("status")
    assert status.code == 1
    assert "clock_jump" in status.out
    assert cli("status", "-o", "json").json["kill_switch"]["mode"] == "reduce_only"


@pytest.mark.usefixtures("jumped")
def test_doctor_names_it_and_the_way_out(cli: Cli) -> None:
    rows = cli("doctor", "-o", "json").json
    (row,) = [it for it in rows if it["check"] == "kill.switch" and it["level"] != "ok"]
    assert "governor:clock_jump is 'ahead by 90000 s'" in row["what"]
    assert "resume --clock" in str(row)


@pytest.mark.usefixtures("jumped")
def test_why_names_it_and_the_command_that_lifts_it(cli: Cli, store: Store, redis_url: str) -> None:
    with hosting(redis_url, "governor", *NO_PORTS):
        send(store, fields())
        until(lambda: decision(store))
        said = cli("why", "BTCUSDT")
    assert decision(store)["reason"] == "failover_quarantine"
    assert "governor:clock_jump='ahead by 90000 s'" in said.out
    assert f"qtctl --redis-url {redis_url} resume --clock --reason" in said.out
    shown = cli.ok("plan", "show", "p1").out
    assert "quarantine" in shown


@pytest.mark.usefixtures("jumped")
def test_it_is_lifted_with_a_reason_and_by_nothing_else(cli: Cli, store: Store) -> None:
    assert cli("resume", "--clock", "--yes").code == 2, "a reason is needed"
    assert cli("resume", "--clock", "--reason", "x", "--no-input").code == 4
    assert cli("resume", "BTCUSDT", "--clock", "--reason", "x", "--yes").code == 2
    assert "WOULD RESUME" in cli.ok("resume", "--clock", "--reason", "x", "--dry-run").out
    plain = cli("resume", "--reason", "x", "--yes")
    assert plain.code == 1
    assert "qtctl resume --clock" in plain.err
    assert clock_jump.found(store) is not None
    done = cli.ok("resume", "--clock", "--reason", "positions compared", "--yes")
    assert done.out.startswith("RESUMED opens on")
    assert clock_jump.found(store) is None
    (event,) = [it for it in events(store) if it["event"] == "resumed"]
    assert (event["key"], event["reason"]) == ("governor:clock_jump", "positions compared")
    assert event["actor"].startswith("operator:")
    assert judge(store, fields()).verdict == "permitted"
    assert cli("resume", "--clock", "--reason", "x", "--yes").code == 1


@pytest.mark.usefixtures("jumped")
def test_a_halt_beside_it_is_resumed_and_says_that_opens_stay_stopped(
    cli: Cli, store: Store
) -> None:
    cli("halt", "--reason", "a test")
    said = cli("resume", "--reason", "the test is over", "--yes")
    assert said.code == 1
    assert "STILL HALTED by quantum:governor:clock_jump" in said.out
    assert store.run("GET", "quantum:governor:halt") is None


@pytest.mark.parametrize("value", ["", "1", "not json", "{"])
def test_whatever_the_key_holds_stops_opens(cli: Cli, store: Store, value: str) -> None:
    store.run("SET", store.keys.clock_jump, value)
    assert judge(store, fields()).reason == "failover_quarantine"
    assert judge(store, fields(plan_id="c", action="CLOSE")).verdict == "permitted"
    assert "clock_jump" in cli("status").out
    cli.ok("resume", "--clock", "--reason", "x", "--yes")


def test_a_key_of_another_type_stops_opens_too(cli: Cli, store: Store) -> None:
    store.run("HSET", store.keys.clock_jump, "a", "b")
    assert judge(store, fields()).reason == "failover_quarantine"
    assert "clock_jump" in cli("status").out
    cli.ok("resume", "--clock", "--reason", "x", "--yes")
    assert store.run("EXISTS", store.keys.clock_jump) == 0


def test_a_host_whose_clock_is_off_is_named(cli: Cli, store: Store, redis_url: str) -> None:
    with hosting(redis_url, "governor", *NO_PORTS):
        name = until(lambda: next(store.scan_keys("quantum:qtctl:service:governor:*"), None))
    store.run("HSET", name, "host", "desk-7", "clock_ahead_sec", "-1200.0", "settings", "{}",
              "started_at", 1, "last_pass_at", store.now_ms() // 1000)  # fmt: skip
    assert "OFF from the server's: desk-7 1200 s behind" in cli("status").out
    rows = cli("doctor", "-o", "json").json
    (row,) = [it for it in rows if it["check"] == "redis.clock" and "desk-7" in it["what"]]
    assert row["level"] == "warning"
    assert "1200 s behind the server's" in row["what"]
