"""A pass gives way to a governor in the same process, and to nobody where it is alone."""

import pytest

from qtctl import clock
from qtctl.bench.stage import put_targets, symbols
from qtctl.cli import compose
from qtctl.cli.framework.context import Context
from qtctl.services.allocation import GIVE_WAY_SEC
from qtctl.wire.client.store import Store
from tests.support.cli import NO_FILE


@pytest.mark.parametrize(
    ("names", "least", "most"), [(("allocation", "governor"), 9, 100), (("allocation",), 0, 0)]
)
def test_a_pass_sleeps_between_small_pieces_where_a_governor_shares_its_process(
    redis_url: str,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    names: tuple[str, ...],
    least: int,
    most: int,
) -> None:
    put_targets(store, symbols(300))
    slept: list[float] = []
    monkeypatch.setattr(clock, "sleep", slept.append)
    loop = compose.services(Context(environ=NO_FILE), names, redis_url)[0]
    loop.open()
    assert loop.step() == 300
    loop.close()
    assert least <= len(slept) <= most, "three times for each chunk of 100"
    assert {*slept} <= {GIVE_WAY_SEC}
