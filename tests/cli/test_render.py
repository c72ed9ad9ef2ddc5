"""What is printed: tables on terminals of several widths, plain lines in pipes, JSON, streams."""

import dataclasses
import json
import os
import re
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pexpect
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtctl.cli.framework import arguments
from qtctl.cli.framework.context import Context
from qtctl.cli.output import columns as c
from qtctl.cli.output import format
from qtctl.cli.output.layout import GAP, fit
from qtctl.cli.output.render import Fields, Rows, Stream, emit, emit_one, to_json
from qtctl.cli.output.wrapping import cells_of
from qtctl.errors import UsageError

LONG_ID = "9f8e7d6c-5b4a-4321-8765-0123456789ab"
COLUMNS = (
    c.text("plan", "plan_id"),
    c.text("symbol", "symbol"),
    c.text("reason", "reason", fold=True, style=lambda reason: "red" if reason != "ok" else ""),
    c.money("base USD", "base"),
    c.money("change USD", "change", drop=1),
    c.percent("change %", "percent", drop=2),
    c.age("score age", "age", drop=3),
    c.moment("decided", "at", drop=4),
    c.ttl("TTL", "ttl", drop=5),
)
ROWS: list[dict[str, Any]] = [
    {
        "plan_id": LONG_ID,
        "symbol": "BTCUSDT",
        "reason": "ok",
        "base": "12345.60",
        "change": -2469.12,
        "percent": -20,
        "age": 12,
        "at": "1769558400.123",
        "ttl": 41,
    },
    {
        "plan_id": "計画-1",
        "symbol": "ETHUSDT",
        "reason": "evil [bold]x[/] \x1b[31m\n",
        "base": "100",
        "change": 50,
        "percent": 50.0,
        "age": "7600",
        "at": 1769558400,
        "ttl": -1,
    },
    {"plan_id": "p3", "symbol": "SOLUSDT", "reason": "", "base": "", "change": 0},
]
ANSI = re.compile(r"\x1b\[[0-9;]*m")


# Values


@pytest.mark.parametrize(
    ("show", "value", "shown"),
    [
        (format.money, "12345.6", "12,345.60"),
        (format.money, -0.001, "0.00"),
        (format.money, "nan", "nan"),
        (format.money, None, "-"),
        (format.money, "12\x1b[2J", "12\\x1b[2J"),
        (format.percent, 1000, "+1,000.0"),
        (format.percent, "-0.5", "-0.5"),
        (format.percent, 0, "0.0"),
        (format.percent, 0.001, "0.0"),
        (format.percent, -12.49, "-12.5"),
        (format.span, 0, "0 s"),
        (format.span, 0.42, "0.4 s"),
        (format.span, 0.96, "1 s"),
        (format.span, 12, "12 s"),
        (format.span, "99.4", "99 s"),
        (format.span, 180, "3 min"),
        (format.span, 7600, "2.1 h"),
        (format.span, 4.5 * 86400, "4.5 d"),
        (format.span, -5, "-5 s"),
        (format.span, "", "-"),
        (format.ttl, -1, "never"),
        (format.ttl, 41.0, "41 s"),
        (format.moment, 1769558400.9, "2026-01-28 00:00:00Z"),
        (format.moment, "1769558400123", "2026-01-28 00:00:00Z"),
        (format.moment, "2026-01-28T01:00:00+01:00", "2026-01-28 00:00:00Z"),
        (format.moment, 1e30, "1e+30"),
        (format.moment, "soon", "soon"),
        (format.text, True, "yes"),
        (format.text, ["a", "b\n"], "a, b\\x0a"),
        (format.text, [], "-"),
    ],
)
def test_a_value_is_shown_as_people_read_it(
    show: Callable[[Any], str], value: Any, shown: str
) -> None:
    assert show(value) == shown


def test_local_time_has_its_offset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        assert format.moment(1769558400, utc=False) == "2026-01-28 05:30:00+05:30"
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (
            lambda: arguments.number("1.5", "SCORE", 0, 1),
            "SCORE '1.5' is out of range; allowed: 0 to 1",
        ),
        (lambda: arguments.number("nan", "SCORE", 0, 1), "'nan' is not a number; allowed: 0 to 1"),
        (lambda: arguments.number("0x1", "USD", 0), "'0x1' is not a number; allowed: 0 or more"),
        (lambda: arguments.number("1_0", "USD"), "USD '1_0' is not a number"),
        (lambda: arguments.number("9", "X", hi=0.5), "X '9' is out of range; allowed: 0.5 or less"),
        (lambda: arguments.whole("1.5", "-n", 1), "-n '1.5' is not a whole number; allowed: 1 or"),
        (lambda: arguments.whole("0", "-n", 1, 10**6), "out of range; allowed: 1 to 1,000,000"),
        (
            lambda: arguments.duration("2x", "--ttl", 1, 86400),
            "--ttl '2x' is not a duration as 90,",
        ),
        (lambda: arguments.duration("2d", "--ttl", 1, 86400), "out of range; allowed: 1s to 1d"),
        (lambda: arguments.duration("-5", "--age"), "--age '-5' is not a duration"),
        (lambda: arguments.duration("٣s", "--age"), "is not a duration"),
        (lambda: arguments.symbol("A:B"), "SYMBOL 'A:B' has a colon; allowed: 1 to 64 characters"),
        (lambda: arguments.symbol(""), "SYMBOL '' is empty"),
        (lambda: arguments.symbols(["OK", "A B"]), "SYMBOL 'A B' has whitespace in it"),
        (lambda: arguments.plan_id("p33:x"), "ID 'p33:x' starts with the mark of another system"),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(call: Callable[[], Any], says: str) -> None:
    with pytest.raises(UsageError) as raised:
        call()
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90.0), ("90s", 90.0), (" 5m", 300.0), ("1.5h", 5400.0), ("2d", 172800.0), ("0", 0.0)],
)
def test_a_duration_is_in_seconds(text: str, seconds: float) -> None:
    assert arguments.duration(text, "--since") == seconds


def test_good_values_come_through() -> None:
    assert arguments.number(" 1e-1 ", "SCORE", 0, 1) == 0.1
    assert arguments.whole("-3", "N") == -3
    assert arguments.symbols(["B", "A", "B"]) == ("B", "A")
    assert arguments.symbols(None) == ()
    assert arguments.plan_id("a:b") == "a:b"


# JSON


def test_json_is_a_list_with_the_fields_of_the_wire(capsys: pytest.CaptureFixture[str]) -> None:
    emit(Context(output="json"), ROWS, COLUMNS)
    shown = capsys.readouterr().out
    assert json.loads(shown) == ROWS
    assert shown.splitlines()[0] == "["
    assert len(shown.splitlines()) == len(ROWS) + 2
    assert '"計画-1"' in shown


def test_empty_output_is_an_empty_list_zero_bytes_or_prose(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for output, out, err in (("json", "[]\n", ""), ("ndjson", "", ""), ("table", "", "None.\n")):
        emit(Context(output=output), [], COLUMNS, empty="None.")
        assert capsys.readouterr() == (out, err)


def test_ndjson_is_a_line_for_each_row(capsys: pytest.CaptureFixture[str]) -> None:
    emit(Context(output="ndjson"), iter(ROWS), COLUMNS, as_json=lambda row: {"id": row["plan_id"]})
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line) for line in lines] == [{"id": row["plan_id"]} for row in ROWS]


def test_an_object_is_indented_as_json_and_one_line_as_ndjson(
    capsys: pytest.CaptureFixture[str],
) -> None:
    emit_one(Context(output="json"), {"a": 1, "b": [2]})
    assert capsys.readouterr().out == '{\n  "a": 1,\n  "b": [\n    2\n  ]\n}\n'
    emit_one(Context(output="ndjson"), {"a": 1, "b": [2]})
    assert capsys.readouterr().out == '{"a":1,"b":[2]}\n'


@given(st.text())
def test_json_keeps_any_text_and_steers_no_terminal(text: str) -> None:
    shown = to_json({"text": text})
    assert json.loads(shown) == {"text": text}
    assert not re.search(
        r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\ud800-\udfff]", shown
    )


def test_json_has_no_nan_and_takes_records() -> None:
    @dataclasses.dataclass
    class Record:
        score: float

    assert to_json(Record(float("nan"))) == '{"score":null}'
    assert to_json({"bad byte": "\udcff"}) == '{"bad byte": "\\udcff"}'


# Piped


def test_piped_is_plain_aligned_lines_without_cuts(capsys: pytest.CaptureFixture[str]) -> None:
    long = {**ROWS[0], "reason": "word " * 60}
    emit(Context(), [*ROWS, long], COLUMNS)
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert err == ""
    assert len(lines) == 5
    assert not re.search(r"[\x1b│─┃━]| +$", out, re.MULTILINE)
    assert lines[0].startswith("plan                                  symbol   reason")
    assert lines[1].split("  ")[0] == LONG_ID
    assert "evil [bold]x[/] \\x1b[31m\\x0a" in lines[2]
    assert lines[4].count("word") == 60
    start = lines[0].index("  base USD") + 2
    assert [line[:start].rstrip()[-1:] != "" for line in lines] == [True] * 5
    # Right-aligned numbers end below the end of their header.
    end = lines[0].index("change USD") + len("change USD")
    assert lines[1][:end].endswith("  -2,469.12")
    assert lines[3][:end].endswith("        0.00")


def test_an_object_is_a_page_of_parts(capsys: pytest.CaptureFixture[str]) -> None:
    gates = [{"gate": "cooldown", "passed": False}]
    parts = (
        Fields((c.text("plan", "plan_id"), c.money("notional USD", "base"))),
        Rows(gates, (c.text("gate", "gate"), c.text("passed", "passed")), title="Gates"),
        Rows([], COLUMNS, title="Nothing here"),
    )
    emit_one(Context(), ROWS[0], *parts)
    assert capsys.readouterr().out == textwrap.dedent(f"""\
        plan          {LONG_ID}
        notional USD  12,345.60

        Gates
        gate      passed
        cooldown  no
        """)


def test_columns_read_objects_and_functions(capsys: pytest.CaptureFixture[str]) -> None:
    @dataclasses.dataclass
    class Row:
        name: str

    emit(Context(), [Row("x")], (c.text("name", "name"), c.text("twice", lambda row: row.name * 2)))
    assert capsys.readouterr().out == "name  twice\nx     xx\n"


def test_ten_thousand_rows_on_a_terminal_come_in_time() -> None:
    lines = on_terminal(100, "emit(Context(), ROWS[:1] * 10_000, COLUMNS)")
    assert sum(LONG_ID in line for line in lines) == 10_000


# Streams


def test_a_stream_has_one_header_and_keeps_its_widths(capsys: pytest.CaptureFixture[str]) -> None:
    stream = Stream(Context(), (c.text("symbol", "s", width=8), c.number("n", "n", width=5)))
    stream.write([])
    assert capsys.readouterr().out == ""
    stream.write([{"s": "BTC", "n": 1}])
    stream.write([{"s": "A-LONGER-ONE", "n": 22}])
    assert capsys.readouterr().out == "symbol        n\nBTC           1\nA-LONGER-ONE     22\n"


def test_a_stream_as_ndjson_is_lines_and_as_json_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    stream = Stream(Context(output="ndjson"), COLUMNS)
    stream.write([{"a": 1}])
    stream.write([{"a": 2}])
    assert capsys.readouterr().out == '{"a":1}\n{"a":2}\n'
    with pytest.raises(UsageError, match="use ndjson"):
        Stream(Context(output="json"), COLUMNS)


def test_a_batch_of_a_stream_is_there_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "out"
    with file.open("w", buffering=65536) as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        Stream(Context(output="ndjson"), COLUMNS).write([{"a": 1}])
        assert file.read_text() == '{"a":1}\n'


# Layout


def test_prose_folds_before_columns_go_and_the_least_important_goes_first() -> None:
    columns = (
        c.text("id", "id"),
        c.text("prose", "prose", fold=True),
        c.text("a", "a", drop=1),
        c.text("b", "b", drop=2),
    )
    natural = (36, 60, 10, 10)
    wide = fit(columns, natural, 36 + 60 + 10 + 10 + 3 * GAP)
    assert wide is not None
    assert wide.widths == natural
    folded = fit(columns, natural, 100)
    assert folded is not None
    assert (folded.kept, folded.widths) == ((0, 1, 2, 3), (36, 38, 10, 10))
    narrow = fit(columns, natural, 70)
    assert narrow is not None
    assert (narrow.kept, narrow.widths) == ((0, 1, 2), (36, 20, 10))
    assert fit(columns, natural, 40) is None


@given(
    st.lists(st.tuples(st.integers(1, 70), st.booleans(), st.integers(0, 3)), min_size=1),
    st.integers(1, 200),
)
def test_what_is_laid_out_always_fits_and_breaks_prose_only(
    shape: list[tuple[int, bool, int]], limit: int
) -> None:
    columns = [c.text("t", "k", fold=fold, drop=drop) for _, fold, drop in shape]
    room = fit(columns, [width for width, _, _ in shape], limit)
    if room is None:
        return
    assert sum(room.widths) + GAP * (len(room.widths) - 1) <= limit
    for index, width in zip(room.kept, room.widths, strict=True):
        assert width == shape[index][0] or columns[index].fold
    assert all(column.drop for i, column in enumerate(columns) if i not in room.kept)


# On a terminal


def on_terminal(width: int, call: str, **environ: str) -> list[str]:
    """The lines that a pseudo-terminal shows; `call` sees this module's names."""
    program = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
    program += f"from test_render import *\n{call}"
    env = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS", "LINES")}
    child = pexpect.spawn(
        sys.executable,
        ["-c", program],
        dimensions=(50, width),
        env={**env, "TERM": "xterm-256color", **environ},
        encoding="utf-8",
        timeout=30,
    )
    shown = child.read()
    child.close()
    assert child.exitstatus == 0, shown
    return [line.rstrip("\r") for line in str(shown).splitlines()]


def plain(lines: list[str]) -> list[str]:
    return [ANSI.sub("", line).rstrip() for line in lines]


LIST = "emit(Context(), ROWS, COLUMNS)"


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_a_table_keeps_its_ids_and_numbers_whole_at_any_width(width: int) -> None:
    lines = plain(on_terminal(width, LIST))
    shown = "\n".join(lines)
    assert LONG_ID in shown
    assert "12,345.60" in shown
    assert all(cells_of(line) <= width for line in lines if "Hidden columns" not in line)
    assert ("Hidden columns:" in shown) == (80 <= width <= 120)
    assert ("───" in shown) == (width >= 80)


def test_a_terminal_too_narrow_for_a_table_gets_cards() -> None:
    lines = plain(on_terminal(60, LIST))
    assert lines[:4] == [
        f"plan        {LONG_ID}",
        "symbol      BTCUSDT",
        "reason      ok",
        "base USD    12,345.60",
    ]
    assert lines[9] == ""


def test_columns_without_room_are_named_below_the_table() -> None:
    assert plain(on_terminal(80, LIST))[-2:] == [
        "Hidden columns: change USD, change %, score age, decided, TTL (-o json has",
        "  everything)",
    ]


def test_colour_underlines_and_markup_is_data() -> None:
    lines = on_terminal(160, LIST)
    shown = "\n".join(lines)
    assert "\x1b[31m" in shown
    assert "evil [bold]x[/] \\x1b[31m\\x0a" in ANSI.sub("", shown)


def test_no_color_leaves_no_colour() -> None:
    shown = "\n".join(on_terminal(160, LIST, NO_COLOR="1"))
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]", shown)
    assert "───" in shown


def test_a_dumb_terminal_gets_plain_lines() -> None:
    shown = "\n".join(on_terminal(80, LIST, TERM="dumb"))
    assert "\x1b" not in shown
    assert "───" not in shown
    assert "never" in shown


def test_a_page_on_a_terminal_has_titles_and_folds_long_values() -> None:
    call = (
        "emit_one(Context(), {'a': 'x' * 100}, Fields((c.text('first', 'a'),)),"
        " Rows(ROWS, COLUMNS[:2], title='Plans'))"
    )
    lines = plain(on_terminal(80, call))
    assert lines[0] == "first  " + "x" * 73
    assert lines[1] == "       " + "x" * 27
    assert lines[2:4] == ["", "Plans"]


def test_a_stream_on_a_terminal_cuts_nothing() -> None:
    call = "s = Stream(Context(), COLUMNS[:4]); s.write(ROWS[:1]); s.write(ROWS[1:])"
    lines = plain(on_terminal(80, call))
    assert lines[0].split() == ["plan", "symbol", "reason", "base", "USD"]
    assert LONG_ID in lines[1]
    assert any("\\x0a" in line for line in lines)
