"""The kill switch, under every name that anybody here reads or that a halt has set."""

from collections.abc import Sequence

from qtctl.doctor.findings import Finding, Findings, ok, unknown, warning, wrong
from qtctl.doctor.inspection import Inspection
from qtctl.settings import Governor
from qtctl.wire.client.connect import is_error
from qtctl.wire.control import kill_switch
from qtctl.wire.control.kill_switch import KillKey, Mode


def switches(inspection: Inspection) -> Findings:
    """Nothing is stopped."""
    own = inspection.settings.governor.kill_keys
    names = tuple(dict.fromkeys((*_read_by_governors(inspection), *own, *Governor().kill_keys)))
    unreadable = _unreadable(inspection, names)
    if unreadable:
        why = "it may stop everything; here it can't be seen"
        yield unknown(f"may not be read: {', '.join(unreadable)}", why)
    rows = kill_switch.read(inspection.store, names)
    set_ = [row for row in rows if row.mode is not Mode.NORMAL]
    heard = {inspection.store.keys.prefix + name for name in _read_by_governors(inspection)}
    for row in set_:
        yield _set(inspection, row, not heard or bool(row.symbol) or row.key in heard)
    if not set_ and not unreadable:
        yield ok(f"nothing is halted under any of {len(rows):,} names: {', '.join(names)}")


def names(inspection: Inspection) -> Findings:
    """`qtctl halt` from here sets a key that the governors read."""
    if not inspection.running["governor"]:
        yield ok("no governor runs that could read other kill keys")
        return
    here = inspection.settings.governor.kill_keys
    found = []
    see = inspection.show("governor.kill_keys")
    for each in inspection.running["governor"]:
        read = each.settings.get("kill_keys")
        if not isinstance(read, list):
            continue
        unread = [name for name in here if name not in read]
        unknown_here = [str(name) for name in read if name not in here]
        if unread:
            what = f"does not read the kill key {', '.join(unread)} of this shell's settings"
            why = "a halt from here may stop nothing"
            found.append(wrong(f"the governor {each.name} {what}", why, see))
        elif unknown_here:
            what = f"also reads {', '.join(unknown_here)}, which this shell's settings do not name"
            why = "a stop by that name is not seen from here"
            found.append(warning(f"the governor {each.name} {what}", why, see))
    yield from found or [ok("the governors read the kill keys of this shell's settings")]


def _unreadable(inspection: Inspection, names: Sequence[str]) -> list[str]:
    """The keys that this user may not read: kill_switch counts them as normal."""
    keys = inspection.store.keys
    asked = (*keys.kills(names), keys.halted_symbols)
    replies = inspection.store.batch(kill_switch.asks(keys, names))[: len(asked)]
    return [
        key
        for key, reply in zip(asked, replies, strict=True)
        if is_error(reply) and not str(reply).startswith("WRONGTYPE")
    ]


def _read_by_governors(inspection: Inspection) -> list[str]:
    found = (each.settings.get("kill_keys") for each in inspection.running["governor"])
    return [str(name) for names in found if isinstance(names, list) for name in names]


def _set(inspection: Inspection, row: KillKey, heard: bool) -> Finding:
    by = f", set by {row.who}{': ' if row.why else ''}{row.why}" if row.record else ""
    opens_only = row.mode is Mode.REDUCE_ONLY
    closes = "; closes pass" if opens_only else ", closes neither"
    reason = ("--reason", "why it may go on")
    if row.symbol:
        what = f"{row.symbol} is stopped ({row.value!r} in {row.key}{by})"
        fix = inspection.qtctl("resume", row.symbol, *reason)
        return warning(what, f"its plans get no permit{closes}", fix)
    what = f"{row.key} is {row.value!r}{by}"
    if not heard:
        why = "somebody takes trading for stopped, and it is not"
        return wrong(f"{what}, and no running governor reads that key", why,
                     inspection.qtctl("halt"))  # fmt: skip
    resume = inspection.qtctl("resume", *reason)
    fix = resume if row.record else inspection.redis_cli("del", row.key)
    if opens_only:
        return warning(what, f"no plan that opens gets a permit{closes}", fix)
    return wrong(what, f"nothing gets a permit{closes}", fix)
