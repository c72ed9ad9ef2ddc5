"""How long to wait before the next try."""

import random


class Backoff:
    """Delays in seconds that double from `first` to at most `most`, each cut at random.

    The cut (up to a half) keeps several processes from knocking at a server in step.
    """

    def __init__(self, first: float, most: float) -> None:
        self._first = first
        self._most = most
        self._delay = 0.0

    def next(self) -> float:
        """The delay before the next try."""
        self._delay = min(self._most, max(self._first, 2 * self._delay))
        return self._delay * random.uniform(0.5, 1.0)

    def ran(self, seconds: float) -> None:
        """Passes have finished for `seconds` since the last try: start over once that is proof.

        What fails a moment after each restart keeps its long delay; a single good pass is not
        enough, it has to last for as long as was waited.
        """
        if seconds >= self._delay:
            self._delay = 0.0
