"""`qtctl simulate`: into a Redis, guarded as inject is; and as a folder of history."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from qtctl.history.damage import CannotWrite
from qtctl.history.store import Store as HistoryStore
from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import EFFICIENCY, TARGET
from qtctl.wire.schema.records import pairs
from tests.support.cli import NO_FILE, Cli, interruptible
from tests.support.processes import qtctl, until

FAST = ("--symbols", "5", "--plans", "600")


@pytest.fixture(autouse=True)
def _interruptible() -> Iterator[None]:
    with interruptible():
        yield


@pytest.fixture
def cli(redis_url: str, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(redis_url, capsys)


def test_a_live_market_is_marked_and_cleared(cli: Cli, store: Store) -> None:
    said = cli.ok("simulate", *FAST, "--speed", "60", "--for", "2", "-o", "json")
    figures = said.json
    assert figures["plans"] >= 10
    assert figures["targets"] > 5
    key = store.keys.at(EFFICIENCY, "BTCUSDT")
    score = pairs(store.run("HGETALL", key))
    assert (score["mode"], score["version"]) == ("synthetic", "qtctl-simulate")
    assert store.run("TTL", key) > 0
    assert store.run("XLEN", store.keys.plans) == figures["plans"]
    sources = {pairs(raw)["source"] for _, raw in store.run("XRANGE", store.keys.plans, "-", "+")}
    assert {each.partition("/")[0] for each in sources} == {"qtctl-simulate"}
    assert "inject clear" in said.err
    cli.ok("inject", "clear")
    assert list(store.scan_keys(store.keys.pattern(TARGET))) == []
    assert store.run("XLEN", store.keys.plans) == 0


def test_permits_are_taken_while_it_runs(cli: Cli, store: Store, redis_url: str) -> None:
    command = ("--redis-url", redis_url, "serve", "governor", "--set", "governor.metrics_port=0")
    with qtctl(*command, env={**NO_FILE, "QTCTL_HISTORY_ENABLED": "false"}) as child:
        child.wait_for_line("governor listening")
        until(lambda: store.run("EXISTS", store.keys.plans))
        figures = cli.ok("simulate", *FAST, "--for", "3", "--take", "1", "-o", "json").json
    assert 0 < figures["taken"] <= figures["plans"]


def test_what_is_not_synthetic_is_not_overwritten(cli: Cli, store: Store) -> None:
    key = store.keys.at(TARGET, "BTCUSDT")
    store.run("HSET", key, "target_usd", 7, "mode", "enforce")
    said = cli("simulate", *FAST, "--for", "1")
    assert said.code == 4
    assert key in said.err
    assert store.run("HGET", key, "target_usd") == b"7"


def test_another_group_on_the_plans_refuses_it(cli: Cli, store: Store) -> None:
    store.run("XGROUP", "CREATE", store.keys.plans, "apply", "0", "MKSTREAM")
    said = cli("simulate", *FAST, "--for", "1")
    assert said.code == 4
    assert "group apply" in said.err
    assert list(store.scan_keys(store.keys.pattern(TARGET))) == []


def test_a_history_is_made_where_nothing_is(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "h"
    args = ("--hours", "0.5", "--symbols", "4", "--out", str(out))
    figures = cli.ok("simulate", "history", *args, "-o", "json").json
    assert (figures["passes"], figures["proposals"]) == (180, 720)
    assert cli.ok("history", "verify", "--dir", str(out)).code == 0
    again = cli("simulate", "history", *args)
    assert again.code == 4
    assert "not an empty folder" in again.err


def test_a_part_of_a_history_does_not_stay(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise CannotWrite("no space")

    monkeypatch.setattr(HistoryStore, "seal", full)
    said = cli("simulate", "history", "--hours", "0.1", "--symbols", "2", "--out", str(tmp_path))
    assert (said.code, said.out) == (1, "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "args",
    [
        ("--fault", "nonsense"), ("--hours", "0"), ("--hours", "x"), ("--symbols", "0"),
        ("--symbols", "1000000"), ("--seed", "-1"), ("--end", "nonsense"), ("--plans", "0"),
        ("--end", "1970-01-02", "--hours", "48"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_2(cli: Cli, tmp_path: Path, args: tuple[str, ...]) -> None:
    said = cli("simulate", "history", "--out", str(tmp_path / "h"), *args)
    assert (said.code, said.out) == (2, "")
    assert said.err.count("\n") == 1
    assert not (tmp_path / "h").exists()
