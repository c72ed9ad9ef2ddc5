"""Who may read the history: its owner and its group, while it is written and after a kill."""

import os
import shutil
import signal
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from qtctl.errors import ConfigError
from qtctl.history.copying import copy
from qtctl.history.damage import CannotWrite
from qtctl.history.reader import History
from qtctl.history.rows import Batch
from qtctl.history.store import Store as HistoryStore
from qtctl.wire.client.store import Store
from tests.history.samples import MIDNIGHT, NOON, decision_at
from tests.support.processes import Process, process, until
from tests.support.users import AS_ROOT, GROUP, OPERATOR, as_user, open_folder

AS_THE_UNIT = """
import os, runpy, sys
os.setgid(int(sys.argv.pop(1)))
os.umask(0o077)
runpy.run_module("qtctl", run_name="__main__", alter_sys=True)
"""
"""`qtctl …` with a group and the umask of qtctl.service, which is the stricter one."""


def test_folder_and_files_are_for_owner_and_group_whatever_the_umask(tmp_path: Path) -> None:
    folder, before = tmp_path / "history", os.umask(0o077)
    try:
        with HistoryStore(folder) as store:
            store.write(Batch(decisions=[decision_at(NOON), decision_at(MIDNIGHT + 1)]))
            store.seal(MIDNIGHT + 1, MIDNIGHT + 1)
            modes = _modes(folder)
        assert list(copy(folder, tmp_path / "copy")) == [("2026-01-29", ""), ("2026-01-30", "")]
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o750
    assert modes.pop("2026-01-29.sqlite") == 0o440, "sealed"
    assert set(modes.values()) == {0o640}, modes
    assert {"chain.jsonl", "2026-01-30.sqlite", "2026-01-30.sqlite-wal"} <= set(modes)
    assert set(_modes(tmp_path / "copy").values()) == {0o640}


def _modes(folder: Path) -> dict[str, int]:
    return {each.name: stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir()}


def test_a_copy_has_no_part_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with HistoryStore(tmp_path / "history") as store:
        store.write(Batch(decisions=[decision_at(NOON), decision_at(MIDNIGHT + 1)]))
        store.seal(MIDNIGHT + 1, MIDNIGHT + 1)

    def full(path: Path, new: Path) -> None:
        new.write_text("half a")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(CannotWrite, match="No space left"):
        list(copy(tmp_path / "history", tmp_path / "copy"))
    assert list((tmp_path / "copy").iterdir()) == []


@contextmanager
def recorder(url: str, state: Path) -> Iterator[Process]:
    argv = [sys.executable, "-c", AS_THE_UNIT, str(GROUP), "--redis-url", url, "--set",
            "history.metrics_port=0", "serve", "recorder"]  # fmt: skip
    with process(argv, env=os.environ | {"STATE_DIRECTORY": str(state)}) as child:
        yield child


@AS_ROOT
def test_an_operator_of_the_group_reads_while_it_is_written_and_after_a_kill(store: Store) -> None:
    def events() -> str:
        return " ".join(each.fields["plan_id"] for each in History(folder).events())

    def refused() -> str:
        with pytest.raises(ConfigError, match="Permission denied"):
            History(folder).days()
        return "refused"

    with open_folder() as root:
        state = root / "quantum-history"  # as systemd makes it
        state.mkdir()
        os.chown(state, 0, GROUP)
        state.chmod(0o750)
        folder = state / "history"
        with recorder(store.url, state) as child:
            store.run("XADD", store.keys.events, "*", "event", "permitted", "plan_id", "p1")
            until(folder.is_dir)
            until(lambda: "p1" in events())
            assert as_user(OPERATOR, GROUP, events) == "p1"
            store.run("XADD", store.keys.events, "*", "event", "permitted", "plan_id", "p2")
            until(lambda: "p2" in events())
            child.signal(signal.SIGKILL)
            child.wait()
        assert [each.stat().st_size for each in folder.glob("*-wal")] > [0]
        assert as_user(OPERATOR, GROUP, events) == "p1 p2"
        assert as_user(OPERATOR, OPERATOR, refused) == "refused"
