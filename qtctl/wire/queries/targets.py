"""Targets, scores and proposals side by side, as people look at them."""

from collections.abc import Iterator, Sequence

import msgspec

from qtctl.domain.readings import Unusable
from qtctl.wire.client.connect import is_error, reply_error
from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import EFFICIENCY, PROPOSED, TARGET, KeySpec
from qtctl.wire.schema.records import pairs, shortened

PAGE = 250
"""Hashes that are read at once, where a list may end early."""


class Found(msgspec.Struct, frozen=True):
    """A hash as it lies there: its fields, why they can't be read, or None where there is none.
    ttl_sec is None where it has no lifetime."""

    fields: dict[str, str] | Unusable | None
    ttl_sec: float | None

    @property
    def readable(self) -> dict[str, str]:
        """The fields, empty where there are none to read."""
        return self.fields if isinstance(self.fields, dict) else {}


class Symbol(msgspec.Struct, frozen=True):
    """All that is known of one symbol."""

    symbol: str
    target: Found
    efficiency: Found
    proposal: Found


def symbols(store: Store, names: Sequence[str]) -> list[Symbol]:
    """Those of these symbols of which anything is known, in their order."""
    columns = [hashes(store, spec, names) for spec in (TARGET, EFFICIENCY, PROPOSED)]
    return [
        Symbol(name, *found)
        for name, *found in zip(names, *columns, strict=True)
        if any(each.fields is not None for each in found)
    ]


def targets(store: Store) -> list[Symbol]:
    """Every symbol with a live target, in order; the scores are not read."""
    names = store.scan(TARGET)
    columns = [hashes(store, spec, names) for spec in (TARGET, PROPOSED)]
    return [
        Symbol(name, target, Found(None, None), proposal)
        for name, target, proposal in zip(names, *columns, strict=True)
        if target.fields is not None
    ]


def misnamed(store: Store) -> list[str]:
    """The keys under the template of targets that can have no symbol, cut; in order."""
    keys = set(store.scan_keys(store.keys.pattern(TARGET)))
    return sorted(shortened(key) for key in keys if store.keys.misnamed(TARGET, key))


def scores(store: Store, wanted: Sequence[str] = ()) -> Iterator[tuple[str, Found]]:
    """Every symbol with an efficiency score, or those wanted that have one; in order, read by the
    page as far as the caller goes on."""
    names = list(wanted) or store.scan(EFFICIENCY)
    for start in range(0, len(names), PAGE):
        page = names[start : start + PAGE]
        for name, found in zip(page, hashes(store, EFFICIENCY, page), strict=True):
            if found.fields is not None:
                yield name, found


def hashes(store: Store, spec: KeySpec, names: Sequence[str]) -> list[Found]:
    """What lies under a template for each of these names. Errors: RedisUnreachable."""
    keys = [store.keys.at(spec, name) for name in names]
    replies = store.batch([ask for key in keys for ask in (("HGETALL", key), ("PTTL", key))])
    out = []
    for raw, ttl in zip(replies[::2], replies[1::2], strict=True):
        fields = Unusable(str(reply_error(raw))) if is_error(raw) else pairs(raw) or None
        out.append(Found(fields, None if is_error(ttl) or ttl < 0 else ttl / 1000))
    return out
