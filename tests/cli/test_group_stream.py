"""`qtctl group` and `qtctl stream` on the real server: what dead consumers hold is seen, handed
over and never lost."""

import pytest

from qtctl.cli.views import groups as view
from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import GROUP
from tests.support.cli import Cli, hosting
from tests.support.plans import decision, fields
from tests.support.processes import until

APPLY = "apply_layer"


@pytest.fixture
def cli(redis_url: str, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(redis_url, capsys)


def queue(store: Store, **changes: str) -> str:
    """A plan that nobody was given yet; the id of its entry."""
    flat = [part for pair in fields(**changes).items() for part in pair]
    added: bytes = store.run("XADD", store.keys.plans, "*", *flat)
    return added.decode()


def give(store: Store, group: str, consumer: str, count: int, idle_ms: int = 120_000) -> list[str]:
    """So many plans in the hands of a consumer that has not been seen since."""
    store.batch([("XGROUP", "CREATE", store.keys.plans, group, "0", "MKSTREAM")])
    ids = [queue(store, plan_id=f"{consumer}-{i}") for i in range(count)]
    store.run("XREADGROUP", "GROUP", group, consumer, "STREAMS", store.keys.plans, ">")
    store.run(
        "XCLAIM", store.keys.plans, group, consumer, 0, *ids, "IDLE", idle_ms, "RETRYCOUNT", 3
    )
    return ids


def held(store: Store, group: str) -> dict[str, int]:
    """Consumer to how much it holds."""
    rows = store.run("XPENDING", store.keys.plans, group)[3] or []
    return {name.decode(): int(count) for name, count in rows}


def test_nothing_there_is_an_empty_list(cli: Cli) -> None:
    assert cli.ok("group", "list", "-o", "json").json == []
    assert "No groups" in cli.ok("group", "list").err
    rows = cli.ok("stream", "list", "-o", "json").json
    assert [row["length"] for row in rows] == [0] * 6
    assert rows[0]["first_age_s"] is None


def test_a_group_is_listed_with_what_its_dead_consumers_hold(cli: Cli, store: Store) -> None:
    give(store, GROUP, "dead", 3)
    store.run("XGROUP", "CREATECONSUMER", store.keys.plans, GROUP, "empty")
    (row,) = cli.ok("group", "list", "-o", "json").json
    assert (row["group"], row["lag"], row["pending"], row["stuck"]) == (GROUP, 0, 3, 3)
    assert row["stuck_s"] >= 120
    dead = next(each for each in row["consumers"] if each["consumer"] == "dead")
    assert (dead["pending"], dead["deliveries"]) == (3, 3)
    assert dead["held_s"] >= 120
    out = cli.ok("group", "list", "--stream", "plans").out
    assert "dead" in out
    assert "empty" in out


def test_a_lag_that_redis_does_not_know_is_unknown_and_not_0(cli: Cli, store: Store) -> None:
    ids = [queue(store, plan_id=f"p{i}") for i in range(5)]
    store.run("XGROUP", "CREATE", store.keys.plans, GROUP, ids[1])
    store.run("XDEL", store.keys.plans, ids[3])
    (row,) = cli.ok("group", "list", "-o", "json").json
    assert row["lag"] is None
    assert row["behind"] == 2
    assert "unknown" in cli.ok("group", "list").out


def test_recover_creates_the_governors_group_where_it_is_gone(cli: Cli, store: Store) -> None:
    said = cli.ok("group", "recover", "--dry-run", "-o", "json")
    assert said.json[0]["did"].startswith("create")
    assert store.run("EXISTS", store.keys.plans) == 0
    cli.ok("group", "recover")
    assert [row["group"] for row in cli.ok("group", "list", "-o", "json").json] == [GROUP]
    assert cli.ok("group", "recover", "-o", "json").json == []


def test_what_the_dead_hold_stays_where_nobody_lives_and_is_served_where_one_does(
    cli: Cli, store: Store, redis_url: str
) -> None:
    give(store, GROUP, "dead", 2)
    said = cli("group", "recover")
    assert said.code == 1
    assert "2 entries are still stuck" in said.err
    assert "qtctl serve governor" in said.err
    assert held(store, GROUP) == {"dead": 2}
    with hosting(redis_url):
        until(lambda: not held(store, GROUP))
        assert cli.ok("group", "recover", "-o", "json").json == []
    assert decision(store, "dead-0")["plan_id"] == "dead-0"


def test_1782_entries_of_a_dead_consumer_are_handed_over_to_the_last(
    cli: Cli, store: Store
) -> None:
    give(store, GROUP, "dead", 1_782)
    assert "1,000+" in cli.ok("group", "list").out
    said = cli("group", "recover", "--dry-run")
    assert (said.code, said.out) == (1, "")
    assert "1,782 entries are still stuck" in said.err
    here = store.keys.service("governor", "here")
    store.run("HSET", here, "last_pass_at", store.now_ms() // 1000)
    dry = cli.ok("group", "recover", "--dry-run", "-o", "json").json
    assert [row["entries"] for row in dry] == [1_782]
    assert held(store, GROUP) == {"dead": 1_782}
    said = cli.ok("group", "recover")
    assert "qtctl doctor" in said.err
    assert held(store, GROUP) == {"here": 1_782}


def test_what_was_trimmed_while_it_was_pending_is_told_and_left_to_the_living(
    cli: Cli, store: Store
) -> None:
    ids = give(store, GROUP, "dead", 3)
    store.run("XDEL", store.keys.plans, *ids[:2])
    store.run(
        "HSET", store.keys.service("governor", "here"), "last_pass_at", store.now_ms() // 1000
    )
    said = cli.ok("group", "recover", "-o", "json")
    assert [row["entries"] for row in said.json] == [1]
    assert "trimmed and lost: 2." in said.err
    assert held(store, GROUP) == {"dead": 2, "here": 1}


def test_another_systems_group_is_refused_unless_forced(
    cli: Cli, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view, "ALIVE_SEC", 1.0)
    give(store, APPLY, "dead", 2)
    for command in ("recover", "prune"):
        said = cli("group", command, APPLY)
        assert said.code == 4
        assert "another system" in said.err
    until(lambda: cli("group", "recover", APPLY, "--force").code == 1, what="nobody who lives")
    store.run("XGROUP", "CREATECONSUMER", store.keys.plans, APPLY, "alive")
    dry = cli("group", "recover", APPLY, "--force", "--dry-run", "-o", "json")
    assert dry.json == [{"group": APPLY, "did": "hand over", "consumer": "alive", "entries": 2}]
    assert held(store, APPLY) == {"dead": 2}
    cli.ok("group", "recover", APPLY, "--force")
    assert held(store, APPLY) == {"alive": 2}
    rows = store.run("XPENDING", store.keys.plans, APPLY, "-", "+", 10)
    assert all(int(deliveries) == 3 for *_, deliveries in rows), "a hand-over is no delivery"


def test_what_somebody_took_up_meanwhile_stays_with_them(store: Store) -> None:
    from qtctl.wire.control.groups import hand_over
    from qtctl.wire.queries import groups

    ids = give(store, GROUP, "dead", 2)
    seen = groups.pending(store, store.keys.plans, GROUP)
    store.run("XCLAIM", store.keys.plans, GROUP, "quick", 0, ids[0])
    assert hand_over(store, store.keys.plans, GROUP, seen, "slow", 60.0) == 1
    assert held(store, GROUP) == {"quick": 1, "slow": 1}


def test_prune_removes_the_idle_and_empty_and_nobody_who_holds_anything(
    cli: Cli, store: Store
) -> None:
    give(store, GROUP, "holds", 1)
    store.run("XGROUP", "CREATECONSUMER", store.keys.plans, GROUP, "empty")
    assert cli.ok("group", "prune", "--idle", "1h", "-o", "json").json == []

    def idle() -> bool:
        return bool(cli.ok("group", "prune", "--idle", "1s", "--dry-run", "-o", "json").json)

    until(idle)
    done = cli.ok("group", "prune", "--idle", "1s", "-o", "json").json
    assert {"did": "remove", "consumer": "empty"}.items() <= done[-1].items()
    assert "holds" not in {row["consumer"] for row in done}
    (left,) = cli.ok("group", "list", "-o", "json").json
    assert [each["consumer"] for each in left["consumers"]] == ["holds"]


@pytest.mark.parametrize(
    ("line", "code", "part"),
    [
        ("group recover nope", 1, "no group nope on quantum:stream:apply.plan; existing groups: "),
        ("group prune", 1, "no group governor on quantum:stream:apply.plan; existing groups: none"),
        ("group prune --dry-run", 1, "no group governor"),
        (
            "group list --stream x",
            2,
            "must be one of plans, proposed, events, decisions, passes, rejected",
        ),
        ("group prune --idle soon", 2, "--idle"),
    ],
)
def test_what_makes_no_sense_is_told(cli: Cli, line: str, code: int, part: str) -> None:
    said = cli(*line.split())
    assert said.code == code
    assert part in said.err


def test_a_stream_that_is_none_hides_no_group_of_another(cli: Cli, store: Store) -> None:
    give(store, GROUP, "dead", 1)
    store.run("SET", store.keys.events, "a string")
    said = cli("group", "list", "-o", "json")
    assert said.code == 1
    assert [row["group"] for row in said.json] == [GROUP]
    assert "governor.events: WRONGTYPE" in said.err
    assert cli.ok("group", "list", "--stream", "plans").err == ""


def test_names_of_groups_and_consumers_are_data(cli: Cli, store: Store) -> None:
    evil = "dead\x1b[2J\n[red]\u202e"
    give(store, evil, evil, 1)
    out = cli.ok("group", "list").out
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert "dead\\x1b[2J\\x0a[red]\\u202e" in out
    (row,) = cli.ok("group", "list", "-o", "json").json
    assert (row["group"], row["consumers"][0]["consumer"]) == (evil, evil)
    assert "\x1b" not in cli("group", "recover", evil).err


def test_streams_are_listed_with_their_growth(cli: Cli, store: Store) -> None:
    now = store.now_ms()
    for minutes in (10, 5, 0):
        queue_at = f"{now - minutes * 60_000}-0"
        store.run("XADD", store.keys.plans, queue_at, "a", "b")
    row = cli.ok("stream", "list", "-o", "json").json[0]
    assert (row["length"], row["last_minute"]) == (3, 1)
    assert row["minutes_kept"] == pytest.approx(10, abs=0.1)
    assert row["per_minute"] == pytest.approx(0.3, abs=0.01)
    assert row["first_age_s"] == pytest.approx(600, abs=30)


def test_a_key_that_is_no_stream_is_told_and_hides_no_other(cli: Cli, store: Store) -> None:
    store.run("SET", store.keys.events, "a string")
    queue(store)
    rows = cli.ok("stream", "list", "-o", "json").json
    assert rows[0]["length"] == 1
    assert "WRONGTYPE" in rows[2]["problem"]
    assert rows[2]["last_minute"] is None
