"""What a command costs before it does anything, beside the imports that it needs anyway."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence

from qtctl import clock
from qtctl.bench.figures import Figure, compared
from qtctl.bench.services import plain_environ
from qtctl.bench.stage import stage

STARTS = 3
"""Starts per round."""
HELP = ("import typer", 1.8)
READS = ("import typer, rich.table, redis", 1.4)


def measure(rounds: int) -> Iterator[Figure]:
    """The figures of startup, in turns, so that a slow minute slows both."""
    with stage(None) as on:
        reading = ("permit", "list", "--redis-url", on.url)
        for what, arguments, (imports, most) in (
            ("--help", ("--help",), HELP),
            ("permit list", reading, READS),
        ):
            ours, bare = [], []
            for _ in range(rounds * STARTS):
                bare.append(_took([sys.executable, "-c", imports]))
                ours.append(_took([*_qtctl(), *arguments]))
            beside = f"beside python -c '{imports}'"
            yield compared("startup", f"qtctl {what}, {beside}", ours, bare, most)


def _qtctl() -> list[str]:
    """The installed command beside this Python."""
    script = os.path.join(os.path.dirname(sys.executable), "qtctl")  # noqa: PTH118, PTH120
    return [script] if os.access(script, os.X_OK) else [sys.executable, "-m", "qtctl"]


def _took(command: Sequence[str]) -> float:
    begun = clock.monotonic()
    subprocess.run(
        command, env=plain_environ(), check=False, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return (clock.monotonic() - begun) * 1000
