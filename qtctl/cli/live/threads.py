"""The threads behind the screen: whatever Redis does, a key is answered at once."""

import threading
from collections.abc import Callable
from dataclasses import replace

from qtctl import clock
from qtctl.cli.framework.context import Context
from qtctl.cli.live.page import Held, Page
from qtctl.cli.live.poller import Poller, TopSnapshot
from qtctl.errors import QtctlError
from qtctl.wire.client.store import Store

REST_TIMES = 10
"""A page is read again after so many times what that took."""


class Repeating:
    """A thread that does one thing again and again, its `step`, until it is stopped."""

    def __init__(self, name: str, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._nudge = threading.Event()
        self._stopped = False
        self._failed: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def step(self) -> float | None:
        """Do it once: after how many seconds again, None for not until it is nudged."""
        raise NotImplementedError

    def start(self) -> None:
        """Begin with the first step."""
        self._thread.start()

    def nudge(self) -> None:
        """Take the next step at once."""
        self._nudge.set()

    def check(self) -> None:
        """Errors: whatever ended the thread."""
        if self._failed is not None:
            raise self._failed

    def stop(self, wait_sec: float = 0.2) -> None:
        """No more steps; one that hangs is left to itself."""
        self._stopped = True
        self._nudge.set()
        self._thread.join(wait_sec)

    def _run(self) -> None:
        while not self._stopped:
            try:
                rest_sec = self.step()
            except Exception as problem:  # noqa: BLE001 - the thread's border: raised in the other
                self._failed = problem
                self._wake()
                return
            self._wake()
            self._nudge.wait(rest_sec)
            self._nudge.clear()


class Watcher(Repeating):
    """Looks at the whole every so often, and not while it is paused."""

    def __init__(self, poller: Poller, interval_sec: float, wake: Callable[[], None]) -> None:
        super().__init__("looks", wake)
        self._poller = poller
        self._interval_sec = interval_sec
        self._paused = False
        self._first = True
        self.start()

    @property
    def seen(self) -> TopSnapshot:
        """What was seen last. Errors: whatever ended the looks."""
        self.check()
        return self._poller.seen

    def pause(self, paused: bool) -> None:
        """Stop looking, or resume with a look at once."""
        if paused != self._paused:
            self._paused = paused
            self.nudge()

    def step(self) -> float | None:
        """One look."""
        if self._first:
            self._first = False  # The poller has looked once.
        elif not self._paused:
            self._poller.look()
        return None if self._paused else self._interval_sec


class PageReader(Repeating):
    """Reads what the page on top shows, on a connection of its own; nothing else."""

    def __init__(self, ctx: Context, interval_sec: float, wake: Callable[[], None]) -> None:
        super().__init__("pages", wake)
        self._ctx = ctx
        self._interval_sec = interval_sec
        self._page: Page | None = None
        self._paused = False
        self._store: Store | None = None
        self.start()

    def show(self, page: Page, paused: bool) -> None:
        """This page is on top. While it is paused a page is read once, as it is opened."""
        self.check()
        if page is not self._page or paused != self._paused:
            self._page, self._paused = page, paused
            self.nudge()

    def step(self) -> float | None:
        """One reading of the page on top."""
        page = self._page
        if page is None or not page.reads or (self._paused and page.held.at is not None):
            return None
        begun = clock.monotonic()
        try:
            if self._store is None:
                self._store = self._ctx.connection(self._ctx.url())
            value = page.read(self._store)
        except QtctlError as problem:
            page.held = replace(page.held, problem=str(problem))
            return self._interval_sec
        ended = clock.monotonic()
        rest_sec = max(self._interval_sec, REST_TIMES * (ended - begun))
        page.held = Held(value, ended, rest_sec)
        return rest_sec
