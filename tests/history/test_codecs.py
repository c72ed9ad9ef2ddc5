"""Whatever Redis held comes back to the byte."""

from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtctl.domain.facts import facts_of, unrecorded
from qtctl.domain.passes import COLUMNS, Columns
from qtctl.history import blocks, decisions, ids, plain
from qtctl.history.damage import Damaged
from qtctl.history.decisions import Decision, Profile
from tests.history.samples import DECISION, NOON

FIELDS = sorted(DECISION)
TEXTS = st.one_of(
    st.text(max_size=12),
    st.floats().map(repr),
    st.integers(-(10**20), 10**20).map(str),
    st.decimals(-(10**14), 10**14, places=3).map(str),
    st.sampled_from(
        ["-0.000", "00.100", "+1.000", "1e400", "0.0000", "=", "\\e", "\\", "\n", "-0"]
    ),
)


def read_back(record: dict[str, str], entry_id: str) -> Decision:
    row = decisions.pack(entry_id, record)
    values: list[Any] = [
        row.number, row.entry, row.outcome, Profile(*row.profile), row.symbol, row.plan_id,
        *row.values,
    ]  # fmt: skip
    return Decision(*values)


@given(st.dictionaries(st.sampled_from([*FIELDS, "a new field"]), TEXTS | st.none(), max_size=9))
def test_a_decision_comes_back_whatever_it_holds(changes: dict[str, str | None]) -> None:
    merged = DECISION | changes
    record = {name: value for name, value in merged.items() if value is not None}
    assert read_back(record, f"{NOON}-0").record() == record


@given(st.dictionaries(st.sampled_from(FIELDS), TEXTS | st.none(), max_size=4))
def test_the_facts_without_a_record_are_those_of_the_record(changes: dict[str, str | None]) -> None:
    merged = DECISION | changes
    found = read_back({k: v for k, v in merged.items() if v is not None}, f"{NOON}-0")
    facts, record = plain.facts(found), found.record()
    if facts is not None:
        assert facts == facts_of(record)
        assert unrecorded(record) == {}


def test_the_usual_decision_needs_no_record() -> None:
    for changes in ({}, {"kind": "close", "opens_5min": "", "opens_1h": "", "qty": ""}):
        found = read_back(DECISION | changes, f"{NOON}-0")
        assert plain.facts(found) == found.facts()


def test_the_usual_decision_needs_no_exact_text() -> None:
    assert read_back(DECISION, f"{NOON}-0").exact is None


@given(st.lists(st.dictionaries(st.text(max_size=3), st.tuples(*[TEXTS] * 8), max_size=5)))
def test_passes_come_back_whatever_they_hold(passes: list[dict[str, tuple[str, ...]]]) -> None:
    given_columns = [_columns(each) for each in passes]
    state: dict[str, tuple[str, ...]] = {}
    for rows, found in zip(passes, blocks.read(_block(given_columns)), strict=True):
        values = [getattr(found.columns, name) for name in COLUMNS]
        now = {symbol: row for symbol, *row in map(tuple, zip(*values, strict=True))}
        assert {symbol: tuple(row) for symbol, row in now.items()} == rows
        changed = {found.columns.symbol[i] for i in found.changed}
        if not found.shifted:
            assert changed == {symbol for symbol in rows if state.get(symbol) != rows[symbol]}
        state = rows


def _block(passes: Iterable[Columns]) -> bytes:
    maker = blocks.BlockMaker()
    for columns in passes:
        maker.add(columns)
    return maker.block()


def _columns(rows: Mapping[str, tuple[str, ...]]) -> Columns:
    listed = [(symbol, *row) for symbol, row in rows.items()]
    return Columns(*[[row[i] for row in listed] for i in range(len(COLUMNS))])


@given(st.data())
def test_a_damaged_block_is_damaged_and_nothing_else(data: st.DataObject) -> None:
    """Never another error, never endless; what it gives nevertheless is a pass in form."""
    rows = {f"S{i}": (f"{i}.5", "1", "0.5", "0.8", "2", "", "ok", "1.0000") for i in range(9)}
    raw = bytearray(_block([_columns(rows)] * 3))
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        for found in blocks.read(bytes(raw)):
            assert len({len(getattr(found.columns, name)) for name in COLUMNS}) == 1
    except Damaged:
        pass


@pytest.mark.parametrize("entry_id", ["1769688000123-7", "0-1", "5-2097151"])
def test_an_id_as_an_integer_and_back(entry_id: str) -> None:
    number = ids.packed(entry_id)
    assert number is not None
    assert ids.unpacked(number) == entry_id


@pytest.mark.parametrize(
    "text", ["", "x", "1", "1-", "01-0", "1-2097152", "9999999999999-0", "-1-0"]
)
def test_what_has_no_integer(text: str) -> None:
    assert ids.packed(text) is None
