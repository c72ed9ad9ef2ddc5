"""The rules and limits that passes and decisions name by their digests, kept beside them once a
day."""

from collections.abc import Iterable
from typing import Any

import msgspec

from qtctl.history.rows import Batch, Document
from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import ALLOCATION_RULES, LIMITS

DEFAULT_INTERVAL_SEC = 10.0
"""Of a loop whose rules are not known."""


class NamedDocuments:
    """Which of them today's file has already."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: set[tuple[str, str]] = set()
        self._intervals: dict[str, float] = {}

    def new_day(self) -> None:
        """Its file has none."""
        self._kept.clear()

    def missing(self, batch: Batch) -> list[Document]:
        """Those that these passes and decisions name, where not kept today. Errors:
        RedisUnreachable."""
        at = self._store.keys.at
        wanted = {
            ("rules", each.value.rules): at(ALLOCATION_RULES, each.value.rules)
            for each in batch.passes
        } | {
            ("limits", digest): at(LIMITS, digest)
            for each in batch.decisions
            if (digest := each.fields.get("limits"))
        }
        missing = {place: key for place, key in wanted.items() if place not in self._kept}
        bodies = self._store.batch([("GET", key) for key in missing.values()])
        found = [
            Document(kind, digest, body)  # type: ignore[arg-type]
            for (kind, digest), body in zip(missing, bodies, strict=True)
            if isinstance(body, bytes)
        ]
        for each in found:
            if each.kind == "rules":
                self._intervals[each.digest] = _interval_sec(each.body)
        return found

    def written(self, documents: Iterable[Document]) -> None:
        """Notes that today's file has these now."""
        self._kept.update((each.kind, each.digest) for each in documents)

    def interval_sec(self, rules: str) -> float:
        """Between the passes of a loop by these rules."""
        return self._intervals.get(rules, DEFAULT_INTERVAL_SEC)


def _interval_sec(rules: bytes) -> float:
    try:
        found: Any = msgspec.json.decode(rules, type=dict[str, Any]).get("interval_sec")
    except msgspec.DecodeError:
        found = None
    return float(found) if isinstance(found, int | float) else DEFAULT_INTERVAL_SEC
