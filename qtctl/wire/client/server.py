"""What a server says of itself: its INFO and its clock."""

from collections.abc import Mapping
from typing import Any

import msgspec

from qtctl.wire.schema.records import text


class Server(msgspec.Struct, frozen=True):
    """A server by its INFO. now_ms, started_ms: epoch milliseconds on its own clock; its start is
    known to the second, and started_ms is the end of that second. promoted: it was a replica
    before, nobody knows until when."""

    name: str
    version: str
    run_id: str
    replication_id: str
    promoted: bool
    role: str
    now_ms: int
    started_ms: int
    maxmemory: int
    policy: str

    @property
    def may_evict(self) -> bool:
        """True while the server may evict keys."""
        return self.maxmemory > 0 and self.policy != "noeviction"


def server_of(info: Any, now_ms: int) -> Server:
    """The server from its reply to INFO and its clock."""
    found = dict(line.split(":", 1) for line in text(info).splitlines() if ":" in line)
    name = "valkey" if "valkey_version" in found else "redis"
    return Server(
        name=name,
        version=found.get(f"{name}_version", "?"),
        run_id=found.get("run_id", ""),
        replication_id=found.get("master_replid", ""),
        promoted=found.get("master_replid2", "").strip("0") != "",
        role=found.get("role", ""),
        now_ms=now_ms,
        started_ms=_started_ms(found, now_ms),
        maxmemory=int(found.get("maxmemory", 0)),
        policy=found.get("maxmemory_policy", "noeviction"),
    )


def _started_ms(info: Mapping[str, str], now_ms: int) -> int:
    """Its uptime is the second of its own cached clock less the second of its start."""
    cached_us = int(info.get("server_time_usec", now_ms * 1000))
    return (cached_us // 1_000_000 - int(info.get("uptime_in_seconds", 0)) + 1) * 1000


def millis(time: Any) -> int:
    """Epoch milliseconds from the reply to TIME."""
    seconds, micros = time
    return int(seconds) * 1000 + int(micros) // 1000
