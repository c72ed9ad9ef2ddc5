"""A pass on the wire: an entry of `stream:allocation.pass`, there and back.

`block` holds the columns of the pass: a MessagePack map from each column's name to its list of
texts, compressed with zlib. Source: docs/redis-contract.md#pass.
"""

import struct
import zlib
from collections.abc import Callable, Mapping, Sequence

import msgspec

from qtctl.domain.passes import COLUMNS, Columns, Pass, columns_problem, kept
from qtctl.wire.schema.records import text

CODEC = "msgpack+zlib/1"
LEVEL = 1
"""Fast: 10,000 symbols in 1 to 4 ms."""
MAX_BLOCK_BYTES = 256 << 20
"""No honest block is larger when unpacked; a hostile one must not fill the memory."""
_encode = msgspec.msgpack.Encoder().encode
_Packed = msgspec.defstruct("_Packed", [(name, msgspec.Raw) for name in COLUMNS])
"""The columns of a block, each as it is packed."""
_decode_column = msgspec.msgpack.Decoder(list[str]).decode
_LONG = (b"\xd9", b"\xda", b"\xdb")
"""What MessagePack writes before a text of over 31 bytes, and hardly ever otherwise."""
_ZLIB_HEAD = b"\x78\x01"
_DIGITS, _MANY_DIGITS = ("target_usd", "score"), 12
"""Of numbers with many digits, nothing but Huffman codes is worth its time."""

PASS_FIELDS: tuple[tuple[str, str], ...] = (
    ("pass", "its number since this loop started, from 1"),
    ("ts_ms", "the server's clock that it decided by, epoch ms"),
    ("instance", "host or name of the loop"),
    ("version", "of qtctl"),
    ("rules", "digest: allocation:rules:{digest}"),
    ("symbols", "how many rows the block has"),
    ("codec", f"how the block is written: {CODEC}"),
    (
        "block",
        "MessagePack map, zlib: column name to list of texts, one per symbol in their order: "
        + ", ".join(f"`{name}`" for name in COLUMNS),
    ),
)


class Packing:
    """The columns of a pass on their way into its block, some symbols at a time. Of what is packed
    no text is kept: its memory is used again while it is in the cache."""

    def __init__(self) -> None:
        self.symbols = 0
        self._columns = [bytearray() for _ in COLUMNS]

    def add(self, columns: Sequence[Sequence[str]]) -> None:
        """The next symbols: texts in the order of COLUMNS, equally many in each; one of over 64
        characters is kept shorter."""
        count = len(columns[0])
        self.symbols += count
        head = len(_list_head(count))
        for packed, column in zip(self._columns, columns, strict=True):
            texts = _encode(column)[head:]
            if any(mark in texts for mark in _LONG):
                short = kept(column)
                texts = texts if short is column else _encode(short)[head:]
            packed += texts

    def block(self) -> bytes:
        """All of them, compressed: each column by itself, since nothing in it is like the next."""
        head, first = _list_head(self.symbols), bytes([0x80 | len(COLUMNS)])
        parts, check = [_ZLIB_HEAD], 1
        for name, packed in zip(COLUMNS, self._columns, strict=True):
            raw = b"".join((first, _encode(name), head, packed))
            first, check = b"", zlib.adler32(raw, check)
            digits = name in _DIGITS and len(packed) > _MANY_DIGITS * self.symbols
            how = zlib.Z_HUFFMAN_ONLY if digits else zlib.Z_DEFAULT_STRATEGY
            coder = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS, strategy=how)
            end = zlib.Z_FINISH if name == COLUMNS[-1] else zlib.Z_SYNC_FLUSH
            parts += (coder.compress(raw), coder.flush(end))
        return b"".join((*parts, check.to_bytes(4, "big")))


def _list_head(count: int) -> bytes:
    """What a MessagePack list of that length begins with."""
    if count < 1 << 4:
        return bytes([0x90 | count])
    return struct.pack(">BH", 0xDC, count) if count < 1 << 16 else struct.pack(">BI", 0xDD, count)


def entry(
    number: int, ts_ms: int, instance: str, version: str, rules: str, packing: Packing
) -> list[str | bytes]:
    """The fields of the entry, as in Pass: name, value, …"""
    values: tuple[str | bytes, ...] = (
        str(number), str(ts_ms), instance, version, rules, str(packing.symbols), CODEC,
        packing.block(),
    )  # fmt: skip
    names = (name for name, _ in PASS_FIELDS)
    return [part for pair in zip(names, values, strict=True) for part in pair]


def read(fields: Mapping[bytes, bytes], give_way: Callable[[], None] = lambda: None) -> Pass:
    """The pass in an entry. give_way: called before each column, may wait. Errors: ValueError
    saying what is wrong with it."""
    codec = text(fields.get(b"codec", b""))
    if codec != CODEC:
        raise ValueError(f"its codec {codec[:40]!r} is not {CODEC}")
    columns = _unpacked(fields.get(b"block", b""), give_way)
    give_way()
    if problem := columns_problem(columns):
        raise ValueError(problem)
    try:
        number, ts_ms = int(fields[b"pass"]), int(fields[b"ts_ms"])
        names = (b"instance", b"version", b"rules")
        instance, version, rules = (text(fields[name]) for name in names)
    except (KeyError, ValueError) as problem:
        raise ValueError(f"it lacks pass, ts_ms, instance, version or rules: {problem}") from None
    return Pass(number, ts_ms, instance, version, rules, len(columns), columns)


def _unpacked(raw: bytes, give_way: Callable[[], None]) -> Columns:
    unpack, column = zlib.decompressobj(), ""
    try:
        data = unpack.decompress(raw, MAX_BLOCK_BYTES)
        if unpack.unconsumed_tail or not unpack.eof:
            raise ValueError("its block is cut, or too large")
        give_way()
        packed = msgspec.msgpack.decode(data, type=_Packed)
        found: list[list[str]] = []
        for column in COLUMNS:
            give_way()
            found.append(_decode_column(getattr(packed, column)))
        return Columns(*found)
    except (zlib.error, msgspec.DecodeError, RecursionError) as problem:
        where = f" ({column})" if column else ""
        raise ValueError(f"its block can't be read{where}: {problem}") from None
