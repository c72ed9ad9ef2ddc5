"""`qtctl` on a host whose wall clock steps: python -m tests.soak.off_clock ARGS…

(libfaketime would do it from outside, and break time.sleep of this Python.)
"""

import os
import time
from pathlib import Path

from qtctl import clock

OFFSET = "SOAK_CLOCK_OFFSET"
"""The variable that names a file with the seconds by which the clock is ahead."""


def now() -> float:
    """The true time and what the file says."""
    try:
        ahead = float(Path(os.environ[OFFSET]).read_text())
    except (FileNotFoundError, ValueError):
        ahead = 0.0
    return time.time() + ahead


if __name__ == "__main__":
    clock.now = now
    from qtctl.cli.main import main

    main()
