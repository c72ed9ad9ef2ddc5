"""What tells that Redis has lost what it knew: the mark of a governor, and any trace at all."""

from enum import StrEnum

import msgspec

from qtctl.wire.client import xinfo
from qtctl.wire.client.connect import is_error, reply_error
from qtctl.wire.client.store import Store
from qtctl.wire.control import kill_switch
from qtctl.wire.schema.keys import EMPTIED_TTL_SEC, GROUP, MARK, MARK_TTL_SEC
from qtctl.wire.schema.kill_names import KillNames
from qtctl.wire.schema.records import from_json, text


class How(StrEnum):
    """In which way it was found to have lost it."""

    START = "start"
    """A governor started and found no trace of the control plane."""
    EMPTY = "empty"
    """What a governor left a moment ago is gone."""
    OLDER = "older"
    """It is there as it was before."""


class Emptied(msgspec.Struct, frozen=True):
    """That Redis was found so, within the last hour. at: epoch seconds, the server's clock;
    acknowledged_by: who resumed since, empty for nobody; resumed: with that, a halt of all symbols
    was lifted."""

    at: int = 0
    how: str = ""
    by: str = ""
    acknowledged_by: str = ""
    resumed: bool = False

    @property
    def is_loss(self) -> bool:
        """True unless a governor started on it: the first start of all looks the same."""
        return self.how != How.START

    @property
    def is_incident(self) -> bool:
        """True for a loss that no operator has acknowledged."""
        return self.is_loss and not self.acknowledged_by

    @property
    def what(self) -> str:
        """In words that stand behind a time."""
        known = f", acknowledged by {self.acknowledged_by}" if self.acknowledged_by else ""
        if self.how == How.START:
            return f"{self.by} started and found no trace of the control plane{known}"
        older = "came back with OLDER data" if self.how == How.OLDER else "came back EMPTY"
        return f"Redis {older}, found by {self.by or 'nobody knows whom'}{known}"


def look(
    store: Store, names: KillNames, instance: str, mark_ms: int, *, again: bool
) -> tuple[int | None, list[kill_switch.KillKey]]:
    """Leaves the mark of this governor (the server's clock at this look, epoch ms) and reads the
    kill switch, in one step: the mark before, None where there was none, and the rows.

    again: a mark that is gone is not made anew. Errors: RedisUnreachable, WireError.
    """
    key = store.keys.at(MARK, instance)
    condition = ("XX", "GET") if again else ("GET",)
    set_mark = ("SET", key, mark_ms, "EX", MARK_TTL_SEC, *condition)
    marked, *replies = store.batch([set_mark, *kill_switch.asks(store.keys, names)], atomic=True)
    if is_error(marked):
        raise reply_error(marked, key)
    before = text(marked or b"")
    rows = kill_switch.rows_of(store.keys, names, replies)
    return int(before) if before.isdecimal() else None, rows


def without_a_trace(store: Store, instance: str) -> bool:
    """True if nothing of the governors is there that outlives them: no group, no ledgers, no
    halts, no mark of this one. The loops' own records and proposals may be seconds old, and do not
    count."""
    keys = store.keys
    traces = (keys.permits, keys.ledger_total, keys.halt_records, keys.halted_symbols,
              keys.halt_kept, keys.clock_jump, keys.emptied, keys.at(MARK, instance))  # fmt: skip
    groups = {each.name for each in xinfo.groups(store, keys.plans)}
    return not store.run("EXISTS", *traces) and GROUP not in groups


def report(store: Store, how: How, who: str, events_maxlen: int) -> None:
    """Says for an hour how Redis was found, with an event but for a start: the first one of all is
    no incident. Errors: as in `look`."""
    at = store.now_ms() // 1000
    record = msgspec.json.encode(Emptied(at, how.value, who))
    store.run("SET", store.keys.emptied, record, "EX", EMPTIED_TTL_SEC)
    if how is How.START:
        return
    event = ("event", "redis_emptied", "plan_id", "", "symbol", "", "reason", how.value, "ts", at,
             "actor", who)  # fmt: skip
    store.run("XADD", store.keys.events, "MAXLEN", "~", events_maxlen, "*", *event)


def emptied(store: Store) -> Emptied | None:
    """How Redis was found within the last hour; None where nothing was lost, or it may not be read.
    Errors: RedisUnreachable."""
    (reply,) = store.batch([("GET", store.keys.emptied)])
    return None if reply is None or is_error(reply) else from_json(reply, Emptied, Emptied())


def incident(store: Store) -> Emptied | None:
    """A loss within the last hour that no operator has acknowledged. Errors: RedisUnreachable."""
    found = emptied(store)
    return found if found is not None and found.is_incident else None


def resumed_by(store: Store, mark_ms: int, now_ms: int) -> str:
    """Who lifted what was halted after another governor found the loss that comes after this mark;
    empty for nobody. now_ms: the server's clock. Errors: RedisUnreachable."""
    found = emptied(store)
    # A clock that was set back leaves a time ahead of it: that tells nothing of before and after.
    if found is None or not found.resumed or not mark_ms < found.at * 1000 <= now_ms:
        return ""
    return found.acknowledged_by


def acknowledge(
    store: Store, who: str, why: str, events_maxlen: int, *, resumed: bool = False
) -> Emptied | None:
    """Notes that an operator knows of it, with an event: what was acknowledged, None where nothing
    was left to be. resumed: a halt of all symbols was lifted, so that a governor which finds the
    loss later does not keep it. One that is found meanwhile stays an incident. Errors:
    RedisUnreachable, WireError where Redis refused it."""
    key = store.keys.emptied
    (reply,) = store.batch([("GET", key)])
    if reply is None or is_error(reply):
        return None
    known = from_json(reply, Emptied, Emptied())
    if known.acknowledged_by:
        return None
    after = msgspec.structs.replace(known, acknowledged_by=who, resumed=resumed)
    more = (reply, msgspec.json.encode(after), who, why, events_maxlen)
    return known if store.script("acknowledge", (key, store.keys.events), more) else None
