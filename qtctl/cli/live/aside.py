"""What an operator does from within the screen: by the code of the command, in a thread of its own;
what the command would have printed is kept."""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import fields

from qtctl.cli.framework.context import Context
from qtctl.errors import QtctlError

MOST_LINES = 200


class Kept(Context):
    """A context whose prose is kept instead of printed: a screen has no stderr."""

    lines: deque[str]

    def say(self, text: str) -> None:
        """One line more."""
        self.lines.append(text)


def kept(ctx: Context) -> Kept:
    """The same context, its settings read already, with no line yet."""
    own = Kept(**{each.name: getattr(ctx, each.name) for each in fields(ctx) if each.init})
    own.lines = deque(maxlen=MOST_LINES)
    own.__dict__["loaded"] = ctx.loaded
    return own


class Job:
    """One command. lines: its output so far; done: True once it has ended; failed: True where
    that was with an error, which is the last line then; shown: somebody has seen how it ended."""

    def __init__(
        self, ctx: Context, run: Callable[[Kept], list[str]], wake: Callable[[], None]
    ) -> None:
        self._ctx = kept(ctx)
        self._run, self._wake = run, wake
        self.done = self.failed = self.shown = False
        # Not a daemon: a halt that was confirmed is carried out, also where somebody quits.
        self._thread = threading.Thread(target=self._work, name="job")
        self._thread.start()

    @property
    def lines(self) -> list[str]:
        """Its output so far."""
        return list(self._ctx.lines)

    def wait(self) -> list[str]:
        """The same once it has ended."""
        self._thread.join()
        return self.lines

    def _work(self) -> None:
        try:
            self._ctx.lines += self._run(self._ctx)
        except QtctlError as problem:
            self._ctx.lines.append(f"error: {problem}")
            self.failed = True
        except Exception as problem:  # noqa: BLE001 - the thread's border: shown on the screen
            self._ctx.lines.append(f"error: {type(problem).__name__}: {problem}")
            self.failed = True
        self.done = True
        self._wake()
