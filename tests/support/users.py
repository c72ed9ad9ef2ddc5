"""What another user of this host gets: a function run in a child with another uid and gid."""

import os
import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

UID, OPERATOR, GROUP = 54_321, 54_322, 54_323
"""Ids that nobody has. Two users, and a group."""
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def as_user(uid: int, gid: int, function: Callable[[], str]) -> str:
    """What the function returns there; an exception is an AssertionError with its traceback."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setgroups([])
            os.setgid(gid)
            os.setuid(uid)
            os.write(writing, function().encode())
            code = 0
        except BaseException:  # noqa: BLE001 - reported by the parent
            os.write(writing, traceback.format_exc().encode())
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read().decode()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code == 0, said
    return said


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder below the system's temporary one that others may enter, as pytest's own is not."""
    folder = Path(tempfile.mkdtemp(prefix="qtctl-test-"))
    try:
        folder.chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(folder)
