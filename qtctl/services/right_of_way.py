"""Which of two loops in one process goes first: plans, before the symbols of a pass.

Only one thread of Python runs at a time. A plan takes half a millisecond of it, in some ten pieces
between waits for the server; a pass over many symbols is busy all the time and would run in each of
those waits, for as long as the interpreter lets it.
"""

import threading

MOST_SEC = 0.005
"""The most that a pass gives way at once: a governor that is always busy must not stop it."""


class RightOfWay:
    """Held by the governor while it serves plans; a pass gives way between two of its pieces."""

    def __init__(self) -> None:
        self._first = threading.Lock()

    def held(self) -> threading.Lock:
        """Goes first for the length of a `with`."""
        return self._first

    @property
    def free(self) -> bool:
        """True while nobody goes first."""
        return not self._first.locked()

    def give(self) -> None:
        """Waits while another goes first, at most MOST_SEC."""
        if not self.free and self._first.acquire(timeout=MOST_SEC):
            self._first.release()
