"""Plans at a steady pace, whoever answers them, and the time from each to its permit.

Plans go out on one bare socket. The server reports each permit as it is written on another, by a
keyspace event, so that the observer costs every consumer the same.
"""

import contextlib
import select
from collections.abc import Iterator, Sequence

import hiredis
import msgspec

from qtctl import clock
from qtctl.bench.recording import connected
from qtctl.bench.stage import Stage, plan, score
from qtctl.errors import QtctlError, WireError
from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import PERMIT
from qtctl.wire.schema.packing import packed, without_numbers
from qtctl.wire.schema.records import text

EVENTS = "notify-keyspace-events"
STRINGS = "K$"
WAIT_SEC = 10.0
"""The longest wait for the permit of one plan."""
_READ_BYTES = 65_536


class Seen(msgspec.Struct, frozen=True):
    """One plan: when it was sent and when its permit was seen, by the monotonic clock."""

    sent: float
    seen: float

    @property
    def took_ms(self) -> float:
        """From the one to the other."""
        return (self.seen - self.sent) * 1000


@contextlib.contextmanager
def events_on(stage: Stage) -> Iterator[None]:
    """Keyspace events of strings for the length of a `with`. Errors: QtctlError where the server
    refuses to be set so."""
    try:
        before = text(stage.store.run("CONFIG", "GET", EVENTS)[1])
        stage.store.run("CONFIG", "SET", EVENTS, STRINGS)
    except WireError as problem:
        raise QtctlError(f"this bench sees permits by keyspace events: {problem}") from problem
    try:
        yield
    finally:
        stage.store.run("CONFIG", "SET", EVENTS, before)


def paced(store: Store, names: Sequence[str], rate: float) -> list[Seen]:
    """One plan on each symbol, so many a second, each with a score; in their order. `events_on`
    holds meanwhile. Errors: QtctlError where a permit does not come."""
    now = store.now_ms() // 1000
    store.batch([score(store, name, "0.2", now) for name in names])
    head = store.keys.at(PERMIT, "plan-").encode()
    with connected(store.url) as sending, connected(store.url) as seeing:
        seeing.sendall(packed(("PSUBSCRIBE", f"__keyspace@*__:{head.decode()}*")))
        seeing.settimeout(WAIT_SEC)
        seeing.recv(_READ_BYTES)
        commands = [packed(without_numbers(plan(store, name, now))) for name in names]
        sent: dict[bytes, float] = {}
        seen: dict[bytes, float] = {}
        reader = hiredis.Reader()
        wanted = [name.encode() for name in names]
        due = clock.monotonic()
        while len(seen) < len(wanted):
            to_send = len(sent) < len(wanted)
            wait = due - clock.monotonic() if to_send else WAIT_SEC
            ready = select.select([seeing, sending], [], [], wait)[0] if wait > 0 else []
            at = clock.monotonic()
            if seeing in ready:
                reader.feed(seeing.recv(_READ_BYTES))
                while (message := reader.gets()) is not False:
                    seen.setdefault(message[2].rpartition(head)[2], at)
            if sending in ready:
                sending.recv(_READ_BYTES)  # The id of the entry.
            if to_send and at >= due:
                place = len(sent)
                due += 1 / rate
                sent[wanted[place]] = clock.monotonic()
                sending.sendall(commands[place])
            elif not to_send and not ready:
                raise QtctlError(f"{len(wanted) - len(seen)} plans got no permit in {WAIT_SEC} s")
    return [Seen(sent[name], seen[name]) for name in wanted]
