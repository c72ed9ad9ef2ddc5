"""Killed recorders, full disks, damaged files, other users: what can be read is read, the rest is
named, and nothing is there twice."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

from qtctl import errors
from qtctl.history import chain, copying, overview, sealing
from qtctl.history.damage import CannotWrite
from qtctl.history.reader import History
from qtctl.history.rows import Batch
from qtctl.history.store import Store
from qtctl.history.verify import verify
from tests.history.samples import DAY_MS, MIDNIGHT, NOON, a_pass, decision_at

WRITER = """
import sys
from pathlib import Path
from qtctl.history.rows import Batch
from qtctl.history.store import Store
from tests.history.samples import NOON, a_pass, decision_at
{before}
store = Store(Path(sys.argv[1]))
at = int(store.cursors().get("s", f"{{NOON}}-0").partition("-")[0])
while True:
    at += 10
    store.write(Batch(cursors={{"s": f"{{at}}-0"}}, decisions=[decision_at(at)],
                      passes=[a_pass(at, at, ("A", str(at), "0.5"))]))
    print(at, flush=True)
"""
NOBODY = 65_534
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")


def writer(folder: Path, before: str = "") -> "subprocess.Popen[str]":
    """A process that writes a row every time, and prints it once it is written."""
    code = WRITER.format(before=textwrap.dedent(before))
    return subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip


def written_until_killed(folder: Path, count: int) -> int:
    """The last row that a killed writer had reported."""
    with writer(folder) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(count)]
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().split()
    return int((rest or lines)[-1])


def counts(folder: Path) -> tuple[list[int], list[int]]:
    history = History(folder)
    decisions = [each.at_ms for each in history.decisions()]
    passes = [each.value.number for each in history.passes()]
    assert history.damage == []
    return decisions, passes


def test_killed_recorders_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    last = 0
    for round_ in range(3):
        last = written_until_killed(tmp_path, 40 + round_)
        decisions, passes = counts(tmp_path)
        assert decisions == passes
        assert decisions == list(range(NOON + 10, decisions[-1] + 1, 10))
        assert decisions[-1] in (last, last + 10), "one may be written and not yet reported"


@AS_ROOT
@pytest.mark.parametrize("killed", [False, True])
def test_another_user_reads_while_it_runs_and_after_a_kill(killed: bool, tmp_path: Path) -> None:
    folder = tmp_path / "h"
    for place in (tmp_path, *tmp_path.parents):
        if place == Path(tempfile.gettempdir()):
            break
        place.chmod(place.stat().st_mode | 0o005)
    reader = textwrap.dedent("""
        import os, sys
        from pathlib import Path
        folder, group = Path(sys.argv[1]), int(sys.argv[2])
        from qtctl.history.reader import History
        from qtctl.history.query import Query
        from qtctl.history import copying
        os.setgroups([group]); os.setgid(65534); os.setuid(65534)
        history = History(folder)
        print(len(list(history.decisions())), len(list(history.passes())))
        with Query(history, "SELECT count(*) FROM decisions") as asked:
            print(list(asked.rows())[0][0])
        try:
            (folder / "x").write_text("x")
        except PermissionError:
            print("cannot write")
    """)
    with writer(folder) as process:
        assert process.stdout is not None
        for _ in range(20):
            process.stdout.readline()
        group = 54_321
        for path in (folder, *folder.iterdir()):
            os.chown(path, 0, group)
        if killed:
            process.kill()
            process.wait()
        found = subprocess.run(
            [sys.executable, "-c", reader, str(folder), str(group)],
            capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False,
        )  # fmt: skip
        process.kill()
    assert found.returncode == 0, found.stderr
    both, counted, refused = found.stdout.splitlines()
    assert min(map(int, both.split())) >= 20
    assert int(counted) >= 20
    assert refused == "cannot write"


def test_a_copy_is_whole_also_with_a_wal_left(tmp_path: Path) -> None:
    folder = tmp_path / "h"
    with Store(folder) as store:
        store.write(Batch(cursors={"s": "1-0"}, decisions=[decision_at(NOON - DAY_MS)]))
        store.seal(MIDNIGHT - DAY_MS, NOON)
    last = written_until_killed(folder, 30)
    assert (folder / "2026-01-29.sqlite-wal").stat().st_size
    assert [problem for _, problem in copying.copy(folder, tmp_path / "copy")] == ["", ""]
    assert counts(tmp_path / "copy") == counts(folder)
    assert counts(tmp_path / "copy")[0][-1] >= last
    assert {each.status for each in verify(tmp_path / "copy")} == {"ok", "open"}
    with pytest.raises(errors.RefusedError, match="not empty"):
        list(copying.copy(folder, tmp_path / "copy"))


def test_a_copy_while_a_recorder_writes_is_of_one_moment(tmp_path: Path) -> None:
    full_day(tmp_path / "h")
    with writer(tmp_path / "h") as process:
        assert process.stdout is not None
        for _ in range(3):
            last = int(process.stdout.readline())
            target = tmp_path / str(last)
            assert [problem for _, problem in copying.copy(tmp_path / "h", target)] == [""]
            decisions, passes = counts(target)
            assert decisions == passes == list(range(NOON, decisions[-1] + 1, 10))
            assert decisions[-1] >= last
        process.kill()


def test_a_full_disk_is_one_line_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    limit = """
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    """
    with writer(tmp_path, limit) as process:
        out, err = process.communicate()
    assert "can't write 2026-01-29 of the history" in err.splitlines()[-1]
    assert "free space" in err.splitlines()[-1]
    last = int(out.split()[-1])
    assert counts(tmp_path)[0] == list(range(NOON + 10, last + 1, 10))
    assert written_until_killed(tmp_path, 5) > last
    decisions, passes = counts(tmp_path)
    assert decisions == passes == list(range(NOON + 10, decisions[-1] + 1, 10))


def full_day(folder: Path, rows: int = 3_000) -> Path:
    with Store(folder) as store:
        at = NOON + rows * 10 - 10
        for first in range(0, rows, 100):
            times = range(NOON + first * 10, NOON + first * 10 + 1000, 10)
            store.write(
                Batch(
                    cursors={"s": f"{at}-0"},
                    decisions=[decision_at(time) for time in times],
                    passes=[a_pass(time, time, ("A", str(time), "1")) for time in times],
                )
            )
    return folder / "2026-01-29.sqlite"


def test_past_a_damaged_page_everything_else_is_read(tmp_path: Path) -> None:
    path = full_day(tmp_path)
    with sqlite3.connect(path) as db:
        pages = db.execute(
            "SELECT pageno FROM dbstat WHERE name = 'decisions' AND pagetype = 'leaf' ORDER BY path"
        ).fetchall()
    db.close()
    (page,) = pages[len(pages) // 2]
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 4096)
    history = History(tmp_path)
    found = [each.at_ms for each in history.decisions()]
    assert 2_900 < len(found) < 3_000
    assert (found[0], found[-1]) == (NOON, NOON + 29_990)
    (gap,) = history.gaps()
    assert gap.kind == "day_damaged"
    assert gap.count is None
    missing = set(range(NOON, NOON + 30_000, 10)) - set(found)
    assert gap.from_ms < min(missing) <= max(missing) < gap.to_ms
    assert len(list(history.passes())) == 3_000
    (finding,) = verify(tmp_path)
    assert finding.status == "differs"
    with Store(tmp_path) as store, pytest.raises(CannotWrite, match="move that file"):
        store.seal(MIDNIGHT, MIDNIGHT)


def test_a_damaged_block_costs_its_passes_only(tmp_path: Path) -> None:
    path = full_day(tmp_path)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE blocks SET frames = x'00' WHERE id = (SELECT min(id) FROM blocks)")
    db.close()
    history = History(tmp_path)
    assert 0 < len(list(history.passes())) < 3_000
    assert {gap.kind for gap in history.gaps()} == {"day_damaged"}


@pytest.mark.parametrize("content", [b"", b"x", b"SQLite format 3\0" + b"\0" * 84, b"\0" * 10_000])
def test_a_file_that_is_none(tmp_path: Path, content: bytes) -> None:
    full_day(tmp_path, 100)
    (tmp_path / "2026-01-28.sqlite").write_bytes(content)
    history = History(tmp_path)
    assert len(list(history.decisions())) == 100
    (gap,) = history.gaps()
    assert "2026-01-28" in gap.detail
    assert [day.state for day in overview.days(history)] == ["damaged", "open"]


@pytest.mark.parametrize("content", [b"", b"\0" * 10_000])
def test_a_broken_newest_day_is_one_line_until_it_is_moved_away(
    tmp_path: Path, content: bytes
) -> None:
    full_day(tmp_path, 100)
    path = tmp_path / "2026-01-30.sqlite"
    path.write_bytes(content)
    for _ in range(2):
        with pytest.raises(errors.QtctlError, match=r"2026-01-30.*move .* out of"):
            Store(tmp_path)
    path.unlink()
    with Store(tmp_path) as store:
        assert store.cursors() == {"s": f"{NOON + 990}-0"}


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(errors.NotFoundError, match="no history in"):
        History(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(errors.NotFoundError, match="no history in"):
        History(tmp_path / "file")
    with pytest.raises(errors.ConfigError, match=r"\[history\] dir"):
        Store(tmp_path / "file" / "below")


def test_synthetic_and_recorded_are_not_mixed(tmp_path: Path) -> None:
    with Store(tmp_path, synthetic=True) as store:
        store.write(Batch(cursors={"s": "1-0"}, decisions=[decision_at(NOON)]))
    assert History(tmp_path).synthetic()
    with pytest.raises(errors.RefusedError, match="another folder"):
        Store(tmp_path)


def sealed(folder: Path, days: int = 4) -> None:
    with Store(folder) as store:
        for day in range(days):
            at = NOON + day * DAY_MS
            store.write(Batch(cursors={"s": f"{day}-1"}, decisions=[decision_at(at)]))
        store.seal(NOON + (days - 1) * DAY_MS, NOON)


def test_verify_names_the_first_day_that_differs(tmp_path: Path) -> None:
    sealed(tmp_path)
    assert {each.status for each in verify(tmp_path)} == {"ok", "open"}
    path = tmp_path / "2026-01-30.sqlite"
    path.chmod(0o640)
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    first = next(each for each in verify(tmp_path) if each.status == "differs")
    assert first.what == "2026-01-30"
    path.unlink()
    first = next(each for each in verify(tmp_path) if each.status == "differs")
    assert (first.what, first.detail) == ("2026-01-30", "its file is gone")


@pytest.mark.parametrize("change", ["value", "left out", "order", "cut off"])
def test_verify_names_the_line_of_the_chain_that_was_changed(tmp_path: Path, change: str) -> None:
    sealed(tmp_path)
    path = tmp_path / "chain.jsonl"
    lines = path.read_text().splitlines()
    second = json.loads(lines[1])
    second["rows"]["decisions"] = 7
    changed = {
        "value": [lines[0], json.dumps(second, separators=(",", ":")), lines[2], ""],
        "left out": [lines[0], lines[2], ""],
        "order": [lines[0], lines[2], lines[1], ""],
        "cut off": [lines[0], lines[1][:50]],
    }
    path.write_text("\n".join(changed[change]))
    first = next(each for each in verify(tmp_path) if each.status == "differs")
    assert first.what == "line 2 of chain.jsonl"


def test_a_line_that_a_crash_cut_off_is_written_again(tmp_path: Path) -> None:
    sealed(tmp_path)
    path = tmp_path / "chain.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    with Store(tmp_path) as store:
        (link,) = store.seal(NOON + 3 * DAY_MS, NOON)
    assert link.day == "2026-01-31"
    assert {each.status for each in verify(tmp_path)} == {"ok", "open"}


def test_pruning_takes_whole_sealed_days_and_the_chain_says_so(tmp_path: Path) -> None:
    sealed(tmp_path)
    size = sealing.size(tmp_path, "2026-01-29")
    now = NOON + 3 * DAY_MS
    assert [each.day for each in sealing.prunable(tmp_path, now, 2, 0)] == ["2026-01-29"]
    assert [each.day for each in sealing.prunable(tmp_path, now, 0, size + 1)] == [
        "2026-01-29", "2026-01-30", "2026-01-31",
    ]  # fmt: skip
    with Store(tmp_path) as store:
        assert [link.what for link in store.prune(now, 2, 0)] == ["pruned"]
    history = History(tmp_path)
    assert history.days() == ["2026-01-30", "2026-01-31", "2026-02-01"]
    assert history.gaps() == [], "what was pruned is no gap"
    assert [each.status for each in verify(tmp_path)] == ["pruned", "ok", "ok", "open"]
    assert chain.read(tmp_path)[-1].why == "keep_days 2"
