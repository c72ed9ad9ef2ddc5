"""A loss of data that an operator knows of is no incident any more; the next one is."""

import pytest

from qtctl.wire.client.store import Store
from qtctl.wire.control import forgotten
from qtctl.wire.control.forgotten import How
from tests.support.cli import Cli
from tests.support.plans import events

RESUME = ("resume", "--reason", "positions compared", "--yes")


@pytest.fixture
def cli(redis_url: str, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(redis_url, capsys)


@pytest.fixture
def lost(store: Store) -> Store:
    forgotten.report(store, How.EMPTY, "governor:g1", 100)
    return store


def alarms(cli: Cli) -> list[str]:
    return [it["alarm"] for it in cli("status", "-o", "json").json["banner"]]


def advice(cli: Cli) -> list[str]:
    """What doctor says about the loss: its level and its command."""
    rows = cli("doctor", "-o", "json").json
    (row,) = [it for it in rows if it["check"] == "redis.emptied"]
    return [row["level"], " ".join((row["command"] or "").split()[-4:])]


def test_resume_acknowledges_it_and_what_comes_after_heads_the_banner(
    cli: Cli, lost: Store
) -> None:
    assert alarms(cli)[0] == "plan_stream" or alarms(cli)[0] == "redis_emptied"
    assert "redis_emptied" in alarms(cli)
    level, command = advice(cli)
    assert level == "wrong"
    assert command.endswith("halt")
    cli("halt", "--reason", "Redis came back empty")
    level, command = advice(cli)
    assert "resume" in command, "and not halt, which it is already"
    said = cli.ok(*RESUME)
    assert "Redis came back EMPTY, found by governor:g1: now acknowledged" in said.out
    assert "redis_emptied" not in alarms(cli)
    assert advice(cli)[0] == "ok"
    assert 0 < lost.run("TTL", lost.keys.emptied) <= 3600
    known = forgotten.emptied(lost)
    assert known is not None
    assert known.acknowledged_by.startswith("operator:")
    assert known.resumed, "a governor that finds this loss later does not keep what was halted"
    assert "loss_acknowledged" in {each["event"] for each in events(lost)}
    assert "that Redis lost its data is acknowledged" in cli("timeline").out
    forgotten.report(lost, How.OLDER, "governor:g1", 100)
    assert "redis_emptied" in alarms(cli)


def test_it_can_be_acknowledged_where_nothing_is_halted(cli: Cli, lost: Store) -> None:
    assert "WOULD ACKNOWLEDGE" in cli.ok(*RESUME, "--dry-run").out
    assert "redis_emptied" in alarms(cli)
    said = cli("resume", "--reason", "x")
    assert said.code == 4
    assert "Are positions compared? Nothing is halted; acknowledge it?" in said.err
    assert cli.ok(*RESUME).out.startswith("ACKNOWLEDGED on ")
    assert "redis_emptied" not in alarms(cli)
    known = forgotten.emptied(lost)
    assert known is not None
    assert not known.resumed, "what another governor knew is kept when it finds this loss"
    assert cli(*RESUME).code == 1, "there is nothing to resume any more"


def test_of_one_symbol_it_says_nothing(cli: Cli, lost: Store) -> None:
    cli("halt", "BTCUSDT", "--force")
    cli.ok("resume", "BTCUSDT", "--reason", "x", "--yes")
    assert "redis_emptied" in alarms(cli)


def test_a_loss_found_meanwhile_stays_an_incident(lost: Store) -> None:
    stale = lost.run("GET", lost.keys.emptied)
    forgotten.report(lost, How.OLDER, "governor:g2", 100)
    keys = (lost.keys.emptied, lost.keys.events)
    assert lost.script("acknowledge", keys, (stale, "{}", "who", "why", 100)) == 0
    assert forgotten.incident(lost) is not None
