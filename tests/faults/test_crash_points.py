"""The process dies between any two steps of either loop; a fresh one goes on, and in the end it is
as if nothing had happened.

Each run is a forked child that counts its commands one by one, also those that are sent together,
and ends itself without a word at one of three places of one of them: before it is sent, once it is
sent, or once its reply was read. Every command of the clean run is one run for each place.
"""

import os
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import hiredis
import pytest
import redis.connection

from qtctl.services.base import Service
from qtctl.supervisor.run import once
from qtctl.wire.client import scripts
from qtctl.wire.client.pipe import Pipe
from qtctl.wire.client.store import Store
from qtctl.wire.governor.commit import commit
from tests.faults import scenes
from tests.support.processes import until

LONG = os.environ.get("TESTS_LONG") == "1"
BEFORE, SENT, REPLIED = "before it is sent", "once it is sent", "once its reply was read"
# To Redis, a death before the next command is one after the last reply, and one after that was
# sent: in the suite each gap between two commands is tried once.
PLACES = (BEFORE, SENT, REPLIED) if LONG else (SENT,)
EVERY = 1 if LONG else 2
"""Every second command; all of them in the long form."""
DIED, BROKE = 77, 78
PASSES = 5
"""So many passes are enough for every scene."""

pytestmark = [pytest.mark.usefixtures("swift"), pytest.mark.timeout(1800 if LONG else 120)]


class Mortality:
    """Counts the commands of this process, and ends it at one place of one of them."""

    def __init__(self, place: str, at: int, tell: int) -> None:
        self._place, self._at, self._tell = place, at, tell
        self._count = {BEFORE: 0, SENT: 0, REPLIED: 0}

    def pass_by(self, place: str) -> None:
        self._count[place] += 1
        if place == self._place and self._count[place] == self._at:
            os._exit(DIED)

    def survive(self) -> None:
        """The end of a clean run: tells how many commands there were."""
        os.write(self._tell, str(self._count[REPLIED]).encode())

    def install(self) -> None:
        connection = redis.connection.AbstractConnection
        send, read = connection.send_packed_command, connection.read_response

        def sending(this: Any, packed: Any, check_health: bool = True) -> None:
            # What goes out at once is taken apart: a dying process may have sent a part of it.
            reader = hiredis.Reader()
            for chunk in [packed] if isinstance(packed, bytes) else packed:
                reader.feed(chunk)
            while (command := reader.gets()) is not False:
                self.pass_by(BEFORE)
                send(this, [hiredis.pack_command(tuple(command))], check_health)
                self.pass_by(SENT)

        def reading(this: Any, *args: Any, **more: Any) -> Any:
            try:
                return read(this, *args, **more)
            finally:
                self.pass_by(REPLIED)

        receive = Pipe._replies

        def receiving(this: Pipe, count: int) -> list[Any]:
            replies = receive(this, count)
            for _ in replies:
                self.pass_by(REPLIED)
            return replies

        Pipe._replies = receiving  # type: ignore[assignment, method-assign]
        connection.send_packed_command = sending  # type: ignore[method-assign]
        connection.read_response = reading  # type: ignore


def in_a_child(store: Store, work: Callable[[], None], place: str = "", at: int = 0) -> int | None:
    """Does the work in a forked process that dies at a place; how many commands a survivor sent."""
    clients = _clients(store)
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            mortality = Mortality(place, at, tell)
            mortality.install()
            work()
            mortality.survive()
            os._exit(0)
        except BaseException:  # noqa: BLE001 - the end of this process: it must not go on as pytest
            traceback.print_exc()
        finally:
            os._exit(BROKE)
    os.close(tell)
    with os.fdopen(told) as pipe:
        said = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in (0, DIED), f"the child broke at {place} {at}"
    # Until the server has read all that the dead had sent.
    until(lambda: _clients(store) <= clients)
    return int(said) if code == 0 else None


def _clients(store: Store) -> int:
    return len(store.run("CLIENT", "LIST").splitlines())


def a_few_passes(service: Service) -> None:
    """As the supervisor makes them."""
    service.open()
    for _ in range(PASSES):
        service.step()
        service.wait(threading.Event())
    service.close()


@contextmanager
def scene_set(store: Store, scene: str) -> Iterator[scenes.Taker]:
    with scenes.on_empty(store) as taker:
        scenes.scores(store)
        scenes.SCENES[scene](store)
        yield taker


def governed(store: Store, scene: str, place: str = "", at: int = 0) -> Any:
    """The scene by a governor that dies at a place, then by a fresh one: what it came to, and how
    many commands the first one sent where it survived."""
    with scene_set(store, scene) as taker:
        sent = in_a_child(store, lambda: a_few_passes(scenes.governor(store.url)), place, at)
        if sent is None:
            # A second permit for a plan would lie there again after the first was taken.
            taker.take()
            in_a_child(store, lambda: finish(scenes.governor(store.url)))
        scenes.assert_promises(store, taker)
        return scenes.outcome(store, taker), sent


def finish(service: Service) -> None:
    assert once([service])


DUE = 12
"""Commands of a governor, at the most, that only time makes due: three looks on a slow machine."""


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("scene", scenes.SCENES)
def test_a_governor_that_dies_anywhere_leaves_what_another_brings_to_the_same_end(
    store: Store, scene: str, place: str
) -> None:
    expected, sent = governed(store, scene)
    assert expected["permits"]
    for at in range(1, sent + 1, EVERY):
        found, survived = governed(store, scene, place, at)
        # What is due once a second may fall into one run and not into another: it then ended before
        # it came to this command.
        assert survived is None or survived < at, f"command {at} of {sent} {place}: did not die"
        assert survived is None or survived >= sent - DUE, f"only {survived} of {sent} were sent"
        assert found == expected, f"command {at} of {sent} {place}"


def allocated(store: Store, place: str = "", at: int = 0) -> Any:
    with scenes.on_empty(store):
        scenes.targets(store)
        before = scenes.live(store)
        sent = in_a_child(store, lambda: one_pass(store), place, at)
        assert scenes.live(store) == before
        assert scenes.without_lifetime(store) == [], "a dead process leaves nothing for ever"
        if sent is None:
            in_a_child(store, lambda: one_pass(store))
        return scenes.proposed(store), sent


def one_pass(store: Store) -> None:
    assert once([scenes.allocation(store.url)])


@pytest.mark.parametrize("place", PLACES)
def test_an_allocation_loop_that_dies_anywhere_is_made_up_for_by_the_next_pass(
    store: Store, place: str
) -> None:
    expected, sent = allocated(store)
    assert len(expected["latest"]) == 5
    for at in range(1, sent + 1, EVERY):
        found, survived = allocated(store, place, at)
        assert survived is None, f"command {at} of {sent} {place}: did not die"
        assert found == expected, f"command {at} of {sent} {place}"


# Would it be seen? ------------------------------------------------------------------------------


def is_seen(store: Store, scene: str) -> bool:
    """Whether a death at any place changes the end."""
    expected, sent = governed(store, scene)
    for at in range(1, sent + 1):
        try:
            if governed(store, scene, SENT, at)[0] != expected:
                return True
        except AssertionError:
            return True
    return False


def test_an_acknowledgement_before_the_decision_is_seen(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sabotage: a death after it loses the plan."""
    honest = commit

    def hasty(where: Store, cases: Any, *rest: Any) -> Any:
        ids = [case.entry_id for case in cases]
        where.run("XACK", where.keys.plans, "governor", *ids)
        return honest(where, cases, *rest)

    monkeypatch.setattr("qtctl.services.judge.commit", hasty)
    assert is_seen(store, "backlog")


def test_a_permit_that_no_decision_guards_is_seen(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sabotage: acknowledged by a step of its own, and permitted whatever was decided before."""
    honest, digest = scripts.source, scripts.digest

    def careless(name: str) -> str:
        script = honest(name)
        if name != "commit_permit":
            return script
        for guard in ("if old[2] == entry_id then", "if issued then"):
            assert guard in script
            script = script.replace(guard, "if false then")
        return script.replace("redis.call('XACK', PLANS, group, entry_id)", "")

    def unguarded(where: Store, cases: Any, *rest: Any) -> Any:
        outcomes = list(commit(where, cases, *rest))
        where.run("XACK", where.keys.plans, "governor", *[case.entry_id for case in cases])
        return outcomes

    digest.cache_clear()
    monkeypatch.setattr(scripts, "source", careless)
    monkeypatch.setattr("qtctl.services.judge.commit", unguarded)
    try:
        assert is_seen(store, "backlog")
    finally:
        monkeypatch.undo()
        digest.cache_clear()
