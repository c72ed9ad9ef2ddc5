"""Ports for what tests start, from below those that the system itself gives out: a port that was
looked for stays free until it is used, whatever the tests beside this one connect to."""

import os
import random
import re
import socket
from pathlib import Path

FIRST, LAST = 20_000, 32_767
WORKERS = 16
"""Each worker of pytest-xdist has a part of them."""
_given: set[int] = set()


def free_port() -> int:
    """A port that nobody listens at; none is given twice."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """So many of them."""
    found: list[int] = []
    while len(found) < count:
        port = random.SystemRandom().choice(_ours())
        if port not in _given and _is_free(port):
            _given.add(port)
            found.append(port)
    return found


def _ours() -> range:
    last = LAST
    system = Path("/proc/sys/net/ipv4/ip_local_port_range")
    if system.exists():
        last = max(FIRST + 1_000, min(last, int(system.read_text().split()[0]) - 1))
    width = (last - FIRST) // WORKERS
    worker = int(re.sub(r"\D", "", os.environ.get("PYTEST_XDIST_WORKER", "")) or 0) % WORKERS
    return range(FIRST + worker * width, FIRST + (worker + 1) * width)


def _is_free(port: int) -> bool:
    with socket.socket() as tried:
        try:
            tried.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
