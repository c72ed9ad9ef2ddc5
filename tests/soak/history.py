"""Reads all that a run left behind, and finds what must not be.

A run has an era for each server that lost its data, and one for the last. What is promised holds in
each; what is promised beyond a loss is said where it is checked.

Every kind of evidence stands by itself: the plans as the stream has them, the events, the decision
records, the ledgers, the governors' own log lines, and what the consumers held in their hands.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from qtctl.wire.client.connect import is_error
from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import DECISION, PERMIT
from qtctl.wire.schema.records import pairs, text
from tests.soak.diary import Diary
from tests.soak.producer import NUMBER, Producer
from tests.soak.waits import Breach, Waits

PAGE = 1_000
BACKLOG, BACKLOG_MS = "backlog_skipped", 3_600_000
"""What one event says of all entries that were queued for longer (docs/rules.md)."""
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


class Era(msgspec.Struct, frozen=True):
    """What one server had: up to its end, or until it lost its data. pending: ids of entries."""

    plans: list[Entry]
    events: list[Entry]
    rejected: list[Entry]
    decisions: dict[str, dict[str, str]]
    ledger: set[str]
    pending: list[str]
    permits: set[str]


class Held(msgspec.Struct, frozen=True):
    """What lies in files. logged: plan_id and entry_id of each `plan permitted` line in the
    governors' logs, and which process wrote it; opened: plan_id and process of those of opens;
    taken and unsure: what the consumers logged."""

    logged: list[tuple[str, str, int]]
    opened: list[tuple[str, int]]
    taken: list[str]
    unsure: list[str]


def read(store: Store, pending: Sequence[str]) -> Era:
    """Everything that the server has."""
    keys = store.keys
    plans = stream(store, keys.plans)
    events = stream(store, keys.events)
    named = {entry.fields.get("plan_id", "") for entry in (*plans, *events)}
    ids = sorted(named - {""})
    hashes = store.batch([("HGETALL", keys.at(DECISION, id_)) for id_ in ids])
    there = store.batch([("EXISTS", keys.at(PERMIT, id_)) for id_ in ids])
    return Era(
        plans=plans,
        events=events,
        rejected=stream(store, keys.rejected),
        decisions={
            id_: pairs(found)
            for id_, found in zip(ids, hashes, strict=True)
            if found and not is_error(found)
        },
        ledger={text(id_) for id_ in store.run("ZRANGE", keys.ledger_total, 0, -1)},
        pending=list(pending),
        permits={id_ for id_, found in zip(ids, there, strict=True) if found == 1},
    )


def held(logs: Iterable[Path], consumers: Iterable[Path]) -> Held:
    """Everything from the files."""
    lines = [line for path in consumers for line in path.read_text().splitlines()]
    found = [
        (n, each)
        for n, path in enumerate(logs)
        for each in permitted_lines(path.read_text(errors="replace"))
    ]
    return Held(
        logged=[(id_, entry, n) for n, (id_, _, entry) in found],
        opened=[(id_, n) for n, (id_, kind, _) in found if kind == "open"],
        taken=[line[2:] for line in lines if line.startswith("+ ")],
        unsure=[line[2:] for line in lines if line.startswith("? ")],
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


_LINE = re.compile(r" plan permitted plan_id=(\S+) .*? kind=(\S+) .*?\bentry_id=(\S+)")


def permitted_lines(log: str) -> list[tuple[str, str, str]]:
    """plan_id, kind and entry_id of each permit that a governor has logged."""
    found = _LINE.finditer(log)
    return [(match[1], match[2], match[3]) for match in found]


class Told(msgspec.Struct):
    """What the events of an era say of one plan_id: its verdicts (event, reason) in their order,
    and when each was seen, where it was."""

    verdicts: list[tuple[str, str]] = []
    seen: list[float | None] = []
    withdrawn: int = 0

    @property
    def permitted(self) -> int:
        """How many permits were issued."""
        return sum(1 for event, _ in self.verdicts if event == "permitted")


class EraFindings:
    """One era, plan by plan. before: entries that the era before left undecided: they may have been
    in the hands of a governor when the server lost its data."""

    def __init__(
        self, number: int, era: Era, seen: Mapping[tuple[int, str], float], before: Sequence[str]
    ) -> None:
        self.era, self._before = era, set(before)
        unreadable = {entry.fields["entry_id"] for entry in era.rejected}
        self.executes: dict[str, list[Entry]] = defaultdict(list)
        self.others: dict[str, list[Entry]] = defaultdict(list)
        self.never_rejected: list[str] = []
        for entry in era.plans:
            plan_id = entry.fields.get("plan_id", "")
            if entry.fields.get("qty") == "many":
                if entry.id not in unreadable and entry.id not in era.pending:
                    self.never_rejected.append(entry.id)
            elif entry.fields.get("decision") == "EXECUTE":
                self.executes[plan_id].append(entry)
            else:
                self.others[plan_id].append(entry)
        self.told: dict[str, Told] = defaultdict(Told)
        for event in era.events:
            told = self.told[event.fields.get("plan_id", "")]
            if event.fields["event"] in ("permitted", "blocked"):
                told.verdicts.append((event.fields["event"], event.fields["reason"]))
                told.seen.append(seen.get((number, event.id)))
            elif event.fields["event"] == "withdrawn":
                told.withdrawn += 1
        self.permitted = {id_ for id_, told in self.told.items() if told.permitted}
        self.withdrawn = {id_ for id_, told in self.told.items() if told.withdrawn}
        pending = set(era.pending)
        self.undecided = {e.fields.get("plan_id", "") for e in era.plans if e.id in pending}

    @property
    def told_again(self) -> int:
        """Repeats of a plan that were told more than once: each time after the group was lost."""
        return sum(
            max(0, len(told.verdicts) - len(self.executes[id_]) - len(self.others[id_]))
            for id_, told in self.told.items()
            if id_
        )

    def decided_twice(self) -> list[str]:
        """Plans sent once and judged twice, and plans judged anew after their permit."""
        found = []
        for id_, told in self.told.items():
            once = len(self.executes[id_]) == 1 and not self.others[id_]
            once = once and id_ not in self._before
            words = [event if event == "permitted" else reason for event, reason in told.verdicts]
            first = words.index("permitted") if "permitted" in words else len(words)
            after = [word for word in words[first + 1 :] if word not in AFTER_A_PERMIT]
            before = [word for word in words[:first] if word in AFTER_A_PERMIT]
            if id_ and ((once and len(words) > 1) or after or before):
                found.append(id_)
        return found

    def _skipped(self) -> set[str]:
        """Entries that an event says were skipped: they were queued for over an hour by the
        server's clock (it went ahead by two while no group was there)."""
        until = [e.ms - BACKLOG_MS for e in self.era.events if e.fields["event"] == BACKLOG]
        return {each.id for each in self.era.plans if any(each.ms <= ms for ms in until)}

    def lost(self) -> list[str]:
        """EXECUTE plans that are neither decided nor pending, nor a backlog that was skipped, and
        unreadable ones nobody kept. What was pending when the server lost its data went with it."""
        pending = set(self.era.pending) | self._skipped()
        found = [id_ for id_ in self.never_rejected if id_ not in pending]
        for id_, entries in self.executes.items():
            waiting = sum(1 for entry in entries if entry.id in pending)
            told = len(self.told[id_].verdicts) if id_ in self.told else 0
            unrecorded = id_ not in self.era.decisions and waiting < len(entries)
            if told < len(entries) - waiting or unrecorded:
                found.append(id_)
        return found

    @property
    def opens(self) -> set[str]:
        """Permitted opens, by their records."""
        return {
            id_ for id_, d in self.era.decisions.items()
            if d.get("verdict") == "permitted" and d.get("kind") == "open"
        }  # fmt: skip


class Findings:
    """The history in figures, and its breaches."""

    def __init__(
        self,
        eras: Sequence[Era],
        held: Held,
        producer: Producer,
        seen: Mapping[tuple[int, str], float],
        diary: Diary,
        surprises: Sequence[str],
        scored_at: Mapping[str, float],
        fresh_sec: float,
    ) -> None:
        self.scored_at = scored_at
        self.held, self.diary, self._seen = held, diary, seen
        self.eras: list[EraFindings] = []
        before: set[str] = set()
        for number, era in enumerate(eras):
            self.eras.append(EraFindings(number, era, seen, sorted(before)))
            before = before | self.eras[-1].undecided
        self.permitted = {id_ for era in self.eras for id_ in era.permitted}
        self.taken = set(held.taken)
        self.permits = {id_ for era in eras for id_ in era.permits}
        self.waits = Waits(self.eras, producer, diary, fresh_sec)
        self.breaches = self._breaches(producer.ledger, surprises)

    # Figures ----------------------------------------------------------------------------------

    @property
    def plans(self) -> int:
        """How many entries there were."""
        return sum(len(era.era.plans) for era in self.eras)

    @property
    def distinct(self) -> int:
        """How many plan_ids there were."""
        return len({e.fields.get("plan_id") for era in self.eras for e in era.era.plans})

    @property
    def decided(self) -> int:
        """How many plan_ids have a decision."""
        return len({id_ for era in self.eras for id_ in era.era.decisions})

    @property
    def rejected(self) -> int:
        """How many entries could not be read."""
        return sum(len({e.fields["entry_id"] for e in era.era.rejected}) for era in self.eras)

    @property
    def withdrawn(self) -> set[str]:
        """Plans whose permit was taken back before anybody had taken it."""
        return {id_ for era in self.eras for id_ in era.withdrawn}

    @property
    def gone(self) -> int:
        """Entries that went undecided with the data of their server."""
        return sum(len(era.era.pending) for era in self.eras[:-1])

    @property
    def unsure(self) -> set[str]:
        """Permits that a consumer may have taken without getting the answer."""
        open_ = self.permitted - self.taken - self.withdrawn - self.permits
        return open_ & set(self.held.unsure)

    @property
    def expired(self) -> set[str]:
        """Permits that nobody took in time."""
        known = self.taken | self.withdrawn | self.unsure | self.permits
        return self.permitted - known

    @property
    def told_again(self) -> int:
        """Repeats of a plan that were told more than once: each time after the group was lost."""
        return sum(era.told_again for era in self.eras)

    @property
    def again(self) -> int:
        """Permits for plans that had one from a server that lost its data since: they were sent
        again. Not promised otherwise."""
        return sum(len(era.permitted) for era in self.eras) - len(self.permitted)

    def reasons(self) -> Counter[str]:
        """How often each reason blocked."""
        return Counter(
            reason
            for era in self.eras
            for told in era.told.values()
            for event, reason in told.verdicts
            if event == "blocked"
        )

    # What must not be -------------------------------------------------------------------------

    def decided_twice(self) -> list[str]:
        """Plans sent once and judged twice, and plans judged anew after their permit."""
        return [id_ for era in self.eras for id_ in era.decided_twice()]

    def _issued(self) -> Counter[str]:
        """From how many servers each plan has a permit."""
        return Counter(id_ for era in self.eras for id_ in era.permitted)

    def permitted_twice(self) -> list[str]:
        """By the events, and by the governors' log lines (for another entry or for the same). After
        a loss of data only what was sent again may have another permit."""
        found = {id_ for era in self.eras for id_, told in era.told.items() if told.permitted > 1}
        had: set[str] = set()
        sent_since: set[str] = set()
        for era in self.eras:
            sent_since |= {id_ for id_, entries in era.executes.items() if entries}
            found |= (era.permitted & had) - sent_since
            had |= era.permitted
            sent_since -= era.permitted
        issued = self._issued()
        logged = Counter(id_ for id_, _, _ in self.held.logged)
        entries = Counter((id_, entry) for id_, entry, _ in self.held.logged)
        found |= {id_ for id_, count in logged.items() if count > max(1, issued[id_])}
        found |= {id_ for (id_, _), count in entries.items() if count > 1}
        return sorted(found)

    def taken_twice(self) -> list[str]:
        """Permits that consumers held in their hands more than once."""
        issued = self._issued()
        counts = Counter(self.held.taken)
        return sorted(id_ for id_, count in counts.items() if count > max(1, issued[id_]))

    def lost(self) -> list[str]:
        """EXECUTE plans that are neither decided nor pending, and unreadable ones nobody kept."""
        return [id_ for era in self.eras for id_ in era.lost()]

    def _breaches(self, ledger: Mapping[int, str], surprises: Sequence[str]) -> list[Breach]:
        there = {
            (entry.id, entry.fields.get(NUMBER)) for era in self.eras for entry in era.era.plans
        }
        issued = self._issued()
        taken_late = {id_ for id_ in self.taken & self.withdrawn if issued[id_] == 1}
        checks = {
            "decided twice": self.decided_twice(),
            "permitted twice": self.permitted_twice(),
            "taken twice": self.taken_twice(),
            "lost": self.lost(),
            "never settled": self.eras[-1].era.pending,
            "taken without a permit": sorted(self.taken - self.permitted),
            "taken after it was withdrawn": sorted(taken_late),
            "permit logged but not told": sorted(
                {id_ for id_, _, _ in self.held.logged} - self.permitted
            ),
            **self._records(),
            "acknowledged by the server and gone": [
                id_ for number, id_ in ledger.items() if (id_, str(number)) not in there
            ],
            "governor ended by itself": list(surprises),
            **self.waits.breaches(),
            "open permitted again by a governor that remembers": self.waits.permitted_again(
                self.held.opened
            ),
            "score aged by another clock": self.waits.aged_wrongly(self.scored_at),
        }
        return [Breach(what, ids) for what, ids in checks.items() if ids]

    def _records(self) -> dict[str, list[str]]:
        """Where events, records and ledgers contradict each other."""
        found: dict[str, list[str]] = defaultdict(list)
        for number, era in enumerate(self.eras):
            decisions = era.era.decisions
            recorded = {id_ for id_, d in decisions.items() if d.get("verdict") == "permitted"}
            found["permit told but not recorded"] += sorted(era.permitted - recorded)
            found["permit recorded but not told"] += sorted(recorded - era.permitted)
            kept = {id_ for id_ in era.opens if self._ledger_keeps(era, number, id_)}
            found["open permitted and not in the ledger"] += sorted(kept - era.era.ledger)
            found["in the ledger without a permit"] += sorted(era.era.ledger - era.opens)
        return found

    def _ledger_keeps(self, era: EraFindings, number: int, id_: str) -> bool:
        """True where the server's clock has not stepped since: a step may end a ledger's hour, and
        what lies ahead goes."""
        told = era.told.get(id_, Told())
        both = zip(told.verdicts, told.seen, strict=True)
        at = next((seen for (event, _), seen in both if event == "permitted"), None)
        end = self.diary.emptied[number] if number < len(self.diary.emptied) else self.diary.ended
        # What fell within the last hour is kept: no run is that long.
        return not self.diary.steps or (
            at is not None and not any(at - 1 < step.at < end for step in self.diary.steps)
        )
