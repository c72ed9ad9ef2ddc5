"""Log lines for problems that repeat every pass: only when the state of a key changes.

The counters count every time.
"""

import logging
from collections.abc import Iterable, Mapping

MAX_LINES = 20
"""Per kind and pass; the rest is one line with their number."""
MAX_KNOWN = 10_000
"""Problems remembered where a pass does not see all keys: more than one pass ever sees."""


class ProblemLog:
    """Remembers the problem of each key at the last pass."""

    def __init__(self, log: logging.Logger, kind: str) -> None:
        self._log = log
        self._kind = kind
        self._known: dict[str, str] = {}

    @property
    def known(self) -> bool:
        """True while a key has a problem."""
        return bool(self._known)

    def update(self, found: Mapping[str, str], looked_at: Iterable[str] | None = None) -> None:
        """Takes the problems of this pass, key to problem; logs new, changed and solved ones.
        looked_at: the keys that this pass saw, where it does not see all; those of others stay."""
        if looked_at is not None:
            seen = set(looked_at)
            unseen = {key: text for key, text in self._known.items() if key not in seen}
            found = unseen | dict(found)
        new = {key: text for key, text in found.items() if self._known.get(key) != text}
        solved = self._known.keys() - found.keys()
        for key, problem in list(new.items())[:MAX_LINES]:
            self._write(logging.WARNING, f"{self._kind} can't be used", key=key, problem=problem)
        for key in sorted(solved)[:MAX_LINES]:
            self._write(logging.INFO, f"{self._kind} can be used again", key=key)
        left = max(0, len(new) - MAX_LINES) + max(0, len(solved) - MAX_LINES)
        if left:
            self._write(logging.WARNING, f"{self._kind}: more keys changed state", keys=left)
        self._known = dict(found)
        if looked_at is not None:
            # Plans may name ever new symbols: the oldest problems are forgotten.
            for key in list(self._known)[:-MAX_KNOWN]:
                del self._known[key]

    def _write(self, level: int, message: str, **fields: object) -> None:
        self._log.log(level, message, extra={"fields": fields})
