"""What is long gives way to a governor in the same process, and to nobody where it is alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from qtctl import clock
from qtctl.bench.stage import put_targets, symbols
from qtctl.cli import compose
from qtctl.cli.framework.context import Context
from qtctl.history.reader import History
from qtctl.services.base import Service
from qtctl.settings import RECORDER
from qtctl.wire.client.store import Store
from tests.support.cli import NO_FILE

COLUMNS = 9


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long each wait was meant to be."""
    found: list[float] = []
    monkeypatch.setattr(clock, "sleep", found.append)
    return found


@contextmanager
def opened(names: tuple[str, ...], which: str, url: str, folder: Path) -> Iterator[Service]:
    """One of some services that share a process."""
    environ = {**NO_FILE, "STATE_DIRECTORY": str(folder)}
    made = {each.name: each for each in compose.services(Context(environ=environ), names, url)}
    made[which].open()
    yield made[which]
    made[which].close()


@pytest.mark.parametrize(
    ("names", "least", "most"), [(("allocation", "governor"), 9, 100), (("allocation",), 0, 0)]
)
def test_a_pass_sleeps_between_small_pieces_where_a_governor_shares_its_process(
    redis_url: str,
    store: Store,
    tmp_path: Path,
    slept: list[float],
    names: tuple[str, ...],
    least: int,
    most: int,
) -> None:
    put_targets(store, symbols(300))
    with opened(names, "allocation", redis_url, tmp_path) as loop:
        assert loop.step() == 300
    assert least <= len(slept) <= most, "three times for each chunk of 100"
    assert {*slept} <= {compose.GIVE_WAY_SEC}


@pytest.mark.parametrize(
    ("names", "least", "most"),
    [(("governor", RECORDER), 4 * COLUMNS, 100), ((RECORDER,), 0, 0)],
)
def test_the_recorder_sleeps_between_the_columns_of_a_pass_likewise(
    redis_url: str,
    store: Store,
    tmp_path: Path,
    slept: list[float],
    names: tuple[str, ...],
    least: int,
    most: int,
) -> None:
    put_targets(store, symbols(3))
    with opened(("allocation",), "allocation", redis_url, tmp_path) as loop:
        loop.step()
    with opened(names, RECORDER, redis_url, tmp_path) as recorder:
        assert recorder.step() == 1
    assert len(list(History(tmp_path / "history").passes())) == 1
    assert least <= len(slept) <= most, "when it unpacks one, and three times when it packs it"
    assert {*slept} <= {compose.GIVE_WAY_SEC}
