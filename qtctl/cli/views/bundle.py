"""What goes into `qtctl bundle`: all that a post-mortem asks for, as far as it can be had.

Bounded on a large server: the newest entries of streams alone, decisions as the events name them,
at most SCAN_KEYS keys for doctor, and no new part after BUDGET_SEC.
"""

import platform
from collections.abc import Callable
from contextlib import ExitStack, suppress
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from qtctl import __version__, clock
from qtctl.cli.framework.arguments import When
from qtctl.cli.framework.context import Context
from qtctl.cli.framework.listing import Listing
from qtctl.cli.output import format
from qtctl.cli.output.archive import Archive
from qtctl.cli.output.masking import masking
from qtctl.cli.views import findings, groups, health, logs, settings_shown, stream_states, timeline
from qtctl.deploy.host import Host
from qtctl.errors import ConfigError, NotFoundError, QtctlError, RedisUnreachable
from qtctl.operator import user_at_host
from qtctl.settings import RECORDER, SERVICES
from qtctl.supervisor.journalctl import Asked
from qtctl.wire.client.store import Store
from qtctl.wire.queries import decisions, services
from qtctl.wire.queries.status import Watch
from qtctl.wire.queries.streams import StreamEntry, pages

BUDGET_SEC = 60.0
SCAN_KEYS = 200_000
MOST_EVENTS, MOST_DECISIONS, MOST_REJECTED, MOST_LINES = 10_000, 2_000, 100, 5_000
LIBRARIES = ("typer", "rich", "redis", "hiredis", "prometheus-client", "msgspec", "tomli-w")


class Part(NamedTuple):
    """One file: what it is, how it is read; lines: a list, the newest first, as a line each."""

    name: str
    what: str
    read: Callable[[], Any]
    lines: bool = False


class Bundle:
    """Gathers part after part; one that fails costs no other."""

    def __init__(self, ctx: Context, since_sec: float, root: Path, *, live: bool) -> None:
        self._ctx = ctx
        self._since_sec = since_sec
        self._host = Host(root, live)
        self._begun = clock.monotonic()
        self._open = ExitStack()
        self._connected: Store | None = None
        self._away: QtctlError | None = None
        self._events: list[StreamEntry] = []
        self.at = clock.now()
        # They stand in doctor's report.
        ctx.print_warnings = False
        ctx.listing = Listing(since=When(ago_sec=since_sec))

    def gather(self) -> Archive:
        """Everything, as far as it can be had."""
        archive = Archive(self._about(), masking(self._ctx))
        with self._open:
            for part in self._parts():
                try:
                    if clock.monotonic() - self._begun > BUDGET_SEC:
                        raise QtctlError(f"left out: the others took {BUDGET_SEC:.0f} s already")
                    (archive.add_lines if part.lines else archive.add)(
                        part.name, part.what, part.read()
                    )
                except QtctlError as problem:
                    if isinstance(problem, RedisUnreachable):
                        self._away = problem  # each further try would wait for it again
                    archive.lack(part.name, part.what, str(problem))
                except Exception as bug:  # noqa: BLE001 - the others matter more than this one
                    archive.lack(part.name, part.what, f"{type(bug).__name__}: {bug}")
        return archive

    def _parts(self) -> tuple[Part, ...]:
        """In the order in which they are read: what needs no Redis, then the overview, then the
        rest."""
        span = format.span(self._since_sec)
        return (
            Part("versions.json", "versions of qtctl, Python, libraries, system", self._versions),
            Part("settings.json", "settings of this shell, where each comes from; no secrets",
                 lambda: settings_shown.rows(self._ctx)),
            Part("status.json", "as qtctl status -o json", self._status),
            Part("services.json", "the services that run, with their settings", self._services),
            Part("doctor.json", "as qtctl doctor -o json", self._doctor),
            Part("timeline.json", f"as qtctl timeline --since {span} -o json", self._timeline),
            Part("groups.json", "consumer groups, as qtctl group list -o json", self._groups),
            Part("streams.json", "as qtctl stream list -o json",
                 lambda: stream_states.states(self._store())),
            Part("events.ndjson", f"the last {MOST_EVENTS:,} events", self._last_events, True),
            Part("decisions.ndjson", f"the last {MOST_DECISIONS:,} decisions that events name",
                 self._last_decisions, True),
            Part("limits.json", "limits by the digest in a decision", self._limits),
            Part("rejected.ndjson", f"the last {MOST_REJECTED} plans that could not be read",
                 self._rejected, True),
            Part("logs.ndjson", f"the last {MOST_LINES:,} lines of the journal of this host",
                 self._logs, True),
        )  # fmt: skip

    def _about(self) -> dict[str, Any]:
        where = None
        with suppress(ConfigError):
            where = self._ctx.where()
        return {
            "bundle": 1,
            "made_at": self.at,
            "by": user_at_host(self._ctx.environ),
            "version": __version__,
            "where": where,
            "since_s": self._since_sec,
        }

    def _store(self) -> Store:
        """The one connection. Errors: those of the first try, which is not repeated."""
        if self._away is not None:
            raise self._away
        if self._connected is None:
            try:
                store = self._open.enter_context(self._ctx.store(notice=False))
                store.now_ms()
            except (RedisUnreachable, ConfigError) as problem:
                self._away = problem
                raise
            self._connected = store
        return self._connected

    def _versions(self) -> dict[str, Any]:
        found: dict[str, str | None] = {}
        for name in LIBRARIES:
            found[name] = None
            with suppress(metadata.PackageNotFoundError):
                found[name] = metadata.version(name)
        return {
            "qtctl": __version__,
            "python": platform.python_version(),
            "system": platform.platform(),
            "host": platform.node(),
            "libraries": found,
        }

    def _status(self) -> Any:
        store = self._store()
        return health.of(self._ctx, Watch(store, self._ctx.settings, 3_600.0).read())

    def _services(self) -> list[Any]:
        return list(services.every(self._store(), (*SERVICES, RECORDER)))

    def _doctor(self) -> Any:
        live = self._host.live
        report, _ = findings.report(self._ctx, self._host.root, live=live, scan=SCAN_KEYS)
        return list(report.findings)

    def _timeline(self) -> dict[str, Any]:
        found = timeline.gather(self._ctx, self._host)
        return {"rows": found.rows, "notes": [*found.notes(True), *filter(None, [found.away])]}

    def _groups(self) -> list[dict[str, Any]]:
        found, unread = groups.looked(self._ctx, self._store(), None)
        if unread and not found:
            raise QtctlError("none could be read")
        return found

    def _last_events(self) -> list[dict[str, str]]:
        self._events = _newest(self._store(), self._store().keys.events, MOST_EVENTS)
        return [{"id": each.id} | each.fields for each in self._events]

    def _last_decisions(self) -> list[dict[str, str]]:
        named = dict.fromkeys(
            each.fields.get("plan_id", "")
            for each in self._events
            if each.fields.get("event") in ("permitted", "blocked")
        )
        return list(decisions.by_id(self._store(), list(named)[:MOST_DECISIONS]).values())

    def _limits(self) -> dict[str, Any]:
        rows = self._last_decisions()
        digests = {row.get("limits", "") for row in rows} - {""}
        return dict(decisions.limits_by_digest(self._store(), digests))

    def _rejected(self) -> list[dict[str, str]]:
        store = self._store()
        found = _newest(store, store.keys.rejected, MOST_REJECTED)
        return [{"id": each.id} | each.fields for each in found]

    def _logs(self) -> list[dict[str, Any]]:
        since = self.at - self._since_sec
        asked = Asked(logs.units_of(None), since, most=MOST_LINES, newest_first=True)
        try:
            return list(logs.rows(self._ctx, None, asked))
        except NotFoundError:
            return []


def _newest(store: Store, stream: str, most: int) -> list[StreamEntry]:
    """The newest entries of a stream, that first."""
    found: list[StreamEntry] = []
    for page in pages(store, stream):
        found += page[: most - len(found)]
        if len(found) >= most:
            break
    return found
