"""Where the services are put together: settings in, services out. The one composition root."""

import gc
import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from qtctl import clock
from qtctl.cli.framework import process
from qtctl.cli.framework.context import EMBEDDED, Context
from qtctl.errors import ConfigError
from qtctl.services.allocation import AllocationLoop
from qtctl.services.base import Service
from qtctl.services.governor import Governor
from qtctl.services.recorder import Recorder
from qtctl.settings import RECORDER
from qtctl.settings.places import history_folder
from qtctl.supervisor import logs
from qtctl.supervisor.notify import Notify
from qtctl.supervisor.run import Supervisor, once

log = logging.getLogger("qtctl.serve")

SWITCH_SEC = 0.0002
GIVE_WAY_SEC = 0.00005
"""How long the other loops sleep between two pieces of their work, where a governor shares the
process: they let go of their core and of the interpreter. A governor that a plan wakes would wait
milliseconds for the core first, and only on it can it ask for the interpreter."""

# What a try takes beside its own time-outs: the wait before it (2 s at most), and a bit more on a
# machine under heavy load.
TRY_MARGIN_SEC = 5.0


def services(ctx: Context, names: Sequence[str], url: str) -> list[Service]:
    """These services, each on a connection of its own; nothing is sent yet."""
    settings = ctx.settings
    made: list[Service] = []
    give_way = partial(clock.sleep, GIVE_WAY_SEC) if "governor" in names else lambda: None
    if "allocation" in names:
        made.append(
            AllocationLoop(
                ctx.connection(url),
                settings.allocation,
                publish=settings.history.publish,
                give_way=give_way,
            )
        )
    if "governor" in names:
        made.append(
            Governor(
                ctx.connection(url),
                settings.governor,
                allow_eviction=settings.safety.allow_eviction,
                start_halted=settings.safety.start_halted,
                publish=settings.history.publish,
            )
        )
    if RECORDER in names:
        find_folder = partial(history_folder, settings.history, ctx.environ)
        made.append(Recorder(ctx.connection(url), settings.history, find_folder, give_way))
    # A try that finds Redis hanging ends by its time-outs: within the deadline, or waiting for
    # Redis would count as hanging too.
    try_sec = settings.redis.connect_timeout_sec + settings.redis.timeout_sec + TRY_MARGIN_SEC
    for service in made:
        service.pass_timeout_sec = max(service.pass_timeout_sec, try_sec)
    return made


class Hosted:
    """The services by the settings in force, and by those that are read again at SIGHUP."""

    def __init__(self, ctx: Context, names: Sequence[str], own_server: str | None) -> None:
        self._ctx = self._next = ctx
        self._names = names
        self._own_server = own_server
        """The URL of the private server, if this process answers for one."""

    def run(self) -> int:
        """Under the supervisor, until the end is asked for; the exit code."""
        share_the_interpreter()
        notify = Notify(self._ctx.environ)
        made = self._services(self._ctx)
        self._announce()
        return Supervisor(
            made,
            optional=(RECORDER,) if len(made) > 1 else (),
            reload=self._again,
            reloaded=self._reloaded,
            notify=notify,
        ).run()

    def once(self) -> int:
        """One pass; 1 if something stays undone."""
        made = self._services(self._ctx)
        self._announce()
        return 0 if once(made) else 1

    def _services(self, ctx: Context) -> list[Service]:
        return services(ctx, self._names, self._own_server or ctx.settings.redis.url)

    def _again(self) -> list[Service]:
        """New services by the file as it is now; flags and environment are the process's own.
        Errors: ConfigError; the settings in force stay as they are."""
        # Warnings go to the log, which never waits for a reader; stderr might.
        ctx, before = replace(self._ctx, print_warnings=False), self._ctx
        file = before.loaded.file
        if file is not None and ctx.loaded.file is None:
            # Halfway through a deployment, rather than meant: all would fall to its default.
            raise ConfigError(f"file {file} is not there any more")
        if (ctx.settings.redis.url == EMBEDDED) != (self._own_server is not None):
            raise ConfigError(
                f"redis.url = {ctx.where().split()[0]!r} ({ctx.loaded.origins['redis.url']}): "
                "to or from embedded: takes a restart"
            )
        made = self._services(ctx)
        for warning in ctx.loaded.warnings:
            log.warning("%s", warning)
        self._next = ctx
        return made

    def _reloaded(self) -> None:
        before, self._ctx = self._ctx, self._next
        if self._ctx.settings.logging != before.settings.logging:
            configure_logs(self._ctx)
        self._announce()

    def _announce(self) -> None:
        *names, last = self._names
        served = f"{', '.join(names)} and {last}" if names else last
        log.info("serving %s on %s", served, self._ctx.where())


def share_the_interpreter() -> None:
    """Keeps the loops of this process from waiting long for each other: a busy thread hands over
    after SWITCH_SEC, by default after 5 ms, and collections of garbage, which may take 15 ms, leave
    out what is there for good."""
    sys.setswitchinterval(SWITCH_SEC)
    process.collect_as_usual()
    gc.collect()
    gc.freeze()


def configure_logs(ctx: Context) -> None:
    """Send log records to stderr in the form that the settings ask for."""
    asked = ctx.settings.logging
    logs.configure(asked.level, asked.format, environ=ctx.environ)
