"""Ids of stream entries, `milliseconds-number`: their order, and by whose clock they are."""

_FACTORS = (("s", 1000.0), ("µs", 0.001), ("ns", 0.000001))


def order(entry_id: str) -> tuple[int, int]:
    """What ids sort by."""
    ms, _, number = entry_id.partition("-")
    return int(ms), int(number or 0)


def last_before(ms: int) -> tuple[int, int]:
    """What the last id before this millisecond sorts by."""
    return ms - 1, 2**64 - 1


def unit_of(ms: int, now_ms: int) -> str:
    """The unit that the first half of an id is in, by the server's clock: `s`, `µs` or `ns` where a
    publisher makes ids of its own in that unit, else `ms`. An id from half to twice of now, in
    another unit, is no time in milliseconds that anybody means."""
    for unit, factor in _FACTORS:
        if now_ms / 2 < ms * factor < now_ms * 2:
            return unit
    return "ms"


def queued_at_ms(ms: int, now_ms: int) -> int:
    """When an entry was queued by its id, as far as its unit tells: in seconds too, so that it is
    not taken for one of 1970. What lies ahead stays there: its publisher's clock tells nothing."""
    return ms * 1000 if unit_of(ms, now_ms) == "s" else ms
