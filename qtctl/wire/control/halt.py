"""Halt and resume: sets kill keys, withdraws open permits, and undoes what a halt has set.

What the steps do is in halt.lua, withdraw_open.lua and resume.lua. The stop comes first: whatever
goes wrong after it, the governors' next plan meets it. Source: docs/decisions.md#halts.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Literal

import msgspec

from qtctl.domain.gates import EVERYTHING, REDUCE_ONLY
from qtctl.domain.names import plan_id_problem
from qtctl.domain.reasons import Reason
from qtctl.domain.stored import stored
from qtctl.wire.client.connect import is_error, reply_error
from qtctl.wire.client.store import Store
from qtctl.wire.control import kill_switch
from qtctl.wire.schema.keys import DECISION, HALT, PERMIT
from qtctl.wire.schema.kill_names import KillNames, names_of, together
from qtctl.wire.schema.records import text
from qtctl.wire.schema.service import ServiceRecord

OWN = HALT.template
"""The halt key that `qtctl halt` sets, unless the governors do not read it."""
ONE = "1"
"""What stops everything under a kill key, as the other systems that read these write it."""


class HaltRequest(msgspec.Struct, frozen=True):
    """What an operator asks for, or a governor. symbol: "" for all of them; names: what is read as
    the kill switch; who: `operator:alice@host`; revoke: closes lose their permits too; event: what
    a stop is called."""

    who: str
    why: str
    names: KillNames
    events_maxlen: int
    symbol: str = ""
    revoke: bool = False
    event: str = "halted"


class Stop(msgspec.Struct, frozen=True):
    """One stop as it is in force now. name: the kill key without the prefix; was: what was there
    before (a key of another type stops everything and is left alone); problem: what could not be
    written beside it, else empty."""

    name: str
    was: Literal["normal", "ours", "other", "another_type"]
    value: str
    record: kill_switch.HaltRecord
    problem: str


class Withdrawn(msgspec.Struct, frozen=True):
    """What became of the permits that nobody had taken. opens, revoked (closes): taken back;
    closes: left, they reduce risk; unknown: left, since their decision is gone; problems: Redis
    refused these."""

    opens: int = 0
    revoked: int = 0
    closes: int = 0
    unknown: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


class Report(msgspec.Struct, frozen=True):
    """What a halt came to. names: the kill keys that were set (in a dry run: would be), without
    the prefix (for a symbol: the record's name); again: it had stopped something before; rows: the
    kill switch as it stands then; governors: those with a record, at `now` on the server's clock;
    unheard: those whose records do not name the kill keys that they read; silent: those (name to
    what is wrong) whose port on this host does not answer, where it was asked."""

    names: list[str]
    again: bool
    withdrawn: Withdrawn
    governors: list[ServiceRecord]
    now: float
    unheard: list[ServiceRecord]
    rows: list[kill_switch.KillKey]
    problems: list[str]
    silent: dict[str, str] = {}

    @property
    def late(self) -> list[ServiceRecord]:
        """The governors that finished no pass for too long."""
        return [each for each in self.governors if each.is_late(self.now)]

    @property
    def enforced(self) -> bool:
        """True while a governor is running that is not late and answers, as far as was asked."""
        return len(self.late) + len(self.silent) < len(self.governors)


class Resumed(msgspec.Struct, frozen=True):
    """One stop that was taken back: the kill key without the prefix (or the record's name of a
    symbol), its value, and what is there again ("" for nothing)."""

    name: str
    value: str
    restored: str


class Refused(msgspec.Struct, frozen=True):
    """Somebody else's stop is in force: its key (full name) and value."""

    key: str
    value: str


def stop(store: Store, order: HaltRequest, everything: bool, name: str | None = None) -> Stop:
    """Sets the stop, in one step: opens only, or everything; never looser than what is there. name:
    the key, without it OWN where that is among the order's names, else the first. Errors:
    RedisUnreachable (it may stand or not), WireError (it does not)."""
    keys = store.keys
    name = name or own_name(order.names)
    key = keys.prefix + name
    # Versions before read a halt key as a kill key: there `all` stops everything, too.
    halts = bool(order.symbol) or name in order.names.halts
    if order.symbol:
        key, name = keys.halted_symbols, kill_switch.record_name(order.symbol)
    stops = (EVERYTHING if halts else ONE) if everything else REDUCE_ONLY
    reply = store.script(
        "halt",
        (key, keys.halt_records, keys.events),
        (
            order.symbol, name, stops, order.who, order.why, order.events_maxlen, int(halts),
            order.event,
        ),
    )  # fmt: skip
    was, in_force, record, problem = reply
    decoded = msgspec.json.decode(record.decode("utf-8", "replace"), type=kill_switch.HaltRecord)
    return Stop(name, was.decode(), text(in_force), decoded, text(problem))


def follow_up(
    store: Store,
    order: HaltRequest,
    everything: bool,
    first: Stop | None,
    find_governors: Callable[[], list[ServiceRecord]],
) -> Report:
    """Withdraws permits after the stop, and sets more keys where a governor does not read the one
    that was set. first: None for a dry run; find_governors may take long, so permits come first.
    Errors: RedisUnreachable, WireError; the stop stands."""
    names = [first.name if first else own_name(order.names)]
    problems = [first.problem] if first and first.problem else []
    withdrawn = withdraw(store, order, dry_run=first is None)
    governors, now = find_governors(), store.now_ms() / 1000
    # Every governor reads the symbols that are stopped, whatever its kill keys.
    more = [] if order.symbol else lacking(governors, names)
    read = [found for each in governors if (found := names_of(each.settings)) is not None]
    order = msgspec.structs.replace(order, names=together([order.names, *read]))
    for name in more:
        names.append(name)
        if first is not None:
            problem = stop(store, order, everything, name).problem
            problems += [problem] if problem else []
    if more and first is not None:
        # The second round meets all that the first one left.
        before, withdrawn = withdrawn, withdraw(store, order)
        opens, revoked = before.opens + withdrawn.opens, before.revoked + withdrawn.revoked
        withdrawn = msgspec.structs.replace(withdrawn, opens=opens, revoked=revoked)
    unheard = [it for it in governors if not (order.symbol or names_of(it.settings))]
    rows = kill_switch.read(store, order.names)
    again = first is not None and first.was != "normal"
    return Report(names, again, withdrawn, governors, now, unheard, rows, problems)


def own_name(names: KillNames) -> str:
    """The key to set, by the names that are read."""
    read = (*names.halt_keys, *names.kill_keys)
    return OWN if OWN in read or not read else read[0]


def withdraw(store: Store, order: HaltRequest, *, dry_run: bool = False) -> Withdrawn:
    """Takes back every permit of an open that nobody has taken, and of a close where the order says
    so, one small step each. To be called once the stop is in force: no open permit comes after.
    dry_run: only counts. Errors: RedisUnreachable."""
    found: Counter[str] = Counter()
    unknown: list[str] = []
    problems: list[str] = []
    symbol = stored(order.symbol) if order.symbol else ""
    more = (
        symbol, Reason.KILL_SWITCH.value, order.who, order.events_maxlen, int(dry_run),
        int(order.revoke),
    )  # fmt: skip
    for ids in _indexed(store):
        calls = [(_permit_keys(store, plan_id), (plan_id, *more)) for plan_id in ids]
        for plan_id, reply in zip(ids, store.scripts("withdraw_open", calls), strict=True):
            if is_error(reply):
                problems.append(str(reply_error(reply, store.keys.at(PERMIT, plan_id))))
                continue
            found[text(reply)] += 1
            if text(reply) == "unknown":
                unknown.append(plan_id)
    return Withdrawn(
        opens=found["withdrawn"],
        revoked=found["withdrawn_close"],
        closes=found["close"],
        unknown=tuple(unknown),
        problems=tuple(problems),
    )


def lacking(governors: Iterable[ServiceRecord], names: Iterable[str]) -> list[str]:
    """Keys to set beside these names, so that each of these governors reads one."""
    covered = list(names)
    more: list[str] = []
    for governor in governors:
        read = names_of(governor.settings)
        names_there = set() if read is None else {*read.kill_keys, *read.halt_keys}
        if read is not None and names_there and not names_there & {*covered, *more}:
            more.append(own_name(read))
    return more


def names_read(governors: Iterable[ServiceRecord], otherwise: KillNames) -> KillNames:
    """What the running governors read; by the settings of this shell where none tells."""
    found = [names for each in governors if (names := names_of(each.settings)) is not None]
    return together(found) if found else otherwise


def resume(
    store: Store, order: HaltRequest, *, forced: bool = False, dry_run: bool = False
) -> Refused | tuple[list[Resumed], str]:
    """Takes back what halt has set (of a symbol, or the kill keys) in one step; what was taken back
    (empty: there was nothing) and what could not be written beside it.

    Refused where a key has a value that halt has not set; forced: not for OWN, whoever set that.
    What a governor kept is taken back whoever has its record. Errors: RedisUnreachable, WireError.
    """
    keys = store.keys
    rows = kill_switch.read(store, order.names)
    apart = (keys.halted_symbols, keys.clock_jump)
    found = [row.key.removeprefix(keys.prefix) for row in rows if row.key not in apart]
    # Another name that a halt has set is read as a kill key; those of the governors come last.
    further = [name for name in found if name not in order.names.names]
    names = [*further, *order.names.names]
    own = own_name(order.names) if forced else ""
    named = [*names, kill_switch.record_name(order.symbol)] if order.symbol else names
    reply = store.script(
        "resume",
        (keys.halted_symbols, keys.halt_records, keys.events, *keys.kills(names)),
        (
            order.symbol, order.who, order.why, order.events_maxlen, int(dry_run), own,
            len(order.names.halts), *named,
        ),
    )  # fmt: skip
    word, *rest = [text(part) for part in reply]
    if word == "refused":
        return Refused(rest[0], rest[1])
    if word == "nothing":
        return [], ""
    problem, *parts = rest
    thirds = range(0, len(parts), 3)
    return [Resumed(*parts[place : place + 3]) for place in thirds], problem


def _permit_keys(store: Store, plan_id: str) -> tuple[str, ...]:
    keys = store.keys
    return (keys.at(DECISION, plan_id), keys.at(PERMIT, plan_id), keys.permits, keys.events)


def _indexed(store: Store) -> Iterator[list[str]]:
    """The plan_ids in the index of permits by the thousand, each once."""
    seen: set[str] = set()
    for page in store.index_pages(store.keys.permits):
        fresh = [id_ for id_ in map(text, page) if id_ not in seen]
        seen.update(fresh)
        yield [plan_id for plan_id in fresh if plan_id_problem(plan_id) is None]
