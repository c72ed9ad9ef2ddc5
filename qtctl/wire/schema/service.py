"""The record of a running service, `qtctl:service:{service}:{name}`, and the one rule for when the
service is late."""

from typing import Any

import msgspec

from qtctl.domain import numbers
from qtctl.wire.schema.records import from_json

LATE_PASSES, GRACE_SEC = 3, 10.0
"""A service is late when its last pass is older than so many intervals and so many seconds."""
MAX_CLOCK_OFF_SEC = 5.0
"""A host's clock that differs by more from the Redis server's is reported. Nothing goes by it."""
TRACKING, BY_SCAN = "tracking", "scan: "
"""How an allocation loop finds new targets: the server reports them, or why it does not."""
LOOK_SEC = 1.0
"""The interval of a service that has no such setting: a governor passes every second."""


class ServiceRecord(msgspec.Struct, frozen=True):
    """A service that wrote its record lately. settings as it runs with; times in epoch seconds."""

    service: str
    name: str
    version: str
    host: str
    pid: str
    started_at: int
    last_pass_at: int
    settings: dict[str, Any]
    digest: str
    metrics: str
    """host:port of /metrics, /livez and /readyz as bound; port 0 before it is."""
    clock_ahead_sec: float = 0.0
    """The clock of its host less the Redis server's."""
    discovery: str = ""
    """Of an allocation loop: TRACKING, or BY_SCAN and why; "" for others and older versions."""
    problem: str = ""
    """Of a recorder: why it can't write, "" where it can."""

    @property
    def scans_because(self) -> str:
        """Why it looks for new targets by SCAN; "" where the server reports them."""
        return self.discovery.removeprefix(BY_SCAN) if self.discovery != TRACKING else ""

    @property
    def interval_sec(self) -> float:
        """Between two of its passes."""
        found = self.settings.get("interval_sec")
        return float(found) if isinstance(found, int | float) else LOOK_SEC

    @property
    def late_after_sec(self) -> float:
        """How old its last pass may be."""
        return LATE_PASSES * self.interval_sec + GRACE_SEC

    def age_sec(self, now: float) -> float:
        """Since its last pass; now in epoch seconds on the server's clock."""
        return max(0.0, now - self.last_pass_at)

    def is_late(self, now: float) -> bool:
        """True while its last pass is older than it may be."""
        return self.age_sec(now) > self.late_after_sec


def record_of(service: str, name: str, fields: dict[str, str]) -> ServiceRecord:
    """The record from its fields in Redis; an unreadable field counts as missing."""
    return ServiceRecord(
        service,
        name,
        fields.get("version", ""),
        fields.get("host", ""),
        fields.get("pid", ""),
        numbers.whole(fields.get("started_at", "")),
        numbers.whole(fields.get("last_pass_at", "")),
        from_json(fields.get("settings", "{}"), dict[str, Any], {}),
        fields.get("digest", ""),
        fields.get("metrics", ""),
        numbers.number(fields.get("clock_ahead_sec", "")) or 0.0,
        fields.get("discovery", ""),
        fields.get("problem", ""),
    )
