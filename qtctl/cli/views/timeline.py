"""What happened, from everything that still knows: Redis, the history, the deploy records and the
journal."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec.structs import asdict

from qtctl import clock
from qtctl.cli.framework.context import Context
from qtctl.cli.output import Listed, format
from qtctl.cli.output.columns import recent, text, word
from qtctl.cli.views import health, timeline_past
from qtctl.cli.views.in_force import InForce
from qtctl.cli.views.past import Past
from qtctl.deploy.host import Host
from qtctl.deploy.limits import LIMITS
from qtctl.deploy.records import Record, Records, undone
from qtctl.deploy.units import UNITS
from qtctl.domain.moments import Change, Moment, Source, rows
from qtctl.domain.plans import PlanRules
from qtctl.errors import NotFoundError, QtctlError, RedisUnreachable, WireError
from qtctl.settings.rules import rules_from
from qtctl.supervisor import journalctl
from qtctl.supervisor.journalctl import Asked
from qtctl.wire.client.store import Store
from qtctl.wire.queries import moments
from qtctl.wire.queries.status import Watch

USUAL_SEC = 86_400.0
ALARMS_SEC = 3_600.0
MOST_JOURNAL = 2_000
DEPLOYED = "deployments of this host"
FIELDS = (
    *("at", "kind", "what", "by", "reason", "symbol", "changes", "alert", "count", "until"),
    *("source", "id"),
)
"""Of a row, in the order of the JSON."""
_STYLES = {
    "halt": "bold red", "alarm": "bold red", "refused": "bold red", "gap": "red",
    "redis": "yellow", "clock": "yellow", "settings": "yellow", "resume": "green",
}  # fmt: skip
_STATES = {"done": "", "applied": ", services not started", "applying": ", NOT FINISHED"}
_DIED = ("Main process exited", "Watchdog timeout", "Failed with result")


@dataclass(frozen=True)
class Gathered:
    """What every source gave. away: why Redis could not be asked, "" where it could."""

    sources: Sequence[Source]
    since: float
    until: float
    away: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        """All of the window, the oldest first."""
        return [_row(each) for each in rows(self.sources, self.since, self.until)]

    def notes(self, utc: bool) -> Iterator[str]:
        """How far back each source reaches, and what could not be read: a line each."""
        for source in self.sources:
            if source.problem:
                yield f"{source.name} could not be read: {source.problem}"
        for source in self.sources:
            if source.back_to is None:
                if source.name in _EXPECTED and not source.problem:
                    yield f"{source.name}: none are kept"
            elif source.trimmed or source.back_to > self.since:
                older = "older ones are forgotten" if source.trimmed else "the first there is"
                yield f"{source.name} reach back to {format.moment(source.back_to, utc)} ({older})"

    @property
    def whole(self) -> bool:
        """True if all could be read but for what only some may read, which is only reported."""
        needed = (it for it in self.sources if it.name not in _BY_RIGHT)
        return not self.away and not any(it.problem for it in needed)


_BY_RIGHT = (DEPLOYED, "the server", timeline_past.NAME)
"""Root's, those with INFO, and those in the group of the history."""
_EXPECTED = ("events", "notes of services")
"""What a system that runs has."""


def gather(ctx: Context, host: Host) -> Gathered:
    """Asks every source about the window of the command line, the last 24 h unless it names one."""
    away = ""
    found: list[Source] = []
    now = clock.now()
    try:
        with ctx.store() as store:
            now = store.now_ms() / 1000
            ctx.listing = ctx.listing.on(now)
            rules, _ = InForce(ctx, store).of("governor", PlanRules)
            found = moments.sources(store, _since(ctx, now), rules)
            past = Past(ctx, store)
            found += timeline_past.sources(past, found, _since(ctx, now), _until(ctx, now), rules)
            if ctx.listing.before is None:
                found.append(_alarms(ctx, store, now))
    except RedisUnreachable as problem:
        away = str(problem)
        ctx.listing = ctx.listing.on(now)
    since, until = _since(ctx, now), _until(ctx, now)
    if away:
        rules = rules_from(ctx.settings.governor, PlanRules)
        found = timeline_past.sources(Past(ctx, None), (), since, until, rules)
    found += [deployments(host), journal(ctx, since, until)]
    return Gathered(found, since, until, away)


def _alarms(ctx: Context, store: Store, now: float) -> Source:
    """What is wrong now, as `status` has it: the conditions that alerts are made of."""
    try:
        status = health.of(ctx, Watch(store, ctx.settings, ALARMS_SEC).read())
    except WireError as problem:
        return Source("alarms", problem=str(problem))
    return Source(
        "alarms",
        [
            Moment(at=now, kind="alarm", what=f"NOW: {each.text}", id=f"alarms:{at:03}")
            for at, each in enumerate(status.banner)
        ],
    )


def _until(ctx: Context, now: float) -> float:
    return ctx.listing.before or now


def _since(ctx: Context, now: float) -> float:
    return now - USUAL_SEC if ctx.listing.after is None else ctx.listing.after


# Sources of this host ---------------------------------------------------------------------------


def deployments(host: Host) -> Source:
    """What was deployed here and rolled back, and which limits that changed."""
    records = Records(host)
    try:
        if records.folder.is_dir() and not os.access(records.folder, os.R_OK | os.X_OK):
            return Source(DEPLOYED, problem=f"{records.folder} is root's (sudo)")
        found = records.all()
    except (OSError, QtctlError) as problem:
        return Source(DEPLOYED, problem=str(problem))
    gone = undone(found)
    out = [
        _deployment(record, found[at - 1] if at else None, record.id in gone)
        for at, record in enumerate(found)
    ]
    return Source(DEPLOYED, out, found[0].began_at if found else None)


def _deployment(record: Record, before: Record | None, is_undone: bool) -> Moment:
    was = {} if before is None else before.extra.get("limits", {})
    now = record.extra.get("limits", {})
    changes = [Change(path, was[path], now[path]) for path in now if path in was]
    if before is not None and before.version != record.version:
        changes.insert(0, Change("version", before.version, record.version))
    files = format.count(len(record.changes), "file")
    about = f"{files}{_STATES.get(record.state, '')}{', undone later' if is_undone else ''}"
    undoes = f" undoes {', '.join(record.undoes)}" if record.undoes else ""
    return Moment(
        at=record.began_at, kind="deploy", by=str(record.extra.get("by", "")),
        what=f"{record.kind} {record.id}{undoes} (qtctl {record.version}, {about})",
        reason=record.failure, changes=tuple(it for it in changes if it.before != it.after),
    )  # fmt: skip


def journal(ctx: Context, since: float, until: float) -> Source:
    """What systemd says of units that died: nothing else knows why one was killed."""
    matches = ("SYSLOG_IDENTIFIER=systemd",)
    asked = Asked(UNITS, since, until, MOST_JOURNAL, matches=matches)
    try:
        lines = list(journalctl.read(asked, ctx.environ.get("PATH")))
    except NotFoundError:
        return Source("the journal")
    out = [
        Moment(at=it.at, kind="service", what=it.message, by="systemd", alert="QtctlRestarting")
        for it in lines
        if any(words in it.message for words in _DIED)
    ]
    return Source("the journal", out)


# As a list --------------------------------------------------------------------------------------


def _row(it: Moment) -> dict[str, Any]:
    changes = [asdict(each) | {"raises_risk": _is_riskier(each)} for each in it.changes]
    return {name: getattr(it, name) for name in FIELDS} | {"changes": changes}


def _is_riskier(change: Change) -> bool:
    limit = next((each for each in LIMITS if each.path == change.setting), None)
    if limit is None or change.before is None:
        return False
    try:
        return limit.loosened(change.before, change.after)
    except TypeError:
        return False


def _told(row: Any) -> str:
    """What happened with what changed and why, as one sentence."""
    changes = [
        f"{'RAISES RISK: ' if it['raises_risk'] else ''}{it['setting']} {_value(it['before'])} → "
        f"{_value(it['after'])}"
        for it in row["changes"]
    ]
    parts = [row["what"], "; ".join(changes), row["reason"]]
    return ": ".join(part for part in parts if part)


def _value(value: Any) -> str:
    return "unknown" if value is None else "none" if value == [] else format.text(value)


LISTED = Listed(
    (
        recent("time", "at"),
        text("kind", "kind", style=lambda kind: _STYLES.get(str(kind), "")),
        text("what", _told, fold=True, named="what"),
        word("by", "by", drop=1),
    ),
    fields=FIELDS,
    at="at",
)
"""Columns of the list."""


def last(ctx: Context, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that the options of lists ask for: with -n the newest."""
    listing = ctx.listing
    wanted = list(filter(LISTED.matches(listing), found))
    if listing.limit is None or listing.order:
        return wanted
    return wanted[len(wanted) - min(listing.limit, len(wanted)) :]
