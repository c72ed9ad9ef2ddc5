"""What befalls a history while a recorder writes it: the loops go on, doctor says it, what can be
read is read, and once it is mended nothing that is still in a stream is missing."""

import contextlib
import os
import resource
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from qtctl.history.ids import DAY_MS
from qtctl.history.reader import History
from qtctl.history.verify import verify
from qtctl.services.governor import Governor
from qtctl.services.recorder import Recorder
from qtctl.settings.model import History as HistorySettings
from qtctl.wire.client.store import Store
from tests.services.helpers import decide, governor
from tests.support.cli import Cli
from tests.support.clocks import stepped_server
from tests.support.processes import until


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "history"


@pytest.fixture
def gov(store: Store) -> Iterator[Governor]:
    made = governor(store)
    made.open()
    yield made
    made.close()


@contextlib.contextmanager
def recording(store: Store, folder: Path) -> Iterator[Recorder]:
    made = Recorder(Store(store.url, store.keys), HistorySettings(name="r1"), lambda: folder)
    made.open()
    try:
        yield made
    finally:
        made.close()


def recorded(folder: Path) -> list[str]:
    return [each.plan_id for each in History(folder).decisions()]


def doctor_says(cli: Cli) -> str:
    """What `history.recorder` finds."""
    rows = cli("doctor", "-o", "json", environ={"QTCTL_HISTORY_ENABLED": "true"}).json
    found = rows if isinstance(rows, list) else rows["findings"]
    return " ".join(str(row) for row in found if row["check"] == "history.recorder")


def doctor_will_say(made: Recorder, cli: Cli, what: str) -> None:
    """Within the second for which the recorder's record may be older."""

    def says() -> bool:
        made.step()
        return what in doctor_says(cli)

    until(says, what=f"the doctor to say {what!r}")


@contextlib.contextmanager
def files_of_at_most(size_bytes: int) -> Iterator[None]:
    """As a disk that is full: no file of this process grows beyond that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def test_a_full_disk(
    store: Store, gov: Governor, folder: Path, redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cli = Cli(redis_url, capsys)
    decide(store, gov, "before")
    with recording(store, folder) as made:
        assert made.once()
        with files_of_at_most(max(each.stat().st_size for each in folder.iterdir())):
            for place in range(30):
                decide(store, gov, f"full{place}")
                made.step()
        assert "can't write" in (made.not_ready() or ""), "nothing was full"
        assert recorded(folder)[0] == "before", "what can be read is read"
        assert made.once()
        assert made.not_ready() is None
        doctor_will_say(made, cli, "writes the history")
    assert recorded(folder) == ["before", *(f"full{place}" for place in range(30))]
    assert History(folder).gaps() == []


def test_a_full_disk_is_said_until_there_is_room(
    store: Store, gov: Governor, folder: Path, redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    decide(store, gov, "p1")
    with recording(store, folder) as made:
        with files_of_at_most(1_000):
            made.step()
            assert made.not_ready() is not None
            assert "free space" in (made.not_ready() or "")
            decide(store, gov, "p2")
            doctor_will_say(made, Cli(redis_url, capsys), "free space")
        assert made.once()
    assert recorded(folder) == ["p1", "p2"]


@pytest.mark.skipif(os.geteuid() == 0 and not os.access("/bin/mount", os.X_OK), reason="no mount")
def test_a_folder_that_becomes_read_only(
    store: Store, gov: Governor, folder: Path, redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    decide(store, gov, "before")
    with recording(store, folder) as made:
        assert made.once()
    with read_only(folder), recording(store, folder) as made:
        decide(store, gov, "meanwhile")
        made.step()
        assert str(folder) in (made.not_ready() or "")
        doctor_will_say(made, Cli(redis_url, capsys), str(folder))
        assert recorded(folder) == ["before"]
    with recording(store, folder) as made:
        assert made.once()
    assert recorded(folder) == ["before", "meanwhile"]
    assert History(folder).gaps() == []


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """For root as well, whom no mode stops."""
    if os.geteuid():
        for each in (*folder.iterdir(), folder):
            each.chmod(0o555 if each.is_dir() else 0o444)
        try:
            yield
        finally:
            folder.chmod(0o755)
            for each in folder.iterdir():
                each.chmod(0o644)
        return
    for words in (["--bind", folder, folder], ["-o", "remount,bind,ro", folder]):
        done = subprocess.run(["mount", *map(str, words)], capture_output=True, check=False)
        if done.returncode:
            subprocess.run(["umount", str(folder)], capture_output=True, check=False)
            pytest.skip(f"root may not mount here: {done.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("damage", ["a page", "the header", "all of it"])
def test_a_damaged_day(
    damage: str,
    store: Store,
    gov: Governor,
    folder: Path,
    redis_url: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    decide(store, gov, *(f"p{place}" for place in range(50)))
    with recording(store, folder) as made:
        assert made.once()
    (path,) = folder.glob("*.sqlite")
    raw = path.read_bytes()
    at, length = {"a page": (_page(path), 4096), "the header": (0, 100)}.get(damage, (0, len(raw)))
    path.write_bytes(raw[:at] + b"\xff" * length + raw[at + length :])
    with recording(store, folder) as made:
        decide(store, gov, "after")
        made.step()
        assert "move that file out of the folder" in (made.not_ready() or "")
        doctor_will_say(made, Cli(redis_url, capsys), "move that file out of the folder")
        assert "differs" in {each.status for each in verify(folder)}
        assert len(recorded(folder)) in ((50,) if damage == "a page" else (0,))
        path.rename(folder.parent / "moved")
        for each in folder.glob("*-wal"):
            each.unlink()
        for each in folder.glob("*-shm"):
            each.unlink()
        assert made.once(), made.not_ready()
    assert recorded(folder) == [*(f"p{place}" for place in range(50)), "after"]
    assert not [each for each in verify(folder) if each.status == "differs"]


def _page(path: Path) -> int:
    """Where the first page of the cursors begins, which the recorder has to read."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        (page,) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'cursors'").fetchone()
    return (int(page) - 1) * 4096


def test_a_clock_that_steps_back_over_midnight(tmp_path: Path) -> None:
    with stepped_server() as server, server.store() as store:
        now = store.now_ms()
        to_midnight = (DAY_MS - now % DAY_MS) / 1000
        server.step(to_midnight - 30)
        gov = governor(store)
        gov.open()
        folder = tmp_path / "history"
        with recording(store, folder) as made:
            for off_sec, name in ((-30, "before"), (60, "behind"), (-7_200, "back"), (90, "on")):
                server.step(to_midnight + off_sec)
                gov.close()
                gov.open()
                decide(store, gov, name)
                made._finished_at = None
                assert made.once(), made.not_ready()
        gov.close()
        sent = [
            dict(zip(raw[::2], raw[1::2], strict=True))[b"plan_id"].decode()
            for _, raw in store.run("XRANGE", store.keys.decisions, "-", "+")
        ]
    assert sent == ["before", "behind", "back", "on"]
    assert recorded(folder) == sent
    history = History(folder)
    assert len(history.days()) == 2
    assert [gap.kind for gap in history.gaps()] == []
    assert not [each for each in verify(folder) if each.status == "differs"]
