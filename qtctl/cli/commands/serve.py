"""`qtctl serve`: the loops, under the one supervisor."""

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from qtctl.cli.compose import SERVICES, services
from qtctl.cli.framework.command import command, new_app
from qtctl.cli.framework.context import EMBEDDED, Context
from qtctl.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from qtctl.services.base import Service
    from qtctl.wire.private_server.embedded import Embedded

app = new_app("serve")
log = logging.getLogger("qtctl.serve")


@command(app)
def serve(
    ctx: Context,
    service: Annotated[str, typer.Argument(help="allocation, governor or all.")],
    embedded: Annotated[
        bool, typer.Option("--embedded", help="On a private server in the state directory.")
    ] = False,
    once: Annotated[
        bool, typer.Option("--once", help="One pass, without a metrics port; then end.")
    ] = False,
    name: Annotated[
        str | None, typer.Option("--name", help="Which of several; default: the host's name.")
    ] = None,
) -> None:
    """Run the allocation loop, the governor, or both, until SIGTERM or Ctrl-C.

    Each listens on its metrics port with /metrics, /livez and /readyz. While Redis is away they
    wait for it. SIGHUP reads the settings again; where they are bad, the old ones stay. A second
    SIGTERM or Ctrl-C ends it at once. --once ends with 1 if something stays pending, and with 3
    without Redis.

    Examples:
        qtctl serve allocation
        qtctl serve all --embedded
        qtctl serve governor --once
    """
    if service not in (*SERVICES, "all"):
        raise UsageError(f"SERVICE {service!r} is none of {', '.join(SERVICES)}, all")
    ctx.service = service
    names = SERVICES if service == "all" else (service,)
    if embedded:
        if any(url != EMBEDDED for url in _explicit_urls(ctx)):
            raise UsageError("--embedded is a URL of its own: leave out --redis-url and redis.url")
        ctx.redis_url = EMBEDDED
    if name is not None:
        ctx.sets += tuple(f"{each}.name={_quoted(name)}" for each in names)
    _configure_logs(ctx)
    with ExitStack() as stack:
        url = ctx.settings.redis.url
        own = stack.enter_context(_private_server(ctx)).url if url == EMBEDDED else None
        hosted = _Hosted(ctx, names, own)
        code = hosted.once() if once else hosted.run()
    if code:
        raise typer.Exit(code)


def _explicit_urls(ctx: Context) -> list[str]:
    """The URLs that were asked for on the command line."""
    sets = [each.partition("=") for each in ctx.sets]
    urls = [value.strip().strip("\"'") for name, _, value in sets if name.strip() == "redis.url"]
    return urls if ctx.redis_url is None else [*urls, ctx.redis_url]


def _private_server(ctx: Context) -> "Embedded":
    from qtctl.wire.private_server import embedded

    return embedded.serve_embedded(embedded.state_directory(ctx.environ))


class _Hosted:
    """The services by the settings in force, and by those that are read again at SIGHUP."""

    def __init__(self, ctx: Context, names: "Sequence[str]", own_server: str | None) -> None:
        self._ctx = self._next = ctx
        self._names = names
        self._own_server = own_server
        """The URL of the private server, if this process answers for one."""

    def run(self) -> int:
        """Under the supervisor, until the end is asked for; the exit code."""
        from qtctl.supervisor.notify import Notify
        from qtctl.supervisor.run import Supervisor

        notify = Notify(self._ctx.environ)
        made = self._services(self._ctx)
        self._tell()
        return Supervisor(made, reload=self._again, reloaded=self._reloaded, notify=notify).run()

    def once(self) -> int:
        """One pass; 1 if something stays undone."""
        from qtctl.supervisor.run import once

        made = self._services(self._ctx)
        self._tell()
        return 0 if once(made) else 1

    def _services(self, ctx: Context) -> "list[Service]":
        return services(ctx, self._names, self._own_server or ctx.settings.redis.url)

    def _again(self) -> "list[Service]":
        """New services by the file as it is now; flags and environment are the process's own.

        Errors: ConfigError; the settings in force stay as they are.
        """
        ctx, before = replace(self._ctx), self._ctx
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
        self._next = ctx
        return made

    def _reloaded(self) -> None:
        before, self._ctx = self._ctx, self._next
        if self._ctx.settings.logging != before.settings.logging:
            _configure_logs(self._ctx)
        self._tell()

    def _tell(self) -> None:
        log.info("serving %s on %s", " and ".join(self._names), self._ctx.where())


def _configure_logs(ctx: Context) -> None:
    from qtctl.supervisor import logs

    logs.configure(ctx.settings.logging.level, ctx.settings.logging.format)


def _quoted(text: str) -> str:
    """As a TOML string, so that a name like 7 stays a text."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
