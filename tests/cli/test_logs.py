"""`qtctl logs`: what the journal of this host has, read by the real journalctl where a journald can
be started for the test (as root, with a cgroup of its own)."""

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from qtctl.cli.main import run
from qtctl.supervisor.journalctl import logged
from tests.support.cli import NO_FILE, Said
from tests.support.debian import needed
from tests.support.processes import process, until

JOURNALD = Path("/lib/systemd/systemd-journald")
CGROUP = Path("/sys/fs/cgroup/unified")
UNIT = "quantum-governor.service"
SENDER = """
import os, socket, sys
open(sys.argv[1] + '/cgroup.procs', 'w').write(str(os.getpid()))
from qtctl.supervisor import logs
import logging
logs.configure('info', sys.argv[3], socket=sys.argv[2] + '/socket')
from qtctl.logs import log_batch
facts = {'plan_id': 'p1', 'symbol': 'BTCUSDT', 'reason': 'ok', 'kind': 'open', 'source': 'me'}
log_batch(logging.getLogger('qtctl.decisions'), 20, [('plan permitted', facts)])
other = logging.getLogger('qtctl.supervisor.allocation')
other.warning('odd', extra={'fields': {'problem': 'a b'}})
logging.shutdown()
"""


class Journal(NamedTuple):
    """A namespace of the journal, and a PATH on which journalctl reads it."""

    path: str
    folder: str
    cgroup: Path


def said(capsys: pytest.CaptureFixture[str], *args: str, path: str) -> Said:
    capsys.readouterr()
    code = run(["logs", *args], {**NO_FILE, "PATH": path})
    return Said(code, *capsys.readouterr())


@pytest.fixture
def journald(tmp_path: Path) -> Iterator[Journal]:
    """A real journald of its own namespace."""
    program = needed("journalctl")
    if os.geteuid() != 0 or not JOURNALD.exists() or not (CGROUP / "cgroup.procs").exists():
        pytest.skip("a journald can't be started here")
    name = f"qttest{os.getpid()}"
    cgroup = CGROUP / f"{name}.slice" / UNIT
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(FileExistsError):
            Path("/run/systemd/journal").mkdir(parents=True)
        child = stack.enter_context(process([str(JOURNALD), name]))
        folder = Path(f"/run/systemd/journal.{name}")
        until(lambda: (folder / "socket").exists() or child.code is not None)
        if child.code is not None:
            pytest.skip("journald does not run here")
        stack.callback(_remove, name, folder, cgroup)
        cgroup.mkdir(parents=True)
        wrapper = tmp_path / "journalctl"
        wrapper.write_text(f'#!/bin/sh\nexec {program} --namespace={name} "$@"\n')
        wrapper.chmod(0o755)
        yield Journal(str(tmp_path), str(folder), cgroup)


def _remove(name: str, folder: Path, cgroup: Path) -> None:
    for place in (folder, *Path("/var/log/journal").glob(f"*.{name}"),
                  *Path("/run/log/journal").glob(f"*.{name}")):  # fmt: skip
        shutil.rmtree(place, ignore_errors=True)
    with contextlib.suppress(OSError):
        cgroup.rmdir()
        cgroup.parent.rmdir()


def send(journal: Journal, fmt: str) -> None:
    """What a service in the unit logs, from a process of its own."""
    import sys

    argv = [sys.executable, "-c", SENDER, str(journal.cgroup), journal.folder, fmt]
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stderr:
        stderr.connect(f"{journal.folder}/stdout")
        stderr.sendall(b"quantum-governor\n\n6\n1\n0\n0\n0\n")
        subprocess.run(argv, check=True, stderr=stderr.fileno(), timeout=30)


def test_the_journal_is_read_whatever_the_format(
    journald: Journal, capsys: pytest.CaptureFixture[str]
) -> None:
    for fmt in ("journal", "plain", "json"):
        send(journald, fmt)
    read = lambda *args: said(capsys, *args, path=journald.path)  # noqa: E731
    # The journal is written a moment after it is sent to.
    until(lambda: len(read("governor", "-o", "json").json) == 6)
    rows = read("governor", "-o", "json").json
    assert {row["unit"] for row in rows} == {UNIT}
    assert [row["source"] for row in rows] == ["decisions", "allocation"] * 3
    assert [row["level"] for row in rows] == ["info", "warning"] * 3
    assert all(row["fields"]["source"] == "me" for row in rows[::2])
    assert all(row["fields"] == {"problem": "a b"} for row in rows[1::2])
    shown = read("--since", "5m").out.splitlines()
    assert [line.split("Z  ")[1] for line in shown[1:3]] == [
        "decisions   permitted open p1 BTCUSDT ok, full size",
        'allocation  WARNING odd problem="a b"',
    ]
    assert len(read("-n", "2").out.splitlines()) == 3
    (last,) = read("-n", "1", "--where", "level=info", "-o", "json").json
    assert last["message"] == "plan permitted"
    assert read("--until", "1h", "-o", "csv").out == "at,source,what\n"
    assert read("allocation").code == 1
    assert "has no lines of quantum-allocation-target.service" in read("allocation").err


@pytest.mark.parametrize("args", [(), ("-f",), ("governor", "--since", "1h", "-o", "json")])
def test_without_a_journal_one_line_says_where_logs_are(
    args: tuple[str, ...], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    found = said(capsys, *args, path=str(tmp_path))
    assert found.code == 1
    assert found.out == ""
    (line,) = found.err.splitlines()
    assert "no journal here" in line
    assert "stderr" in line


def test_a_journal_that_may_not_be_read_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "journalctl").write_text("#!/bin/sh\necho 'No journal files were opened due to'"
                                         " 'insufficient permissions.' >&2\nexit 1\n")  # fmt: skip
    (tmp_path / "journalctl").chmod(0o755)
    found = said(capsys, path=str(tmp_path))
    assert found.code == 1
    assert "insufficient permissions" in found.err


def test_hostile_lines_in_the_journal_stay_text(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    entries = [
        '{"MESSAGE": [27, 91, 50, 74, 255], "PRIORITY": "3", "__REALTIME_TIMESTAMP": "1"}',
        '{"MESSAGE": null}',
        "-- no entry --",
        '{"LOGGER": "decisions", "LOGGER_MESSAGE": "plan blocked", "QTCTL_PLAN_ID": "\\u001b[2J"}',
        '{"MESSAGE": "{}", "QTCTL_X": ["a", "b"], "LOGGER": "x"}',
    ]
    (tmp_path / "entries").write_text("\n".join([*entries, ""]))
    (tmp_path / "journalctl").write_text(f"#!/bin/sh\ntac {tmp_path}/entries\n")
    (tmp_path / "journalctl").chmod(0o755)
    found = said(capsys, path=f"{tmp_path}:{os.environ['PATH']}")
    assert found.code == 0
    assert "\x1b" not in found.out
    assert len(found.out.splitlines()) == 1 + 4
    assert said(capsys, "-o", "json", path=f"{tmp_path}:/bin:/usr/bin").json[0]["level"] == "error"


def test_an_entry_of_another_program_is_shown_as_it_is() -> None:
    line = logged({"MESSAGE": "Started the governor.", "SYSLOG_IDENTIFIER": "systemd"})
    assert (line.source, line.message, line.fields) == ("systemd", "Started the governor.", {})
