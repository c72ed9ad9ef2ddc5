"""When an entry of a stream was added, by its id: `milliseconds-number`."""


def ms_of(entry_id: str | bytes) -> int:
    """When an entry was added, epoch milliseconds; 0 for what is not an id."""
    text = entry_id.decode("ascii", "replace") if isinstance(entry_id, bytes) else entry_id
    head = text.partition("-")[0]
    return int(head) if head.isascii() and head.isdecimal() else 0


def time_of(entry_id: str | bytes) -> float:
    """The same in epoch seconds."""
    return ms_of(entry_id) / 1000
