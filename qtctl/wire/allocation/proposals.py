"""What the allocation loop writes: one stream entry per symbol and pass, and the latest as a hash.

The live target is never written: nothing here can build its key.
"""

from collections.abc import Sequence
from typing import Any

from qtctl import errors
from qtctl.domain.allocation import Proposal
from qtctl.wire.client.connect import is_error, reply_error
from qtctl.wire.client.shapes import Command
from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import PROPOSED
from qtctl.wire.schema.records import PROPOSAL, packed, packed_words

SYMBOLS_PER_MULTI = 5
"""Each MULTI has whole symbols, a hash with its lifetime; a large one costs the server more."""
_PER_SYMBOL = 3
Multi = tuple[Sequence[Proposal], Sequence[Command]]
"""Some proposals and the commands that write them."""


def multis(
    store: Store, proposals: Sequence[Proposal], *, maxlen: int, ttl_sec: int
) -> list[Multi]:
    """What writes these proposals, as one MULTI after the other."""
    commands = _commands(store, proposals, maxlen, ttl_sec)
    size = SYMBOLS_PER_MULTI
    return [
        (proposals[at : at + size], commands[at * _PER_SYMBOL : (at + size) * _PER_SYMBOL])
        for at in range(0, len(proposals), size)
    ]


def write(
    store: Store, proposals: Sequence[Proposal], *, maxlen: int, ttl_sec: int
) -> dict[str, str]:
    """Writes a few proposals in one MULTI; returns what failed: key to problem. A command refused
    when it is queued (no permission, no memory) discards the whole MULTI: it is halved until the
    offending proposal is found. Errors: RedisUnreachable."""
    try:
        replies = store.batch(_commands(store, proposals, maxlen, ttl_sec), atomic=True)
    except errors.WireError as problem:
        if len(proposals) == 1:
            return {store.keys.at(PROPOSED, proposals[0].symbol): str(problem)}
        middle = len(proposals) // 2
        halves = proposals[:middle], proposals[middle:]
        found = [write(store, half, maxlen=maxlen, ttl_sec=ttl_sec) for half in halves]
        return found[0] | found[1]
    return problems(store, proposals, replies)


def problems(store: Store, proposals: Sequence[Proposal], replies: Sequence[Any]) -> dict[str, str]:
    """The errors among the replies to a MULTI: key to problem."""
    found: dict[str, str] = {}
    for place, reply in enumerate(replies):
        if is_error(reply):
            symbol = proposals[place // _PER_SYMBOL].symbol
            added = place % _PER_SYMBOL == 0
            key = store.keys.proposed_stream if added else store.keys.at(PROPOSED, symbol)
            found[key] = str(reply_error(reply))
    return found


def _commands(
    store: Store, proposals: Sequence[Proposal], maxlen: int, ttl_sec: int
) -> list[Command]:
    """The commands that write these: _PER_SYMBOL for each, in their order."""
    keys, words = store.keys, 2 * len(PROPOSAL)
    stream = keys.proposed_stream
    # Trimming is work for the server; trimming once for all of these bounds the stream as well.
    add = packed(("XADD", stream, "MAXLEN", "~", str(maxlen), "*"), words)
    then = packed(("XADD", stream, "*"), words)
    hset, expire = packed(("HSET",), 1 + words), packed(("EXPIRE",), 2)
    ttl = packed_words((ttl_sec,))
    out: list[Command] = []
    for proposal in proposals:
        # Packed once, sent twice.
        fields = packed_words(PROPOSAL.flat(proposal))
        key = packed_words((keys.at(PROPOSED, proposal.symbol),))
        out += (add + fields, hset + key + fields, expire + key + ttl)
        add = then
    return out
