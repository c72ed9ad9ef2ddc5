"""`--html`: each page is whole by itself, says what the figures say, and no text is markup."""

import os
import re
from pathlib import Path

import msgspec
import pytest

from qtctl.cli.output.archive import refuse_existing
from qtctl.cli.views.html import report_page, words
from qtctl.errors import UsageError
from qtctl.evidence import report as reports
from qtctl.evidence import window as windows
from qtctl.history.reader import History
from qtctl.history.rows import Batch, Gap
from tests.cli.html_pages.conftest import Pages, pages_of
from tests.cli.html_pages.structure import Structure
from tests.evidence.made import a_pass, passes, plan, written
from tests.history.samples import NOON
from tests.support.cli import Cli

EVIL = "</td><script>alert(1)</script>'\"&amp;\u202e"
PAGES = ("report", "replay", "readiness")


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """No Redis anywhere."""
    return Cli("redis://127.0.0.1:1/0", capsys)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole_by_itself(pages: Pages, name: str) -> None:
    found = Structure(pages.html[name])
    assert found.complaints == []
    assert found.charts
    assert len(found.figures) >= len(found.charts)
    assert len(pages.html[name]) < 400_000


def test_each_chart_that_was_asked_for_is_there(pages: Pages) -> None:
    titles = [title for name in PAGES for title, _ in Structure(pages.html[name]).charts]
    assert {
        "Time in each reason", "Distribution of the multiplier", "Flips per symbol, the most first",
        "Gross exposure, proposed beside live", "Verdicts by gate over time", "The price of a gate",
        "Curve of governor.symbol_cooldown_sec", "Curve of allocation.scale", "Symbols by gate",
        "Verdicts, recorded and in sequence",
    } == set(titles)  # fmt: skip


def test_the_head_names_window_gaps_chain_digests_and_that_it_was_made_up(pages: Pages) -> None:
    for name in PAGES:
        text = Structure(pages.html[name]).text
        window = pages.report.window
        assert "SYNTHETIC" in text
        assert words.moment(pages.window.since_ms) in text
        assert "2 gaps, the longest 20 min (trimmed)" in text
        assert window.rules
        assert window.rules in text
        assert window.limits in text
        assert "none: no day is sealed yet" in text
    assert pages.readiness.policy in pages.html["readiness"]


def test_sentences_are_made_from_the_figures(pages: Pages) -> None:
    text = Structure(pages.html["report"]).text
    own, governor = pages.report.allocation, pages.report.governor
    assert own is not None
    cover = own.coverage
    assert f"made {cover.made:,} of {cover.due:,} passes" in text
    assert f"of {cover.unknown:,} it is unknown" in text
    assert f"{governor.permitted:,} of {governor.plans:,} plans got a permit" in text
    assert f"counted for {words.share(own.reasons['ok'])} of the time" in text
    assert f"{own.multiplier.p10:.3f} to {own.multiplier.p90:.3f}" in text
    again = Structure(pages.html["replay"]).text
    assert pages.replay.in_sequence is not None
    assert f"{pages.replay.in_sequence.permits.count:,} opens would have got a permit" in again


def test_the_distribution_is_all_of_the_time_in_which_the_score_was_ok(pages: Pages) -> None:
    own = pages.report.allocation
    assert own is not None
    assert sum(each.share for each in own.distribution) == pytest.approx(1)
    assert len(own.distribution) <= reports.MOST_BINS
    for one, other in zip(own.distribution, own.distribution[1:], strict=False):
        assert one.high == pytest.approx(other.low)


@pytest.mark.parametrize("ends", [(9_999, 10_001), (5_000, 15_000), (1, 10**9)])
def test_a_distribution_has_round_steps_and_holds_its_ends(ends: tuple[int, int]) -> None:
    found = reports.distribution({ends[0]: 1, ends[1]: 3})
    assert 1 <= len(found) <= reports.MOST_BINS
    assert found[0].low <= ends[0] / 10_000 < found[0].high
    assert (found[0].share, found[-1].share) == (0.25, 0.75) or len(found) == 1


def test_blocks_by_reason_add_up_to_those_of_the_window(pages: Pages) -> None:
    for reason in {row.reason for row in pages.report.governor.verdicts} - {"ok"}:
        rows = [row for row in pages.report.governor.verdicts if row.reason == reason]
        parts = sum(part.reasons.get(reason, 0) for part in pages.report.parts)
        assert parts == sum(row.plans for row in rows)


def test_gaps_are_hatched_and_no_line_crosses_them(pages: Pages) -> None:
    charts = re.findall(r"<svg.*?</svg>", pages.html["report"], re.DOTALL)
    exposure = next(each for each in charts if "Gross exposure" in each)
    verdicts = next(each for each in charts if "Verdicts by gate" in each)
    assert exposure.count("class='unknown'") == verdicts.count("class='unknown'") == 1
    assert exposure.count("<polyline") == 4  # two lines, each broken once
    assert "hatched in the charts" in Structure(pages.html["report"]).text


def test_text_from_elsewhere_is_only_text(tmp_path: Path) -> None:
    rows = [[(EVIL, 100.0, 1.1), ("BTCUSDT", 100.0, 0.9)], [(EVIL, 90.0, 0.8)]] * 2
    gap = Gap(EVIL, NOON, NOON + 20_000, EVIL, None, EVIL, NOON)
    decisions = [
        plan(1, plan_id=EVIL, symbol=EVIL),
        plan(2, plan_id=f"{EVIL}2", symbol=EVIL, kind="close", verdict="blocked", reason=EVIL),
    ]
    history = written(tmp_path, Batch(passes=passes(*rows), decisions=decisions, gaps=[gap]))
    made = pages_of(history)
    assert made.report.governor.refused
    assert not made.replay.parity.holds
    for page in made.html.values():
        found = Structure(page)
        assert found.complaints == []
        assert "<script" not in page
        assert "\u202e" not in page
        assert "alert(1)" in found.text


def test_many_symbols_stay_readable(tmp_path: Path) -> None:
    names = [f"SYM{number:04}USDT" for number in range(500)]
    made = [a_pass(n, *((name, 100.0, 1.1 if n % 2 else 0.9) for name in names)) for n in range(3)]
    history = written(tmp_path, Batch(passes=made))
    found = reports.make(history, windows.choose(history, None, None))
    page = report_page(found)
    shown = Structure(page)
    assert shown.complaints == []
    assert len(page) < 2_000_000
    assert {rows - 1 for caption, rows in shown.captions if "ymbols" in caption} == {20, 480}
    assert "The 20 with the least ok of 500 symbols" in shown.text
    assert "480 more symbols changed sides no more often" in shown.text


def test_what_is_not_there_is_said_and_not_drawn(tmp_path: Path) -> None:
    only_plans = written(tmp_path / "plans", Batch(decisions=[plan(1)]))
    pages = pages_of(only_plans).html
    assert [Structure(page).complaints for page in pages.values()] == [[], [], []]
    made = Structure(pages["report"])
    assert "No pass of the allocation loop is recorded in the window." in made.text
    rows = [("BTCUSDT", "100", "stale_eff", "1.0000", "0.5")]
    no_plans = written(tmp_path / "passes", Batch(passes=[a_pass(n, *rows) for n in range(3)]))
    pages = pages_of(no_plans).html
    assert [Structure(page).complaints for page in pages.values()] == [[], [], []]
    made = Structure(pages["report"])
    assert "No plan is recorded in the window." in made.text
    assert "No score counted in the window" in made.text
    assert "Verdicts by gate over time" not in [title for title, _ in made.charts]


@pytest.mark.parametrize(
    ("share", "shown"),
    [(None, "unknown"), (0.0, "0.0 %"), (0.0001, "under 0.1 %"), (0.9999, "over 99.9 %"),
     (1.0, "100.0 %"), (0.5, "50.0 %"), (12.5, "1,250.0 %")],
)  # fmt: skip
def test_a_share_is_never_rounded_to_none_or_all(share: float | None, shown: str) -> None:
    assert words.share(share) == shown


# The files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PAGES)
def test_the_file_has_the_page_and_stdout_has_the_rest(
    cli: Cli, market: Path, tmp_path: Path, name: str
) -> None:
    file = tmp_path / "page.html"
    file.write_text("an older one")
    said = cli(name, "--dir", str(market), "--html", str(file), "-o", "json")
    assert said.json
    assert str(file) in said.err
    assert Structure(file.read_text()).complaints == []
    assert list(tmp_path.iterdir()) == [file]
    again = cli(name, "--dir", str(market), "--html", "-")
    assert again.out == file.read_text()
    assert again.code == said.code


@pytest.mark.parametrize(
    ("target", "more", "code", "words"),
    [
        ("{}/no/page.html", (), 2, "there is no folder"),
        ("{}", (), 2, "is a folder: name a file in it"),
        ("", (), 2, "name a file"),
        ("-", ("-o", "json"), 2, "both want stdout"),
        ("{}/page.html", ("--since", "soon"), 2, "is not a time"),
    ],
)
def test_where_no_page_can_go_nothing_is_computed(
    cli: Cli, market: Path, tmp_path: Path, target: str, more: tuple[str, ...], code: int,
    words: str,
) -> None:  # fmt: skip
    said = cli("report", "--dir", str(market), "--html", target.format(tmp_path), *more)
    assert (said.code, said.out) == (code, "")
    assert words in said.err
    assert len(said.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_pipe_or_a_device_is_not_replaced(cli: Cli, market: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    said = cli("report", "--dir", str(market), "--html", str(pipe))
    assert (said.code, said.out) == (2, "")
    assert "is a device or a pipe" in said.err
    assert pipe.is_fifo()
    with pytest.raises(UsageError, match="is a device or a pipe"):
        refuse_existing(pipe, force=True)


def test_a_file_that_can_not_be_written_is_one_line(cli: Cli, market: Path) -> None:
    said = cli("report", "--dir", str(market), "--html", "/proc/page.html")
    assert (said.code, said.out) == (1, "")
    assert "/proc/page.html can't be written" in said.err
    assert len(said.err.splitlines()) == 1


def test_the_same_history_gives_the_same_page(market: Path, pages: Pages) -> None:
    assert pages_of(History(market)).html == pages.html
    assert msgspec.json.encode(pages.report)
