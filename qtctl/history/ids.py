"""Ids of stream entries as integers that sort as they do, and the UTC day that each belongs to.

`ms-seq` becomes ms × 2²¹ + seq. Ids that don't fit (a seq over 2²¹, a time after 2109) have no
integer; who stores one keeps its text.
"""

from datetime import UTC, datetime

SEQ_BITS = 21
_SEQ_MASK = (1 << SEQ_BITS) - 1
_MS_LIMIT = 1 << (63 - SEQ_BITS)
DAY_MS = 86_400_000
LAST_DAY_MS = 253_402_300_799_999
"""The end of the year 9999, after which no day has a name."""


def packed(entry_id: str) -> int | None:
    """The integer that stands for an id, None where none does."""
    head, _, tail = entry_id.partition("-")
    try:
        ms, seq = int(head), int(tail)
    except ValueError:
        return None
    if not 0 <= ms < _MS_LIMIT or not 0 <= seq <= _SEQ_MASK or entry_id != f"{ms}-{seq}":
        return None
    return ms << SEQ_BITS | seq


def keyed(entry_id: str) -> tuple[int | None, str | None]:
    """The key of a row, and the text of an id that has no integer: then SQLite gives the next."""
    number = packed(entry_id)
    return number, entry_id if number is None else None


def unpacked(number: int) -> str:
    """The id that an integer stands for."""
    return f"{number >> SEQ_BITS}-{number & _SEQ_MASK}"


def first_at(ms: int) -> int:
    """The integer of the first id in or after a millisecond."""
    return max(0, min(ms, _MS_LIMIT - 1)) << SEQ_BITS


def day_of(ms: int) -> str:
    """The UTC day of a time, `2026-01-31`."""
    return datetime.fromtimestamp(max(0, min(ms, LAST_DAY_MS)) // 1000, UTC).date().isoformat()


def day_start_ms(day: str) -> int:
    """When a day begins, epoch ms. Errors: ValueError where it is no day."""
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) * 1000
