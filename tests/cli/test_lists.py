"""The options of every list, on rows: filters, order, limit, columns, CSV, numbers, times."""

import csv
import io
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtctl.cli.framework import arguments, prose
from qtctl.cli.framework.context import Context
from qtctl.cli.framework.listing import Listing, Order, Where
from qtctl.cli.output import columns as c
from qtctl.cli.output import tables
from qtctl.cli.output.columns import Column
from qtctl.cli.output.layout import GAP, fit
from qtctl.cli.output.listed import Filter, Listed
from qtctl.cli.output.render import Stream, emit
from qtctl.cli.output.wire_numbers import as_numbers
from qtctl.cli.output.wrapping import broken, cells_of, halved, least_width
from qtctl.domain.numbers import number as number_of
from qtctl.errors import UsageError

LISTED = Listed(
    (
        c.plan_id("plan", "plan_id"),
        c.recent("time", "at"),
        c.text("kind", "kind"),
        c.word("reason", "reason"),
        c.money("notional USD", "usd", drop=1),
        c.age("twice", lambda row: (row["usd"] or 0) * 2, named="double", drop=2),
    ),
    fields=("qty",),
    at="at",
    filters={
        "kind": Filter("kind", ("open", "close")),
        "reason": Filter("reason"),
    },
)
ids = st.text("abc-_計9", min_size=1, max_size=64)
rows = st.lists(
    st.fixed_dictionaries(
        {
            "plan_id": ids,
            "kind": st.sampled_from(["open", "close"]),
            "reason": st.sampled_from(["ok", "symbol_cooldown", "stale_plan", ""]),
            "usd": st.one_of(st.none(), st.integers(-5, 5), st.floats(-9, 9)),
            "at": st.integers(0, 20).map(lambda at: at * 1000.0),
            "qty": st.sampled_from(["", "0.5", "10", "9", "lots"]),
        }
    ),
    max_size=30,
)
Row = Mapping[str, Any]


def selected(found: Sequence[Row], listing: Listing) -> list[Row]:
    return list(LISTED.select(found, listing).rows)


# Which rows ------------------------------------------------------------------------------------


@given(
    rows,
    st.sets(st.sampled_from(["open", "close"])),
    st.sets(st.sampled_from(["ok", "stale_plan", "nonsense"])),
    st.lists(st.tuples(st.sampled_from(["qty", "reason"]), st.sampled_from(["", "10", "ok"]),
                       st.booleans()), max_size=2),
    st.one_of(st.none(), st.integers(0, 20_000)),
    st.one_of(st.none(), st.integers(0, 20_000)),
    st.one_of(st.none(), st.integers(0, 8)),
)  # fmt: skip
def test_filters_leave_what_a_plain_loop_leaves(
    found: list[Row],
    kinds: set[str],
    reasons: set[str],
    where: list[tuple[str, str, bool]],
    after: int | None,
    before: int | None,
    limit: int | None,
) -> None:
    only = {"kind": tuple(kinds)} if kinds else {}
    only |= {"reason": tuple(reasons)} if reasons else {}
    listing = Listing(
        only=only, where=tuple(Where(*each) for each in where), after=after, before=before,
        limit=limit,
    )  # fmt: skip
    expected = []
    for row in found:
        if kinds and row["kind"] not in kinds:
            continue
        if reasons and row["reason"] not in reasons:
            continue
        if any((row[field] == value) == differs for field, value, differs in where):
            continue
        if after is not None and row["at"] < after:
            continue
        if before is not None and row["at"] > before:
            continue
        expected.append(row)
    selection = LISTED.select(found, listing)
    assert list(selection.rows) == expected[:limit]
    assert selection.more == (limit is not None and len(expected) > limit)


@given(rows, st.sampled_from(["usd", "qty", "reason", "double", "notional-usd"]), st.booleans())
def test_sorting_is_stable_and_what_has_no_value_comes_last(
    found: list[Row], column: str, descending: bool
) -> None:
    numbered = [{**row, "place": place} for place, row in enumerate(found)]
    ordered = selected(numbered, Listing(order=(Order(column, descending),)))
    assert sorted(row["place"] for row in ordered) == list(range(len(found)))
    key = {"notional-usd": "usd"}.get(column, column)

    def value(row: Row) -> Any:
        return (row["usd"] or 0) * 2 if key == "double" else row[key]

    def rank(row: Row) -> tuple[int, float, str]:
        shown = value(row)
        try:
            return (0, float(shown), "")
        except ValueError:
            return (1, 0.0, shown)

    there = [row for row in ordered if value(row) not in (None, "")]
    assert ordered[: len(there)] == there, "what has no value comes last"
    for one, next_ in pairwise(there):
        assert rank(one) >= rank(next_) if descending else rank(one) <= rank(next_)
        if rank(one) == rank(next_):
            assert one["place"] < next_["place"]
    rest = [row["place"] for row in ordered[len(there) :]]
    assert rest == sorted(rest)


def test_nothing_is_read_beyond_the_limit(capsys: pytest.CaptureFixture[str]) -> None:
    read: list[int] = []

    def endless() -> Iterator[Row]:
        while True:
            read.append(len(read))
            yield {"plan_id": f"p{len(read)}", "usd": len(read), "at": 0, "kind": "", "reason": ""}

    emit(Context(listing=Listing(limit=3)), endless(), LISTED)
    assert len(read) == 4, "one more tells whether there are more"
    assert capsys.readouterr().out.count("\n") == 4
    emit(Context(listing=Listing(limit=2, default_limit=True)), endless(), LISTED)
    assert capsys.readouterr().err == "The first 2; there are more: -n 10 or -n all shows them.\n"


# Which columns ---------------------------------------------------------------------------------


def test_columns_come_in_the_order_asked_by_field_title_or_json_name(
    capsys: pytest.CaptureFixture[str],
) -> None:
    row = {"plan_id": "p1", "kind": "open", "reason": "ok", "usd": 2, "at": 0, "qty": "0.5"}
    listing = Listing(columns=("notional-usd", "qty", "double", "plan"))
    emit(Context(listing=listing), [row], LISTED)
    assert (
        capsys.readouterr().out == "notional USD  qty  twice  plan\n        2.00  0.5    4 s  p1\n"
    )
    emit(Context(output="json", listing=listing), [row], LISTED)
    assert json.loads(capsys.readouterr().out) == [
        {"usd": 2, "qty": "0.5", "double": 4, "plan_id": "p1"}
    ]
    stream = Stream(Context(output="ndjson", listing=listing), LISTED)
    stream.write([row])
    assert json.loads(capsys.readouterr().out) == {
        "usd": 2, "qty": "0.5", "double": 4, "plan_id": "p1"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("listing", "says"),
    [
        (Listing(columns=("plan", "nix")), "--columns 'nix': no such column"),
        (Listing(order=(Order("nix"),)), "--sort 'nix': no such column"),
        (Listing(where=(Where("nix", "1"),)), "--where 'nix': no such field"),
        (Listing(columns=("plan_ix",)), "did you mean plan_id?"),
        (Listing(only={"kind": ("opn",)}), "--kind 'opn' must be one of open, close"),
        (Listing(only={"verdict": ("x",)}), "--verdict does not go with this list"),
    ],
)
def test_a_name_that_is_none_is_refused_with_those_that_are(listing: Listing, says: str) -> None:
    with pytest.raises(UsageError) as raised:
        LISTED.check(listing)
    assert says in str(raised.value)
    if "no such" in says or "mean" in says:
        assert "plan_id, at, kind, reason, usd, double, qty" in str(raised.value)


# Layout ----------------------------------------------------------------------------------------


@given(st.text(), st.integers(1, 40))
def test_breaking_leaves_nothing_out(shown: str, width: int) -> None:
    lines = halved(shown, width)
    assert "".join(lines) == shown
    assert all(cells_of(line) <= max(width, 2) for line in lines)
    prose_ = "".join(shown.split())
    lines = broken(shown, width)
    assert "".join("".join(lines).split()) == prose_
    assert all(cells_of(line) <= max(width, 2) for line in lines)


@given(st.text("ab_ ", max_size=60), st.integers(1, 5))
def test_a_word_is_broken_at_its_joints_only_where_there_is_room_for_them(
    shown: str, lines: int
) -> None:
    width = least_width([shown], lines)
    pieces = {part for word in shown.split() for part in word.replace("_", "_ ").split()}
    whole = "".join(broken(shown, max(width, 1)))
    assert "".join(whole.split()) == "".join(shown.split())
    assert all(len(piece.strip("_")) <= max(width, 1) for piece in pieces)


@given(
    st.lists(
        st.tuples(ids, st.sampled_from(["", "id", "words"]), st.booleans(), st.integers(0, 2)),
        min_size=1,
        max_size=8,
    ),
    st.integers(8, 160),
)
def test_what_must_not_break_stays_whole_and_what_may_gives_way_last(
    cells: list[tuple[str, str, bool, int]], limit: int
) -> None:
    columns = [
        Column("t", "k", lambda value, utc: str(value), wrap=wrap, fold=fold, drop=drop)  # type: ignore[arg-type]
        for _, wrap, fold, drop in cells
    ]
    natural = [cells_of(shown) for shown, *_ in cells]
    room = fit(columns, natural, limit, lambda i, lines: least_width([cells[i][0]], lines))
    if room is None:
        return
    assert sum(room.widths) + GAP * (len(room.widths) - 1) <= limit
    wrapped = False
    for index, width in zip(room.kept, room.widths, strict=True):
        _, wrap, fold, _ = cells[index]
        assert width >= natural[index] or wrap or fold
        wrapped = wrapped or (width < natural[index] and not fold)
    if wrapped:
        assert all(not columns[i].drop for i in room.kept), "columns go before values are broken"
    assert all(columns[i].drop for i in range(len(columns)) if i not in room.kept)


@given(rows.filter(len), st.integers(30, 160))
def test_a_table_of_any_width_shows_every_value_whole(found: list[Row], width: int) -> None:
    out = io.StringIO()
    columns = LISTED.columns[:4]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", out)
        patch.setattr(tables, "on_terminal", lambda ctx: True)
        patch.setattr(tables, "terminal_width", lambda: width)
        tables.print_table(Context(environ={"NO_COLOR": "1"}), found, columns)
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in out.getvalue().splitlines()]
    assert all(cells_of(line) <= width for line in lines), lines
    if not any(set(line) == {"─"} for line in lines):
        return  # Cards: a line for each column.
    shown = "".join("".join(lines).split())
    for row in found:
        for char in set(row["plan_id"]):
            there = sum(other["plan_id"].count(char) for other in found)
            assert shown.count(char) >= there, "nothing of an id is left out"


@given(ids, st.text("ab_ ", max_size=30), st.integers(1, 20), st.integers(1, 20))
def test_the_lines_of_a_cell_put_together_are_the_cell(
    id_: str, reason: str, first: int, second: int
) -> None:
    first, second = max(first, 2), max(second, 2)
    out = io.StringIO()
    columns = (c.plan_id("plan", "a"), c.word("reason", "b"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", out)
        tables.Grid(Context(), columns, (first, second)).row({"a": id_, "b": reason}, [id_, reason])
    pieces, rest = "", ""
    for line in out.getvalue().splitlines():
        left = ""
        while line and cells_of(left + line[0]) <= first:
            left, line = left + line[0], line[1:]
        pieces, rest = pieces + left.rstrip(), rest + line.strip()
    assert pieces == id_
    assert "".join(rest.split()) == "".join(reason.split())


@given(st.text("ab '()", max_size=200), st.integers(1, 60))
def test_prose_is_broken_between_words_and_never_in_a_command(text: str, width: int) -> None:
    lines = prose.lines(text, width)
    assert " ".join(" ".join(lines).split()) == " ".join(text.split())
    for line in lines:
        assert len(line) <= max(width, *(len(word) + 2 for word in line.split() or [""])) or (
            "'" in line
        )


def test_a_command_to_copy_stays_in_one_line() -> None:
    said = "no decision about x: see 'qtctl tail plans BTCUSDT' and ('qtctl tail rejected')"
    lines = prose.lines(said, 40)
    assert any("'qtctl tail plans BTCUSDT'" in line for line in lines)
    assert any("('qtctl tail rejected')" in line for line in lines)


# CSV and numbers -------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.text(), st.one_of(st.none(), st.booleans(), st.integers()))))
def test_csv_is_read_back_by_any_reader_and_starts_no_formula(
    pairs: list[tuple[str, Any]],
) -> None:
    out = io.StringIO()
    columns = (c.text("name", "a"), c.text("other", "b"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", out)
        emit(Context(output="csv"), [{"a": a, "b": b} for a, b in pairs], columns)
    header, *read = csv.reader(io.StringIO(out.getvalue()))
    assert header == ["a", "b"]
    assert len(read) == len(pairs)
    for (text, _), (shown, _) in zip(pairs, read, strict=True):
        assert "\n" not in shown
        number = number_of(shown)
        assert not shown.startswith(("=", "+", "-", "@")) or number is not None
        if text.isalnum() and text.isascii():
            assert shown == text


def test_csv_has_the_values_of_json_and_a_header_without_rows(
    capsys: pytest.CaptureFixture[str],
) -> None:
    row = {"plan_id": '=cmd|"x"', "at": 1.5, "kind": "a,b", "reason": "-1", "usd": None}
    emit(Context(output="csv", listing=Listing(columns=("plan", "at", "kind", "reason", "usd"))),
         [row], LISTED)  # fmt: skip
    assert capsys.readouterr().out == ('plan_id,at,kind,reason,usd\n"\'=cmd|""x""",1.5,"a,b",-1,\n')
    emit(Context(output="csv"), [], LISTED)
    assert capsys.readouterr().out == "plan_id,at,kind,reason,usd,double\n"


def test_numbers_are_those_of_fields_that_hold_numbers() -> None:
    record = {
        "plan_id": "123", "symbol": "1000", "qty": "0.50", "attempts": "2", "eff_score": "",
        "kill_score": "lots", "created_at": "1769558400.123", "granted": True, "extra": "7",
        "limits": "12345678", "gates": [{"gate": "age", "value": "3", "qty": "1"}],
        "last_open_at": "9" * 30, "price": "1e400",
    }  # fmt: skip
    assert as_numbers(record) == record | {
        "qty": 0.5, "attempts": 2, "eff_score": None, "created_at": 1769558400.123,
        "gates": [{"gate": "age", "value": "3", "qty": 1}], "last_open_at": int("9" * 30),
    }  # fmt: skip


# Times -----------------------------------------------------------------------------------------

NOW = datetime(2026, 1, 28, 12, 0, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("90", NOW - 90),
        ("1.5h", NOW - 5400),
        ("0", NOW),
        ("2d", NOW - 2 * 86400),
        ("2026-01-28", NOW - 12 * 3600),
        ("2026-01-28T10:00", NOW - 7200),
        ("2026-01-28 10:00:30Z", NOW - 7170),
        ("2026-01-28T11:00+01:00", NOW - 7200),
        ("10:00", NOW - 7200),
        ("9:30:00", NOW - 9000),
        ("23:00", NOW - 13 * 3600),
        ("1769558400", 1769558400.0),
        ("1769558400123", 1769558400.123),
    ],
)
def test_a_time_is_an_age_a_date_a_time_of_day_or_an_epoch(text: str, at: float) -> None:
    assert math.isclose(arguments.when(text, "--since").on(NOW), at)


def test_local_times_are_local(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        for text in ("2026-01-28T15:30", "15:30"):
            assert arguments.when(text, "--since", utc=False).on(NOW) == NOW - 7200
        assert arguments.when("10:00Z", "--since", utc=False).on(NOW) == NOW - 7200
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("now", [NOW - 6600, NOW])
def test_a_time_of_day_ends_a_window_after_its_beginning(now: float) -> None:
    """At 10:10 the window from 10:00 until 10:30 is not over yet; at 12:00 it is."""
    listing = Listing(
        since=arguments.when("10:00", "--since"), until=arguments.when("10:30", "--until")
    ).on(now)
    assert (listing.after, listing.before) == (NOW - 7200, NOW - 5400)


def test_a_window_that_ends_before_it_begins_is_refused() -> None:
    listing = Listing(since=arguments.when("5m", "--since"), until=arguments.when("10m", "--until"))
    with pytest.raises(UsageError, match="--since is later than --until"):
        listing.on(NOW)
