"""A section of a block: one column of text, or one of small integers, compressed as suits it.

Digits of random numbers have no repeats worth finding: Huffman codes alone are then smaller than
what the usual search for repeats gives, and faster to read. Both are tried. In a column of ratios
the leading `0.` is left out.
"""

import bz2
import sys
import zlib
from array import array
from collections.abc import Callable, Sequence
from typing import Literal

from qtctl.history.damage import Damaged

Effort = Literal["quick", "usual", "small"]
"""quick: for what is soon replaced; small: takes ten times as long to read."""
_SAME = "="
_PLAIN, _RATIOS = b"t", b"r"
_ZERO, _WHOLE = "0.", "!"
"""What most ratios begin with, and what stands before one that does not."""
_LEVEL = 6


def pack_text(values: Sequence[str | None], effort: Effort, give_way: Callable[[], None]) -> bytes:
    """A column of texts; None is a value that did not change. give_way: called between small pieces
    of work, may wait."""
    give_way()
    ratios = sum([each is not None and each.startswith(_ZERO) for each in values])
    if ratios * 2 > len(values) - values.count(None):
        give_way()
        shortened = [each and _shortened(each) for each in values]
        return _RATIOS + _pack_lines(shortened, effort, give_way)
    return _PLAIN + _pack_lines(values, effort, give_way)


def _pack_lines(
    values: Sequence[str | None], effort: Effort, give_way: Callable[[], None]
) -> bytes:
    give_way()
    texts = [_SAME if each is None else each for each in values]
    whole = "\n".join(texts)
    if (
        "\\" in whole
        or whole.count("\n") != max(0, len(texts) - 1)
        or texts.count(_SAME) != values.count(None)
    ):
        whole = "\n".join([_SAME if each is None else _escaped(each) for each in values])
    give_way()
    return _pack(whole.encode("utf-8", "surrogatepass"), effort)


def unpack_text(raw: bytes, count: int, limit: int) -> list[str | None]:
    """The texts of a column. limit: how many bytes they may have in all."""
    kind, packed = raw[:1], raw[1:]
    if kind not in (_RATIOS, _PLAIN):
        raise Damaged("a column is of no known kind")
    try:
        whole = _unpack(packed, limit).decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as problem:
        raise Damaged("a column is not text") from problem
    values: list[str | None] = [*whole.split("\n")] if count else []
    if len(values) != count:
        raise Damaged(f"a column has {len(values)} values instead of {count}")
    if _SAME in whole:
        values = [None if each == _SAME else each for each in values]
    if "\\" in whole:
        values = [each and _unescaped(each) for each in values]
    if kind == _RATIOS:
        values = [each and (each[1:] if each[0] == _WHOLE else _ZERO + each) for each in values]
    return values


def _shortened(value: str) -> str:
    digits = value[len(_ZERO) :]
    return digits if value.startswith(_ZERO) and digits.isdecimal() else _WHOLE + value


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
    return _pack(numbers.tobytes(), "usual")


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


def _pack(raw: bytes, effort: Effort) -> bytes:
    if effort == "quick":
        return zlib.compress(raw, 1)
    usual = zlib.compress(raw, _LEVEL)
    coder = zlib.compressobj(_LEVEL, strategy=zlib.Z_HUFFMAN_ONLY)
    huffman = coder.compress(raw) + coder.flush()
    found = min(usual, huffman, key=len)
    return min(found, bz2.compress(raw), key=len) if effort == "small" else found


def _unpack(raw: bytes, limit: int) -> bytes:
    reader = bz2.BZ2Decompressor() if raw.startswith(b"BZh") else zlib.decompressobj()
    try:
        found = reader.decompress(raw, limit + 1)
    except (zlib.error, OSError) as problem:
        raise Damaged(f"a column can't be decompressed: {problem}") from problem
    if len(found) > limit or not reader.eof:
        raise Damaged("a column is not whole, or larger than it may be")
    return found
