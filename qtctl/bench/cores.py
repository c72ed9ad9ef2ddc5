"""A core for the server and the others for those who are measured, where there are two or more.

As the kernel places them, whoever sends and watches pushes them to the server's core now and then,
which a publisher on another host does not.
"""

import contextlib
import os
from collections.abc import Collection, Iterator

from qtctl.bench.stage import Stage
from qtctl.wire.queries.keyspace import info


@contextlib.contextmanager
def server_apart(stage: Stage) -> Iterator[Collection[int]]:
    """The cores for those who are measured: all but one, on which a private server is meanwhile. A
    named server stays where it is."""
    every = os.sched_getaffinity(0)
    if not stage.private or len(every) < 2:
        yield every
        return
    pid = int(info(stage.store)["process_id"])
    os.sched_setaffinity(pid, {min(every)})
    try:
        yield every - {min(every)}
    finally:
        os.sched_setaffinity(pid, every)


@contextlib.contextmanager
def started_on(cores: Collection[int]) -> Iterator[None]:
    """What is started meanwhile stays on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
