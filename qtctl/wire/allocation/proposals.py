"""What the allocation loop writes: one stream entry per symbol and pass, and the latest as a hash.

The live target is never written: nothing here can build its key.
"""

from collections.abc import Sequence
from typing import Any

from qtctl import errors
from qtctl.domain.allocation import Proposal
from qtctl.wire.client.connect import is_error, reply_error
from qtctl.wire.client.pipe import Command
from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import PROPOSED
from qtctl.wire.schema.records import PROPOSAL, packed, packed_words

PER_SYMBOL = 3
SYMBOLS_PER_MULTI = 5
"""A hash and its lifetime are set in one MULTI, so each has whole symbols. A large MULTI costs the
server more: everything queued is freed at once."""


def write(
    store: Store, proposals: Sequence[Proposal], *, maxlen: int, ttl_sec: int
) -> dict[str, str]:
    """Writes proposals, several symbols per MULTI; returns what failed: key to problem.

    A problem with one symbol never costs another its proposal. Errors: RedisUnreachable.
    """
    found: dict[str, str] = {}
    for start in range(0, len(proposals), SYMBOLS_PER_MULTI):
        _write(store, proposals[start : start + SYMBOLS_PER_MULTI], maxlen, ttl_sec, found)
    return found


def commands(
    store: Store, proposals: Sequence[Proposal], maxlen: int, ttl_sec: int
) -> list[Command]:
    """The commands that write these: PER_SYMBOL for each, in their order."""
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


def problems(store: Store, proposals: Sequence[Proposal], replies: Sequence[Any]) -> dict[str, str]:
    """The errors among the replies to `commands`: key to problem."""
    found: dict[str, str] = {}
    for place, reply in enumerate(replies):
        if is_error(reply):
            symbol = proposals[place // PER_SYMBOL].symbol
            added = place % PER_SYMBOL == 0
            key = store.keys.proposed_stream if added else store.keys.at(PROPOSED, symbol)
            found[key] = str(reply_error(reply))
    return found


def _write(
    store: Store, proposals: Sequence[Proposal], maxlen: int, ttl_sec: int, found: dict[str, str]
) -> None:
    try:
        replies = store.batch(commands(store, proposals, maxlen, ttl_sec), atomic=True)
    except errors.WireError as problem:
        # A command refused when it is queued (no permission, no memory) discards the whole MULTI:
        # halve it until the offending proposal is found.
        if len(proposals) == 1:
            found[store.keys.at(PROPOSED, proposals[0].symbol)] = str(problem)
            return
        middle = len(proposals) // 2
        _write(store, proposals[:middle], maxlen, ttl_sec, found)
        _write(store, proposals[middle:], maxlen, ttl_sec, found)
        return
    found |= problems(store, proposals, replies)
