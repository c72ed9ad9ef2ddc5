"""Targets and efficiency scores, many in one batch.

Source: sections 1 and 2 of the specification.
"""

from collections.abc import Sequence

from qtctl.domain.names import symbol_problem
from qtctl.domain.readings import EFF_FIELDS, TARGET_FIELDS, Unusable
from qtctl.wire.connect import is_error, reply_error
from qtctl.wire.keys import EFFICIENCY, TARGET, KeySpec
from qtctl.wire.records import text
from qtctl.wire.store import Command, Store

Reading = dict[str, str] | Unusable | None
"""The fields asked for; why they can't be read; None where there is no hash."""


def target_symbols(store: Store) -> tuple[list[str], dict[str, str]]:
    """The symbols that have a target, sorted, and the keys that can't be one's: key to problem.

    A key of another template (`allocation:target:proposed:X`) is neither.
    """
    head = store.keys.at(TARGET, "")
    symbols: set[str] = set()
    bad: dict[str, str] = {}
    for key in store.scan_keys(store.keys.pattern(TARGET)):
        name = store.keys.name(TARGET, key)
        if name is not None:
            symbols.add(name)
        elif ":" not in key[len(head) :]:
            bad[key] = f"its symbol {symbol_problem(key[len(head) :])}"
    return sorted(symbols), bad


def efficiencies(store: Store, symbols: Sequence[str]) -> list[Reading]:
    """The efficiency hashes of these symbols, in their order; other fields are not read."""
    return _hashes(store, EFFICIENCY, symbols, EFF_FIELDS)


def targets_and_efficiencies(
    store: Store, symbols: Sequence[str]
) -> tuple[list[Reading], list[Reading]]:
    """Both hashes of these symbols in one batch."""
    targets = _asks(store, TARGET, symbols, TARGET_FIELDS)
    scores = _asks(store, EFFICIENCY, symbols, EFF_FIELDS)
    replies = store.batch(targets + scores)
    count = len(symbols)
    return (
        _readings(store, targets, replies[:count], TARGET_FIELDS),
        _readings(store, scores, replies[count:], EFF_FIELDS),
    )


def _hashes(
    store: Store, spec: KeySpec, symbols: Sequence[str], fields: Sequence[str]
) -> list[Reading]:
    asks = _asks(store, spec, symbols, fields)
    return _readings(store, asks, store.batch(asks), fields)


def _asks(
    store: Store, spec: KeySpec, symbols: Sequence[str], fields: Sequence[str]
) -> list[Command]:
    return [("HMGET", store.keys.at(spec, symbol), *fields) for symbol in symbols]


def _readings(
    store: Store, asks: Sequence[Command], replies: Sequence[object], fields: Sequence[str]
) -> list[Reading]:
    out: list[Reading] = []
    unsure: list[int] = []
    for place, reply in enumerate(replies):
        if is_error(reply):
            assert isinstance(reply, Exception)
            out.append(Unusable(str(reply_error(reply))))
            continue
        assert isinstance(reply, list)
        found = {
            name: text(value)
            for name, value in zip(fields, reply, strict=True)
            if value is not None
        }
        if not found:
            # HMGET can't tell a missing hash from one whose fields were renamed.
            unsure.append(place)
        out.append(found)
    there = store.batch([("EXISTS", asks[place][1]) for place in unsure])
    for place, exists in zip(unsure, there, strict=True):
        if exists == 0:
            out[place] = None
    return out
