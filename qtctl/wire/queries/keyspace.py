"""What only `qtctl doctor` reads: INFO, which keys there really are (whatever an index says), and
permits as they are stored. Bounded: one SCAN over all keys, everything else in batches."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from qtctl.domain.names import FOREIGN_PLAN_IDS
from qtctl.wire.client.connect import is_error, reply_error
from qtctl.wire.client.store import SCAN_COUNT, Store
from qtctl.wire.schema.keys import DECISION, PERMIT, KeySpec
from qtctl.wire.schema.permit import permit_fields
from qtctl.wire.schema.records import shortened, text

MISNAMED_KEPT = 1_000

SWITCH = re.compile(
    rb"(?:^|[:._-])(kill(?:_?switch)?|emergency(?:_?stop)?|halt(?:ed)?|stop_?all|panic|freeze"
    rb"|frozen|circuit_?breaker"
    rb"|(?:system|trading)[:._-]?(?:mode|enabled|stop|stopped|paused?|halt|halted))"
    rb"(?:$|[:._-])",
    re.IGNORECASE,
)
"""What the name of a key looks like that stops trading somewhere."""
_NO_SWITCHES = (b"stream:", b"governor:", b"permit:", b"qtctl:", b"allocation:", b"capital:")
MOST_SWITCHES = 100


class Sweep(msgspec.Struct, frozen=True):
    """The names (symbols, plan_ids) that a walk over all keys found, by template, sorted.

    misnamed: keys under the templates of symbols that can have none, by template, and why; so many
    of each.
    switches: the keys whose names look like kill switches, sorted, at most MOST_SWITCHES.

    looked_at: how many keys were walked over, about; of: how many there are, None where that may
    not be asked; complete: it came to the end.
    """

    names: Mapping[str, tuple[str, ...]]
    misnamed: Mapping[str, Mapping[str, str]]
    looked_at: int
    of: int | None
    complete: bool
    switches: tuple[str, ...] = ()

    def of_spec(self, spec: KeySpec) -> tuple[str, ...]:
        """Those of one template."""
        return self.names[spec.template]

    @property
    def walked(self) -> str:
        """`1,000 of 5,000 keys looked at`."""
        of = "" if self.of is None or self.complete else f" of {self.of:,}"
        return f"{self.looked_at:,}{of} keys looked at"


class PermitKey(msgspec.Struct, frozen=True):
    """A permit by its key. encoding: `json`, `hash`, or `other` for what is no permit at all;
    ttl_sec is None where it has no lifetime; decided: is there a decision about its plan."""

    plan_id: str
    key: str
    encoding: str
    ttl_sec: float | None
    fields: dict[str, Any] | None
    decided: bool


def info(store: Store) -> dict[str, str]:
    """INFO, by field. Errors: RedisUnreachable, WireError (no permission)."""
    lines = text(store.run("INFO")).splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def sweep(store: Store, specs: Sequence[KeySpec], most: int) -> Sweep:
    """Walks over all keys, `most` of them at most, and keeps the names of these templates. Errors:
    RedisUnreachable, WireError (no permission)."""
    (size,) = store.batch([("DBSIZE",)])
    of = None if is_error(size) else int(size)
    heads = [(spec, (store.keys.prefix + spec.head).encode()) for spec in specs]
    others = tuple((store.keys.prefix + PERMIT.head + each).encode() for each in FOREIGN_PLAN_IDS)
    found: dict[str, set[str]] = {spec.template: set() for spec in specs}
    misnamed: dict[str, dict[str, str]] = {spec.template: {} for spec in specs}
    pattern = store.keys.pattern(KeySpec("", "", "", ""))
    walked, complete = 0, False
    prefix, switches = store.keys.prefix.encode(), set()
    for page, cursor in store.scan_pages(pattern):
        walked += SCAN_COUNT
        complete = cursor == b"0"
        for raw in page:
            if raw.startswith(others):
                continue
            for spec, head in heads:
                if raw.startswith(head):
                    key = text(raw)
                    name = store.keys.name(spec, key)
                    if name is not None:
                        found[spec.template].add(name)
                    elif len(odd := misnamed[spec.template]) < MISNAMED_KEPT:
                        problem = store.keys.misnamed(spec, key)
                        if problem:
                            odd[shortened(key)] = problem
            own = raw.removeprefix(prefix)
            if not own.startswith(_NO_SWITCHES) and SWITCH.search(own):
                switches.add(text(raw))
        if walked >= most:
            break
    looked_at = of if complete and of is not None else min(walked, walked if of is None else of)
    names = {template: tuple(sorted(each)) for template, each in found.items()}
    return Sweep(names, misnamed, looked_at, of, complete, tuple(sorted(switches)[:MOST_SWITCHES]))


def shown(store: Store, keys: Sequence[str]) -> list[tuple[str, str]]:
    """Each key with its value, quoted, or what else it is. Errors: RedisUnreachable."""
    replies = store.batch([("GET", key) for key in keys])
    return [
        (key, "no string" if is_error(reply) else repr(text(reply or b"")[:64]))
        for key, reply in zip(keys, replies, strict=True)
    ]


def permits(store: Store, plan_ids: Sequence[str]) -> list[PermitKey]:
    """These permits as they lie there; those that are gone by now are left out. Errors:
    RedisUnreachable, WireError (no permission)."""
    asks = []
    for id_ in plan_ids:
        key, decision_key = store.keys.at(PERMIT, id_), store.keys.at(DECISION, id_)
        asks += [("PTTL", key), ("GET", key), ("HGETALL", key), ("PTTL", decision_key)]
    replies = store.batch(asks)
    out = []
    for place, id_ in enumerate(plan_ids):
        ttl, as_text, as_hash, decision = replies[4 * place : 4 * place + 4]
        if is_error(ttl):
            raise reply_error(ttl, store.keys.at(PERMIT, id_))
        encoding, fields = _read(as_text, as_hash)
        if ttl == -2 or not encoding:
            continue
        left = None if ttl == -1 else ttl / 1000
        decided = is_error(decision) or decision != -2
        out.append(PermitKey(id_, store.keys.at(PERMIT, id_), encoding, left, fields, decided))
    return out


def _read(as_text: Any, as_hash: Any) -> tuple[str, dict[str, Any] | None]:
    """Its encoding ("" where it is gone) and its fields."""
    for raw in (as_text, as_hash):
        if is_error(raw) and not str(raw).startswith("WRONGTYPE"):
            raise reply_error(raw)
    if as_text is None or as_hash == []:
        return "", None
    for encoding, raw in (("json", as_text), ("hash", as_hash)):
        if not is_error(raw):
            return encoding, permit_fields(raw)
    return "other", None
