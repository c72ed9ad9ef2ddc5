"""Which governors have looked at Redis since a moment: by the mark that each look leaves there, in
one step with reading what is halted (qtctl/wire/control/forgotten.py).

What a governor knew at its last look it keeps when Redis loses its data. So a resume that it has
not seen by then is undone, and a resume before it has found the loss lifts nothing: both fail
closed (docs/guarantees.md), and an operator has to resume once more.
"""

from qtctl.errors import RedisUnreachable, WireError
from qtctl.wire.schema.keys import MARK
from qtctl.wire.schema.records import text
from tests.soak.diary import Life
from tests.soak.stage import Stage

Marks = list[tuple[Life, str | None]]
"""The governors that lived at a moment, and the mark of each then."""


class Looks:
    """Reads the marks over a connection of its own; used from one thread."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._store = stage.store(timeout_sec=0.3)

    def now(self) -> Marks:
        """Errors: RedisUnreachable, WireError."""
        return [(each.life, self._mark(each.life)) for each in self._stage.governors]

    def none_yet(self) -> Marks:
        """For a server that has just lost its data, and every mark with it."""
        return [(each.life, None) for each in self._stage.governors]

    def all_since(self, then: Marks) -> bool:
        """True once each of them that still lives has looked; False while Redis can't be asked."""
        try:
            return all(
                life.ended is not None or self._mark(life) not in (None, mark)
                for life, mark in then
            )
        except (RedisUnreachable, WireError):
            return False

    def close(self) -> None:
        """The connection."""
        self._store.close()

    def _mark(self, life: Life) -> str | None:
        found = self._store.run("GET", self._store.keys.at(MARK, life.name))
        return None if found is None else text(found)
