"""Keys that are set as a kill switch is, under names that no governor reads: somebody takes trading
for stopped, and it is not.

Where the whole keyspace is known any name that looks like one counts; else the usual names, which
are asked for one by one.
"""

import re
from collections.abc import Collection, Sequence

import msgspec

from qtctl.domain.gates import kill_level
from qtctl.wire.client.connect import is_error
from qtctl.wire.client.store import Store
from qtctl.wire.queries.keyspace import SWITCH
from qtctl.wire.schema.records import shortened, text

USUAL = tuple(
    f"{scope}{word}"
    for scope in ("", "global:", "system:", "trading:", "risk:", "governor:", "apply:", "safety:")
    for word in (
        "kill", "kill_switch", "killswitch", "emergency_stop", "emergency", "halt", "halted",
        "stop", "stopped", "stop_all", "stop:all", "paused", "panic", "circuit_breaker", "freeze",
    )
)  # fmt: skip
"""What kill switches have been called."""
MOST_CHARS = 60
_MAY_FOLLOW = re.compile(r"(?:[:._-](?:active|flag|on|set|state|status))?", re.IGNORECASE)
"""Behind the word for a switch: `emergency_stop:at` is no switch, but says something about one."""
_MODES = ("mode", "state", "status")
_STOPPED = frozenset(
    ("halt", "halted", "stop", "stopped", "pause", "paused", "kill", "killed", "emergency", "panic",
     "frozen", "off", "disabled", "reduce_only", "close_only")
)  # fmt: skip


class UnreadSwitch(msgspec.Struct, frozen=True):
    """key: its full name, cut; value: what it is set to, cut."""

    key: str
    value: str


def unread(
    store: Store, read: Collection[str], lookalikes: Sequence[str] | None
) -> list[UnreadSwitch]:
    """Those that are set. read: the names that governors read, without the prefix; lookalikes: the
    keys whose names look like one, None where not all keys are known. Errors: RedisUnreachable."""
    prefix = store.keys.prefix
    keys = [prefix + name for name in USUAL] if lookalikes is None else lookalikes
    asked = [key for key in keys if key.removeprefix(prefix) not in read]
    found = []
    for key, reply in zip(asked, store.batch([("GET", key) for key in asked]), strict=True):
        # What is no string is some other thing with such a name.
        if reply is None or is_error(reply) or not stops(key.removeprefix(prefix), text(reply)):
            continue
        found.append(UnreadSwitch(shortened(key, MOST_CHARS), shortened(text(reply), 20)))
    return found


def stops(name: str, value: str) -> bool:
    """True if whoever set this value under such a name means trading to stop."""
    last = re.split(r"[:._-]", name.lower())[-1]
    if last in ("enabled", "allowed"):
        return bool(value.strip()) and not kill_level(value)
    if last in _MODES:
        return value.strip().lower() in _STOPPED
    word = SWITCH.search(name.encode())
    ends = word is None or _MAY_FOLLOW.fullmatch(name, len(name.encode()[: word.end(1)].decode()))
    return bool(ends) and kill_level(value) > 0
