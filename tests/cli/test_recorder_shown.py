"""The recorder where services are listed; that it is missing or in trouble is no incident."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from qtctl.supervisor.journalctl import Logged
from qtctl.wire.client.store import Store
from tests.support.cli import Cli, hosting
from tests.support.processes import qtctl, until


@pytest.fixture
def cli(redis_url: str, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(redis_url, capsys)


@pytest.fixture
def folder(store: Store, tmp_path: Path) -> Iterator[Path]:
    """Of a recorder that runs, by the name r1."""
    folder = tmp_path / "h"
    sets = (f"history.dir={folder}", "history.metrics_port=0", "history.keep_days=7")
    given = [part for each in sets for part in ("--set", each)]
    with qtctl("--redis-url", store.url, "serve", "recorder", "--name", "r1", *given):
        until(lambda: store.run("EXISTS", store.keys.service("recorder", "r1")))
        until(folder.is_dir)
        yield folder


def recorders(cli: Cli) -> list[tuple[str, str]]:
    rows = cli("status", "-o", "json").json["services"]
    return [(it["name"], it["state"]) for it in rows if it["service"] == "recorder"]


def test_status_has_it_while_it_runs_and_makes_no_incident_of_it(
    cli: Cli, store: Store, folder: Path
) -> None:
    until(lambda: recorders(cli) == [("r1", "ready")])
    table = cli("status").out
    assert any(line.split()[:3] == ["recorder", "r1", "ready"] for line in table.splitlines())
    before = cli("status", "-o", "json").json["banner"]
    # What it says of itself, where nobody can ask it.
    record = store.keys.service("recorder", "r1")
    store.run("HSET", record, "problem", "the history can't be written", "host", "elsewhere")
    found = cli("status", "-o", "json").json
    assert found["banner"] == before
    assert all("recorder" not in it["text"] for it in before)


def test_none_is_no_row_and_no_incident(cli: Cli) -> None:
    assert recorders(cli) == []
    assert "recorder" not in cli("status").out + cli("status").err


def test_a_loop_that_is_missing_is_still_named_beside_it(cli: Cli, store: Store) -> None:
    with hosting(store.url):
        store.run("HSET", store.keys.service("recorder", "r1"), "started_at", 1)
        states = {it["service"]: it["state"] for it in cli("status", "-o", "json").json["services"]}
    assert states["allocation"] == "missing"
    assert states["recorder"] == "late"


def test_config_diff_compares_its_section(cli: Cli, folder: Path) -> None:
    here = {"QTCTL_HISTORY_DIR": str(folder)}
    sets = ("--set", "history.name=r1", "--set", "history.metrics_port=0")
    said = cli("config", "diff", "recorder", "-o", "json", *sets, environ=here)
    assert said.code == 1
    (row,) = said.json
    assert (row["key"], row["here"], row["there"]) == ("history.keep_days", 30, 7)
    assert (row["service"], row["instance"]) == ("recorder", "r1")
    assert "history.keep_days" in cli("config", "diff", environ=here).out


def test_one_that_was_asked_for_and_does_not_run_is_said(cli: Cli) -> None:
    assert "No recorder is running on" in cli("config", "diff", "recorder").err
    assert "recorder" not in cli("config", "diff").err


def test_timeline_has_its_start(cli: Cli, folder: Path) -> None:
    # The note of its start comes after its record.
    until(lambda: "recorder:r1 started" in cli.ok("timeline").out)


def test_its_lines_are_its_own_where_all_run_in_one_process() -> None:
    from qtctl.cli.views.logs import _is_of, units_of

    assert units_of("recorder") == ["quantum-recorder.service", "qtctl.service"]
    assert "quantum-recorder.service" not in units_of("governor")
    line = Logged(0.0, "qtctl.service", "info", "recorder", "a gap in the history", {})
    assert [_is_of(line, it) for it in ("recorder", "governor", "allocation")] == [
        True, False, False,
    ]  # fmt: skip
