"""Which of two loops in one process goes first: plans, before the symbols of a pass.

Only one thread of Python runs at a time. A plan takes half a millisecond of it, in some ten pieces
between waits for the server; a pass over many symbols is busy all the time and would run in each of
those waits, for as long as the interpreter lets it.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

MOST_SEC = 0.005
"""The most that a pass gives way at once: a governor that is always busy must not stop it."""


class RightOfWay:
    """Held by the governor while it serves plans; a pass gives way between two of its pieces."""

    def __init__(self) -> None:
        self._free = threading.Event()
        self._free.set()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Goes first for the length of a `with`."""
        self._free.clear()
        try:
            yield
        finally:
            self._free.set()

    @property
    def free(self) -> bool:
        """True while nobody goes first."""
        return self._free.is_set()

    def give(self) -> None:
        """Waits while another goes first, at most MOST_SEC."""
        if not self.free:
            self._free.wait(MOST_SEC)
