"""One consumer of permits as a process: takes what it can get and logs it, until stdin ends.

    python -m tests.soak.consumer apply|index|careless URL LOG

A line of its log: `+ plan_id` for a permit that it holds in its hands, `? plan_id` where it asked
and never got the answer, `#` once it begins. Each line is one write, without a buffer: it is there
when we are not.
"""

import os
import select
import sys
import time
from collections.abc import Callable, Iterable, Sequence

from qtctl.errors import RedisUnreachable, WireError
from qtctl.wire.client.connect import is_error
from qtctl.wire.client.store import Store
from qtctl.wire.schema.ids import order
from qtctl.wire.schema.keys import PERMIT, Keys
from qtctl.wire.schema.records import pairs, text

POLL_SEC = 0.1
GIVE_UP_SEC = 1.2
"""The Apply Layer asks so often and so long for the permit of a plan."""
SWEEP_SEC = 0.25
AGAIN_SEC = 1.0
"""How soon the index consumer asks again for one that it did not get."""

TAKE_THREE = """
local held = {}
for i = 1, 3 do held[i] = redis.call('GET', KEYS[i]) end
if not held[1] then return false end
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
return held[1]
"""
"""As the Apply Layer does: three permits in one step."""
LEAVE_IT = "return redis.call('GET', KEYS[1])"
"""As it must not: for the test of the test."""

Taken = Callable[[str, str], None]


class Apply:
    """Follows the plans and polls for the permit of each."""

    pause_sec = POLL_SEC

    def __init__(self, store: Store, log: Taken, script: str) -> None:
        self._store = store
        self._log = log
        self._script = script
        self._last = "0"
        self._wanted: dict[str, float] = {}

    def look(self) -> None:
        """One round: new plans, and all that are waited for."""
        now = time.monotonic()
        plans = self._store.keys.plans
        page = self._store.run("XRANGE", plans, f"({self._last}" if self._last != "0" else "-", "+")
        if not page and self._made_anew(plans):
            self._last = "0"
        for id_, raw in page:
            self._last = text(id_)
            self._wanted[pairs(raw).get("plan_id", "")] = now + GIVE_UP_SEC
        self._wanted = {id_: until for id_, until in self._wanted.items() if until > now}
        ids = list(self._wanted)
        for plan_id in _take(self._store, self._log, ids, self._command):
            self._wanted.pop(plan_id, None)

    def _made_anew(self, plans: str) -> bool:
        """True where the stream ends before what was read of it: it is another one."""
        newest = self._store.run("XREVRANGE", plans, "+", "-", "COUNT", 1)
        return bool(newest) and order(text(newest[0][0])) < order(self._last)

    def _command(self, plan_id: str) -> tuple[str, ...]:
        head = self._store.keys.prefix + PERMIT.head
        keys = (head + plan_id, f"{head}p33:{plan_id}", f"{head}p26:{plan_id}")
        return ("EVAL", self._script, "3", *keys)


class Index:
    """Goes by the governors' index and takes as `qtctl permit take` does."""

    pause_sec = SWEEP_SEC

    def __init__(self, store: Store, log: Taken) -> None:
        self._store = store
        self._log = log
        self._asked: dict[str, float] = {}

    def look(self) -> None:
        """One round over the index."""
        now = time.monotonic()
        listed = [text(id_) for id_ in self._store.run("ZRANGE", self._store.keys.permits, 0, -1)]
        self._asked = {id_: at for id_, at in self._asked.items() if at + AGAIN_SEC > now}
        wanted = [plan_id for plan_id in listed if plan_id not in self._asked]
        self._asked |= dict.fromkeys(wanted, now)
        keys = self._store.keys
        calls = [((keys.at(PERMIT, id_), keys.permits), (id_,)) for id_ in wanted]
        try:
            replies = self._store.scripts("take_permit", calls)
        except RedisUnreachable:
            for plan_id in wanted:
                self._log("?", plan_id)
            raise
        for plan_id, reply in zip(wanted, replies, strict=True):
            if reply is not None and not is_error(reply):
                self._log("+", plan_id)


def _take(
    store: Store, log: Taken, ids: Sequence[str], command: Callable[[str], tuple[str, ...]]
) -> Iterable[str]:
    try:
        replies = store.batch([command(plan_id) for plan_id in ids])
    except RedisUnreachable:
        for plan_id in ids:
            log("?", plan_id)
        raise
    for plan_id, reply in zip(ids, replies, strict=True):
        if reply is not None and not is_error(reply):
            log("+", plan_id)
            yield plan_id


def main(kind: str, url: str, path: str) -> None:
    """Until stdin ends."""
    log_file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def log(mark: str, plan_id: str) -> None:
        os.write(log_file, f"{mark} {plan_id}\n".encode())

    store = Store(url, Keys())
    consumer: Apply | Index
    if kind == "index":
        consumer = Index(store, log)
    else:
        consumer = Apply(store, log, LEAVE_IT if kind == "careless" else TAKE_THREE)
    log("#", "ready")
    while not select.select([sys.stdin], [], [], consumer.pause_sec)[0]:
        try:
            consumer.look()
        except (RedisUnreachable, WireError):
            continue  # The server is away or full: it comes back.
    store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
