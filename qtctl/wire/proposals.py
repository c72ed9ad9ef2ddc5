"""What the allocation loop writes: one stream entry per symbol and pass, and the latest as a hash.

The live target is never written: nothing here can make its key.
Source: sections 1 and 2 of the specification.
"""

from collections.abc import Sequence

from qtctl import errors
from qtctl.domain.allocation import Proposal
from qtctl.wire.connect import is_error, reply_error
from qtctl.wire.keys import PROPOSED
from qtctl.wire.records import PROPOSAL, flat
from qtctl.wire.store import BATCH, Command, Store

_PER_SYMBOL = 3
SYMBOLS_PER_MULTI = BATCH // _PER_SYMBOL
"""A hash and its lifetime stand in one MULTI: whole symbols to a batch."""


def write(
    store: Store, proposals: Sequence[Proposal], *, maxlen: int, ttl_sec: int
) -> dict[str, str]:
    """Writes them, many symbols to a MULTI; returns what went wrong: key to problem.

    One symbol's trouble never costs another its proposal. Errors: RedisUnreachable.
    """
    problems: dict[str, str] = {}
    for start in range(0, len(proposals), SYMBOLS_PER_MULTI):
        _write(store, proposals[start : start + SYMBOLS_PER_MULTI], maxlen, ttl_sec, problems)
    return problems


def _write(
    store: Store, proposals: Sequence[Proposal], maxlen: int, ttl_sec: int, problems: dict[str, str]
) -> None:
    commands: list[Command] = []
    for proposal in proposals:
        commands += _commands(store, proposal, maxlen, ttl_sec)
    try:
        replies = store.batch(commands, atomic=True)
    except errors.WireError as problem:
        # A command that is refused as it is queued (no permission, no memory) takes the whole
        # MULTI with it, which then did nothing: halve until the one is found.
        if len(proposals) == 1:
            problems[store.keys.at(PROPOSED, proposals[0].symbol)] = str(problem)
            return
        middle = len(proposals) // 2
        _write(store, proposals[:middle], maxlen, ttl_sec, problems)
        _write(store, proposals[middle:], maxlen, ttl_sec, problems)
        return
    for command, reply in zip(commands, replies, strict=True):
        if is_error(reply):
            problems[str(command[1])] = str(reply_error(reply))


def _commands(store: Store, proposal: Proposal, maxlen: int, ttl_sec: int) -> tuple[Command, ...]:
    fields = flat(PROPOSAL, proposal)
    key = store.keys.at(PROPOSED, proposal.symbol)
    return (
        ("XADD", store.keys.proposed_stream, "MAXLEN", "~", maxlen, "*", *fields),
        ("HSET", key, *fields),
        ("EXPIRE", key, ttl_sec),
    )
