"""Lines for people and for grep, and nothing in them that a stranger wrote takes effect."""

import io
import logging
import os
import re
import shlex
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtctl.errors import ConfigError
from qtctl.logs import dropped, log_batch
from qtctl.supervisor import log_lines, log_terminal, logs
from qtctl.supervisor.log_writer import LogWriter
from qtctl.text import escape

log = logging.getLogger("qtctl.services.governor")

# Anything at all, lone surrogates too, with the dangerous ones often.
nasty = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from('\x00\x07\x1b\n\r\x7f\x85\x9b\u202e\u2066\u200b\u2028\ud800\\"= ='),
    )
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def configure() -> Iterator[Callable[..., logging.Handler]]:
    handlers = []
    before = logging.getLogger("qtctl").level

    def configured(*args: Any, **kwargs: Any) -> logging.Handler:
        handlers.append(logs.configure(*args, **kwargs))
        return handlers[-1]

    yield configured
    for handler in handlers:
        logging.getLogger().removeHandler(handler)
    logging.getLogger("qtctl").setLevel(before)


def plain(message: str, fields: Mapping[str, object]) -> str:
    record = logging.LogRecord("qtctl.services.governor", 20, "", 0, message, None, None)
    record.created = 1769558400.123
    record.fields = fields
    return log_lines.PlainFormatter().format(record)


def test_a_plain_line_is_as_documented() -> None:
    fields = {"plan_id": "p1", "symbol": "BTCUSDT", "reason": "ok"}
    assert plain("plan permitted", fields) == (
        "2026-01-28T00:00:00.123Z INFO  governor plan permitted plan_id=p1 symbol=BTCUSDT reason=ok"
    )


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("BTCUSDT", "BTCUSDT"),
        (1.5, "1.5"),
        (None, ""),
        ("", ""),
        ("交易", "交易"),
        ("two words", '"two words"'),
        ("a=b", '"a=b"'),
        ('say "x"', '"say \\"x\\""'),
        ("back\\slash", '"back\\\\slash"'),
        ("\x1b[31m", '"\\x1b[31m"'),
        ("a\nb", '"a\\x0ab"'),
        ("\u202egpj", '"\\u202egpj"'),
        ("\u3000", '"\u3000"'),
        ("p1\ufe0f\u3164", '"p1\\ufe0f\\u3164"'),
    ],
)
def test_a_value_that_could_be_misread_is_quoted(value: object, written: str) -> None:
    assert log_lines.quote(value) == written


@given(nasty, nasty)
def test_no_text_breaks_a_line_or_reaches_the_terminal_as_control(message: str, value: str) -> None:
    line = plain(message.replace("%", "%%"), {"reason": value, "last": "x"})
    assert line.endswith(" last=x")
    for char in line:
        assert unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Zl", "Zp"}


@given(nasty)
def test_a_value_never_passes_for_another_field(value: str) -> None:
    if value == "":
        return
    words = shlex.split(f"reason={log_lines.quote(value)} last=x".replace("'", ""), posix=True)
    assert len(words) == 2
    assert words[0].startswith("reason=")


@given(nasty)
def test_escape_changes_only_what_is_not_visible(text: str) -> None:
    escaped = escape(text)
    assert escape(escaped) == escaped
    back = re.sub(
        r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8}))",
        lambda found: chr(int(found[1] or found[2] or found[3], 16)),
        escaped,
    )
    if "\\" not in text:
        assert back == text


@pytest.mark.parametrize(
    "text", ["BTCUSDT", "合约 交易\u3000対", "naïve café", "Ελλάδα", "✅ 🚀", "a\\b"]
)
def test_escape_leaves_ordinary_text_alone(text: str) -> None:
    assert escape(text) == text


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("\x00\x1b\x7f", "\\x00\\x1b\\x7f"),
        ("\x80\x9b\x9f", "\\x80\\x9b\\x9f"),
        ("a\tb\r\n", "a\\x09b\\x0d\\x0a"),
        ("\u202a\u202e\u2066\u2069", "\\u202a\\u202e\\u2066\\u2069"),
        ("\u200b\ufeff\u2028", "\\u200b\\ufeff\\u2028"),
        ("\ud83d", "\\ud83d"),
        ("\U000e0041", "\\U000e0041"),
        ("\ufe0f\U000e0100\u034f", "\\ufe0f\\U000e0100\\u034f"),
        ("\u3164\u115f\uffa0\u2800", "\\u3164\\u115f\\uffa0\\u2800"),
    ],
)
def test_escape_writes_out_what_is_not_visible(text: str, escaped: str) -> None:
    assert escape(text) == escaped


@given(nasty, nasty)
def test_a_terminal_gets_colours_of_ours_and_no_markup_or_control_of_theirs(
    message: str, value: str
) -> None:
    record = logging.LogRecord("qtctl.x.governor", 20, "", 0, "%s", (message,), None)
    record.fields = {"reason": value}
    text = log_terminal.RichFormatter(Terminal()).format(record)
    ours = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert ours[14:] == f"INFO  governor {escape(message)} reason={log_lines.quote(value)}"


def test_markup_in_a_message_is_text(configure: Callable[..., logging.Handler]) -> None:
    stream = Terminal()
    configure(stream=stream)
    log.info("[bold]no[/bold] :smile:", extra={"fields": {"plan_id": "[red]p[/red]"}})
    shown = re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue())
    assert "[bold]no[/bold] :smile: plan_id=[red]p[/red]\n" in shown


def test_a_long_line_on_a_terminal_is_not_cut(configure: Callable[..., logging.Handler]) -> None:
    stream = Terminal()
    configure(stream=stream)
    log.info("plan", extra={"fields": {"plan_id": "p" * 500}})
    assert "p" * 500 in stream.getvalue()
    assert stream.getvalue().count("\n") == 1


def test_a_batch_is_a_line_each_in_one_write(configure: Callable[..., logging.Handler]) -> None:
    writes: list[str] = []

    class Stream(io.StringIO):
        def write(self, text: str) -> int:
            writes.append(text)
            return len(text)

    configure(stream=Stream())
    log_batch(log, logging.INFO, [("plan", {"plan_id": f"p{i}"}) for i in range(3)])
    log_batch(log, logging.DEBUG, [("plan", {})])
    log_batch(log, logging.INFO, [])
    assert len(writes) == 1
    lines = writes[0].splitlines()
    assert [line[24:] for line in lines] == [f" INFO  governor plan plan_id=p{i}" for i in range(3)]


def test_a_traceback_cannot_fake_a_line(configure: Callable[..., logging.Handler]) -> None:
    stream = io.StringIO()
    configure(stream=stream)
    try:
        raise ValueError("x\n2026-01-28T00:00:00.123Z INFO  governor fake\x1b[2J")
    except ValueError:
        log.exception("raised")
    first, *rest = stream.getvalue().splitlines()
    assert first.endswith("ERROR governor raised")
    assert len(rest) > 3
    assert all(line.startswith("  | ") and "\x1b" not in line for line in rest)


def test_a_closed_pipe_never_raises_into_a_loop(
    configure: Callable[..., logging.Handler], capfd: pytest.CaptureFixture[str]
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    stream: TextIO = os.fdopen(writer, "w", buffering=1)
    handler = configure(stream=stream)
    before = dropped()
    for _ in range(3):
        log.error("to nobody")
    handler.flush()
    stream.close()
    log.error("to a closed file")
    handler.flush()
    assert capfd.readouterr().err == ""
    assert dropped() - before == 4


def test_a_log_that_nobody_reads_costs_lines_and_never_time() -> None:
    reader, descriptor = os.pipe()
    lines = [b"%06d %s\n" % (number, b"x" * 92) for number in range(10_000)]
    writer = LogWriter(descriptor, lambda lost: b"lost %d\n" % lost, limit=200_000)
    before, begun = dropped(), time.monotonic()
    for line in lines:
        writer.write(line)
    assert time.monotonic() - begun < 10
    begun = time.monotonic()
    writer.flush()
    assert time.monotonic() - begun < 10
    lost = dropped() - before
    assert lost > 5_000
    # As soon as somebody reads, the lines stand in their order, and the gap in its place.
    read = b""
    with os.fdopen(reader, "rb", buffering=0) as pipe:
        while b"lost" not in read:
            read += pipe.read(65_536)
        writer.write(b"after\n")
        while not read.endswith(b"after\n"):
            read += pipe.read(65_536)
    kept = len(lines) - lost
    expected = [*lines[:kept], b"lost %d\n" % lost, b"after\n"]
    assert read.splitlines(keepends=True) == expected
    os.close(descriptor)


def test_a_full_disk_is_tried_again_and_the_gap_is_named(tmp_path: Path) -> None:
    file = os.open(tmp_path / "log", os.O_RDWR | os.O_CREAT)
    full = os.open("/dev/full", os.O_WRONLY)
    writer = LogWriter(full, lambda lost: b"lost %d\n" % lost)
    for _ in range(3):
        writer.write(b"one\ntwo\n")
        writer.flush()
    writer.descriptor = file
    writer.write(b"three\n")
    writer.flush()
    assert (tmp_path / "log").read_bytes() == b"lost 6\nthree\n"
    os.close(file)
    os.close(full)


def test_new_settings_of_the_log_keep_its_order(
    configure: Callable[..., logging.Handler], tmp_path: Path
) -> None:
    with (tmp_path / "log").open("w") as stream:
        for number in range(200):
            handler = configure("info" if number % 2 else "debug", stream=stream)
            log.info("line %d", number)
        handler.flush()
    read = (tmp_path / "log").read_text().splitlines()
    assert [line.rpartition(" ")[2] for line in read] == [str(each) for each in range(200)]


def test_arguments_that_do_not_fit_cost_no_line() -> None:
    record = logging.LogRecord("qtctl.x", 20, "", 0, "%d plans", ("many",), None)
    assert log_lines.PlainFormatter().format(record).endswith("x %d plans ('many',)")


def test_levels_are_ours_alone(configure: Callable[..., logging.Handler]) -> None:
    stream = io.StringIO()
    configure("debug", stream=stream)
    log.debug("shown")
    logging.getLogger("elsewhere.lib").info("hidden")
    logging.getLogger("elsewhere.lib").warning("shown too")
    assert [line[25:] for line in stream.getvalue().splitlines()] == [
        "DEBUG governor shown",
        "WARN  elsewhere.lib shown too",
    ]


def test_configuring_again_does_not_say_everything_twice(
    configure: Callable[..., logging.Handler],
) -> None:
    first, second = io.StringIO(), io.StringIO()
    configure(stream=first)
    configure(stream=second)
    log.info("once")
    assert first.getvalue() == ""
    assert second.getvalue().count("once") == 1


@pytest.mark.parametrize(
    ("kwargs", "named"), [({"level": "loud"}, "level"), ({"fmt": "xml"}, "format")]
)
def test_a_level_or_format_that_does_not_exist_is_a_configuration_error(
    kwargs: dict[str, Any], named: str
) -> None:
    with pytest.raises(ConfigError, match=rf"\[logging\] {named}"):
        logs.configure(**kwargs)
