"""`qtctl` on a host whose wall clock steps: python -m tests.soak.off_clock ARGS…

(libfaketime would do it from outside, and break time.sleep of this Python.)
"""

import os
import time
from pathlib import Path

OFFSET = "SOAK_CLOCK_OFFSET"
"""The variable that names a file with the seconds by which the clock is ahead."""
_true_now = time.time


def now() -> float:
    """The true time and what the file says."""
    try:
        ahead = float(Path(os.environ[OFFSET]).read_text())
    except (FileNotFoundError, ValueError):
        ahead = 0.0
    return _true_now() + ahead


def install() -> None:
    """Whoever asks this process for the time from now on gets that."""
    time.time = now


if __name__ == "__main__":
    install()
    from qtctl.cli.main import main

    main()
