"""`qtctl report`: the page, the shape of its JSON, and one line for what can't be."""

import os
import re
import shlex
from pathlib import Path

import pexpect
import pytest

from qtctl.history.rows import Batch, Gap
from tests.evidence.made import passes, plan, simulated, written
from tests.history.samples import NOON
from tests.support.cli import NO_FILE, Cli
from tests.support.processes import QTCTL

SHAPE = {
    "window": {
        "since_ms", "until_ms", "asked_ms", "first_ms", "last_ms", "observed_ms", "synthetic",
        "late", "unknown_rules", "gaps", "chain", "rules", "limits",
    },
    "allocation": {
        "coverage", "coverage_share", "symbols", "symbol_hours", "reasons", "multiplier",
        "distribution", "flips", "flips_per_symbol_hour", "turnover_usd_per_hour",
        "live_turnover_usd_per_hour", "gross", "largest_usd", "largest_share", "largest_step",
    },
    "governor": {
        "plans", "permitted", "blocked", "withdrawn", "rejected", "verdicts", "downsizes", "prices",
        "closes", "refused", "latency",
    },
}  # fmt: skip


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """No Redis anywhere."""
    return Cli("redis://127.0.0.1:1/0", capsys)


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("market") / "h"
    simulated(folder, hours=1)
    return folder


def test_json_has_one_shape(cli: Cli, market: Path) -> None:
    found = cli.ok("report", "--dir", str(market), "-o", "json").json
    assert set(found) == {*SHAPE, "symbols", "parts", "changes"}
    for part, names in SHAPE.items():
        assert set(found[part]) == names
    assert set(found["symbols"][0]) == {
        "symbol", "observed_ms", "reasons", "multiplier", "flips", "flips_per_hour",
        "turnover_usd_per_hour", "live_turnover_usd_per_hour", "largest_usd", "largest_share",
        "largest_step",
    }  # fmt: skip
    assert set(found["governor"]["prices"][0]) == {
        "reason", "waits", "never", "unknown", "at_most", "p50_sec", "p95_sec",
    }  # fmt: skip
    assert len(found["symbols"]) == 12


def test_the_page_names_window_denominators_and_that_it_was_made_up(cli: Cli, market: Path) -> None:
    said = cli.ok("report", "--dir", str(market), "--limit", "3")
    assert "2026-01-27 23:00:00Z to 2026-01-27 23:59:50Z" in said.out
    assert "synthetic: qtctl simulate made it" in said.out
    assert "100.00 % of 360 passes due: 360 made, 0 not made, 0 unknown" in said.out
    assert "3 of 12" in said.out
    assert "▁" not in said.out
    assert max(map(len, said.out.splitlines())) <= 110


def test_ages_count_back_from_the_newest_record(cli: Cli, market: Path) -> None:
    found = cli.ok("report", "--dir", str(market), "--since", "30m", "-o", "json").json
    assert found["window"]["since_ms"] == found["window"]["until_ms"] - 1_800_000
    assert found["allocation"]["coverage"]["due"] in (180, 181)


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("--symbols", "NOSUCH"), 1, "symbol NOSUCH is in no pass and no decision"),
        (("--symbols", "a b"), 2, "has whitespace"),
        (("--since", "soon"), 2, "is not a time"),
        (("--since", "1h", "--until", "2h"), 2, "--since is later than --until"),
        (("--since", "2001-01-01", "--until", "2001-01-02"), 1, "nothing was recorded in that"),
        (("--limit", "-1"), 2, "--limit"),
        (("--dir", "/nowhere/at/all"), 1, "/nowhere/at/all"),
    ],
)
def test_bad_input_is_one_line(
    cli: Cli, market: Path, args: tuple[str, ...], code: int, words: str
) -> None:
    said = cli("report", "--dir", str(market), *args)
    assert (said.code, said.out) == (code, "")
    assert words in said.err
    assert len(said.err.splitlines()) == 1


def test_gaps_alone_are_no_report(cli: Cli, tmp_path: Path) -> None:
    gap = Gap("trimmed", NOON, NOON + 3_600_000, "", None, "", NOON)
    rows = [("BTCUSDT", 100.0, 1.1)]
    written(tmp_path, Batch(passes=passes(rows), decisions=[plan(3600)], gaps=[gap]))
    said = cli("report", "--dir", str(tmp_path), "--since", "30m", "--until", "1m")
    assert (said.code, said.out) == (1, "")
    assert "only 1 gap (trimmed)" in said.err


def test_trends_are_for_terminals_and_fit_them(market: Path) -> None:
    args = ["report", "--dir", str(market), "--no-pager"]
    environ = {**os.environ, **NO_FILE, "TERM": "xterm", "NO_COLOR": "1"}
    shown = pexpect.run(shlex.join([*QTCTL, *args]), env=environ, encoding="utf-8")
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()
    trends = {line.split("  ")[0].strip(): line for line in lines if "█" in line}
    assert {"ok", "live", "gross change", "permits", "blocks", "multiplier"} <= set(trends)
    assert trends["multiplier"].endswith("by time")
    assert max(map(len, lines)) <= 80
