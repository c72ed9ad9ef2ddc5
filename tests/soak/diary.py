"""What the nemesis did and when, by the monotonic clock of this host, in seconds: what the checker
goes by when it asks why a plan waited or was refused."""

from collections.abc import Iterable

import msgspec

Span = tuple[float, float]

LOOK_SEC = 1.0
"""So often a governor looks at the server, the group and the halts."""
RECONNECT_SEC = 2.2
"""The supervisor tries again at most so long after Redis was last seen away."""
CLAIM_SEC = 7.0
"""What a dead or frozen governor holds is claimed after 5 s and at the next look."""
IN_HAND_SEC = 0.5
"""What was sent so long before and after a governor stopped may be in its hands."""


class Outage(msgspec.Struct, frozen=True):
    """While Redis did not serve, by what was done to it: from, to. after_sec: how long a governor
    may need from then on to notice."""

    what: str
    start: float
    end: float
    after_sec: float

    @property
    def over(self) -> float:
        """When a governor must serve again."""
        return self.end + self.after_sec


class Step(msgspec.Struct, frozen=True):
    """A step of the server's clock: between at and done, which a busy machine draws apart."""

    at: float
    by_sec: float
    done: float = 0.0


class Life(msgspec.Struct):
    """A governor's process: when it served (its port listened) and when it was killed."""

    name: str
    number: int
    started: float
    ready: float | None = None
    ended: float | None = None
    frozen: list[list[float]] = []
    """From, and to where it is over."""

    def served(self, start: float, end: float) -> bool:
        """True where it served all the time, never frozen."""
        lives = self.ready is not None and self.ready <= start and (self.ended or end) >= end
        return lives and not any(
            span[0] < end and (len(span) < 2 or span[1] > start) for span in self.frozen
        )

    def spans(self, until: float) -> list[Span]:
        """When it served."""
        if self.ready is None:
            return []
        end = until if self.ended is None else self.ended
        found, start = [], self.ready
        for span in self.frozen:
            found.append((start, span[0]))
            start = span[1] if len(span) > 1 else end
        return [*found, (start, end)]


class Stop(msgspec.Struct):
    """A halt of the nemesis. level: 1 opens, 2 everything. begun: before the command; done: when it
    was seen in force; resuming: before it was undone; over: when nothing of it was left."""

    level: int
    begun: float
    done: float | None = None
    resuming: float | None = None
    over: float | None = None


class Jump(msgspec.Struct):
    """A jump of the server's clock, until an operator had said `resume --clock`."""

    at: float
    resuming: float | None = None
    over: float | None = None


class Diary:
    """Written by the nemesis and the stage, read by the checker."""

    def __init__(self) -> None:
        self.outages: list[Outage] = []
        self.servers: list[float] = []
        """When a server was started, or its data was lost."""
        self.emptied: list[float] = []
        self.steps: list[Step] = []
        self.lives: list[Life] = []
        self.stops: list[Stop] = []
        self.jumps: list[Jump] = []
        self.ended = 0.0

    def outage(self, what: str, start: float, end: float, after_sec: float = RECONNECT_SEC) -> None:
        """Redis did not serve."""
        self.outages.append(Outage(what, start, end, after_sec))

    # What a wait may be excused by ------------------------------------------------------------

    def excused(self, start: float, end: float, *, in_hand: bool) -> float:
        """For how many seconds of that time an outage is the reason of a wait.

        in_hand: of an entry that some governor may have held when it stopped.
        """
        spans = [(o.start, o.over) for o in self.outages]
        spans += self._unserved()
        if in_hand:
            spans += [(a, a + CLAIM_SEC) for a, _ in self._ends()]
            spans += [(o.start, o.end + CLAIM_SEC) for o in self.outages]
        clipped = ((max(a, start), min(b, end)) for a, b in spans)
        return sum(b - a for a, b in union(span for span in clipped if span[0] < span[1]))

    def may_be_in_hand(self, sent: float) -> bool:
        """True where a governor stopped when this was sent: it may have had the entry."""
        return any(a - IN_HAND_SEC < sent < b + IN_HAND_SEC for a, b in self._ends())

    def _ends(self) -> list[Span]:
        """When governors were killed and frozen (these up to when they went on)."""
        found = [(life.ended, life.ended) for life in self.lives if life.ended is not None]
        for life in self.lives:
            found += [(span[0], span[1]) for span in life.frozen if len(span) > 1]
        return found

    def _unserved(self) -> list[Span]:
        """When no governor served."""
        served = union(span for life in self.lives for span in life.spans(self.ended))
        gaps, at = [], 0.0
        for start, end in served:
            gaps.append((at, start + 0.1))
            at = end
        return [*gaps, (at, self.ended)]

    def stepped(self, start: float, end: float) -> float:
        """How far ahead the server's clock went at most meanwhile, by steps."""
        most = level = 0.0
        for step in self.steps:
            if step.at <= end and max(step.at, step.done) >= start:
                level += step.by_sec
                most = max(most, level)
        return most

    # What must hold because of it -------------------------------------------------------------

    def held(self) -> list[tuple[Span, str]]:
        """When no open may be permitted that was sent within, and why: from what a living governor
        must have known until an operator said otherwise."""
        found = []
        for stop in self.stops:
            if stop.done is not None:
                end = stop.resuming or self.ended
                for at in self._emptied_between(stop.done, end):
                    if not self._knew(stop.done, at):
                        end = at  # Nobody lived who could have kept it.
                        break
                found.append(((stop.done, end), "permitted though halted"))
        for jump in self.jumps:
            end = min([jump.resuming or self.ended, *self._emptied_between(jump.at, self.ended)])
            if self._knew(jump.at - LOOK_SEC - 1, jump.at) and not self._fresh(jump.at):
                found.append(((jump.at + 0.05, end), "open permitted after a jump of the clock"))
        return found

    def known_at(self) -> float:
        """When a governor that is struck by nothing has looked at what was there just now."""
        quiet = [*(o.over for o in self.outages), *(life.ready or 0.0 for life in self.lives)]
        frozen = [span[-1] for life in self.lives for span in life.frozen]
        return max([0.0, *quiet, *frozen]) + LOOK_SEC + 0.6

    def must_know(self) -> tuple[int, int]:
        """Of the halts that were lost with a server's data, and of the jumps: how many a governor
        lived through that must have known."""
        halts = sum(
            1
            for stop in self.stops
            if stop.done is not None
            for at in self._emptied_between(stop.done, stop.resuming or self.ended)
            if self._knew(stop.done, at)
        )
        return halts, sum(1 for _, what in self.held() if "jump" in what)

    def _emptied_between(self, start: float, end: float) -> list[float]:
        return [at for at in self.emptied if start <= at <= end]

    def _knew(self, since: float, at: float) -> bool:
        """True where one governor could look at what was there since then, and lived on for long
        enough to act upon what happened."""
        calm = max([since, *(o.over for o in self.outages if o.start < at - 0.01)])
        if calm + LOOK_SEC + 0.5 > at:
            return False
        after = [o.end for o in self.outages if o.start <= at + LOOK_SEC and o.end >= at]
        until = max([at, *after]) + LOOK_SEC + RECONNECT_SEC
        return any(life.served(calm, until) for life in self.lives)

    def _fresh(self, at: float) -> bool:
        """True where a server or a governor was new at that time: it knew of no earlier clock."""
        near = [life.started for life in self.lives] + [
            life.ready for life in self.lives if life.ready is not None
        ]
        return any(at - 2.5 < each < at + 2.5 for each in [*near, *self.servers])

    # What may be the reason of a refusal ------------------------------------------------------

    def stopped(self, sent: float, told: float, level: int) -> bool:
        """True where something was halted on this level between the two, as far as can be known."""
        return any(
            stop.level >= level and stop.begun <= told and (stop.over or self.ended) >= sent
            for stop in self.stops
        )

    def quarantined(self, sent: float, told: float) -> bool:
        """True where a server was new when it was sent, or a jump was not yet accepted."""
        new = any(sent < at + 1.5 and at < told for at in self.servers)
        return new or any(
            jump.at <= told and (jump.over or self.ended) >= sent for jump in self.jumps
        )


def union(spans: Iterable[Span]) -> list[Span]:
    """The same time without overlaps, in order."""
    found: list[Span] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found
