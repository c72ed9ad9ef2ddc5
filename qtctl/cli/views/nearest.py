"""What to say where a list shows nothing for a symbol: which one somebody may have meant, that is
known here and spelt nearly so; or that none is written, or none under the usual keys."""

import difflib
from collections.abc import Sequence

from qtctl.cli.framework.context import Context
from qtctl.domain.names import ascii_upper
from qtctl.errors import WireError
from qtctl.wire.client.store import Store
from qtctl.wire.queries import activity, upstream
from qtctl.wire.schema.keys import EFFICIENCY, TARGET, KeySpec

_UPSTREAM = {TARGET: ("targets", "P2.9"), EFFICIENCY: ("scores", "P3.1")}
ALIKE = 0.6
"""From here on two names are taken for a misspelling of each other."""


def nearest(store: Store, symbol: str) -> str:
    """The nearest that is known, "" for none. Errors: RedisUnreachable."""
    try:
        known = {name.upper(): name for name in reversed(activity.symbols(store))}
    except WireError:
        return ""
    close = difflib.get_close_matches(symbol.upper(), known, n=1, cutoff=ALIKE)
    return known[close[0]] if close and known[close[0]] != symbol else ""


def meant(store: Store, symbols: Sequence[str]) -> str:
    """` Did you mean BTCUSDT?`, of the first of these for which something is near; else ""."""
    found = next(filter(None, (nearest(store, symbol) for symbol in symbols[:3])), "")
    return f" Did you mean {found}?" if found else ""


def none_listed(
    store: Store, spec: KeySpec, wanted: Sequence[str], *, there: bool, narrowed: bool
) -> str:
    """Why a list of targets or scores shows none. there: some were found; narrowed: the options of
    lists may have left these out. Errors: RedisUnreachable, WireError."""
    named, producer = _UPSTREAM[spec]
    what = f"No {named}"
    if there and narrowed:
        return f"{what} match."
    if wanted:
        return f"{what} for these symbols.{'' if there else meant(store, wanted)}"
    shadow = None if there else upstream.shadow(store, spec, store.now_ms() / 1000)
    if shadow is not None:
        return f"{what}: {shadow.sentence}."
    return f"{what}: is {producer} writing {store.keys.pattern(spec)} ?"


def spelt(ctx: Context, symbol: str, effect: str) -> None:
    """Warn of a symbol that is not in upper case, as symbols of exchanges are; effect: what follows
    from it, with {upper} in it."""
    upper = ascii_upper(symbol)
    if upper != symbol:
        ctx.warn(f"{symbol} is not {upper}: {effect.format(upper=upper)}")
