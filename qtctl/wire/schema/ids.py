"""Ids of stream entries: `milliseconds-number`."""


def order(entry_id: str) -> tuple[int, int]:
    """What ids sort by."""
    ms, _, number = entry_id.partition("-")
    return int(ms), int(number or 0)


def queued_ms(entry_id: str) -> int:
    """When an entry was queued, epoch milliseconds."""
    return order(entry_id)[0]
