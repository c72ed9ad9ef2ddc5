"""The quarantine of opens after the server's clock jumped ahead: noted by a governor, lifted by an
operator."""

import msgspec

from qtctl.wire.client.connect import is_error, reply_error
from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import CLOCK_JUMP
from qtctl.wire.schema.records import from_json


class ClockJump(msgspec.Struct, frozen=True):
    """A jump. since_ms: when it was noticed, on the server's clock; by: who noticed it. All but its
    being there is for people: empty where another wrote the key."""

    since_ms: int = 0
    jump_sec: float = 0.0
    by: str = ""


def note(store: Store, jump_ms: int, by: str) -> bool:
    """Quarantines the opens of every governor; False where another did so before. Errors:
    RedisUnreachable, WireError."""
    return note_again(store, ClockJump(store.now_ms(), jump_ms / 1000, by))


def note_again(store: Store, jump: ClockJump) -> bool:
    """The same for a jump that is known and that Redis has forgotten."""
    return store.run("SET", store.keys.clock_jump, msgspec.json.encode(jump), "NX") is not None


def found(store: Store) -> ClockJump | None:
    """The jump that stops opens now, None for none. Errors: RedisUnreachable, WireError."""
    (reply,) = store.batch([("GET", store.keys.clock_jump)])
    return None if reply is None else of_reply(reply)


def lift(store: Store, who: str, why: str, events_maxlen: int) -> None:
    """Lets opens pass again at every governor, with an event. Errors: RedisUnreachable, WireError
    where Redis refused it."""
    keys = store.keys
    key = keys.clock_jump
    seconds, _ = store.run("TIME")
    event = ("event", "resumed", "plan_id", "", "symbol", "", "reason", why, "ts", seconds,
             "actor", who, "key", CLOCK_JUMP.template)  # fmt: skip
    add = ("XADD", keys.events, "MAXLEN", "~", events_maxlen, "*", *event)
    gone, added = store.batch([("DEL", key), add], atomic=True)
    for reply, about in ((gone, key), (added, keys.events)):
        if is_error(reply):
            raise reply_error(reply, about)


def of_reply(reply: object) -> ClockJump:
    """From the reply to GET; whatever it is, it stops opens."""
    return from_json(reply, ClockJump, ClockJump())
