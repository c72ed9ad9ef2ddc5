"""The kill switch, under every name that anybody here reads or that a halt has set, and names that
look like one and that nobody reads."""

from qtctl.doctor.findings import Finding, Findings, ok, some, unknown, warning, wrong
from qtctl.doctor.inspection import Inspection
from qtctl.settings import Governor
from qtctl.settings.rules import rules_from
from qtctl.wire.client.connect import is_error
from qtctl.wire.control import kill_switch
from qtctl.wire.queries import keyspace
from qtctl.wire.queries.switches import unread
from qtctl.wire.schema.keys import HALT, HALT_KEPT
from qtctl.wire.schema.kill_names import KillNames, names_of, together

_WHY_ON = ("--reason", "why it may go on")
_OWNERS = {HALT.template: "the drawdown guard sets this one (no new risk)"}
"""Which system is known to set a key that a halt sets too."""


def switches(inspection: Inspection) -> Findings:
    """Nothing is stopped."""
    read = _read_by_governors(inspection)
    names = together([*read, _here(inspection), rules_from(Governor(), KillNames)])
    unreadable = _unreadable(inspection, names)
    if unreadable:
        why = "it may stop everything; here it can't be seen"
        yield unknown(f"may not be read: {', '.join(unreadable)}", why)
    rows = kill_switch.read(inspection.store, names)
    set_ = [row for row in rows if row.mode is not kill_switch.Mode.NORMAL]
    heard = inspection.store.keys.kills(name for each in read for name in each.names)
    for row in set_:
        everywhere = not heard or bool(row.symbol) or row.by_clock
        yield _set(inspection, row, everywhere or row.key in heard)
    if not set_ and not unreadable:
        listed = ", ".join(names.names)
        yield ok(f"nothing is halted under any of {len(rows):,} names: {listed}")


def names(inspection: Inspection) -> Findings:
    """`qtctl halt` from here sets a key that the governors read."""
    if not inspection.running["governor"]:
        yield ok("no governor is running that could read other kill keys")
        return
    here = _here(inspection).names
    found = []
    see = inspection.show("governor.kill_keys")
    for each in inspection.running["governor"]:
        theirs = names_of(each.settings)
        if theirs is None:
            continue
        # One of a version before reads no kept halt, and says nothing of halt keys.
        read = (*theirs.names, HALT_KEPT.template)
        unread = [name for name in here if name not in read]
        unknown_here = [name for name in read if name not in here]
        if unread:
            what = f"does not read the kill key {', '.join(unread)} of this shell's settings"
            why = "whoever sets it takes trading for stopped; qtctl halt sets one that is read"
            found.append(wrong(f"the governor {each.name} {what}", why, see))
        elif unknown_here:
            what = f"also reads {', '.join(unknown_here)}, which this shell's settings do not name"
            why = "a stop by that name is not seen from here"
            found.append(warning(f"the governor {each.name} {what}", why, see))
    yield from found or [ok("the governors read the kill keys of this shell's settings")]


def lookalikes(inspection: Inspection) -> Findings:
    """No key looks like a kill switch that nobody reads."""
    read = together(
        [*_read_by_governors(inspection), _here(inspection), rules_from(Governor(), KillNames)]
    )
    prefix = inspection.store.keys.prefix
    found = [key for key in inspection.sweep.switches if key.removeprefix(prefix) not in read.names]
    if not found:
        walked = "" if inspection.sweep.complete else f" among {inspection.sweep.walked}"
        yield ok(f"no other key looks like a kill switch{walked}")
        return
    values = keyspace.shown(inspection.store, found[:3])
    is_set = unread(inspection.store, read.names, found)
    what = some([f"{key} is {value}" for key, value in values] + found[3:])
    yield warning(
        f"looks like a kill switch, and no governor reads it: {what}",
        "whoever set it may believe that trading is stopped, and it is not. If a halt is meant, "
        "halt, and add the name to governor.kill_keys or governor.halt_keys; if not, its owner "
        "must delete it",
        inspection.qtctl("halt") if is_set else inspection.show("governor.kill_keys"),
    )


def _here(inspection: Inspection) -> KillNames:
    return rules_from(inspection.settings.governor, KillNames)


def _unreadable(inspection: Inspection, names: KillNames) -> list[str]:
    """The keys that this user may not read: kill_switch counts them as normal."""
    keys = inspection.store.keys
    asked = (*keys.kills(names.names), keys.clock_jump, keys.halted_symbols)
    replies = inspection.store.batch(kill_switch.asks(keys, names))[: len(asked)]
    refused = ((key, it) for key, it in zip(asked, replies, strict=True) if is_error(it))
    return [key for key, problem in refused if not str(problem).startswith("WRONGTYPE")]


def _read_by_governors(inspection: Inspection) -> list[KillNames]:
    found = (names_of(each.settings) for each in inspection.running["governor"])
    return [each for each in found if each is not None]


def _set(inspection: Inspection, row: kill_switch.KillKey, heard: bool) -> Finding:
    by = f", set by {row.who}{': ' if row.why else ''}{row.why}" if row.record else ""
    opens_only = row.mode is kill_switch.Mode.REDUCE_ONLY
    of = f" of {row.symbol}" if row.symbol else ""
    none = f"no {'open' if opens_only else 'plan'}{of} gets a permit"
    none += "; closes pass" if opens_only else ", not even a close"
    if row.symbol:
        what = f"{row.symbol} is stopped ({row.value!r} in {row.key}{by})"
        fix = inspection.qtctl("resume", row.symbol, *_WHY_ON)
        return warning(what, none, fix)
    what = f"{row.key} is {row.value!r}{by}"
    if not heard:
        why = "somebody takes trading for stopped, and it is not"
        return wrong(f"{what}, and no running governor reads that key", why,
                     inspection.qtctl("halt"))  # fmt: skip
    why = none
    name = row.key.removeprefix(inspection.store.keys.prefix)
    if row.by_clock:
        why += ": decisions may have expired before their time, see docs/runbooks/QtctlClockJump.md"
        fix = inspection.qtctl("resume", "--clock", *_WHY_ON)
    elif row.record or name == HALT_KEPT.template:
        fix = inspection.qtctl("resume", *_WHY_ON)
    else:
        # What another system has set is not ours to delete, and it would set it again.
        owner = _OWNERS.get(name, "another system set it")
        why += f". qtctl halt has not set it: {owner}, and who runs that system must clear it; if "
        why += f"it is a leftover, with {inspection.redis_cli('del', row.key)}"
        fix = inspection.redis_cli("ttl", row.key)
    return warning(what, why, fix) if opens_only else wrong(what, why, fix)
