"""`qtctl serve` as a process of its own, for proofs and benches."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import IO

PORTS = ("allocation.metrics_port=0", "governor.metrics_port=0")
"""Free ports, whatever else runs on this machine."""


def serve(
    what: str,
    url: str,
    sets: Sequence[str],
    environ: Mapping[str, str],
    *,
    options: Sequence[str] = (),
    output: IO[bytes] | int = subprocess.DEVNULL,
) -> "subprocess.Popen[bytes]":
    """Start `qtctl serve WHAT` on a server, with these options and settings. Errors: OSError.

    In a session of its own: Ctrl-C is for the starter, which then ends it.
    """
    sets_options = [part for each in (*PORTS, *sets) for part in ("--set", each)]
    return subprocess.Popen(
        [sys.executable, "-m", "qtctl", "serve", what, *options, "--redis-url", url, *sets_options],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=dict(environ),
        start_new_session=True,
    )
