"""Reads all that a run left behind, and finds what must not be.

Every kind of evidence stands by itself: the plans as the stream has them, the events, the decision
records, the ledgers, the governors' own log lines, and what the consumers held in their hands.
"""

import bisect
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from qtctl.wire.client.connect import is_error
from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import DECISION, PERMIT
from qtctl.wire.schema.records import pairs, text
from tests.soak.nemesis import Done
from tests.soak.producer import NUMBER

PAGE = 1_000
IN_FLIGHT_MS = 20
AFTER_A_PERMIT = ("duplicate_plan", "plan_conflict")
"""All that may be said of a plan once a permit was issued for it."""


class Entry(msgspec.Struct, frozen=True):
    """An entry of a stream."""

    id: str
    fields: dict[str, str]

    @property
    def ms(self) -> int:
        """When it was added, epoch milliseconds."""
        return int(self.id.partition("-")[0])


class History(msgspec.Struct, frozen=True):
    """What lies there after a run. logged: plan_id and entry_id of each `plan permitted` line in
    the governors' logs; taken and unsure: what the consumers logged; pending: ids of entries."""

    plans: list[Entry]
    events: list[Entry]
    rejected: list[Entry]
    decisions: dict[str, dict[str, str]]
    ledger: set[str]
    logged: list[tuple[str, str]]
    taken: list[str]
    unsure: list[str]
    pending: list[str]
    permits: set[str]


class Breach(msgspec.Struct, frozen=True):
    """Something that must not be: what, and the plans it befell."""

    what: str
    ids: list[str]


def read(
    store: Store, pending: Sequence[str], logs: Iterable[Path], consumers: Iterable[Path]
) -> History:
    """Everything, from the server and from the files."""
    keys = store.keys
    plans = stream(store, keys.plans)
    ids = sorted({entry.fields.get("plan_id", "") for entry in plans} - {""})
    hashes = store.batch([("HGETALL", keys.at(DECISION, id_)) for id_ in ids])
    there = store.batch([("EXISTS", keys.at(PERMIT, id_)) for id_ in ids])
    lines = [line for path in consumers for line in path.read_text().splitlines()]
    return History(
        plans=plans,
        events=stream(store, keys.events),
        rejected=stream(store, keys.rejected),
        decisions={
            id_: pairs(found)
            for id_, found in zip(ids, hashes, strict=True)
            if found and not is_error(found)
        },
        ledger={text(id_) for id_ in store.run("ZRANGE", keys.ledger_total, 0, -1)},
        logged=[found for path in logs for found in _permitted_lines(path)],
        taken=[line[2:] for line in lines if line.startswith("+ ")],
        unsure=[line[2:] for line in lines if line.startswith("? ")],
        pending=list(pending),
        permits={id_ for id_, found in zip(ids, there, strict=True) if found == 1},
    )


def stream(store: Store, name: str) -> list[Entry]:
    """All of it, from its beginning."""
    found: list[Entry] = []
    while True:
        start = f"({found[-1].id}" if found else "-"
        page = store.run("XRANGE", name, start, "+", "COUNT", PAGE)
        found += [Entry(text(id_), pairs(raw)) for id_, raw in page]
        if len(page) < PAGE:
            return found


_LINE = re.compile(r" plan permitted plan_id=(\S+) .*? entry_id=(\S+)")


def _permitted_lines(path: Path) -> list[tuple[str, str]]:
    found = _LINE.finditer(path.read_text(errors="replace"))
    return [(match[1], match[2]) for match in found]


class Told(msgspec.Struct):
    """What the events say of one plan_id, in their order: its verdicts (event, reason)."""

    verdicts: list[tuple[str, str]] = []
    withdrawn: int = 0

    @property
    def permitted(self) -> int:
        """How many permits were issued."""
        return sum(1 for event, _ in self.verdicts if event == "permitted")


class Findings:
    """The history in figures, and its breaches."""

    def __init__(
        self, history: History, ledger: Mapping[int, str], surprises: Sequence[str],
        *, stepped: bool = False,
    ) -> None:  # fmt: skip
        """stepped: the server's clock stepped, so that what lay ahead of it left the ledgers."""
        self.history = history
        self._stepped = stepped
        unreadable = {entry.fields["entry_id"] for entry in history.rejected}
        self.executes: dict[str, list[Entry]] = defaultdict(list)
        self.others: dict[str, list[Entry]] = defaultdict(list)
        self.never_rejected: list[str] = []
        for entry in history.plans:
            plan_id = entry.fields.get("plan_id", "")
            if entry.fields.get("qty") == "many":
                if entry.id not in unreadable and entry.id not in history.pending:
                    self.never_rejected.append(entry.id)
            elif entry.fields.get("decision") == "EXECUTE":
                self.executes[plan_id].append(entry)
            else:
                self.others[plan_id].append(entry)
        self.told: dict[str, Told] = defaultdict(Told)
        for event in history.events:
            plan_id = event.fields.get("plan_id", "")
            if event.fields["event"] in ("permitted", "blocked"):
                self.told[plan_id].verdicts.append((event.fields["event"], event.fields["reason"]))
            elif event.fields["event"] == "withdrawn":
                self.told[plan_id].withdrawn += 1
        self.permitted = {id_ for id_, told in self.told.items() if told.permitted}
        self.taken = set(history.taken)
        self.breaches = self._breaches(ledger, surprises)

    # Figures ----------------------------------------------------------------------------------

    @property
    def distinct(self) -> int:
        """How many plan_ids there were."""
        return len({entry.fields.get("plan_id") for entry in self.history.plans})

    @property
    def withdrawn(self) -> set[str]:
        """Plans whose permit was taken back before anybody had taken it."""
        return {id_ for id_, told in self.told.items() if told.withdrawn}

    @property
    def unsure(self) -> set[str]:
        """Permits that a consumer may have taken without getting the answer."""
        open_ = self.permitted - self.taken - self.withdrawn - self.history.permits
        return open_ & set(self.history.unsure)

    @property
    def expired(self) -> set[str]:
        """Permits that nobody took in time."""
        known = self.taken | self.withdrawn | self.unsure | self.history.permits
        return self.permitted - known

    @property
    def told_again(self) -> int:
        """Repeats of a plan that were told more than once: each time after the group was lost."""
        return sum(
            max(0, len(told.verdicts) - len(self.executes[id_]) - len(self.others[id_]))
            for id_, told in self.told.items()
            if id_
        )

    def reasons(self) -> Counter[str]:
        """How often each reason blocked."""
        return Counter(
            reason
            for told in self.told.values()
            for event, reason in told.verdicts
            if event == "blocked"
        )

    def queue_ages(self) -> list[float]:
        """How long each plan had waited when it was judged, in seconds; in order."""
        records = self.history.decisions.values()
        return sorted(float(record.get("queue_age_sec") or 0) for record in records)

    def recoveries(self, done: Sequence[Done]) -> list[tuple[str, float]]:
        """Kind of act and seconds until the next decision, where there was one."""
        times = sorted(
            event.ms for event in self.history.events
            if event.fields["event"] in ("permitted", "blocked")
        )  # fmt: skip
        found = []
        for act in done:
            # What was on its way when it struck is no sign of life.
            place = bisect.bisect_right(times, act.free_ms + IN_FLIGHT_MS)
            if place < len(times):
                found.append((act.kind.value, (times[place] - act.free_ms) / 1000))
        return found

    # What must not be -------------------------------------------------------------------------

    def decided_twice(self) -> list[str]:
        """Plans sent once and judged twice, and plans judged anew after their permit."""
        found = []
        for id_, told in self.told.items():
            once = len(self.executes[id_]) == 1 and not self.others[id_]
            words = [event if event == "permitted" else reason for event, reason in told.verdicts]
            first = words.index("permitted") if "permitted" in words else len(words)
            after = [word for word in words[first + 1 :] if word not in AFTER_A_PERMIT]
            before = [word for word in words[:first] if word in AFTER_A_PERMIT]
            if id_ and ((once and len(words) > 1) or after or before):
                found.append(id_)
        return found

    def permitted_twice(self) -> list[str]:
        """By the events, and by the governors' log lines (for another entry or for the same)."""
        by_events = {id_ for id_, told in self.told.items() if told.permitted > 1}
        by_log = {id_ for id_, count in Counter(id_ for id_, _ in self.history.logged).items()
                  if count > 1}  # fmt: skip
        return sorted(by_events | by_log)

    def taken_twice(self) -> list[str]:
        """Permits that consumers held in their hands more than once."""
        return sorted(id_ for id_, count in Counter(self.history.taken).items() if count > 1)

    def lost(self) -> list[str]:
        """EXECUTE plans that are neither decided nor pending, and unreadable ones nobody kept."""
        pending = set(self.history.pending)
        found = list(self.never_rejected)
        for id_, entries in self.executes.items():
            waiting = sum(1 for entry in entries if entry.id in pending)
            told = len(self.told[id_].verdicts) if id_ in self.told else 0
            unrecorded = id_ not in self.history.decisions and waiting < len(entries)
            if told < len(entries) - waiting or unrecorded:
                found.append(id_)
        return found

    def _breaches(self, ledger: Mapping[int, str], surprises: Sequence[str]) -> list[Breach]:
        history, decisions = self.history, self.history.decisions
        there = {entry.id: entry.fields.get(NUMBER) for entry in history.plans}
        recorded = {id_ for id_, d in decisions.items() if d.get("verdict") == "permitted"}
        opens = {id_ for id_ in recorded if decisions[id_].get("kind") == "open"}
        checks = {
            "decided twice": self.decided_twice(),
            "permitted twice": self.permitted_twice(),
            "taken twice": self.taken_twice(),
            "lost": self.lost(),
            "never settled": history.pending,
            "taken without a permit": sorted(self.taken - self.permitted),
            "taken after it was withdrawn": sorted(self.taken & self.withdrawn),
            "permit told but not recorded": sorted(self.permitted - recorded),
            "permit recorded but not told": sorted(recorded - self.permitted),
            "permit logged but not told": sorted({i for i, _ in history.logged} - self.permitted),
            "open permitted and not in the ledger": (
                [] if self._stepped else sorted(opens - history.ledger)
            ),
            "in the ledger without a permit": sorted(history.ledger - opens),
            "acknowledged by the server and gone": [
                id_ for number, id_ in ledger.items() if there.get(id_) != str(number)
            ],
            "governor ended by itself": list(surprises),
        }
        return [Breach(what, ids) for what, ids in checks.items() if ids]
