"""The production checklist, in the order in which one would ask."""

from collections.abc import Callable, Iterable

import msgspec

from qtctl.doctor import (
    configuration,
    failover,
    history,
    key_types,
    kills,
    permits,
    publishers,
    queues,
    server,
    services,
    upstream,
)
from qtctl.doctor.findings import Finding
from qtctl.doctor.inspection import Inspection


class Check(msgspec.Struct, frozen=True):
    """One check. name: `area.what`; redis: it can't be carried out without a connection."""

    name: str
    inspect: Callable[[Inspection], Iterable[Finding]]
    redis: bool = True


CHECKS = (
    Check("kill.switch", kills.switches),
    Check("kill.names", kills.names),
    Check("kill.unread", kills.lookalikes),
    Check("redis.reachable", server.reachable),
    Check("redis.version", server.version),
    Check("redis.role", server.role),
    Check("redis.nodes", failover.nodes),
    Check("redis.replicas", failover.replicas),
    Check("redis.eviction", server.eviction),
    Check("redis.memory", server.memory),
    Check("redis.persistence", server.persistence),
    Check("redis.emptied", server.emptied),
    Check("redis.clock", server.clocks),
    Check("service.alive", services.alive),
    Check("service.ready", services.ready),
    Check("service.version", services.versions),
    Check("service.discovery", services.discovery),
    Check("service.ports", services.ports_free, redis=False),
    Check("upstream.targets", upstream.targets),
    Check("upstream.scores", upstream.scores),
    Check("upstream.plans", publishers.stream_of_plans),
    Check("upstream.clock", publishers.plan_clocks),
    Check("gate.input", publishers.gates_have_input),
    Check("stream.bounded", queues.bounded),
    Check("key.types", key_types.types),
    Check("group.lag", queues.lag),
    Check("group.pending", queues.pending),
    Check("group.consumers", queues.consumers),
    Check("history.recorder", history.recorder),
    Check("history.spare", history.spare),
    Check("permit.lifetime", permits.lifetimes),
    Check("permit.encoding", permits.encodings),
    Check("permit.hint", permits.hints),
    Check("permit.decision", permits.decisions),
    Check("settings.shell", configuration.shell, redis=False),
    Check("settings.units", configuration.units, redis=False),
    Check("settings.files", configuration.env_files, redis=False),
    Check("settings.sane", configuration.sanity, redis=False),
)
