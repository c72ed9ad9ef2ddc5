"""A pass on the wire: an entry of `stream:allocation.pass`, there and back.

`block` holds the columns of the pass: a MessagePack map from each column's name to its list of
texts, compressed with zlib. Source: docs/redis-contract.md#pass.
"""

import zlib
from collections.abc import Mapping

import msgspec

from qtctl.domain.passes import COLUMNS, Columns, Pass, columns_problem
from qtctl.wire.schema.records import text

CODEC = "msgpack+zlib/1"
LEVEL = 1
"""Fast: 10,000 symbols in some 5 ms."""
MAX_BLOCK_BYTES = 256 << 20
"""No honest block is larger when unpacked; a hostile one must not fill the memory."""

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


def entry(done: Pass) -> list[str | bytes]:
    """The fields of the entry: name, value, …"""
    values: tuple[str | bytes, ...] = (
        str(done.number), str(done.ts_ms), done.instance, done.version, done.rules,
        str(done.symbols), CODEC, block(done.columns),
    )  # fmt: skip
    names = (name for name, _ in PASS_FIELDS)
    return [part for pair in zip(names, values, strict=True) for part in pair]


def block(columns: Columns) -> bytes:
    """The columns, packed."""
    return zlib.compress(msgspec.msgpack.encode(columns), LEVEL)


def read(fields: Mapping[bytes, bytes]) -> Pass:
    """The pass in an entry. Errors: ValueError saying what is wrong with it."""
    codec = text(fields.get(b"codec", b""))
    if codec != CODEC:
        raise ValueError(f"its codec {codec[:40]!r} is not {CODEC}")
    columns = _unpacked(fields.get(b"block", b""))
    if problem := columns_problem(columns):
        raise ValueError(problem)
    try:
        number, ts_ms = int(fields[b"pass"]), int(fields[b"ts_ms"])
        instance, version, rules = (
            text(fields[name]) for name in (b"instance", b"version", b"rules")
        )
    except (KeyError, ValueError) as problem:
        raise ValueError(f"it lacks pass, ts_ms, instance, version or rules: {problem}") from None
    return Pass(number, ts_ms, instance, version, rules, len(columns), columns)


def _unpacked(raw: bytes) -> Columns:
    unpack = zlib.decompressobj()
    try:
        data = unpack.decompress(raw, MAX_BLOCK_BYTES)
        if unpack.unconsumed_tail or not unpack.eof:
            raise ValueError("its block is cut, or too large")
        return msgspec.msgpack.decode(data, type=Columns)
    except (zlib.error, msgspec.DecodeError) as problem:
        raise ValueError(f"its block can't be read: {problem}") from None
