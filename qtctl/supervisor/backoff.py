"""Delays between tries."""

import random


class Backoff:
    """Delays in seconds that double from `first` to at most `most`, each shortened at random by up
    to a half, so that several processes do not reconnect in step."""

    def __init__(self, first: float, most: float) -> None:
        self._first = first
        self._most = most
        self._delay = 0.0

    def next(self) -> float:
        """The delay before the next try."""
        self._delay = min(self._most, max(self._first, 2 * self._delay))
        return self._delay * random.uniform(0.5, 1.0)

    def ran(self, seconds: float) -> None:
        """Start over if passes have finished for as long as the last delay: a service that fails
        right after each restart must not be restarted too often."""
        if seconds >= self._delay:
            self._delay = 0.0
