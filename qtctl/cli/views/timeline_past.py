"""What the history knows of what happened, before Redis's own sources begin: one more of those of
`timeline`."""

from collections.abc import Iterator, Mapping, Sequence

from qtctl.cli.views.past import Past
from qtctl.domain.entry_ids import time_of
from qtctl.domain.event_moments import STREAM as EVENTS
from qtctl.domain.event_moments import moment
from qtctl.domain.gates import CLOSE_REASONS
from qtctl.domain.moments import Moment, Refusal, Run, Source, of_runs, runs
from qtctl.domain.plans import PlanRules
from qtctl.domain.reasons import Kind, Reason, Verdict
from qtctl.history import latest
from qtctl.history.reader import History
from qtctl.history.rows import ServiceRow
from qtctl.wire.queries import moments
from qtctl.wire.queries.moments import CLOSE_REFUSED
from qtctl.wire.queries.streams import StreamEntry

NAME = "days of the history"
_OF_PLANS = (Verdict.PERMITTED.value, Verdict.BLOCKED.value)
_SAME_START_SEC = 2.5
"""A server's start is known to the second."""
_RESTARTS = ("restarted", "replaced", "promoted")
_SERVICES_TOO = "loop_restarted"
"""A gap that the start of a service says as well."""


def sources(
    past: Past, redis: Sequence[Source], since: float, until: float, rules: PlanRules
) -> list[Source]:
    """None where there is no history; what can't be read of it is said in the source. Redis's
    sources are asked first: of each kind only what lies before them is taken."""
    history = past.history
    if history is None:
        return [] if past.missing else [Source(NAME, problem=past.problem)]
    begins = {each.name: min(until, _begins(each, until)) for each in redis}
    known = _Known(history, since, until, begins, rules)
    out = list(past.guarded(known.all(redis)))
    span = next(past.guarded(iter([history.span()])), None)
    problem = past.problem or "; ".join(each.problem for each in history.damage[:3])
    return [Source(NAME, out, None if span is None else span[0] / 1000, problem=problem)]


def _begins(source: Source, until: float) -> float:
    """Since when a source of Redis knows everything, epoch seconds."""
    return until if source.back_to is None else source.back_to


class _Known:
    """A window of the history (epoch seconds). begins: by source of Redis, since when that knows
    all of its kind; what is not named there, Redis could not be asked for."""

    def __init__(
        self, history: History, since: float, until: float, begins: Mapping[str, float],
        rules: PlanRules,
    ) -> None:  # fmt: skip
        self._history, self._rules, self._begins = history, rules, begins
        self._since, self._until = since, until

    def all(self, redis: Sequence[Source]) -> Iterator[Moment]:
        yield from self._of_events()
        yield from runs("refused", self._refused(), CLOSE_REFUSED)
        yield from runs("refused", self._unread(), CLOSE_REFUSED)
        yield from self._services()
        starts = [it.at for source in redis if source.name == "the server" for it in source.moments]
        yield from self._servers(starts)
        yield from self._gaps()

    def _window(self, source: str) -> tuple[int, int]:
        """Epoch ms of what Redis's source has forgotten."""
        return int(self._since * 1000), int(self._begins.get(source, self._until) * 1000)

    def _of_events(self) -> Iterator[Moment]:
        withdrawn = []
        for each in self._history.events(*self._window("events"), without=_OF_PLANS):
            found = moment(each.id, time_of(each.id), each.fields)
            if found is not None:
                yield found
            elif each.fields.get("event") == "withdrawn":
                entry = StreamEntry(each.id, dict(each.fields))
                withdrawn.append(moments.refusal(entry, EVENTS, "permit", "withdrawn"))
        yield from runs("permits", withdrawn)

    def _refused(self) -> list[Refusal]:
        only: dict[str, Sequence[str]] = {
            "kind": [Kind.CLOSE], "verdict": [Verdict.BLOCKED], "reason": CLOSE_REASONS,
        }  # fmt: skip
        found = [
            Refusal(
                at=each.decided_ms / 1000, noun="close", verb="refused", reason=each.reason,
                plan_id=each.plan_id, symbol=each.symbol, by="", id=f"decisions:{each.id}",
            )
            for each in latest.decisions(self._history, *self._window("events"), only=only)
            if each.reason != Reason.DUPLICATE_PLAN
        ]  # fmt: skip
        return found[::-1]

    def _unread(self) -> Iterator[Refusal]:
        entries = (
            StreamEntry(each.id, dict(each.fields))
            for each in self._history.rejected(*self._window("rejected plans"))
        )
        return moments.closes_unread(entries, self._rules)

    def _services(self) -> list[Moment]:
        """Starts and stops, and what changed in the settings in between."""
        _, until = self._window("notes of services")
        rows = [it for it in self._history.services(None, until) if it.what in ("started", "ended")]
        return of_runs(map(self._run, rows))

    def _run(self, row: ServiceRow) -> Run:
        settings = self._history.settings(row.settings) if row.settings else None
        started = row.what == "started"
        return Run(
            at=(row.started_ms if started else row.at_ms) / 1000, started=started,
            service=row.service, name=row.name, version=row.version, host=row.host,
            pid=str(row.pid), settings=settings or {},
            id=f"history:{row.service}:{row.name}:{row.what}:{row.at_ms}",
        )  # fmt: skip

    def _servers(self, starts: Sequence[float]) -> Iterator[Moment]:
        for row in self._history.servers(*self._window("history")):
            at = row.started_ms / 1000
            if row.what not in _RESTARTS or any(abs(at - it) < _SAME_START_SEC for it in starts):
                continue
            yield Moment(
                at=row.at_ms / 1000, kind="redis", reason=row.detail,
                what=f"{row.version} {row.what}", id=f"history:server:{row.at_ms}",
            )  # fmt: skip

    def _gaps(self) -> Iterator[Moment]:
        for number, gap in enumerate(self._history.gaps(*self._window("history"))):
            if gap.kind == _SERVICES_TOO:
                continue
            yield Moment(
                at=max(gap.from_ms / 1000, self._since), kind="gap", what=gap.detail,
                until=gap.to_ms / 1000 if gap.to_ms > gap.from_ms else None,
                id=f"history:gap:{gap.at_ms}:{number}",
            )  # fmt: skip
