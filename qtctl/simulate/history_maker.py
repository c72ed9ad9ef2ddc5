"""Hours of history in seconds: the synthetic market through the same domain code, in simulated
time, written as the recorder writes it and marked synthetic."""

import hashlib
import random
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from qtctl import __version__
from qtctl.domain import numbers
from qtctl.domain.allocation import AllocationRules, propose
from qtctl.domain.downsize import DownsizeRules
from qtctl.domain.gates import Limits
from qtctl.domain.passes import Pass
from qtctl.domain.plans import PlanRules
from qtctl.domain.readings import Unusable, assess, score_time, target_usd
from qtctl.history.ids import DAY_MS
from qtctl.history.rows import (
    Batch,
    Document,
    Entry,
    Gap,
    HaltRow,
    PassEntry,
    ServerRow,
    ServiceRow,
)
from qtctl.history.store import Store
from qtctl.settings import digest, public
from qtctl.settings.model import Settings
from qtctl.settings.rules import rules_from
from qtctl.simulate.governor import NO_KILL, Kill, Rules, SimulatedGovernor
from qtctl.simulate.market import Market
from qtctl.simulate.publishers import PER_MINUTE, Publishers
from qtctl.wire.schema.decision import limits_json
from qtctl.wire.schema.keys import HALT, KILL, Keys

LOOP, GOVERNOR, ACTOR = "sim-allocation", "sim-governor", "operator:simulate"
BATCH_MS = 1_800_000
"""Simulated time that is written in one transaction."""
GAP_MS, LOCKDOWN_MS = 1_200_000, 10_800_000
"""How long the faults `gap` and `lockdown` last."""
SETTLE_MS = 60_000


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What to make. start_ms, end_ms: the window, epoch ms; per_minute: plans."""

    seed: int
    symbols: int
    start_ms: int
    end_ms: int
    per_minute: float = PER_MINUTE
    faults: frozenset[str] = frozenset()


class Made(msgspec.Struct, frozen=True):
    """What was made."""

    passes: int
    proposals: int
    decisions: int
    days: int


class HistoryMaker:
    """Makes one history. settings: those of both loops; prefix: that of the keys."""

    def __init__(self, wanted: Wanted, settings: Settings) -> None:
        self._wanted, self._settings = wanted, settings
        self._keys = Keys(settings.redis.prefix)
        self._market = Market(
            wanted.seed, wanted.symbols, wanted.start_ms, wanted.end_ms, wanted.faults
        )
        self._publishers = Publishers(wanted.seed, self._market.names, wanted.per_minute)
        self._rules = rules_from(settings.allocation, AllocationRules)
        interval = settings.allocation.interval_sec
        self._interval_ms = int(interval * 1000)
        self._rules_json = msgspec.json.encode(
            msgspec.structs.asdict(self._rules) | {"interval_sec": interval}
        )
        self._governor, self._limits_json = _governor(settings)
        self._noise = random.Random(wanted.seed ^ 0x51ED2700)
        middle = (wanted.start_ms + wanted.end_ms) // 2
        self._gap = (middle, middle + GAP_MS) if "gap" in wanted.faults else (0, 0)
        self._lockdown = (middle, middle + LOCKDOWN_MS) if "lockdown" in wanted.faults else (0, 0)
        count = wanted.symbols
        self._reasons, self._multipliers = [""] * count, [""] * count
        self._expires = [0.0] * count
        self._dropped = {"passes": 0, "decisions": 0}
        self._number = 0
        self._proposed: dict[int, str] = {}
        self._places = {name: place for place, name in enumerate(self._market.names)}
        self._last_plan = self._last_id = (0, 0)

    def write(self, folder: Path) -> Made:
        """Writes it. Errors: those of history.store.Store."""
        passes = proposals = decisions = now = 0
        with Store(folder, synthetic=True) as store:
            for now, batch in self.batches():
                store.write(batch)
                store.seal(now - SETTLE_MS, now)
                passes += len(batch.passes)
                proposals += sum(each.value.symbols for each in batch.passes)
                decisions += len(batch.decisions)
        days = (now - 1) // DAY_MS - self._wanted.start_ms // DAY_MS + 1
        return Made(passes, proposals, decisions, days)

    def batches(self) -> Iterator[tuple[int, Batch]]:
        """All of it in the order of its time, each batch with when it ends, epoch ms."""
        now, end_ms = self._wanted.start_ms, self._wanted.end_ms
        yield now, self._beginning()
        passes: list[PassEntry] = []
        decisions: list[Entry] = []
        events: list[Entry] = []
        due = now + BATCH_MS
        while now < end_ms:
            for entry, event in self._decisions(now):
                decisions.append(entry)
                events.append(event)
            one = self._pass(now)
            if one is not None:
                passes.append(one)
            now += self._interval_ms
            if now >= due or now >= end_ms:
                documents = self._documents()
                yield (
                    now,
                    Batch(passes=passes, decisions=decisions, events=events, documents=documents),
                )
                passes, decisions, events = [], [], []
                due += BATCH_MS
        yield now, self._ending(now - 1)

    # The allocation loop ---------------------------------------------------------------------

    def _pass(self, due_ms: int) -> PassEntry | None:
        self._number += 1
        ts_ms = due_ms + self._noise.randrange(2, 9)
        changed = self._market.advance(ts_ms)
        late = [place for place, at in enumerate(self._expires) if at < ts_ms]
        for place in {*changed, *late}:
            self._propose(place, ts_ms / 1000)
        if self._gap[0] <= ts_ms < self._gap[1]:
            self._dropped["passes"] += 1
            self._write_back()
            return None
        columns = self._market.columns(self._reasons, self._multipliers)
        self._write_back()
        value = Pass(
            self._number, ts_ms, LOOP, __version__, _digest(self._rules_json), len(columns), columns
        )
        return PassEntry(f"{ts_ms}-0", value)

    def _propose(self, place: int, now: float) -> None:
        market, rules = self._market, self._rules
        raw = market.score_of(place)
        efficiency = assess(raw or None, now, rules.stale_sec, rules.min_conf)
        base = target_usd({"target_usd": market.targets[place]})
        assert not isinstance(base, Unusable), "a synthetic target is a number"
        made = propose(market.names[place], base, efficiency, rules)
        self._reasons[place] = efficiency.reason.value
        self._multipliers[place] = made.multiplier_text
        at = score_time(raw, now)
        fresh = at is not None and not efficiency.stale
        self._expires[place] = (at + rules.stale_sec) * 1000 if fresh and at else float("inf")
        self._proposed[place] = numbers.usd(made.proposed_usd)

    def _write_back(self) -> None:
        """What the pass proposed, where a fault writes that into the targets."""
        for place, usd in self._proposed.items():
            self._market.write_back(place, usd)
        self._proposed.clear()

    # The governor ----------------------------------------------------------------------------

    def _decisions(self, until_ms: int) -> Iterable[tuple[Entry, Entry]]:
        for sent in self._publishers.until(until_ms):
            for place in self._market.advance(sent.at_ms):
                self._propose(place, sent.at_ms / 1000)
            # One after the other, as in the atomic step: the ids of decisions never go back.
            now_ms = max(self._last_id[0], sent.at_ms + self._noise.randrange(1, 7))
            symbol = self._places.get(sent.fields.get("symbol", ""))
            score = {} if symbol is None else self._market.score_of(symbol)
            self._last_plan = _next_id(self._last_plan, sent.at_ms)
            queued = "{}-{}".format(*self._last_plan)
            record = self._governor.judge(sent.fields, queued, score, now_ms, self._kill(now_ms))
            if record is None:
                continue
            if self._gap[0] <= now_ms < self._gap[1]:
                self._dropped["decisions"] += 1
                continue
            yield self._entries(record, now_ms)

    def _kill(self, now_ms: int) -> Kill:
        if self._lockdown[0] <= now_ms < self._lockdown[1]:
            return Kill(self._keys.prefix + KILL.template, "1", 2)
        return NO_KILL

    def _entries(self, record: dict[str, str], at_ms: int) -> tuple[Entry, Entry]:
        """A decision and its event."""
        self._last_id = _next_id(self._last_id, at_ms)
        entry_id = "{}-{}".format(*self._last_id)
        event = {
            "event": record["verdict"], "plan_id": record["plan_id"], "symbol": record["symbol"],
            "reason": record["reason"], "ts": str(at_ms // 1000), "actor": f"governor:{GOVERNOR}",
        }  # fmt: skip
        return Entry(entry_id, record), Entry(entry_id, event)

    # What stands beside them --------------------------------------------------------------------

    def _beginning(self) -> Batch:
        at, settings = self._wanted.start_ms, self._settings
        drill = at + min(3_600_000, (self._wanted.end_ms - at) // 10)
        key = HALT.template
        return Batch(
            services=[
                ServiceRow(
                    at, "started", service, name, __version__, "synthetic", 1, at, digest(own)
                )
                for service, name, own in (
                    ("allocation", LOOP, settings.allocation),
                    ("governor", GOVERNOR, settings.governor),
                )
            ],
            servers=[ServerRow(at, "seen", "synthetic", "master", "synthetic 0", at, "")],
            halts=[
                HaltRow(drill, "halted", "opens", key, "reduce_only", ACTOR, "drill"),
                HaltRow(drill + 20_000, "resumed", "opens", key, "", ACTOR, "drill over"),
            ],
            documents=self._documents(),
        )

    def _documents(self) -> list[Document]:
        """With every batch: a day has all that it mentions."""
        return [
            Document("rules", _digest(self._rules_json), self._rules_json),
            Document("limits", _digest(self._limits_json), self._limits_json),
            *(
                Document("settings", digest(own), msgspec.json.encode(public(own)))
                for own in (self._settings.allocation, self._settings.governor)
            ),
        ]

    def _ending(self, now_ms: int) -> Batch:
        """The gap, as the recorder would have found it."""
        gaps = []
        streams = {"passes": self._keys.passes, "decisions": self._keys.decisions}
        for kind, count in self._dropped.items():
            if count:
                detail = f"{count} entries of {streams[kind]} were trimmed before they were read"
                gaps.append(
                    Gap("trimmed", self._gap[0], self._gap[1], streams[kind], count, detail, now_ms)
                )
        return Batch(gaps=gaps)


def _governor(settings: Settings) -> tuple[SimulatedGovernor, bytes]:
    own = settings.governor
    limits, plans = rules_from(own, Limits), rules_from(own, PlanRules)
    downsize = rules_from(own, DownsizeRules)
    raw = limits_json(limits, plans, downsize)
    return SimulatedGovernor(Rules(plans, limits, downsize, _digest(raw), GOVERNOR)), raw


def _next_id(last: tuple[int, int], at_ms: int) -> tuple[int, int]:
    """The id of a stream's next entry: the time, and a number within it."""
    return (at_ms, last[1] + 1 if at_ms == last[0] else 0)


def _digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()[:16]


def window(end_ms: int, hours: float) -> tuple[int, int]:
    """The window of so many hours that ends then."""
    return end_ms - int(hours * 3_600_000), end_ms
