"""Which symbols anything here knows: by their keys, or by recent entries of the streams."""

from qtctl.domain.names import ascii_upper
from qtctl.errors import WireError
from qtctl.wire.client.connect import is_error
from qtctl.wire.client.store import Store
from qtctl.wire.queries import keyspace, streams
from qtctl.wire.schema.keys import EFFICIENCY, LAST_CLOSE, LEDGER, PROPOSED, TARGET

_OF_SYMBOLS = (TARGET, EFFICIENCY, PROPOSED, LEDGER, LAST_CLOSE)
_SCANNED = (TARGET, EFFICIENCY, LEDGER)
MOST_KEYS = 100_000
LOOKED_AT = 2_000
"""Of the plans, the proposals and the events so many are looked at, the newest."""


def is_known(store: Store, symbol: str) -> bool:
    """True if a key or a recent plan or decision is of exactly this symbol. What can't be read
    counts as known: nobody is refused because of it. Errors: RedisUnreachable."""
    keys = store.keys
    # Those that are kept in upper case would make every spelling known: one that nobody trades, and
    # whose halt stops nothing, too.
    exact = [each for each in _OF_SYMBOLS if not each.upper or ascii_upper(symbol) == symbol]
    asks = [("TYPE", keys.at(spec, symbol)) for spec in exact]
    *types, halted = store.batch([*asks, ("HMGET", keys.halted_symbols, symbol)])
    if any(is_error(reply) or reply not in (b"none", "none") for reply in types):
        return True
    if is_error(halted) or halted[0] is not None:
        return True
    try:
        return symbol in _lately(store)
    except WireError:
        return True


def symbols(store: Store) -> list[str]:
    """The symbols that are known, in order: all of them, but for a keyspace of over MOST_KEYS, of
    which so much is looked at. Errors: RedisUnreachable, WireError."""
    sweep = keyspace.sweep(store, _SCANNED, MOST_KEYS)
    found = {name for spec in _SCANNED for name in sweep.of_spec(spec)}
    return sorted(found | _lately(store))


def _lately(store: Store) -> set[str]:
    """The symbols of the newest plans and of what the governors did last."""
    return {
        entry.fields.get("symbol", "")
        for stream in (store.keys.plans, store.keys.proposed_stream, store.keys.events)
        for entry in streams.last(store, stream, LOOKED_AT, lambda _: True)
        # A halt of a name that nothing knows makes it no better known.
        if entry.fields.get("event") not in ("halted", "resumed")
    } - {""}
