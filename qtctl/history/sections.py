"""A section of a block: one column of text, or one of small integers, compressed as suits it.

Digits of random numbers have no repeats worth finding: Huffman codes alone are then smaller than
what the usual search for repeats gives, and faster to read. Both are tried.
"""

import sys
import zlib
from array import array
from collections.abc import Sequence

from qtctl.history.damage import Damaged

_SAME = "="
_LEVEL = 6


def pack_text(values: Sequence[str | None]) -> bytes:
    """A column of texts; None is a value that did not change."""
    texts = [_SAME if each is None else each for each in values]
    whole = "\n".join(texts)
    if (
        "\\" in whole
        or whole.count("\n") != max(0, len(texts) - 1)
        or texts.count(_SAME) != values.count(None)
    ):
        whole = "\n".join([_SAME if each is None else _escaped(each) for each in values])
    return _pack(whole.encode("utf-8", "surrogatepass"))


def unpack_text(raw: bytes, count: int, limit: int) -> list[str | None]:
    """The texts of a column. limit: how many bytes they may have in all."""
    try:
        whole = _unpack(raw, limit).decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as problem:
        raise Damaged("a column is not text") from problem
    values: list[str | None] = [*whole.split("\n")] if count else []
    if len(values) != count:
        raise Damaged(f"a column has {len(values)} values instead of {count}")
    if _SAME in whole:
        values = [None if each == _SAME else each for each in values]
    return [each and _unescaped(each) for each in values] if "\\" in whole else values


def _escaped(value: str) -> str:
    return "\\e" if value == _SAME else value.replace("\\", "\\\\").replace("\n", "\\n")


def _unescaped(value: str) -> str:
    if value == "\\e":
        return _SAME
    return "\\".join([part.replace("\\n", "\n") for part in value.split("\\\\")])


def pack_numbers(values: Sequence[int]) -> bytes:
    """A column of integers from 0 to 2³² − 1."""
    numbers = array("I", values)
    if sys.byteorder == "big":
        numbers.byteswap()
    return _pack(numbers.tobytes())


def unpack_numbers(raw: bytes, count: int) -> Sequence[int]:
    """The integers of a column."""
    numbers = array("I")
    found = _unpack(raw, count * numbers.itemsize)
    if len(found) != count * numbers.itemsize:
        raise Damaged("a column of positions has another length")
    numbers.frombytes(found)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def _pack(raw: bytes) -> bytes:
    usual = zlib.compress(raw, _LEVEL)
    coder = zlib.compressobj(_LEVEL, strategy=zlib.Z_HUFFMAN_ONLY)
    huffman = coder.compress(raw) + coder.flush()
    return min(usual, huffman, key=len)


def _unpack(raw: bytes, limit: int) -> bytes:
    reader = zlib.decompressobj()
    try:
        found = reader.decompress(raw, limit + 1)
    except zlib.error as problem:
        raise Damaged(f"a column can't be decompressed: {problem}") from problem
    if len(found) > limit or not reader.eof:
        raise Damaged("a column is not whole, or larger than it may be")
    return found
