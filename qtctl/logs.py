"""Many log lines in one write: one write per permit would cost half the throughput.

The supervisor formats the lines; callers only give a message and its fields.
"""

import logging
from collections.abc import Mapping, Sequence

Fields = Mapping[str, object]
Line = tuple[str, Fields]


def log_batch(logger: logging.Logger, level: int, lines: Sequence[Line]) -> None:
    """Log each (message, fields) as a line of its own, all of them in one write."""
    if lines and logger.isEnabledFor(level):
        logger.log(level, "%d lines", len(lines), extra={"batch": lines})


_dropped = 0


def count_dropped(lines: int) -> None:
    """Count log lines that were lost because nobody read the log."""
    global _dropped
    _dropped += lines


def dropped() -> int:
    """Log lines that this process has lost."""
    return _dropped
