"""Names that a shell may complete: plans, permits, groups, symbols. Every read is bounded; what is
not found in time is not offered."""

from collections.abc import Iterable, Iterator

from qtctl import clock
from qtctl.domain.names import plan_id_problem, symbol_problem
from qtctl.wire.client import xinfo
from qtctl.wire.client.connect import is_error
from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import DECISION, DECISION_TTL_SEC, EFFICIENCY, PERMIT, TARGET, KeySpec
from qtctl.wire.schema.records import pairs, text

MOST = 500
"""Names that are offered."""
ENOUGH = 2 * MOST
"""A SCAN ends once it has found so many."""
RECENT = 500
"""Entries of a stream, or members of the index, that are looked at."""
COUNT = 5_000
LOOK_SEC = 0.1
"""A SCAN goes on for so long."""
_GLOBS = frozenset("*?[]{}\\")


def plan_ids(store: Store, head: str) -> list[str]:
    """Plans with a decision whose id begins with `head`, the latest first: those of the last
    events, or where none fits what a short SCAN finds. Errors: RedisUnreachable, WireError."""
    since = store.now_ms() - DECISION_TTL_SEC * 1000
    entries = store.run("XREVRANGE", store.keys.events, "+", since, "COUNT", RECENT)
    names = (pairs(raw).get("plan_id", "") for _, raw in entries)
    found = _first(name for name in names if name.startswith(head) and not plan_id_problem(name))
    return found or (sorted(_first(_scanned(store, DECISION, head))) if head else [])


def permits(store: Store, head: str) -> list[str]:
    """Plans whose permit nobody has taken yet, the latest first."""
    listed = [text(name) for name in store.run("ZRANGE", store.keys.permits, 0, RECENT - 1, "REV")]
    names = [name for name in listed if name.startswith(head) and not plan_id_problem(name)]
    replies = store.batch([("PTTL", store.keys.at(PERMIT, name)) for name in names])
    there = zip(names, replies, strict=True)
    return _first(name for name, ttl in there if not is_error(ttl) and ttl != -2)


def groups(store: Store, head: str) -> list[str]:
    """Groups of the plan stream."""
    return [each.name for each in xinfo.groups(store, store.keys.plans)]


def symbols(store: Store, head: str) -> list[str]:
    """Symbols with a target or a score, as far as a short SCAN finds them; sorted."""
    until = clock.monotonic() + LOOK_SEC
    found: set[str] = set()
    for spec in (TARGET, EFFICIENCY):
        for name in _scanned(store, spec, head, until):
            found.add(name)
            if len(found) >= ENOUGH:
                return _spread(sorted(found))
    return _spread(sorted(found))


def halted(store: Store, head: str) -> list[str]:
    """Symbols that are halted individually."""
    reply = pairs(store.run("HGETALL", store.keys.halted_symbols))
    names = (name for name in sorted(reply) if name.startswith(head))
    return _first(name for name in names if not symbol_problem(name))


def _scanned(store: Store, spec: KeySpec, head: str, until: float | None = None) -> Iterator[str]:
    if not _GLOBS.isdisjoint(head):
        return  # No name has one of these.
    until = clock.monotonic() + LOOK_SEC if until is None else until
    pattern = store.keys.pattern(spec).removesuffix("*") + head + "*"
    for page, _ in store.scan_pages(pattern, COUNT):
        for key in page:
            name = store.keys.name(spec, text(key))
            if name is not None:
                yield name
        if clock.monotonic() > until:
            return


def _spread(names: list[str]) -> list[str]:
    """MOST of them, spread evenly: a shell types what all names have in common, and the first few
    alone have too much."""
    if len(names) <= MOST:
        return names
    return [names[place * (len(names) - 1) // (MOST - 1)] for place in range(MOST)]


def _first(names: Iterable[str]) -> list[str]:
    """The first MOST of them, each once."""
    found: dict[str, None] = {}
    for name in names:
        found[name] = None
        if len(found) == MOST:
            break
    return list(found)
