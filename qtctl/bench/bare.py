"""Consumers to measure the governor beside, each a process of its own, as the governor is.

::

    floor   XREADGROUP on a bare socket, then one EVALSHA of the atomic step, packed in advance
    plain   XREADGROUP, HMGET of the score, the atomic step and XACK by redis-py, one plan after the
            other, as a small service is written

`python -m qtctl.bench.bare KIND URL PREFIX` takes lines `HEAD COUNT` (see `stage.symbols`), answers
each with `ready`, and then that many plans.
"""

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import hiredis
import redis

from qtctl import __version__, clock
from qtctl.bench.recording import connected
from qtctl.bench.services import plain_environ
from qtctl.bench.stage import FOREIGN, Stage, plan, symbols
from qtctl.domain.downsize import hint
from qtctl.domain.plans import Plan, read
from qtctl.domain.readings import EFF_FIELDS, NOTHING_READ, as_read, assess
from qtctl.services.judge import Rules
from qtctl.services.rules import rules_of
from qtctl.settings import Governor as Settings
from qtctl.wire.client.scripts import source
from qtctl.wire.client.store import Store
from qtctl.wire.governor.commit import (
    STEP,
    ServerMarks,
    own_keys,
    own_parts,
    packed_calls,
    shared_arguments,
    shared_keys,
)
from qtctl.wire.governor.decision_stream import FIRST_MAXLEN
from qtctl.wire.schema.decision import CommitRequest
from qtctl.wire.schema.keys import EFFICIENCY, GROUP, Keys
from qtctl.wire.schema.packing import packed, packed_words, words_of

INSTANCE = "bare"
SOME_ID = b"1000000000000-0"
"""Stands in a packed call for the id of the entry."""
MARKS = ServerMarks(marked=False, decisions_maxlen=FIRST_MAXLEN)
_READ_BYTES = 65_536


class Bare:
    """A running consumer, and the store whose stream it reads."""

    def __init__(self, process: "subprocess.Popen[str]", store: Store) -> None:
        self._process = process
        self.store = store

    def prepare(self, head: str, count: int) -> None:
        """Lets it get ready for the plans on these symbols."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(head, count, file=self._process.stdin, flush=True)
        assert self._process.stdout.readline() == "ready\n", "the consumer ended"


@contextlib.contextmanager
def running(stage: Stage, kind: str) -> Iterator[Bare]:
    """One of the consumers on the stage's server, under a prefix of its own."""
    keys = Keys(f"{FOREIGN}{kind}:")
    command = [sys.executable, "-m", "qtctl.bench.bare", kind, stage.url, keys.prefix]
    store = Store(stage.url, keys, timeout_sec=60.0)
    store.run("XGROUP", "CREATE", keys.plans, GROUP, "$", "MKSTREAM")
    with (
        contextlib.closing(store),
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=plain_environ()
        ) as process,
    ):
        try:
            yield Bare(process, store)
        finally:
            process.kill()


def floor(store: Store, names: list[str], ready: Callable[[], None]) -> None:
    """Answers a plan on each of these symbols, in this order."""
    rules = rules_of(Settings(), INSTANCE)
    fields = [_fields(store, name) for name in names]
    requests = [_request(each, SOME_ID.decode(), None, rules) for each in fields]
    calls = [*packed_calls(store, requests, rules.commit, MARKS, [])]
    store.run("SCRIPT", "LOAD", source(STEP))
    group = ("XREADGROUP", "GROUP", GROUP, INSTANCE, "COUNT", "1", "BLOCK", "0")
    ask = packed((*group, "STREAMS", store.keys.plans, ">"))
    reader, some = hiredis.Reader(), packed_words([SOME_ID])
    with connected(store.url) as bare:

        def asked(command: bytes) -> Any:
            bare.sendall(command)
            while (reply := reader.gets()) is False:
                reader.feed(bare.recv(_READ_BYTES))
            return reply

        ready()
        for call in calls:
            ((_, ((entry_id, _),)),) = asked(ask)
            own = b"$%d\r\n%b\r\n" % (len(entry_id), entry_id)
            assert asked(call.replace(some, own))[0] == b"permitted"


def plain(store: Store, names: list[str], ready: Callable[[], None]) -> None:
    """A governor's work without what surrounds it: no looks, metrics, log, or checks of replies."""
    client: Any = redis.Redis.from_url(store.url)
    step = client.register_script(source(STEP))
    rules = rules_of(Settings(), INSTANCE)
    plans, left = store.keys.plans, len(names)
    kills = store.keys.kills(rules.commit.names.names)
    ready()
    while left:
        found = client.xreadgroup(GROUP, INSTANCE, {plans: ">"}, count=1, block=1000)
        for _, entries in found:
            for entry_id, raw in entries:
                fields = {name.decode(): value.decode() for name, value in raw.items()}
                key = store.keys.at(EFFICIENCY, fields["symbol"])
                values = client.hmget(key, EFF_FIELDS)
                score = {
                    name: value.decode()
                    for name, value in zip(EFF_FIELDS, values, strict=True)
                    if value is not None
                }
                request = _request(fields, entry_id.decode(), score, rules)
                own, shared = own_keys(store, request.plan), shared_keys(store, rules.commit)
                arguments = [*shared_arguments(rules.commit, MARKS).values()]
                own_ = own_parts(request, rules.commit, MARKS, len(arguments))
                arguments += words_of(own_.parts)
                reply = step(keys=[*own.values(), *shared.values(), *kills], args=arguments)
                assert reply[0] == b"permitted"
                client.xack(plans, GROUP, entry_id)
                left -= 1
    client.close()


def _request(
    fields: Mapping[str, str], entry_id: str, score: Mapping[str, str] | None, rules: Rules
) -> CommitRequest:
    """score: None where the step reads it."""
    plan, now = read(fields, rules.plans), clock.now()
    assert isinstance(plan, Plan)
    return CommitRequest(
        plan=plan,
        entry_id=entry_id,
        hint=None
        if score is None
        else hint(
            assess(score, now, rules.downsize.eff_ttl_sec, rules.downsize.min_conf), rules.downsize
        ),
        deliveries=1,
        attempts=1,
        instance=INSTANCE,
        version=__version__,
        limits=rules.limits_digest,
        score=NOTHING_READ if score is None else as_read(score, now),
    )


def _fields(store: Store, name: str) -> dict[str, str]:
    words = [str(word) for word in plan(store, name, store.now_ms() // 1000)[3:]]
    return dict(zip(words[::2], words[1::2], strict=True))


def _say_ready() -> None:
    sys.stdout.write("ready\n")
    sys.stdout.flush()


KINDS: Mapping[str, Callable[[Store, list[str], Callable[[], None]], None]] = {
    "floor": floor, "plain": plain,
}  # fmt: skip


def main() -> None:
    """The process."""
    kind, url, prefix = sys.argv[1:]
    store = Store(url, Keys(prefix), timeout_sec=60.0)
    for line in sys.stdin:
        head, count = line.split()
        KINDS[kind](store, symbols(int(count), head), _say_ready)


if __name__ == "__main__":
    main()
