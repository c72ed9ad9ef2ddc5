"""What doctor says of recorders, by their records."""

import time
from collections.abc import Iterator

import pytest

from qtctl import __version__
from tests.doctor.conftest import System


@pytest.fixture
def second(system: System) -> Iterator[dict[str, str]]:
    """The record of another recorder, to be changed and written by `found`."""
    now = str(int(time.time()))
    yield {"version": __version__, "host": "elsewhere", "pid": "1", "started_at": now,
           "last_pass_at": now, "metrics": "127.0.0.1:8066", "problem": ""}  # fmt: skip
    system.run("DEL", system.store.keys.service("recorder", "r2"))


def found(system: System, record: dict[str, str]) -> list[tuple[str, str]]:
    """The level and the words of what is not ok."""
    flat = [part for pair in record.items() for part in pair]
    system.run("HSET", system.store.keys.service("recorder", "r2"), *flat)
    return [(row["level"], row["what"]) for row in system.found()]


def test_one_that_writes_is_no_finding(system: System, second: dict[str, str]) -> None:
    assert found(system, second) == []


@pytest.mark.parametrize(
    ("change", "level", "words"),
    [
        ({"problem": "the history can't be written: full"}, "wrong", "r2: the history can't"),
        ({"last_pass_at": "1"}, "wrong", "recorder r2 is late"),
        ({"metrics": "127.0.0.1:0"}, "warning", "recorder r2 listens on no port"),
        ({"version": "0.0"}, "warning", "recorder r2 is 0.0"),
    ],
    ids=["problem", "late", "no-port", "version"],
)
def test_what_ails_one_is_said(
    system: System, second: dict[str, str], change: dict[str, str], level: str, words: str
) -> None:
    (row,) = found(system, second | change)
    assert words in row[1]
    assert row[0] == level
