"""What both loops decide is recorded, and for how long the streams keep it where it is not."""

from qtctl import probe
from qtctl.doctor.findings import Finding, Findings, ok, span, warning, wrong
from qtctl.doctor.inspection import Inspection
from qtctl.settings import RECORDER
from qtctl.wire.queries.groups import StreamState
from qtctl.wire.schema.keys import STREAM_KEEP_BYTES, STREAM_KEEP_SEC

_LOST = "what is trimmed before it was read is missing from the history for ever"


def recorder(inspection: Inspection) -> Findings:
    """It runs, and writes."""
    found = inspection.recorders
    if not found and inspection.settings.history.enabled:
        why = "what was decided, and on what, is kept only as long as the streams last"
        yield warning("no recorder runs on this Redis", why, inspection.start(RECORDER))
    elif not found:
        yield ok("no recorder runs: [history] enabled is false")
    for each in found:
        name = f"recorder {each.name}"
        if each.is_late(inspection.now):
            what = f"{name} is late: no look for {each.age_sec(inspection.now):,.0f} s"
            yield wrong(what, _LOST, inspection.start(RECORDER))
        elif each.problem:
            yield wrong(f"{name}: {each.problem}", _LOST, inspection.qtctl("history", "list"))
        elif probe.address(each.metrics) is None:
            see = inspection.show("history.metrics_port")
            yield warning(f"{name} listens on no port", "it can't be scraped or watched", see)
        else:
            yield ok(f"{name} writes the history")


def spare(inspection: Inspection) -> Findings:
    """How long the recorder may be down."""
    for state in inspection.history_streams:
        yield _spare(state, inspection.now)


def _spare(state: StreamState, now: float) -> Finding:
    if state.problem:
        return wrong(state.problem, "what it should hold is not recorded")
    if state.first_ms is None:
        return ok(f"{state.name} is empty")
    kept = span(max(0.0, now - state.first_ms / 1000))
    most = f"of {span(STREAM_KEEP_SEC)} or {STREAM_KEEP_BYTES >> 20} MiB at most"
    return ok(
        f"{state.name} reaches back {kept}, {most}: a recorder that is down longer misses some"
    )
