"""Which resumes a loss of data undoes, and which it does not: on real servers that lose all, or the
end of their file (docs/guarantees.md)."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from qtctl.errors import QtctlError
from qtctl.services.governor import Governor
from qtctl.wire.client.store import Store
from qtctl.wire.control import forgotten, halt
from qtctl.wire.private_server.embedded import Embedded
from qtctl.wire.schema.keys import Keys
from tests.services.helpers import governor, kept, metric, order, verdict
from tests.support.plans import decision
from tests.support.processes import until

CLOSE = {"action": "CLOSE"}


@pytest.fixture
def gov(store: Store) -> Iterator[Governor]:
    service = governor(store)
    service.open()
    store.run("DEL", store.keys.emptied)  # Its start was the first of all.
    yield service
    service.close()


def resumed(store: Store) -> None:
    """As the command does it."""
    taken = halt.resume(store, order())
    assert isinstance(taken, tuple)
    forgotten.acknowledge(store, "operator:alice@desk", "compared", 1000, resumed=bool(taken[0]))


@pytest.mark.parametrize("seen_by", ["neither", "one"])
def test_a_resume_that_a_governor_has_not_seen_is_undone_by_a_loss(
    store: Store, gov: Governor, seen_by: str
) -> None:
    """The strictest that a living governor knew; the operator resumes once more."""
    other = governor(store, name="g2")
    other.open()
    halt.stop(store, order(), True)
    gov._look.at_once()
    other._look.at_once()
    resumed(store)
    if seen_by == "one":
        other._look.at_once()
    store.run("FLUSHALL")
    other.open()
    gov.open()
    assert kept(store) == "all"
    assert verdict(store, other, "o") == "blocked"
    resumed(store)
    gov._look.at_once()
    other._look.at_once()
    assert verdict(store, other, "o2") == "permitted"
    other.close()


@pytest.mark.parametrize("since", ["the loss", "before it"])
def test_a_governor_that_was_away_does_not_undo_a_resume_after_the_loss(
    store: Store, gov: Governor, since: str
) -> None:
    away = governor(store, name="away")
    away.open()
    halt.stop(store, order(), True)
    halt.stop(store, order("ETHUSDT"), True)
    gov._look.at_once()
    away._look.at_once()
    if since == "the loss":
        second = store.now_ms() // 1000
        until(lambda: store.now_ms() // 1000 > second, what="the next second")
    store.run("FLUSHALL")
    gov.open()
    assert kept(store) == "all"
    resumed(store)
    assert kept(store) == ""
    halt.resume(store, order("ETHUSDT"))
    if since == "before it":
        # Of another loss, which this governor lived through: it tells nothing of this one.
        earlier = msgspec.structs.replace(acknowledged(store), at=store.now_ms() // 1000 - 60)
        store.run("SET", store.keys.emptied, msgspec.json.encode(earlier))
    away.open()
    assert kept(store) == ("" if since == "the loss" else "all")
    assert bool(acknowledged(store).acknowledged_by) == (since == "the loss")
    # The resume was not of this symbol.
    assert verdict(store, away, "e", symbol="ETHUSDT", **CLOSE) == "blocked"
    assert metric(away, "p32_redis_emptied_total", how="empty") == 1
    away.close()


@pytest.mark.parametrize("seen_by", ["neither", "one", "both"])
def test_a_resume_in_a_lost_tail_leaves_the_halt_in_force(tmp_path: Path, seen_by: str) -> None:
    """The file of the server ends before the resume, which a governor has seen or not."""
    home = tmp_path / "s"
    server = Embedded.start(home)
    store = Store(server.url, Keys())
    one, two = governor(store, name="one"), governor(store, name="two")
    try:
        one.open()
        two.open()
        store.run("DEL", store.keys.emptied)
        halt.stop(store, order(), False)
        one._look.at_once()
        two._look.at_once()
        (log,) = home.glob("appendonlydir/*.incr.aof")
        cut = log.stat().st_size
        halt.resume(store, order())
        seen = {"neither": (), "one": (one,), "both": (one, two)}[seen_by]
        for each in seen:
            each._look.at_once()
            assert verdict(store, each, f"before-{each.name}") == "permitted"
        server.kill()
        store.close()
        with log.open("r+b") as file:
            file.truncate(cut)
        server = Embedded.start(home)
        for each in (two, one):
            with suppress(QtctlError):  # Its connection is broken: the supervisor opens it again.
                each.open()
            each.open()
        assert verdict(store, one, "o") == "blocked"
        assert decision(store, "o")["kill_key"] == "quantum:governor:halt"
        assert kept(store) == "", "the halt itself is there again"
        # By a governor that had seen it. Whoever had not finds all as it was left.
        assert (forgotten.incident(store) is not None) == bool(seen)
        halt.resume(store, order())
        one._look.at_once()
        two._look.at_once()
        assert verdict(store, one, "o2", symbol="L") == "permitted"
    finally:
        one.close()
        two.close()
        store.close()
        server.stop()


def acknowledged(store: Store) -> forgotten.Emptied:
    found = forgotten.emptied(store)
    assert found is not None
    return found
