"""`qtctl timeline` on a real server: what happened there, by whom, and what is not known."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qtctl.wire.client.store import Store
from tests.support.cli import NO_FILE, Cli
from tests.support.plans import fields
from tests.support.processes import Process, qtctl, until


@pytest.fixture
def cli(redis_url: str, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(redis_url, capsys)


@contextlib.contextmanager
def serving(url: str, *sets: str) -> Iterator[Process]:
    """Both loops as one process, once each has its record."""
    ports = (
        "governor.metrics_port=0", "allocation.metrics_port=0", "allocation.interval_sec=0.2",
        "history.enabled=false",
    )  # fmt: skip
    given = [part for each in (*ports, *sets) for part in ("--set", each)]
    with qtctl("serve", "all", "--redis-url", url, "--name", "x", *given,
               env={**os.environ, **NO_FILE}) as child:  # fmt: skip
        yield child


def started(store: Store, times: int) -> None:
    until(
        lambda: (
            sum(
                dict(zip(raw[::2], raw[1::2], strict=True))[b"event"] == b"started"
                for _, raw in store.run("XRANGE", store.keys.runs, "-", "+")
            )
            == 2 * times
        )
    )


def send(store: Store, **plan: str) -> None:
    flat = [part for pair in fields(**plan).items() for part in pair]
    store.run("XADD", store.keys.plans, "*", *flat)


def told(cli: Cli, *more: str) -> list[dict[str, Any]]:
    """What happened, without what is wrong now."""
    args = ("--where", "kind!=alarm", *more)
    rows: list[dict[str, Any]] = cli("timeline", "-o", "json", *args).json
    return rows


def test_an_afternoon(cli: Cli, store: Store, redis_url: str) -> None:
    with serving(redis_url) as first:
        started(store, 1)
        cli.ok("halt", "--all", "--reason", "prices look wrong")
        for number in range(3):
            send(store, plan_id=f"c{number}", action="FULL_CLOSE", reduceOnly="true")
        until(
            lambda: store.run("EXISTS", *(f"quantum:governor:decision:c{n}" for n in range(3))) == 3
        )
        cli.ok("resume", "--reason", "feed is back", "--yes")
        first.signal(signal.SIGTERM)
        assert first.wait() == 0
    with serving(redis_url, "governor.max_exec_per_hour=30"):
        started(store, 2)
    # The process was killed: it left no stop.
    with serving(redis_url, "governor.max_exec_per_hour=30"):
        started(store, 3)
        rows = told(cli)
    kinds = [row["kind"] for row in rows if row["what"].startswith("governor:x") or row["by"]]
    assert kinds == ["service", "halt", "refused", "resume", "service", "service", "service"]
    by_kind = {row["kind"]: row for row in rows}
    halt, refused, changed = by_kind["halt"], by_kind["refused"], by_kind["settings"]
    assert halt["reason"] == "prices look wrong"
    assert halt["by"].startswith("operator:")
    assert refused["what"] == "3 closes refused: kill_switch_active (c0, c1, c2)"
    assert refused["count"] == 3
    assert changed["changes"] == [
        {"setting": "governor.max_exec_per_hour", "before": 3, "after": 30, "raises_risk": True}
    ]
    assert "had not stopped" in rows[-1]["what"]
    assert {row["what"].split()[0] for row in rows if row["kind"] == "service"} == {
        "governor:x", "allocation:x"
    }  # fmt: skip
    assert [row["at"] for row in rows] == sorted(row["at"] for row in rows)
    shown = cli("timeline", "--where", "kind=settings").out
    assert "RAISES RISK: governor.max_exec_per_hour 3 → 30" in shown
    assert len(cli("timeline", "-n", "2").out.splitlines()) == 3
    now = cli("timeline", "-o", "json", "--where", "kind=alarm").json
    assert any("NO TARGETS" in row["what"] for row in now)
    assert cli("timeline", "-o", "json", "--where", "kind=alarm", "--until", "1s").json == []
    assert told(cli, "-n", "1")[0]["what"] == rows[-1]["what"]


def test_a_change_that_nobody_noted_shows_in_the_limits_of_decisions(
    cli: Cli, store: Store, redis_url: str
) -> None:
    """As of a governor of a version before, or whose note was forgotten."""
    for hours in (3, 9):
        send(store, plan_id=f"p{hours}")
        args = ("--once", "--set", f"governor.max_exec_per_hour={hours}", "--name", "old")
        cli.ok("serve", "governor", *args)
        store.run("DEL", store.keys.runs)
    (found,) = (row for row in told(cli) if row["kind"] == "settings")
    assert found["what"] == "governor:old judges by other limits"
    assert [(it["setting"], it["before"], it["after"]) for it in found["changes"]] == [
        ("governor.max_exec_per_hour", 3, 9)
    ]


def test_entries_of_two_streams_with_one_id_are_two_rows(cli: Cli, store: Store) -> None:
    id_ = f"{store.now_ms()}-0"
    run = ("event", "started", "service", "governor", "name", "g")
    store.run("XADD", store.keys.runs, id_, *run)
    store.run("XADD", store.keys.events, id_, "event", "halted")
    store.run("XADD", store.keys.rejected, id_, "reason", "invalid_plan", "raw:action", "CLOSE")
    assert {row["kind"] for row in told(cli)} >= {"service", "halt", "refused"}


def test_it_says_how_far_back_events_reach(cli: Cli, store: Store) -> None:
    for number in range(3):
        store.run("XADD", store.keys.events, f"{1769558400000 + number}-0", "event", "halted")
    store.run("XDEL", store.keys.events, "1769558400000-0")
    store.run("XTRIM", store.keys.events, "MAXLEN", 1)
    said = cli("timeline", "--since", "2026-01-01")
    assert "events reach back to 2026-01-28 00:00:00Z (older ones are forgotten)" in said.err
    assert "notes of services: none are kept" in said.err


def test_a_close_that_could_not_be_read_is_a_close_refused(
    cli: Cli, store: Store, redis_url: str
) -> None:
    send(store, plan_id="bad", action="FULL_CLOSE", reduceOnly="maybe")
    send(store, plan_id="open", kill_score="x")
    cli.ok("serve", "governor", "--once")
    (found,) = (row for row in told(cli) if row["kind"] == "refused")
    assert found["what"] == "1 close refused: invalid_plan (bad)"


def test_another_server_is_a_row(cli: Cli, store: Store) -> None:
    """The governor's own note of it is tested in tests/services."""
    (found,) = (row for row in told(cli, "--since", "7d") if row["kind"] == "redis")
    assert "started (the server that answers now)" in found["what"]


def test_deployments_are_in_it(cli: Cli, tmp_path: Path) -> None:
    from qtctl.cli.main import run

    root = tmp_path / "host"
    root.mkdir()
    assert run(["deploy", "--root", str(root), "--yes"], NO_FILE) == 0
    rows = [row for row in told(cli, "--root", str(root)) if row["kind"] == "deploy"]
    assert len(rows) == 1
    assert rows[0]["what"].startswith("deploy 2")
    assert "@" in rows[0]["by"]


def test_without_redis_it_tells_what_this_host_knows(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    away = Cli(f"unix://{tmp_path}/none.sock", capsys)
    said = away("timeline", "--root", str(tmp_path), "-o", "json")
    assert said.code == 3
    assert said.json == []
    assert len(said.err.splitlines()) == 1


def test_a_source_that_cant_be_read_is_named_and_costs_no_other(cli: Cli, store: Store) -> None:
    store.run("SET", store.keys.events, "x")
    cli("halt", "--reason", "x")
    store.run("XADD", store.keys.runs, "*", "event", "started", "service", "governor", "name", "g")
    said = cli("timeline", "-o", "json")
    assert said.code == 1
    assert "events could not be read" in said.err
    assert any(row["what"].startswith("governor:g started") for row in said.json)


def test_text_from_redis_stays_text(cli: Cli, store: Store) -> None:
    bad = "\x1b[2J[red]x[/red]\n"
    flat = ["event", "halted", "reason", bad, "actor", bad, "key", bad, "value", bad, "symbol", bad]
    store.run("XADD", store.keys.events, "*", *flat)
    store.run("XADD", store.keys.events, "*", "event", bad, "reason", bad)
    flat = ["event", "started", "service", bad, "name", bad, "settings", "{", "version", bad]
    store.run("XADD", store.keys.runs, "*", *flat)
    said = cli.ok("timeline")
    assert "\x1b" not in said.out
    assert "[red]x[/red]" in said.out


def test_deploy_records_that_are_root_s_are_a_line_and_no_failure(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "var/lib/qtctl-deployments").mkdir(parents=True)
    monkeypatch.setattr("os.access", lambda path, mode: False)
    said = cli.ok("timeline", "--root", str(tmp_path))
    assert "deployments of this host could not be read" in said.err
    assert "sudo" in said.err
