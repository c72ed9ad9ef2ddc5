"""Client tracking goes with the connection: after a failover it begins anew at the new primary."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from qtctl.errors import QtctlError
from qtctl.services.allocation import AllocationLoop
from qtctl.settings import Allocation
from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import PROPOSED, TARGET
from tests.support.nodes import Nodes, cluster, sentinels
from tests.support.processes import until


@contextmanager
def looping(nodes: Nodes) -> Iterator[AllocationLoop]:
    loop = AllocationLoop(Store(nodes.url, nodes.keys), Allocation(name="a1"))
    loop.open()
    yield loop
    loop.close()


def put(nodes: Nodes, symbol: str) -> None:
    store = Store(nodes.url, nodes.keys)
    store.run("HSET", nodes.keys.at(TARGET, symbol), "target_usd", "1")
    store.close()


def passed(loop: AllocationLoop) -> bool:
    """A pass, as the supervisor makes them."""
    try:
        loop.step()
    except QtctlError:
        loop.close()
        try:
            loop.open()
        except QtctlError:
            loop.close()
        return False
    return True


def reported(nodes: Nodes, loop: AllocationLoop) -> bool:
    """A target that is written between two passes is in the second; False where the failover is
    not over (sentinels agree one by one)."""
    if not passed(loop):
        return False
    put(nodes, "AFTER")
    if not passed(loop):
        return False
    assert loop._store.run("EXISTS", nodes.keys.at(PROPOSED, "AFTER"))
    return True


@pytest.mark.parametrize("make", [sentinels, cluster])
def test_new_targets_are_reported_before_and_after_a_failover(
    make: Callable[[], AbstractContextManager[Nodes]],
) -> None:
    with make() as nodes, looping(nodes) as loop:
        assert loop.step() == 0
        put(nodes, "BEFORE")
        assert loop.step() == 1
        assert loop._symbols.tracking.problem is None
        nodes.primary().kill()
        until(lambda: reported(nodes, loop), what="two passes at the new primary")
        assert loop._symbols.tracking.problem is None
        assert not loop._symbols._scanning
