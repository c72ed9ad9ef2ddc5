"""`qtctl serve` as a process of its own, for proofs and benches."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import IO, Any

APART = ("allocation.metrics_port=0", "governor.metrics_port=0", "history.enabled=false")
"""Free ports, whatever else runs on this machine, and no history of it."""


def serve(
    what: str,
    url: str,
    sets: Sequence[str],
    environ: Mapping[str, str],
    *,
    options: Sequence[str] = (),
    output: IO[bytes] | int = subprocess.DEVNULL,
) -> "subprocess.Popen[bytes]":
    """Start `qtctl serve WHAT` on a server, with these options and settings. Errors: OSError. In a
    session of its own: Ctrl-C is for the starter, which then ends it."""
    sets_options = [part for each in (*APART, *sets) for part in ("--set", each)]
    return subprocess.Popen(
        [sys.executable, "-m", "qtctl", "serve", what, *options, "--redis-url", url, *sets_options],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=dict(environ),
        start_new_session=True,
    )


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Holds back what SIGINT and SIGTERM raise until the block is done. An interrupt between the
    start of a process and the note of who it is would leave it running. The handlers are swapped,
    not the signal mask: a child would inherit that."""
    came: list[int] = []
    before: dict[int, Any] = {}
    holding = False

    def hold(number: int, frame: FrameType | None) -> None:
        # While they are swapped, one after the other, everything goes its usual way.
        if holding:
            came.append(number)
        else:
            before[number](number, frame)

    if threading.current_thread() is threading.main_thread():
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        before = {number: handler for number, handler in handlers.items() if callable(handler)}
    try:
        for number in before:
            signal.signal(number, hold)
        holding = True
        yield
    finally:
        holding = False
        for number, handler in before.items():
            signal.signal(number, handler)
        for first in came[:1]:
            before[first](first, None)
