"""One pass of the allocation loop: while one chunk of symbols is decided on here, the server reads
the next and writes the previous one."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
from redis.exceptions import ResponseError

from qtctl.domain.allocation import Proposal
from qtctl.domain.readings import EFF_FIELDS, TARGET_FIELDS
from qtctl.wire.allocation import proposals, scores
from qtctl.wire.allocation.symbols import Symbol
from qtctl.wire.client.connect import is_error, reply_error
from qtctl.wire.client.pipe import Pipe
from qtctl.wire.client.shapes import Command
from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import EFFICIENCY, TARGET

CHUNK = 100
"""Symbols read and written at once: keeps the server busy for half a millisecond."""
AHEAD = 8
"""Chunks whose replies may be in flight while one is decided on."""


class Chunk(msgspec.Struct, frozen=True, gc=False):
    """Some symbols and the replies about their targets and efficiency scores, each in the same
    order: texts by TARGET_FIELDS and by EFF_FIELDS, an error, or None where there is no hash."""

    symbols: Sequence[Symbol]
    targets: Sequence[Any]
    efficiencies: Sequence[Any]


Decide = Callable[[float, Chunk], list[Proposal]]
"""Proposals from the server's clock at the start of the pass, and from what was read."""
Publish = Callable[[int], Sequence[Command]]
"""What is written for the history once all is decided; by the same clock, epoch ms."""


class Ended(msgspec.Struct, frozen=True):
    """How a pass went. now: the server's clock at its start, epoch seconds, in whole ms; problems:
    what could not be written, key to problem; unkept: why the history could not be, or ""."""

    now: float
    problems: Mapping[str, str]
    unkept: str


def run(
    store: Store,
    symbols: Sequence[Symbol],
    decide: Decide,
    publish: Publish | None,
    give_way: Callable[[], None],
    packer: proposals.Packer,
    *,
    maxlen: int,
) -> Ended:
    """One pass. A problem with one symbol never costs another its proposal, and one with the
    history costs none. give_way: called three times in a chunk, may wait. Errors:
    RedisUnreachable, and WireError where the server does not give its time."""
    with store.pipe(decoded=True) as pipe:
        chunks = _Pass(store, pipe, decide, publish, give_way, packer, len(symbols), maxlen)
        chunks.ask_time(more=bool(symbols))
        for start in range(0, len(symbols), CHUNK):
            chunks.read(symbols[start : start + CHUNK])
            chunks.catch_up(AHEAD)
        chunks.catch_up(0)
    for made in chunks.refused:
        chunks.problems |= proposals.write(store, packer, made, int(chunks.now), maxlen)
    return Ended(chunks.now, chunks.problems, chunks.unkept)


class _Pass:
    """The requests in flight, in order; each receives its replies and takes the next step."""

    def __init__(
        self, store: Store, pipe: Pipe, decide: Decide, publish: Publish | None,
        give_way: Callable[[], None], packer: proposals.Packer, count: int, maxlen: int,
    ) -> None:  # fmt: skip
        self._store, self._pipe, self._decide = store, pipe, decide
        self._publish, self._give_way, self._undecided = publish, give_way, count
        self._packer, self._maxlen = packer, maxlen
        self._due: deque[Callable[[], None]] = deque()
        self.now = 0.0
        self.problems: dict[str, str] = {}
        self.unkept = ""
        self.refused: list[Sequence[Proposal]] = []

    def catch_up(self, left: int) -> None:
        """Receives replies until at most `left` requests are in flight."""
        while len(self._due) > left:
            self._give_way()
            self._due.popleft()()

    def ask_time(self, *, more: bool) -> None:
        """By this time the whole pass decides. more: other commands follow."""
        self._pipe.send([scores.ASK_TIME], hold=more)
        self._due.append(self._have_time)

    def _have_time(self) -> None:
        (reply,) = self._pipe.receive()
        # In whole ms, as the history has it: so it is decided in the same way again.
        self.now = int(scores.time_of(reply) * 1000) / 1000
        if not self._undecided:
            self._keep()

    def read(self, symbols: Sequence[Symbol]) -> None:
        self._pipe.send([it.ask_target for it in symbols] + [it.ask_efficiency for it in symbols])
        self._due.append(partial(self._have_read, symbols))

    def _have_read(self, symbols: Sequence[Symbol]) -> None:
        replies, count = self._pipe.receive(), len(symbols)
        unsure = scores.unsure(replies[:count], TARGET_FIELDS)
        unsure += [count + place for place in scores.unsure(replies[count:], EFF_FIELDS)]
        if not unsure:
            self._propose(symbols, replies)
            return
        at = self._store.keys.at
        specs = (TARGET, EFFICIENCY)
        keys = [at(specs[place // count], symbols[place % count].name) for place in unsure]
        self._pipe.send(scores.ask_existence(keys))

        def settled() -> None:
            scores.settle(replies, unsure, self._pipe.receive())
            self._propose(symbols, replies)

        self._due.append(settled)

    def _propose(self, symbols: Sequence[Symbol], replies: Sequence[Any]) -> None:
        """replies: about the targets of these symbols, then about their efficiency scores."""
        count = len(symbols)
        self._give_way()
        chunk = Chunk(symbols, replies[:count], replies[count:])
        self._write(self._decide(self.now, chunk))
        self._undecided -= count
        if not self._undecided:
            self._keep()

    def _keep(self) -> None:
        """Publishes the pass while its last proposals are being written."""
        if self._publish is not None:
            self._pipe.send(self._publish(round(self.now * 1000)))
            self._due.append(self._have_kept)

    def _have_kept(self) -> None:
        refused = (str(reply_error(reply)) for reply in self._pipe.receive() if is_error(reply))
        self.unkept = next(refused, "")

    def _write(self, made: list[Proposal]) -> None:
        self._give_way()
        multis = self._packer.multis(made, int(self.now), self._maxlen)
        for place, (_, commands) in enumerate(multis, 1):
            self._pipe.send(commands, atomic=True, hold=place < len(multis))
        self._due.append(partial(self._have_written, [written for written, _ in multis]))

    def _have_written(self, multis: Sequence[Sequence[Proposal]]) -> None:
        for made in multis:
            try:
                replies = self._pipe.receive()
            except ResponseError:
                self.refused.append(made)
            else:
                self.problems |= proposals.problems(self._store, made, replies)
