"""The log as a person sees it, as the journal keeps it, and as it is read back."""

import io
import logging
import os
import pty
import re
import socket
import struct
import subprocess
import time
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtctl.logs import dropped, log_batch
from qtctl.supervisor import journal, log_lines, log_words, logs
from qtctl.supervisor.hosted_service import HostedService
from qtctl.supervisor.journalctl import logged
from qtctl.supervisor.notify import Notify
from qtctl.supervisor.reporter import HEARTBEAT_SEC, Reporter
from qtctl.text import escape
from qtctl.wire.client.store import Store
from tests.supervisor.fakes import FakeService
from tests.support.plans import fields as plan_fields
from tests.support.processes import QTCTL

PERMITTED = {
    "plan_id": "p1", "symbol": "BTCUSDT", "reason": "ok", "kind": "open", "eff_action": "DOWNSIZE",
    "eff_factor": "0.4444", "extra_cooldown_sec": "66", "source": "upstream",
}  # fmt: skip
decisions = logging.getLogger("qtctl.decisions")
log = logging.getLogger("qtctl.services.governor")
nasty = st.text(
    st.one_of(st.characters(), st.sampled_from('\x00\x1b\n\r\x7f\u202e\u200b\u2028\\"= =交'))
)
names = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)


@pytest.fixture(autouse=True)
def _level() -> Iterator[None]:
    before = logging.getLogger("qtctl").level
    yield
    root = logging.getLogger()
    for handler in [each for each in root.handlers if isinstance(each, logs._Handler)]:
        root.removeHandler(handler)
    logging.getLogger("qtctl").setLevel(before)


def shown(message: str, fields: Mapping[str, str], width: int) -> str:
    return " ".join(log_words.line(message, fields, width))


def test_a_decision_is_a_few_words() -> None:
    assert shown("plan permitted", PERMITTED, 71) == (
        "permitted open  p1           BTCUSDT    ok, DOWNSIZE × 0.4444 + 66 s"
    )
    assert log_words.words("plan blocked", {"plan_id": "p", "reason": "stale_plan"}) == (
        "blocked p stale_plan"
    )


def test_a_permit_without_a_usable_score_says_that_it_is_full_size() -> None:
    fields = {"reason": "ok", "eff_action": "NONE", "eff_reason": "missing_eff"}
    assert log_words.why(fields) == "ok, full size (missing_eff)"


def test_a_long_id_loses_its_middle_and_no_reason_is_cut() -> None:
    fields = {**PERMITTED, "plan_id": "a" * 40 + "z" * 40, "reason": "notional_per_trade_exceeded"}
    line = shown("plan blocked", fields, 71)
    assert line.endswith(" notional_per_trade_exceeded")
    assert re.search(r" a+…z+ ", line)
    assert len(line) <= 71


@given(nasty, nasty, nasty, st.integers(60, 200))
def test_no_decision_is_wider_than_the_terminal(
    plan: str, symbol: str, reason: str, width: int
) -> None:
    fields = {"plan_id": plan[:64], "symbol": symbol[:64], "reason": reason, "kind": "close"}
    line = shown("plan blocked", fields, width)
    assert log_words.cells(line) <= width
    assert not any(unicodedata.category(char)[0] in "C" for char in line)


@given(st.text('abc=" \\é', min_size=1), st.dictionaries(names, nasty, max_size=4))
def test_a_plain_line_is_read_back(message: str, fields: dict[str, str]) -> None:
    record = logging.makeLogRecord({"name": "qtctl.x", "levelname": "WARNING", "msg": "%s"})
    record.args, record.fields = (message,), fields
    found = log_lines.parse(log_lines.PlainFormatter().format(record))
    assert found is not None
    assert (found.level, found.source) == ("warning", "x")
    expected = {name: escape(value) for name, value in fields.items()}
    got = {name: found.fields[name] for name in fields}
    assert got == expected


@given(nasty, st.dictionaries(names, nasty, max_size=4))
def test_a_json_line_is_read_back_and_is_one_line(message: str, fields: dict[str, str]) -> None:
    record = logging.makeLogRecord({"name": "qtctl.x", "levelname": "INFO", "msg": "%s"})
    record.args, record.fields = (message,), fields
    line = log_lines.JsonFormatter().format(record)
    assert line.isascii()
    assert line.isprintable()
    assert log_lines.parse(line) == log_lines.Parsed(
        log_lines.stamp(record.created), "info", "x", message, fields
    )


@pytest.mark.parametrize("line", ["", "Started a unit.", "{", "{}", '{"fields": 1}', "  | x=1"])
def test_a_line_of_something_else_is_none_of_ours(line: str) -> None:
    assert log_lines.parse(line) is None


# The journal ------------------------------------------------------------------------------------


def received(raw: bytes) -> dict[str, str]:
    """A datagram as the journal reads it."""
    found, at = {}, 0
    while at < len(raw):
        end = raw.index(b"\n", at)
        name, equals, value = raw[at:end].partition(b"=")
        at = end + 1
        if not equals:
            (size,) = struct.unpack_from("<Q", raw, at)
            value = raw[at + 8 : at + 8 + size]
            at += 8 + size + 1
        found[name.decode()] = value.decode()
    return found


@pytest.fixture
def a_journal(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "socket"))
        listening.settimeout(30)
        yield listening


def to_journal(place: socket.socket) -> logging.Handler:
    return logs.configure("info", "journal", socket=place.getsockname())


def test_the_journal_has_words_as_message_and_every_field(a_journal: socket.socket) -> None:
    to_journal(a_journal)
    log_batch(decisions, logging.INFO, [("plan permitted", PERMITTED), ("plan blocked", {})])
    found = received(a_journal.recv(65_536))
    assert found["MESSAGE"] == "permitted open p1 BTCUSDT ok, DOWNSIZE × 0.4444 + 66 s"
    assert (found["PRIORITY"], found["SYSLOG_IDENTIFIER"]) == ("6", journal.identifier())
    fields = {f"QTCTL_{name.upper()}": value for name, value in PERMITTED.items()}
    assert {name: found[name] for name in fields} == fields
    assert received(a_journal.recv(65_536))["MESSAGE"] == "blocked"
    entry = {**found, "__REALTIME_TIMESTAMP": "1769558400000000"}
    line = logged(entry)
    assert (line.at, line.source, line.message) == (1769558400, "decisions", "plan permitted")
    assert line.fields == PERMITTED


def test_a_value_with_line_breaks_is_no_field_of_its_own(a_journal: socket.socket) -> None:
    to_journal(a_journal)
    log.warning("x", extra={"fields": {"problem": "a\nMESSAGE=fake\nPRIORITY=0"}})
    found = received(a_journal.recv(65_536))
    assert found["QTCTL_PROBLEM"] == "a\nMESSAGE=fake\nPRIORITY=0"
    assert (found["PRIORITY"], found["MESSAGE"][:2]) == ("4", "x ")


def test_a_traceback_stands_behind_its_message(a_journal: socket.socket) -> None:
    to_journal(a_journal)
    try:
        raise ValueError("boom")
    except ValueError:
        log.exception("raised")
    found = received(a_journal.recv(65_536))
    assert found["MESSAGE"].startswith("raised\n  | Traceback")
    assert found["MESSAGE"].endswith("ValueError: boom")


def test_what_is_too_large_for_the_journal_is_cut_and_arrives(a_journal: socket.socket) -> None:
    to_journal(a_journal)
    log.error("x", extra={"fields": {"problem": "y\n" * 500_000, "key": "k"}})
    found = received(a_journal.recv(1 << 20))
    assert found["QTCTL_KEY"] == "k"
    assert len(found["QTCTL_PROBLEM"]) == journal.MOST_BYTES


def test_a_journal_that_nobody_reads_costs_lines_and_never_time(a_journal: socket.socket) -> None:
    handler = to_journal(a_journal)
    before, begun = dropped(), time.monotonic()
    for _ in range(40):
        log_batch(decisions, logging.INFO, [("plan permitted", {"x": "x" * 1000})] * 500)
    assert time.monotonic() - begun < 20
    handler.flush()
    assert dropped() > before


def test_a_journal_that_is_started_anew_gets_what_comes_then(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as first:
        first.bind(path)
        handler = logs.configure("info", "journal", socket=path)
        log.info("one")
        assert received(first.recv(4096))["MESSAGE"] == "one"
    Path(path).unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as second:
        second.bind(path)
        second.settimeout(30)
        log.info("two")
        handler.flush()
        assert received(second.recv(4096))["MESSAGE"] == "two"


def test_without_a_journal_there_are_plain_lines_and_a_warning(tmp_path: Path) -> None:
    stream = io.StringIO()
    logs.configure("info", "journal", stream, socket=str(tmp_path / "none"))
    log.info("x")
    first, second = stream.getvalue().splitlines()
    assert "WARN  logs there is no journal here" in first
    assert second.endswith("INFO  governor x")


@pytest.mark.parametrize(
    ("cgroup", "name"),
    [
        ("0::/system.slice/quantum-governor.service\n", "quantum-governor"),
        ("9:name=systemd:/system.slice/qtctl.service\n0::/\n", "qtctl"),
        ("1:cpu:/\n0::/user.slice/user-0.slice/session-1.scope\n", "qtctl"),
        ("", "qtctl"),
    ],
)
def test_the_journal_names_a_line_as_the_unit_does(cgroup: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "cgroup").write_text(cgroup)
    assert journal.identifier(tmp_path / "cgroup") == name
    assert journal.identifier(tmp_path / "none") == "qtctl"


def test_auto_is_the_journal_where_stderr_leads_there(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as stream:
        found = os.fstat(stream.fileno())
        environ = {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
        assert journal.is_stream(environ, stream)
        assert not journal.is_stream({"JOURNAL_STREAM": "1:1"}, stream)
    assert not journal.is_stream(environ, io.StringIO())


# A terminal -------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [80, 160])
def test_serve_on_a_terminal_prints_a_line_of_its_width_per_decision(
    redis_url: str, store: Store, columns: int
) -> None:
    ids = ["p1", "x" * 64, "44cda5a0-5d4c-4a38-9f0e-0d2b1c6a7e11"]
    for id_ in ids:
        plan = plan_fields(plan_id=id_, symbol="1000000MOGUSDT")
        store.run("XADD", store.keys.plans, "*", *(part for pair in plan.items() for part in pair))
    mine, its = pty.openpty()
    try:
        import fcntl
        import termios

        fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        ended = subprocess.run(
            [*QTCTL, "serve", "governor", "--once", "--redis-url", redis_url],
            stderr=its, stdin=subprocess.DEVNULL, timeout=30, check=False,
            env={**os.environ, "TERM": "xterm"},
        )  # fmt: skip
        assert ended.returncode == 0
        printed = os.read(mine, 1 << 20).decode()
    finally:
        os.close(its)
        os.close(mine)
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", each) for each in printed.split("\r\n")]
    told = [each for each in lines if re.match(r"\d\d:\d\d:\d\dZ (permitted|blocked)", each)]
    assert len(told) == len(ids), printed
    assert all(len(each) <= columns for each in told)
    assert all("1000000MOGUSDT" in each for each in told)
    assert "limits=" not in printed
    if columns == 160:
        assert ids[2] in told[2]


def test_each_loop_says_once_a_minute_that_it_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    hosted = [HostedService(FakeService(name)) for name in ("allocation", "governor")]
    hosted[1].progress.passed(0.0, None, None, served=7)
    begun = time.monotonic()
    reporter = Reporter(Notify({}), hosted)
    with caplog.at_level(logging.INFO, "qtctl.supervisor"):
        reporter.look(begun + HEARTBEAT_SEC - 1)
        reporter.look(begun + HEARTBEAT_SEC + 1)
        reporter.look(begun + HEARTBEAT_SEC + 2)
        hosted[1].progress.passed(0.0, None, None, served=5)
        reporter.look(begun + 2 * HEARTBEAT_SEC + 2)
    records: list[Any] = caplog.records
    told = [(it.name.rpartition(".")[2], it.fields) for it in records if "served" in it.fields]
    assert [name for name, _ in told] == ["allocation", "governor"] * 2
    assert [fields["served"] for name, fields in told if name == "governor"] == [7, 5]
    assert [fields["passes"] for name, fields in told if name == "governor"] == [1, 1]
