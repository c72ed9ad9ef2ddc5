"""Plans that were refused or had to wait: for each of them the act of the nemesis that explains it.

All times are of a clock that never steps: when the publisher had its reply, and when the verdict
was seen in the events. What can't be explained is a breach.
"""

import bisect
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from tests.soak.diary import Diary
from tests.soak.producer import NUMBER, Producer

if TYPE_CHECKING:
    from tests.soak.history import Entry, EraFindings

STALE_SEC = 10.0
SLACK_SEC = 0.15
"""Of what is seen later than it happened."""
SENT_SEC = 0.5
"""So long after the server had it the producer may have noted that it sent it."""
COOLDOWN_SEC = 1.0
"""Of a symbol, in a run that has one."""
REMEMBER_SEC = 60.0
"""So long a governor remembers the opens that it permitted."""
SCORE_OFF_SEC = 5.0
"""The age of a score is by the server's clock, to so much."""


class Breach(msgspec.Struct, frozen=True):
    """Something that must not be: what, and the plans it befell."""

    what: str
    ids: list[str]


class Verdict(msgspec.Struct, frozen=True):
    """What the first entry of a plan was told. sent, seen: when, monotonic."""

    plan_id: str
    symbol: str
    opens: bool
    permitted: bool
    reason: str
    sent: float
    seen: float
    redelivered: bool

    @property
    def wait(self) -> float:
        """Until the verdict."""
        return self.seen - self.sent


class Waits:
    """The verdicts of a run against its diary."""

    def __init__(
        self, eras: "Sequence[EraFindings]", producer: Producer, diary: Diary, fresh_sec: float
    ) -> None:
        self._diary, self._eras, self._fresh_sec = diary, eras, fresh_sec
        self._sent = producer.sent
        self._permits: dict[str, list[float | None]] = defaultdict(list)
        for era in eras:
            for id_, told in era.told.items():
                both = zip(told.verdicts, told.seen, strict=True)
                self._permits[id_] += [at for (event, _), at in both if event == "permitted"]
        self.verdicts = [verdict for era in eras for verdict in self._verdicts(era)]

    @property
    def closes(self) -> list[Verdict]:
        """Of closes alone."""
        return [verdict for verdict in self.verdicts if not verdict.opens]

    def unexplained(self, verdict: Verdict) -> float:
        """How long it waited for no reason of Redis, or of the acts upon governors."""
        in_hand = verdict.redelivered or self._diary.may_be_in_hand(verdict.sent)
        return verdict.wait - self._diary.excused(verdict.sent, verdict.seen, in_hand=in_hand)

    def breaches(self) -> dict[str, list[str]]:
        """By what must not be: the plans."""
        found: dict[str, list[str]] = defaultdict(list)
        for verdict in self.verdicts:
            what = self._breach(verdict)
            if what:
                found[what].append(f"{verdict.plan_id} ({verdict.reason}, {verdict.wait:.1f} s)")
        for era in self._eras:
            for id_ in quarantined_closes(era.era.decisions):
                found["close quarantined"].append(id_)
        for what, verdict in self._held():
            found[what].append(f"{verdict.plan_id} (sent {self._ago(verdict.sent)})")
        return dict(found)

    def _ago(self, at: float) -> str:
        return f"{self._diary.ended - at:.1f} s before the end"

    def _breach(self, verdict: Verdict) -> str:
        kind = "open" if verdict.opens else "close"
        if not verdict.opens and self.unexplained(verdict) > self._fresh_sec:
            return f"close that waited over {self._fresh_sec} s without a reason"
        if not verdict.permitted and not self._explained(verdict):
            return f"{kind} refused without a reason"
        return ""

    def _explained(self, verdict: Verdict) -> bool:
        """True where the rules give this reason, and the diary tells of its cause."""
        diary, reason = self._diary, verdict.reason
        if reason in ("duplicate_plan", "plan_conflict"):
            return True  # Whether rightly is asked elsewhere: here it is an earlier entry's permit.
        if reason == "kill_switch_active":
            level = 1 if verdict.opens else 2
            return diary.stopped(verdict.sent, verdict.seen, level)
        if reason == "stale_plan":
            return self._is_stale(verdict)
        if not verdict.opens:
            return False
        if reason == "failover_quarantine":
            remembered = self._permitted_before(verdict)
            return remembered or diary.quarantined(verdict.sent, verdict.seen)
        if reason == "future_plan":
            return any(step.by_sec < 0 and step.at < verdict.seen for step in diary.steps)
        if reason == "symbol_cooldown":
            return self._opened_just_before(verdict)
        return reason == "kill_score_critical"

    def _permitted_before(self, verdict: Verdict) -> bool:
        """By a server that has lost its data since: a governor that lives remembers it for a while,
        also where only it knows that it did."""
        earlier = self._permits.get(verdict.plan_id, [])
        return any(at is None or 0 < verdict.seen - at < REMEMBER_SEC + 1 for at in earlier)

    def permitted_again(self, opened: Sequence[tuple[str, int]]) -> list[str]:
        """Opens that one process permitted twice though it remembers for REMEMBER_SEC what it
        permitted, on whatever server. Never promised of closes."""
        found = []
        for (id_, _), count in Counter(opened).items():
            times = [at for at in self._permits.get(id_, []) if at is not None]
            soon = any(b - a < REMEMBER_SEC - 2 for a, b in itertools.pairwise(sorted(times)))
            if count > 1 and soon:
                found.append(id_)
        return found

    def _opened_just_before(self, verdict: Verdict) -> bool:
        """Never by a mark that a step of the clock left ahead of it."""
        since = verdict.seen - COOLDOWN_SEC - SLACK_SEC
        return any(
            other.symbol == verdict.symbol and other.opens and other.permitted
            and since < other.seen <= verdict.seen
            for other in self.verdicts
        )  # fmt: skip

    def aged_wrongly(self, scored_at: Mapping[str, float]) -> list[str]:
        """Plans whose score was as old as it is by another clock than the server's; scored_at: the
        times of the scores, by symbol."""
        found = []
        for era in self._eras:
            for id_, record in era.era.decisions.items():
                at, age = scored_at.get(record.get("symbol", "")), record.get("eff_age_sec")
                told = era.told.get(id_)
                if at is None or not age or told is None or told.seen[-1:] in ([], [None]):
                    continue
                off = float(record["decided_at"]) - at - float(age)
                if abs(off) > SCORE_OFF_SEC and not self._stepped_about(told.seen):
                    found.append(id_)
        return found

    def _stepped_about(self, seen: Sequence[float | None]) -> bool:
        """True where the server's clock stepped while it may have been judged."""
        return any(
            at is not None and at - 2 < step.at < at + 1
            for at in seen
            for step in self._diary.steps
        )

    def _is_stale(self, verdict: Verdict) -> bool:
        """It waited for so long, or the clock went ahead so far while it did. Of an open also its
        own time counts, which the clock may have left behind."""
        ahead = self._diary.stepped(verdict.sent - SENT_SEC, verdict.seen)
        if verdict.wait + ahead > STALE_SEC - SLACK_SEC:
            return True
        return verdict.opens and any(step.at < verdict.seen for step in self._diary.steps)

    def _held(self) -> Iterator[tuple[str, Verdict]]:
        """Opens that were permitted when none may be."""
        for (start, end), what in self._diary.held():
            for verdict in self.verdicts:
                inside = start < verdict.sent and verdict.seen < end
                if verdict.opens and verdict.permitted and inside:
                    yield what, verdict
        for stop in self._diary.stops:
            if stop.level == 2 and stop.done is not None:
                for verdict in self.closes:
                    inside = stop.done < verdict.sent and verdict.seen < self._kept_until(stop.done)
                    if verdict.permitted and inside:
                        yield "permitted though halted", verdict

    def _kept_until(self, done: float) -> float:
        return max((end for (start, end), _ in self._diary.held() if start == done), default=done)

    def _verdicts(self, era: "EraFindings") -> Iterator[Verdict]:
        """Of each plan the first: of later ones nobody can tell which entry they belong to."""
        for id_, entries in era.executes.items():
            told = era.told.get(id_)
            if not entries or told is None or not told.verdicts or told.seen[0] is None:
                continue
            first, sent = entries[0], self._sent.get(int(entries[0].fields.get(NUMBER, -1)))
            others = era.others.get(id_, [])
            if sent is None or (others and _order(others[0].id) < _order(first.id)):
                continue
            record = era.era.decisions.get(id_, {})
            event, reason = told.verdicts[0]
            if reason == "failover_quarantine" and _is_of_a_later_open(entries):
                continue
            yield Verdict(
                plan_id=id_,
                symbol=first.fields.get("symbol", ""),
                opens=_opens(first),
                permitted=event == "permitted",
                reason=reason,
                sent=sent,
                seen=told.seen[0],
                redelivered=record.get("entry_id") != first.id
                or record.get("deliveries", "1") != "1",
            )


def _is_of_a_later_open(entries: "Sequence[Entry]") -> bool:
    """True where a verdict that only opens can have may be that of a later entry of the plan_id:
    the first is a close, and an open behind it was judged before it (it was new while the first was
    redelivered, or went to another governor). An event names no entry; where none of the others
    opens, it can only be the close's own, and that is a breach."""
    return not _opens(entries[0]) and any(map(_opens, entries[1:]))


def quarantined_closes(decisions: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Plans whose decision, which names its own kind, says that a close was quarantined: the gate
    is for opens alone (commit_permit.lua), whatever was sent before or after."""
    return [
        id_
        for id_, record in decisions.items()
        if record.get("kind") == "close" and record.get("reason") == "failover_quarantine"
    ]


def _opens(entry: "Entry") -> bool:
    return entry.fields.get("action") == "OPEN_PROPOSED"


def _order(id_: str) -> tuple[int, int]:
    ms, _, number = id_.partition("-")
    return int(ms), int(number)


def recoveries(
    decisions: Sequence[float], acts: Sequence[tuple[str, float]]
) -> list[tuple[str, float]]:
    """Kind of act and seconds until the next decision, where there was one."""
    times, found = sorted(decisions), []
    for kind, free in acts:
        # What was on its way when it struck is no sign of life.
        place = bisect.bisect_right(times, free + 0.02)
        if place < len(times):
            found.append((kind, times[place] - free))
    return found
