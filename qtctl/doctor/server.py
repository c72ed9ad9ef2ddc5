"""The server: does it answer, is it new enough, may it forget decisions, and whose clock is off."""

import re
from collections.abc import Mapping

from qtctl import clock
from qtctl.doctor.findings import Finding, Findings, ok, span, unknown, warning, wrong
from qtctl.doctor.inspection import Inspection
from qtctl.domain.numbers import whole
from qtctl.settings.rules import rules_from
from qtctl.wire.control import forgotten, kill_switch
from qtctl.wire.schema.kill_names import KillNames
from qtctl.wire.schema.service import MAX_CLOCK_OFF_SEC

NEEDED = (6, 2)
"""XAUTOCLAIM, ZRANGE with REV, ZMSCORE."""
WANTED = {"redis": (7, 0), "valkey": (7, 2)}
"""Lag, and ACL rules that tell a read from a write."""
MEMORY_TIGHT, MEMORY_FULL = 0.80, 0.95
SLOW_SEC = 0.1
SKEW_MUCH_SEC = 60.0
"""From here on the readers take a time for one ahead, and trust it no more."""
FORGETS = "a plan whose decision is forgotten can be permitted, and traded, a second time"
_ALSO = "Put it into redis.conf as well"
_OF_WRITES = ("aof_last_write_status", "aof_last_bgrewrite_status", "rdb_last_bgsave_status")
_NOT_BY_IT = (
    "nothing is decided by a host's clock, but one of the two is wrong: all ages, rates and "
    "lifetimes go by the server's, and publishers may put the host's time into plans and scores"
)


def reachable(inspection: Inspection) -> Findings:
    """It answers, and how soon."""
    began = clock.monotonic()
    inspection.store.now_ms()
    took = clock.monotonic() - began
    what = f"{inspection.where} answers within {took * 1000:.1f} ms"
    if took <= SLOW_SEC:
        yield ok(what)
        return
    why = "a permit that comes 1.2 s after its plan is worthless to the Apply Layer"
    yield warning(what, why, inspection.redis_cli("--latency-history"))


def version(inspection: Inspection) -> Findings:
    """New enough for the commands that are used."""
    info = inspection.info
    name = "valkey" if "valkey_version" in info else "redis"
    version = info.get(f"{name}_version", "")
    parts = re.match(r"([0-9]+)\.([0-9]+)(?![^.])", version)
    more = inspection.redis_cli("info", "server")
    if parts is None:
        yield unknown("the server does not report its version", command=more)
        return
    found = int(parts[1]), int(parts[2])
    if name == "redis" and found < NEEDED:
        why = "neither abandoned plans nor the rate gates can be read: the governor does not work"
        yield wrong(f"Redis {version} is older than 6.2", why, more)
    elif found < WANTED[name]:
        least = ".".join(map(str, WANTED[name]))
        why = "it can't tell a group's lag, and its ACL can't keep a live target from being written"
        yield warning(f"{name} {version} is older than {least}", why, more)
    else:
        yield ok(f"{name} {version}")


def role(inspection: Inspection) -> Findings:
    """A primary, and done with loading."""
    info = inspection.info
    if info.get("role") == "slave":
        place = f"{info.get('master_host', '?')}:{info.get('master_port', '?')}"
        why = "permits are written on the primary only: the governor is not ready here"
        yield wrong(f"this server is a replica of {place}", why, inspection.show("redis.url"))
    elif info.get("loading", "0") != "0":
        why = "until it is done it answers nothing"
        see = inspection.redis_cli("info", "persistence")
        yield wrong("the server is still loading its data", why, see)
    else:
        yield ok("a primary")


def eviction(inspection: Inspection) -> Findings:
    """Nothing but noeviction: decisions have a lifetime, so that any other policy may take them."""
    info = inspection.info
    policy, limit = info.get("maxmemory_policy", ""), whole(info.get("maxmemory", ""))
    fix = inspection.redis_cli("config", "set", "maxmemory-policy", "noeviction")
    evicted = whole(info.get("evicted_keys", ""))
    if not policy:
        yield unknown("the server does not report its eviction policy")
    elif policy == "noeviction":
        yield ok("maxmemory-policy noeviction")
    elif limit:
        gone = f", {evicted:,} keys evicted since it started" if evicted else ""
        why = f"decisions may be evicted: {FORGETS}. There are no permits meanwhile. {_ALSO}"
        yield wrong(f"maxmemory-policy {policy} with maxmemory {_bytes(limit)}{gone}", why, fix)
    else:
        why = "as soon as somebody sets maxmemory, decisions may be evicted and permits stop. "
        yield warning(f"maxmemory-policy {policy}, without a maxmemory so far", why + _ALSO, fix)


def memory(inspection: Inspection) -> Findings:
    """Room for what comes; where it is full, Redis refuses every write."""
    info = inspection.info
    used, limit = whole(info.get("used_memory", "")), whole(info.get("maxmemory", ""))
    system = whole(info.get("total_system_memory", ""))
    room, whose = (limit, "maxmemory") if limit else (system, "the host's memory")
    if not used or not room:
        yield unknown("the server does not report how much memory it uses, or may use")
        return
    share = used / room
    what = f"{_bytes(used)} used, {share:.0%} of {whose} ({_bytes(room)})"
    if share < MEMORY_TIGHT:
        yield ok(what)
        return
    refused = "every write is refused: no decisions, no permits"
    why = f"when it is full {refused if limit else 'the kernel may end the server'}"
    fix = inspection.redis_cli("--memkeys")
    wider = max(2 * limit, 2 * used)
    if limit and wider < 0.75 * system:
        fix = inspection.redis_cli("config", "set", "maxmemory", str(wider))
        why += f". {_ALSO}"
    yield (wrong if share >= MEMORY_FULL else warning)(what, why, fix)


def persistence(inspection: Inspection) -> Findings:
    """Decisions outlive a crash of the server."""
    info = inspection.info
    failed = [name for name in _OF_WRITES if info.get(name, "ok") != "ok"]
    if failed:
        why = "what was decided since is not on disk, and Redis may refuse every write until it is"
        fix = "bgrewriteaof" if info.get("aof_enabled") == "1" else "bgsave"
        yield wrong(f"the last write to disk failed ({', '.join(failed)})", why,
                    inspection.redis_cli(fix))  # fmt: skip
    elif "aof_enabled" not in info:
        yield unknown("the server does not report whether it keeps its data on disk")
    elif info["aof_enabled"] == "1":
        yield ok("append-only file on")
    else:
        yield _without_aof(inspection, info)


def emptied(inspection: Inspection) -> Findings:
    """Within the last hour nothing was lost."""
    found = forgotten.emptied(inspection.store)
    if found is None:
        yield ok("has lost nothing within the last hour, as far as a governor noticed")
        return
    ago = f"{span(inspection.now - found.at)} ago"
    if found.how == forgotten.How.START:
        why = (
            "nobody remembers a halt that was in force before; a first start looks the same. "
            "[safety] start_halted = true halts opens then"
        )
        yield warning(f"{ago} {found.what}", why, inspection.qtctl("tail", "events"))
    elif found.acknowledged_by:
        yield ok(f"{ago} {found.what}")
    else:
        # One command at a time: what qtctl has halted already is resumed once that is safe.
        advice = "Halt opens until positions are compared with the exchange"
        fix: tuple[str, ...] = ("halt",)
        if _halted(inspection):
            advice = "Opens are halted: compare positions with the exchange first"
            fix = ("resume", "--reason", "positions compared")
        why = (
            f"{FORGETS}. {advice}; resume then acknowledges it. "
            "See docs/runbooks/QtctlRedisEmptied.md"
        )
        yield wrong(f"{ago} {found.what}", why, inspection.qtctl(*fix))


def _halted(inspection: Inspection) -> bool:
    """True if a halt that qtctl can lift stops every open."""
    rows = kill_switch.read(inspection.store, rules_from(inspection.settings.governor, KillNames))
    return any(row.mode.level and row.is_ours and not row.symbol for row in rows)


def _without_aof(inspection: Inspection, info: Mapping[str, str]) -> Finding:
    fix = inspection.redis_cli("config", "set", "appendonly", "yes")
    also = f"{FORGETS}. {_ALSO}"
    if whole(info.get("rdb_saves", "")):
        changes = whole(info.get("rdb_changes_since_last_save", ""))
        what = f"no append-only file, snapshots only: {changes:,} changes since the last one"
        return warning(what, f"a crash forgets what was decided since: {also}", fix)
    what = "no append-only file, and no snapshot since the server started"
    return wrong(what, f"a restart forgets all decisions: {also}", fix)


def clocks(inspection: Inspection) -> Findings:
    """The clock of this host and of each service's beside the server's."""
    for each in (it for found in inspection.running.values() for it in found):
        off = each.clock_ahead_sec
        if abs(off) <= MAX_CLOCK_OFF_SEC:
            continue
        yield warning(
            f"the clock of {each.host} ({each.service} {each.name}) is {abs(off):.0f} s "
            f"{'ahead of' if off > 0 else 'behind'} the server's",
            f"{_NOT_BY_IT}. On {each.host}, if it is not the server's clock that is off:",
            "sudo timedatectl set-ntp true",
        )
    timed = inspection.timed
    ahead = abs(timed.skew_sec)
    side = "ahead of" if timed.skew_sec > 0 else "behind"
    what = f"the server's clock is {ahead:.1f} s {side} this host's"
    if ahead - timed.unsure_sec <= MAX_CLOCK_OFF_SEC:
        yield ok(f"the server's clock is this host's, within {max(ahead, timed.unsure_sec):.2f} s")
        return
    level = wrong if ahead >= SKEW_MUCH_SEC else warning
    why = f"{_NOT_BY_IT}. On the host whose clock is off:"
    yield level(what, why, "sudo timedatectl set-ntp true")


def _bytes(count: int) -> str:
    for unit, size in (("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count:,} bytes"
