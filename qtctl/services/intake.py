"""Which plan entries the governor serves next.

::

    restart → OWN_PENDING → CLAIM → NEW ←→ CLAIM   at every look
                              ↓
                            RETRY → CLAIM → …      RETRY_SEC after Redis refused an entry

What was delivered before comes back as redelivered. A pass may serve a part of it and hand the rest
back; nothing else that was delivered before is read until that is served, but new entries are.
"""

import math
from collections.abc import Sequence
from enum import StrEnum

import msgspec

from qtctl import clock
from qtctl.domain.entry_ids import ms_of
from qtctl.errors import WireError
from qtctl.wire.governor.plan_queue import CLAIM_START, Entry, PlanQueue, QueueLook
from qtctl.wire.schema.ids import queued_at_ms

BLOCK_SEC = 1.0
"""The longest wait for a new entry, and so the longest delay of a stop or a look."""
RETRY_SEC = 0.5
"""How soon an entry that Redis refused is tried again."""
RETRY_COUNT = 50
"""Entries per read in a retry."""
ABANDONED_MS = 5_000
"""An entry that another consumer has held for this long is claimed."""
CLAIM_COUNT = 100
CLAIMS_WAIT_SEC = 2.0
"""How long claims wait while there is something new in hand all the time."""
OLD_MS = 3_600_000
OLD_BATCH = 5_000
"""Entries queued for over an hour get no record each, so many are read at once."""
_FIRST = "0"
"""The cursor in front of this consumer's first pending entry."""


def most_block_sec() -> float:
    """How long a read waits on the server: beyond a look on a slow link."""
    return 3 * BLOCK_SEC


class Phase(StrEnum):
    """What the next read asks for."""

    OWN_PENDING = "own pending"
    """Entries that this consumer had before a start or reconnect and never finished. Behind the
    first of them new entries are read beside it."""
    RETRY = "retry"
    """The same list again, for what Redis refused; new entries are read beside all of it."""
    CLAIM = "claim"
    """Entries that other consumers abandoned, behind the cursor of XAUTOCLAIM."""
    NEW = "new"
    """Entries never delivered before."""


class Batch(msgspec.Struct, frozen=True):
    """The entries of one pass. skipped: how many more were acknowledged unread, as too old, from
    the first to the last of these ids."""

    redelivered: list[Entry]
    fresh: list[Entry]
    skipped: int = 0
    skipped_ids: tuple[str, str] = ("", "")

    def __len__(self) -> int:
        return len(self.redelivered) + len(self.fresh) + self.skipped


class Intake:
    """Reads for one consumer of the governors' group; what it has read and not yet handed over is
    pending in Redis. Errors: RedisUnreachable, WireError."""

    def __init__(self, queue: PlanQueue, batch: int) -> None:
        self._queue = queue
        self._batch = batch
        self._count = batch  # of the next read of new entries
        self.phase = Phase.OWN_PENDING  # of the next `take`
        self._read: list[Entry] = []
        self._left: list[Entry] = []
        self._own_after = _FIRST
        self._claim_from = CLAIM_START
        self._claims_due_at = 0.0
        self._retry_at: float | None = None
        self.claim_problem: str | None = None
        """Why nothing could be claimed the last time; None where it could."""

    @property
    def idle(self) -> bool:
        """True while there is nothing to do but to read new entries."""
        return self.phase is Phase.NEW and not self._read and not self._left

    @property
    def settled(self) -> bool:
        """True while no entry is pending that Redis refused."""
        return self._retry_at is None and not self._in_round() and not self._left

    @property
    def in_hand(self) -> bool:
        """True while there are entries that were read and not yet taken."""
        return bool(self._read)

    def restart(self) -> None:
        """After a start or reconnect: what was read and not finished is read again."""
        self._begin_round(Phase.OWN_PENDING)

    def look(self) -> QueueLook:
        """How stream and group stand. Claims are due after each look."""
        found = self._queue.look()
        if self.phase is Phase.NEW:
            # While own entries are read again, a claimed one could come twice.
            self.phase = Phase.CLAIM
            self._claims_due_at = clock.monotonic()
        return found

    def take(self, server_now_ms: int) -> Batch:
        """The entries to serve now; does not wait. server_now_ms: the server's clock."""
        return self._sorted(self._next(), server_now_ms)

    @property
    def spare_sec(self) -> float:
        """How long there is nothing to do but to wait for new entries; at most BLOCK_SEC."""
        if self.phase is not Phase.NEW or self._left:
            return 0.0
        return self._block_sec()

    def wait(self, most_sec: float = math.inf) -> bool:
        """Until there is something to take, at most that long; True if new entries came."""
        self._fetch(min(most_sec, self.spare_sec))
        return bool(self._read)

    def poll(self) -> None:
        """The same without waiting; nothing that is there now is missed."""
        asked = self._queue.asked
        self._fetch(0.0)
        if self.idle and asked:  # That read may have ended just before.
            self._read = self._queue.new(self._count)
            if self._queue.asked:
                self._read += self._queue.answer(0.0) or []

    def has_new(self, *, ask: bool) -> bool:
        """True while new entries wait to be taken. Costs no round trip: it looks for the answer to
        the last read, and where none is under way sends the next one, if ask."""
        if not self._read and self._queue.asked:
            self._read = self._queue.answer(0.0) or []
        if not self._read and not self._queue.asked and ask:
            self._ask(self._count)
        return bool(self._read)

    def retry_later(self) -> None:
        """Redis refused an entry: it stays pending and comes again in RETRY_SEC."""
        if self._retry_at is None:
            self._retry_at = clock.monotonic() + RETRY_SEC

    def hand_back(self, left: Sequence[Entry]) -> None:
        """Redelivered entries that the pass had no time for: they come with the next."""
        self._left = list(left)

    def _next(self) -> list[Entry]:
        if self.phase is Phase.NEW and self._retry_at is None and not self._left:
            return self._in_hand()  # The common case, and a plan alone waits for each call.
        if self._left:
            left, self._left = self._left, []
            return left + (self._in_hand() or self._new(self._count))
        if self._retry_is_due():
            # What is in hand goes first: the round would deliver it once more.
            read = self._in_hand()
            self._retry_at = None
            self._begin_round(Phase.RETRY)
            if read:
                return read
        if self._in_round():
            entries = self._own_pending()
            if entries:
                return entries
            self.phase = Phase.CLAIM
            self._claims_due_at = -math.inf  # At once: what was here before comes first.
        if self.phase is Phase.CLAIM and not self._claims_wait():
            self._claim()
        return self._in_hand()

    def _claims_wait(self) -> bool:
        """What is new and in hand does not wait for a round of claims to begin, for a while."""
        if not self._read or self._claim_from != CLAIM_START:
            return False
        return clock.monotonic() - self._claims_due_at < CLAIMS_WAIT_SEC

    def _in_hand(self) -> list[Entry]:
        """What was read and is to be handed over, with all that belongs to the read."""
        read, self._read = self._read, []
        return read + self._queue.rest(read) if read else []

    def _in_round(self) -> bool:
        """True while this consumer's own pending entries are read, from the first to the last."""
        return self.phase in (Phase.OWN_PENDING, Phase.RETRY)

    def _begin_round(self, phase: Phase) -> None:
        self.phase, self._own_after = phase, _FIRST
        self._read, self._left = [], []

    def _retry_is_due(self) -> bool:
        """Never in the middle of a round, which would then not reach its end."""
        if self._retry_at is None or self._in_round():
            return False
        return clock.monotonic() >= self._retry_at

    def _own_pending(self) -> list[Entry]:
        retry = self.phase is Phase.RETRY
        beside = retry or self._own_after != _FIRST
        count = RETRY_COUNT if retry else self._batch
        entries = self._queue.own_pending(self._own_after, count)
        if not entries:
            return []
        self._own_after = entries[-1].id
        # What comes again must not keep new plans waiting, closes least of all.
        if not beside:
            return entries
        return entries + (self._in_hand() or self._new(count))

    def _claim(self) -> None:
        try:
            cursor, claimed = self._queue.claim(self._claim_from, ABANDONED_MS, CLAIM_COUNT)
        except WireError as problem:
            # Own and new entries must not wait for what others left. Where the group is gone, the
            # next read of new ones says so.
            self.claim_problem = str(problem)
            cursor, claimed = CLAIM_START, []
        else:
            self.claim_problem = None
        self._claim_from = cursor
        self._read += claimed
        if self._claim_from == CLAIM_START:
            self.phase = Phase.NEW

    def _fetch(self, block_sec: float) -> None:
        """Reads new entries, unless there is something to take already."""
        if not self._read and not self._left and not self._in_round():
            self._read = self._new(self._count, block_sec)

    def _new(self, count: int, block_sec: float = 0.0) -> list[Entry]:
        """New entries; every read of them comes through here. One that waits goes on on the server
        while the governor looks after other things."""
        if not self._queue.asked:
            if not block_sec:
                return self._queue.new(count)
            self._ask(count)
        return self._queue.answer(block_sec) or []

    def _ask(self, count: int) -> None:
        self._queue.ask(count, most_block_sec())

    def _block_sec(self) -> float:
        if self._retry_at is None:
            return BLOCK_SEC
        return min(BLOCK_SEC, max(0.001, self._retry_at - clock.monotonic()))

    def _sorted(self, entries: list[Entry], server_now_ms: int) -> Batch:
        """How each is to be served; what is too old is acknowledged, and then read in bulk."""
        cutoff_ms = server_now_ms - OLD_MS
        old: list[str] = []
        redelivered: list[Entry] = []
        fresh: list[Entry] = []
        for entry in entries:
            at_ms = ms_of(entry.id)
            if at_ms < cutoff_ms and queued_at_ms(at_ms, server_now_ms) < cutoff_ms:
                old.append(entry.id)
            elif entry.deliveries > 1:
                redelivered.append(entry)
            else:
                fresh.append(entry)
        self._count = self._batch
        if not old:
            return Batch(redelivered, fresh)
        self._queue.acknowledge(old)
        self._count = OLD_BATCH
        return Batch(redelivered, fresh, len(old), (old[0], old[-1]))
