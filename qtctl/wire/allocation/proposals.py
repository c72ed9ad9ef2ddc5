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
from qtctl.wire.schema.keys import PROPOSED, Keys
from qtctl.wire.schema.packing import packed, packed_words
from qtctl.wire.schema.records import PROPOSAL, PROPOSAL_FIELDS, PROPOSAL_TIME

SYMBOLS_PER_MULTI = 5
"""Each MULTI has whole symbols, a hash with its lifetime; a large one costs the server more."""
_PER_SYMBOL = 3
_WORDS = 2 * len(PROPOSAL_FIELDS)
_HSET, _EXPIRE = packed(("HSET",), 1 + _WORDS), packed(("EXPIRE",), 2)
_FINE = frozenset({bytes, str, int})
"""The types of replies that are no errors."""
_GONE = 1_000
_Kept = tuple[Proposal, bytes, bytes, bytes]
"""Of a symbol: what was proposed, its fields but the time, and its two other commands but for what
they share."""
Multi = tuple[Sequence[Proposal], Sequence[Command]]
"""Some proposals and the commands that write them."""


class Packer:
    """Packs what writes a proposal. Of a symbol all but the time is packed once and kept until it
    changes: most values outlive many passes. ttl_sec: of the hash."""

    def __init__(self, keys: Keys, ttl_sec: int) -> None:
        self._keys = keys
        self._ttl = packed_words((str(ttl_sec),))
        self._kept: dict[str, _Kept] = {}

    def commands(self, proposals: Sequence[Proposal], ts_epoch: int, maxlen: int) -> list[bytes]:
        """The commands that write these: _PER_SYMBOL for each, in their order. ts_epoch: of the
        pass, epoch seconds; maxlen: of the stream, about."""
        stream = self._keys.proposed_stream
        # Trimming is work for the server; trimming once for all of these bounds the stream as well.
        add = packed(("XADD", stream, "MAXLEN", "~", str(maxlen), "*"), _WORDS)
        then = packed(("XADD", stream, "*"), _WORDS)
        out: list[bytes] = []
        time = packed_words((PROPOSAL_TIME.name, PROPOSAL_TIME.text(ts_epoch)))
        for proposal in proposals:
            _, fields, hset, expire = self._of(proposal)
            fields = time + fields
            out += (add + fields, hset + fields, expire)
            add = then
        return out

    def keep_only(self, count: int) -> None:
        """Forgets what was kept of symbols that are gone, now and then. count: those there are."""
        if len(self._kept) > 2 * count + _GONE:
            self._kept.clear()

    def _of(self, proposal: Proposal) -> "_Kept":
        kept = self._kept.get(proposal.symbol)
        if kept is None or (kept[0] is not proposal and kept[0] != proposal):
            fields = packed_words(PROPOSAL.flat(proposal))
            key = packed_words((self._keys.at(PROPOSED, proposal.symbol),))
            kept = proposal, fields, _HSET + key, _EXPIRE + key + self._ttl
            self._kept[proposal.symbol] = kept
        return kept

    def multis(self, proposals: Sequence[Proposal], ts_epoch: int, maxlen: int) -> list[Multi]:
        """What writes these proposals, as one MULTI after the other; as for `commands`."""
        commands = self.commands(proposals, ts_epoch, maxlen)
        size = SYMBOLS_PER_MULTI
        return [
            (proposals[at : at + size], commands[at * _PER_SYMBOL : (at + size) * _PER_SYMBOL])
            for at in range(0, len(proposals), size)
        ]


def write(
    store: Store, packer: Packer, proposals: Sequence[Proposal], ts_epoch: int, maxlen: int
) -> dict[str, str]:
    """Writes a few proposals in one MULTI; returns what failed: key to problem. A command refused
    when it is queued (no permission, no memory) discards the whole MULTI: it is halved until the
    offending proposal is found. Errors: RedisUnreachable."""
    try:
        replies = store.batch(packer.commands(proposals, ts_epoch, maxlen), atomic=True)
    except errors.WireError as problem:
        if len(proposals) == 1:
            return {store.keys.at(PROPOSED, proposals[0].symbol): str(problem)}
        middle = len(proposals) // 2
        halves = proposals[:middle], proposals[middle:]
        found = [write(store, packer, half, ts_epoch, maxlen) for half in halves]
        return found[0] | found[1]
    return problems(store, proposals, replies)


def problems(store: Store, proposals: Sequence[Proposal], replies: Sequence[Any]) -> dict[str, str]:
    """The errors among the replies to a MULTI: key to problem."""
    if _FINE.issuperset(map(type, replies)):
        return {}
    found: dict[str, str] = {}
    for place, reply in enumerate(replies):
        if is_error(reply):
            symbol = proposals[place // _PER_SYMBOL].symbol
            added = place % _PER_SYMBOL == 0
            key = store.keys.proposed_stream if added else store.keys.at(PROPOSED, symbol)
            found[key] = str(reply_error(reply))
    return found
