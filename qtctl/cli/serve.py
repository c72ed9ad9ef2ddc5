"""`qtctl serve`: the loops, under the one supervisor."""

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from qtctl.cli.env import EMBEDDED, Env
from qtctl.cli.frame import command, new_app
from qtctl.cli.hosting import SERVICES, services
from qtctl.errors import UsageError

if TYPE_CHECKING:
    from qtctl.services.base import Service
    from qtctl.wire.embedded import Embedded

app = new_app("serve")
log = logging.getLogger("qtctl.serve")


@command(app)
def serve(
    env: Env,
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
    wait for it. --once ends with 1 if something stays pending, and with 3 without Redis.

    Examples:
        qtctl serve allocation
        qtctl serve all --embedded
        qtctl serve governor --once
    """
    if service not in (*SERVICES, "all"):
        raise UsageError(f"SERVICE {service!r} is none of {', '.join(SERVICES)}, all")
    env.service = service
    names = SERVICES if service == "all" else (service,)
    if embedded:
        if any(url != EMBEDDED for url in _explicit_urls(env)):
            raise UsageError("--embedded is a URL of its own: leave out --redis-url and redis.url")
        env.redis_url = EMBEDDED
    if name is not None:
        env.sets += tuple(f"{each}.name={_quoted(name)}" for each in names)
    from qtctl.supervisor import logs

    logging_ = env.settings.logging
    logs.configure(logging_.level, logging_.format)
    with ExitStack() as stack:
        url = env.settings.redis.url
        if url == EMBEDDED:
            url = stack.enter_context(_private_server(env)).url
        made = services(env, names, url)
        log.info("serving %s on %s", " and ".join(names), env.where())
        code = _once(made) if once else _host(made)
    if code:
        raise typer.Exit(code)


def _explicit_urls(env: Env) -> list[str]:
    """The URLs that were asked for on the command line."""
    sets = [each.partition("=") for each in env.sets]
    urls = [value.strip().strip("\"'") for name, _, value in sets if name.strip() == "redis.url"]
    return urls if env.redis_url is None else [*urls, env.redis_url]


def _private_server(env: Env) -> "Embedded":
    from qtctl.wire import embedded

    return embedded.serve_embedded(embedded.state_directory(env.environ))


def _host(made: "Sequence[Service]") -> int:
    from qtctl.supervisor.run import Supervisor

    return Supervisor(made).run()


def _once(made: "Sequence[Service]") -> int:
    from qtctl.supervisor.run import once

    return 0 if once(made) else 1


def _quoted(text: str) -> str:
    """As a TOML string, so that a name like 7 stays a text."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
