"""A pass on the wire: there and back, and what is refused."""

import zlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtctl.domain import numbers
from qtctl.domain.passes import COLUMNS, Columns, Pass, kept
from qtctl.wire.schema import pass_entry
from qtctl.wire.schema.pass_entry import CODEC, PASS_FIELDS, Packing

ROW = ("BTCUSDT", "1000.5", "1769558400", "0.61", "0.9", "1769558399", "", "ok", "1.1100")


def columns(rows: list[Any]) -> Columns:
    return Columns(*[[row[place] for row in rows] for place in range(len(COLUMNS))])


PASS = Pass(7, 1_769_558_400_123, "host-1", "0.2.0", "0123456789abcdef", 1, columns([ROW]))


def entry(done: Pass, at_once: int = 7) -> list[str | bytes]:
    """The entry of a pass whose symbols are packed so many at a time."""
    packing, whole = Packing(), [getattr(done.columns, name) for name in COLUMNS]
    for start in range(0, done.symbols, at_once):
        packing.add([column[start : start + at_once] for column in whole])
    head = done.number, done.ts_ms, done.instance, done.version, done.rules
    return pass_entry.entry(*head, packing)


def fields(done: Pass, at_once: int = 7, **changes: bytes) -> dict[bytes, bytes]:
    """An entry as Redis gives it."""
    flat = [part.encode() if isinstance(part, str) else part for part in entry(done, at_once)]
    found = dict(zip(flat[::2], flat[1::2], strict=True))
    return found | {name.encode(): value for name, value in changes.items()}


def test_the_bytes_of_an_entry() -> None:
    flat = entry(PASS)
    assert flat[:-1] == [
        "pass", "7", "ts_ms", "1769558400123", "instance", "host-1", "version", "0.2.0",
        "rules", "0123456789abcdef", "symbols", "1", "codec", CODEC, "block",
    ]  # fmt: skip
    assert [*flat[::2]] == [name for name, _ in PASS_FIELDS]
    raw = flat[-1]
    assert isinstance(raw, bytes)
    assert msgspec.msgpack.decode(zlib.decompress(raw)) == {
        "symbol": ["BTCUSDT"], "target_usd": ["1000.5"], "target_at": ["1769558400"],
        "score": ["0.61"], "confidence": ["0.9"], "score_ts": ["1769558399"],
        "score_timestamp": [""], "reason": ["ok"], "multiplier": ["1.1100"],
    }  # fmt: skip


def packed(named: dict[str, list[str]]) -> bytes:
    return zlib.compress(msgspec.msgpack.encode(named))


TEXT = st.text(st.characters(codec="utf-8"), max_size=80)
KEPT = st.text(st.characters(codec="utf-8"), max_size=64)
ROWS = st.lists(st.tuples(*[KEPT] * 9), max_size=20, unique_by=lambda row: row[0])


@given(ROWS, st.integers(1, 10**9), st.integers(1, 20))
def test_a_pass_comes_back_as_it_was(rows: list[Any], number: int, at_once: int) -> None:
    done = Pass(number, 1_769_558_400_123, "i", "v", "r", len(rows), columns(rows))
    back = pass_entry.read(fields(done, at_once))
    assert msgspec.to_builtins(back) == msgspec.to_builtins(done)
    assert len(back.columns) == len(rows)


def test_a_text_of_over_64_characters_is_kept_shorter() -> None:
    long = columns([("A", "1" + "0" * 69, "x" * 65, *ROW[3:])])
    back = pass_entry.read(fields(Pass(1, 1, "i", "v", "r", 1, long))).columns
    assert (back.target_usd, back.target_at) == (["1e+69"], kept(["x" * 65]))


@pytest.mark.parametrize("at_once", [100, 70_000])
def test_a_pass_of_many_symbols_with_all_their_digits_comes_back(at_once: int) -> None:
    rows = [(f"S{place}", repr(place**0.5), *ROW[2:]) for place in range(70_000)]
    done = Pass(1, 1, "i", "v", "r", len(rows), columns(rows))
    assert pass_entry.read(fields(done, at_once)).columns == done.columns


def test_a_pass_without_a_symbol_comes_back() -> None:
    done = Pass(1, 1, "i", "v", "r", 0, columns([]))
    assert len(pass_entry.read(fields(done)).columns) == 0


@given(st.decimals(allow_nan=False, allow_infinity=False, places=70) | TEXT.filter(len))
def test_what_is_kept_shorter_is_the_same_number_or_none(sent: object) -> None:
    text = str(sent)
    (short,) = kept([text])
    assert len(short) <= 64
    assert numbers.number(short) == numbers.number(text)
    assert numbers.epoch(short) == numbers.epoch(text)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"codec": b"snappy/9"}, "codec 'snappy/9'"),
        ({"block": b"not zlib"}, "block can't be read"),
        ({"block": zlib.compress(b"\xc1")}, "block can't be read"),
        ({"block": zlib.compress(msgspec.msgpack.encode([1]))}, "block can't be read"),
        ({"block": zlib.compress(msgspec.msgpack.encode({"symbol": ["a"]}))}, "can't be read"),
        (
            {"block": packed({name: [] for name in COLUMNS} | {"symbol": ["a"]})},
            "differ in length",
        ),
        ({"block": packed({name: ["a", "a"] for name in COLUMNS})}, "symbol twice"),
        ({"block": fields(PASS)[b"block"][:-1]}, "cut"),
        ({"pass": b"x"}, "lacks pass"),
        ({"ts_ms": b""}, "lacks pass"),
    ],
)
def test_what_is_no_pass_is_refused(changes: dict[str, bytes], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        pass_entry.read(fields(PASS, 7, **changes))


def test_a_block_that_unpacks_to_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pass_entry, "MAX_BLOCK_BYTES", 1_000)
    bomb = zlib.compress(msgspec.msgpack.encode(columns([("A" * 60, *ROW[1:])] * 1_000)))
    with pytest.raises(ValueError, match="too large"):
        pass_entry.read(fields(PASS, block=bomb))


@pytest.mark.parametrize("name", [*COLUMNS[:1], "another"])
def test_a_block_with_lists_in_lists_without_end_is_refused(name: str) -> None:
    whole: dict[str, Any] = {column: msgspec.Raw(b"\x90") for column in COLUMNS}
    deep = msgspec.Raw(b"\x91" * 200_000 + b"\x90")
    block = zlib.compress(msgspec.msgpack.encode(whole | {name: deep}))
    with pytest.raises(ValueError, match="block can't be read"):
        pass_entry.read(fields(PASS, block=block))


def test_a_column_that_is_no_list_of_texts_is_named() -> None:
    block = zlib.compress(
        msgspec.msgpack.encode(msgspec.structs.asdict(PASS.columns) | {"score": [1]})
    )
    with pytest.raises(ValueError, match=r"\(score\)"):
        pass_entry.read(fields(PASS, block=block))
