"""How upstream runs: in shadow mode P2.9 and P3.1 write a stream each, and no keys."""

import msgspec

from qtctl.domain.entry_ids import time_of
from qtctl.errors import WireError
from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import EFFICIENCY, SCORE_DECISIONS, TARGET, TARGET_DECISIONS, KeySpec

FRESH_SEC = 600.0
"""Both decide at least once a minute: a producer whose last entry is older has stopped."""
_STREAMS = {TARGET: ("P2.9", TARGET_DECISIONS), EFFICIENCY: ("P3.1", SCORE_DECISIONS)}


class Shadow(msgspec.Struct, frozen=True):
    """A producer that writes its stream of decisions. age_sec: of the last entry."""

    producer: str
    stream: str
    age_sec: float

    @property
    def runs(self) -> bool:
        """True while it goes on."""
        return self.age_sec <= FRESH_SEC

    @property
    def sentence(self) -> str:
        """What that means where its keys are missing, and what to set."""
        if self.runs:
            return (
                f"{self.producer} runs in shadow: it writes the stream {self.stream}, no keys. Set "
                f"its mode to enforce"
            )
        return (
            f"{self.producer} ran in shadow and stopped {self.age_sec / 60:,.0f} min ago: it wrote "
            f"the stream {self.stream}, no keys. Start it, with its mode set to enforce"
        )


def shadow(store: Store, spec: KeySpec, now: float) -> Shadow | None:
    """The producer of TARGET or EFFICIENCY by its stream, None where that has no entry or can't be
    read. now: the server's clock. Errors: RedisUnreachable."""
    producer, decisions = _STREAMS[spec]
    stream = store.keys.at(decisions, "")
    try:
        newest = store.run("XREVRANGE", stream, "+", "-", "COUNT", 1)
    except WireError:
        return None
    if not newest:
        return None
    return Shadow(producer, stream, max(0.0, now - time_of(newest[0][0])))
