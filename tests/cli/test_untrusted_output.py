"""What came from Redis is data: no byte of it steers a terminal or passes for markup."""

import csv
import io
import json
import os
import re
import sys
import unicodedata
from collections.abc import Sequence
from typing import Any

import pexpect
import pytest

from qtctl.cli.output.render import to_json
from qtctl.text import escape
from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import DECISION, EFFICIENCY, INJECTED, LIMITS, PERMIT, PROPOSED, TARGET
from tests.support.cli import NO_FILE, Cli

EVIL = (
    "\x1b[31m\x1b]0;owned\x07\x1b[2J[bold red]red[/] :boom: \r\n\tx\x00\x7f\x9b31m"
    "\u202etxt.exe\u2066\u200b\ufeff\u2028[link=http://evil]l[/link]"
)
HIGH = b"\xff\xfe\x9b31m\xc2\x9b"
"""Bytes that are no UTF-8, and a C1 control that is."""

LISTS: list[str] = [
    "target list",
    "eff list",
    "permit list",
    "permit show p1",
    "plan list",
    "plan show p1",
    "plan show p2",
    "plan list --what-if max_exec_per_hour=5",
    "plan show p2 --what-if max_exec_per_hour=5",
    "tail proposed",
    "tail plans",
    "tail events",
    "tail rejected",
    "why BTCUSDT",
    "permit take p1 --force",
    "inject clear",
]
REFUSALS = [
    "inject target BTCUSDT 5",
    "inject eff BTCUSDT 0.5",
    "inject plan BTCUSDT",
    "permit take p1",
    "permit show p2",
    "permit show p3",
]


@pytest.fixture
def evil(redis_url: str, store: Store) -> str:
    """A Redis where every field of everything is hostile; its URL."""
    keys = store.keys

    def fields(*names: str, **more: Any) -> list[Any]:
        """Each hostile, but for `more`, and one whose very name is."""
        flat: list[Any] = [EVIL, EVIL, b"raw" + HIGH, HIGH]
        for name in names:
            flat += [name, EVIL if name != "mode" else HIGH]
        for name, value in more.items():
            flat += [name, value]
        return flat

    now = store.now_ms() // 1000
    store.run("HSET", keys.at(TARGET, "BTCUSDT"),
              *fields("confidence", "timestamp", "mode", target_usd=EVIL))  # fmt: skip
    store.run("HSET", keys.at(TARGET, "ETHUSDT"), *fields(target_usd="5", timestamp=now))
    # Names that a SCAN may bring: none of these is a symbol.
    store.run("HSET", keys.at(TARGET, EVIL), "target_usd", "5")
    for symbol in ("BTCUSDT", "ETHUSDT"):
        store.run("HSET", keys.at(PROPOSED, symbol),
                  *fields("symbol", "base_target", "proposed_target", "multiplier", "eff_score",
                          "eff_confidence", "eff_stale", "reason", "ts_epoch"))  # fmt: skip
    store.run("HSET", keys.at(EFFICIENCY, "BTCUSDT"),
              *fields("efficiency_score", "confidence", "ts", "mode", "version"))  # fmt: skip
    store.run("HSET", keys.at(EFFICIENCY, "ETHUSDT"),
              *fields("mode", "version", efficiency_score="0.5", confidence=EVIL,
                      ts=now))  # fmt: skip
    permit = dict.fromkeys(
        ("granted", "symbol", "decision", "computed_qty", "computed_notional", "created_at",
         "eff_score", "eff_confidence", "eff_stale", "eff_factor", "eff_action", "eff_reason",
         "downsize_factor", "extra_cooldown_sec", EVIL), EVIL)  # fmt: skip
    store.run("SET", keys.at(PERMIT, "p1"), json.dumps(permit | {"nested": [EVIL, {EVIL: EVIL}]}))
    store.run("HSET", keys.at(PERMIT, "p4"), *fields(*permit))
    store.run("SET", keys.at(PERMIT, EVIL), "x")
    store.run("ZADD", keys.permits, now + 60, "p1", now + 60, "p4", now + 60, EVIL)
    decision = ("symbol", "kind", "reason", "action", "side", "qty", "price", "source", "entry_id",
                "notional_usd", "queue_age_sec", "plan_age_sec", "eff_action", "eff_reason",
                "eff_score", "eff_factor", "extra_cooldown_sec", "instance", "version",
                "kill_score", "last_open_age_sec", "limits", "withdrawn_at")  # fmt: skip
    store.run("HSET", keys.at(DECISION, "p1"),
              *fields(*decision, verdict=EVIL, decided_at=EVIL,
                      kill_key=EVIL, kill_value=EVIL))  # fmt: skip
    store.run("HSET", keys.at(DECISION, "p2"),
              *fields("reason", "instance", verdict="blocked", decided_at=now,
                      kill_key=EVIL, kill_value=EVIL, limits=EVIL))  # fmt: skip
    store.run("HSET", keys.at(DECISION, "p3"), "verdict", "permitted", "withdrawn_at", EVIL)
    store.run("SET", keys.at(LIMITS, "x"), EVIL)
    for stream in (keys.proposed_stream, keys.plans, keys.events, keys.rejected):
        names = ("plan_id", "symbol", "action", "decision", "qty", "event", "reason", "actor", "ts",
                 "ts_epoch", "multiplier", "eff_score", "raw:plan_id", "raw:symbol", "problem",
                 "entry_id", "base_target", "proposed_target", "eff_confidence")  # fmt: skip
        store.run("XADD", stream, "*", *fields(*names))
    for service in ("governor", "allocation"):
        settings = json.dumps({EVIL: EVIL, "min_conf": EVIL})
        store.run("HSET", keys.service(service, EVIL), *fields("version", settings=settings))
    store.run("HSET", keys.at(INJECTED, EVIL), "digest", EVIL)
    store.run("XGROUP", "CREATE", keys.plans, f"apply {EVIL}", "0")
    return redis_url


def harmless(text: str) -> None:
    """Nothing in it but visible characters, blanks and the ends of lines."""
    bad = {
        char
        for char in text
        if char != "\n" and (unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp"))
    }
    assert not bad, f"{bad!r} in {text!r}"


@pytest.mark.parametrize("output", ["table", "json", "ndjson"])
@pytest.mark.parametrize("line", LISTS)
def test_no_field_of_redis_reaches_a_pipe_raw(
    evil: str, line: str, output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = Cli(evil, capsys)(*line.split(), "-o", output)
    assert said.code in (0, 1)
    assert "internal error" not in said.err
    harmless(said.out)
    harmless(said.err)
    assert said.out or said.err
    if output == "table" and said.out:
        assert "\\x1b[31m" in said.out, "a hostile text is shown escaped, not dropped"
        assert "[bold red]red[/] :boom:" in said.out, "markup is text"


@pytest.mark.parametrize("line", ["plan list", "permit list", "eff list", "target list",
                                  "tail plans", "tail events", "tail rejected"])  # fmt: skip
def test_no_field_of_redis_reaches_a_csv_raw(
    evil: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cli = Cli(evil, capsys)
    said = cli.ok(*line.split(), "-o", "csv")
    harmless(said.out)
    header, *rows = csv.reader(io.StringIO(said.out))
    assert rows
    assert all(len(row) == len(header) for row in rows)
    assert any("\\x1b[31m" in cell for row in rows for cell in row)
    if line.startswith("tail"):
        for output in ("csv", "table"):
            said = cli.ok(*line.split(), "-o", output, "--columns", f"id,{EVIL}", "-n", "all")
            harmless(said.out)


@pytest.mark.parametrize("line", LISTS)
def test_json_holds_the_very_text_that_lies_in_redis(
    evil: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = Cli(evil, capsys)(*line.split(), "-o", "json")
    if said.code == 1:
        assert said.out == ""
        return
    assert EVIL in _texts(said.json)


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for pair in value.items() for part in pair for text in _texts(part)]
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    return [value] if isinstance(value, str) else []


@pytest.mark.parametrize("line", REFUSALS)
def test_no_field_of_redis_reaches_an_error_raw(
    evil: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = Cli(evil, capsys)(*line.split())
    assert said.code in (1, 4), said
    harmless(said.out)
    harmless(said.err)
    assert len(said.err.splitlines()) <= 2
    assert "internal error" not in said.err


@pytest.mark.parametrize("line", ["permit list", "plan list", "plan show p1", "tail plans",
                                  "target list", "tail rejected"])  # fmt: skip
def test_no_field_of_redis_steers_a_terminal(evil: str, line: str) -> None:
    seen = on_terminal(["--redis-url", evil, *line.split()])
    # What remains after the colours and the line ends of our own.
    text = _without_colours(seen).replace("\r\n", "\n")
    harmless(text)
    joined = "".join(text.split())
    assert "\\x1b[31m" in joined
    assert "[boldred]red[/]" in joined
    assert "owned" in joined
    assert "\x1b]" not in seen
    assert "\x1b[2J" not in seen


def on_terminal(args: Sequence[str]) -> str:
    env = {"PATH": os.environ["PATH"], "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **NO_FILE}
    child = pexpect.spawn(
        sys.executable, ["-m", "qtctl", *args], env=env, encoding="utf-8", timeout=30,
        dimensions=(50, 160),
    )  # fmt: skip
    seen: str = child.read()
    child.close()
    assert child.exitstatus in (0, 1)
    return seen


def _without_colours(seen: str) -> str:
    """Without SGR sequences of numbers, which is all that rich is allowed to add."""
    return re.sub(r"\x1b\[[0-9;]*m", "", seen)


def test_hostile_arguments_are_told_escaped(
    redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cli = Cli(redis_url, capsys)
    nasty = "\x1b[31mX\u202e"
    for line in (
        ["inject", "eff", nasty, "0.5"],
        ["inject", "eff", "BTCUSDT", nasty],
        ["inject", "plan", "BTCUSDT", "--plan-id", nasty],
        ["permit", "show", nasty],
        ["tail", nasty],
        ["serve", nasty],
        ["plan", "list", "--since", nasty],
        [nasty],
        ["permit", "list", f"--{nasty}"],
    ):
        said = cli(*line)
        assert said.code == 2, line
        harmless(said.out)
        harmless(said.err)


def test_the_log_of_a_service_is_harmless_too(
    redis_url: str, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = store.keys
    store.run("HSET", keys.at(TARGET, "BTCUSDT"), "target_usd", EVIL)
    store.run("HSET", keys.at(TARGET, "ETHUSDT"), "target_usd", "5")
    store.run("HSET", keys.at(EFFICIENCY, "ETHUSDT"), "efficiency_score", EVIL)
    store.run("XADD", keys.plans, "*", "plan_id", "p1", "symbol", "BTCUSDT",
              "decision", "EXECUTE", "action", EVIL, "source", EVIL, "side", EVIL)  # fmt: skip
    store.run("XADD", keys.plans, "*", "plan_id", "p2", "symbol", EVIL, "decision", EVIL)
    store.run("SET", "quantum:kill", EVIL)
    said = Cli(redis_url, capsys).ok("serve", "all", "--once")
    harmless(said.err)
    assert "plan_id=p1" in said.err
    assert said.out == ""


# DerivedCoreProperties.txt, Default_Ignorable_Code_Point: what shows nothing by definition.
IGNORABLE = [
    (0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5),
    (0x180B, 0x180F), (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164),
    (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3),
    (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF),
]  # fmt: skip


def test_nothing_invisible_stands_raw_in_json_or_in_a_table() -> None:
    formats = (chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) == "Cf")
    ignorable = (chr(code) for first, last in IGNORABLE for code in range(first, last + 1))
    for char in {*formats, *ignorable}:
        document = to_json({"a": f"x{char}y"})
        assert document.isascii(), hex(ord(char))
        assert json.loads(document) == {"a": f"x{char}y"}
        assert escape(f"x{char}y").isascii(), hex(ord(char))
