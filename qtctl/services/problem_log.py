"""Log lines for troubles that repeat every pass: only when a key's state changes.

Thousands of equal lines a pass are worth one (and the counters count every time).
"""

import logging
from collections.abc import Iterable, Mapping

MAX_LINES = 20
"""Of one kind in one pass; the rest is one line with their number."""


MAX_KNOWN = 10_000
"""ProblemLog remembered where a pass does not look at all keys: more than it ever looks at."""


class ProblemLog:
    """Remembers what was wrong with which key at the last pass."""

    def __init__(self, log: logging.Logger, kind: str) -> None:
        self._log = log
        self._kind = kind
        self._known: dict[str, str] = {}

    def update(self, found: Mapping[str, str], looked_at: Iterable[str] | None = None) -> None:
        """The troubles of this pass, key to problem; logs what is new, changed and over.

        looked_at: the keys that this pass saw, where it does not see all; of others nothing new
        is known.
        """
        if looked_at is not None:
            found = self._unseen(set(looked_at)) | dict(found)
        new = {key: text for key, text in found.items() if self._known.get(key) != text}
        over = self._known.keys() - found.keys()
        for key, problem in list(new.items())[:MAX_LINES]:
            self._say(logging.WARNING, f"{self._kind} can't be used", key=key, problem=problem)
        for key in sorted(over)[:MAX_LINES]:
            self._say(logging.INFO, f"{self._kind} can be used again", key=key)
        left = max(0, len(new) - MAX_LINES) + max(0, len(over) - MAX_LINES)
        if left:
            self._say(logging.WARNING, f"{self._kind}: more keys changed their state", keys=left)
        self._known = dict(found)
        if looked_at is not None:
            # Plans may claim ever new symbols: the oldest troubles are forgotten.
            for key in list(self._known)[:-MAX_KNOWN]:
                del self._known[key]

    def _unseen(self, looked_at: set[str]) -> dict[str, str]:
        return {key: text for key, text in self._known.items() if key not in looked_at}

    def _say(self, level: int, message: str, **fields: object) -> None:
        self._log.log(level, message, extra={"fields": fields})
