"""Sentinel and Cluster: whoever takes over when the primary fails, and who decides it."""

from qtctl.doctor.findings import Findings, ok, warning
from qtctl.doctor.inspection import Inspection
from qtctl.settings import SENTINEL
from qtctl.settings.urls import display_url, scheme_of


def nodes(inspection: Inspection) -> Findings:
    """All that the URL names answer; a plain server has none."""
    problems = inspection.store.silent_nodes()
    if problems is None:
        return
    sentinel = scheme_of(inspection.store.url) == SENTINEL
    nodes = "sentinels" if sentinel else "nodes of the cluster"
    if not problems:
        primary = display_url(inspection.store.server_url())
        yield ok(f"all {nodes} say that {primary} is the primary")
        return
    nobody = "nobody decides that another server takes over"
    why = nobody if sentinel else "the cluster refuses every command"
    what = f"{len(problems)} of the {nodes} can't be asked: {'; '.join(problems)}"
    yield warning(what, f"where too few are left {why}", inspection.show("redis.url"))


def replicas(inspection: Inspection) -> Findings:
    """A replica can take over, and the primary notices when it is alone."""
    if inspection.store.silent_nodes() is None:
        return
    info = inspection.info
    count = info.get("connected_slaves", "0")
    if count == "0":
        why = "when it fails nobody can take over, and no plan gets a permit until it is back"
        yield warning(f"no replica follows {display_url(inspection.store.server_url())}", why,
                      inspection.redis_cli("info", "replication"))  # fmt: skip
    elif scheme_of(inspection.store.url) == SENTINEL and "min_slaves_good_slaves" not in info:
        yield warning(
            f"{count} replicas follow, and min-replicas-to-write is 0",
            "a primary that is cut off goes on taking writes, which are lost when it is back: "
            "permits, and the decisions that keep a plan from a second one",
            inspection.redis_cli("config", "set", "min-replicas-to-write", "1"),
        )
    else:
        yield ok(f"{count} replicas follow")
