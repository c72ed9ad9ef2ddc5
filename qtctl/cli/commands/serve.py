"""`qtctl serve`: the loops, under the one supervisor."""

from contextlib import ExitStack
from typing import Annotated

from qtctl.cli.framework import Context, arg, arguments, command, new_app, opt
from qtctl.cli.framework.context import EMBEDDED
from qtctl.errors import UsageError

app = new_app("serve")


@command(app)
def serve(
    ctx: Context,
    service: Annotated[str, arg("SERVICE", "allocation, governor, recorder or all.")],
    embedded: Annotated[
        bool, opt("--embedded", "On a private server in the state directory.")
    ] = False,
    once: Annotated[bool, opt("--once", "One pass, without a metrics port; then end.")] = False,
    name: Annotated[
        str | None, opt("--name", "Which of several; default: the host's name.")
    ] = None,
    log_format: Annotated[
        str | None, opt("--log-format", "auto, short, plain, rich, json or journal.")
    ] = None,
) -> int:
    """Run the allocation loop, the governor, the recorder, or all, until SIGTERM or Ctrl-C.

    The recorder writes the history; all includes it unless [history] enabled is false.

    Each listens on its metrics port with /metrics, /livez and /readyz. While Redis is away they
    wait for it. SIGHUP reads the settings again; where they are bad, the old ones stay. A second
    SIGTERM or Ctrl-C ends it at once. --once exits 1 if something stays pending, and 3 without
    Redis.

    The log goes to stderr: on a terminal a line per decision in a few words, and one a minute of
    each loop; under systemd to the journal, where every field is a field (see 'qtctl logs').

    Examples:
        qtctl serve allocation
        qtctl serve all --embedded
        qtctl serve governor --once
        qtctl serve governor --log-format json
    """
    from qtctl.cli import compose
    from qtctl.settings import RECORDER, SERVICES, contexts, section_of
    from qtctl.settings.places import state_directory
    from qtctl.supervisor.server_keeper import ServerKeeper
    from qtctl.wire.private_server import embedded as private

    ctx.service = arguments.choice(service, "SERVICE", (*SERVICES, RECORDER, "all"))
    if embedded:
        if any(url != EMBEDDED for url in _explicit_urls(ctx)):
            raise UsageError("--embedded is a URL of its own: leave out --redis-url and redis.url")
        ctx.redis_url = EMBEDDED
    if name is not None:
        hosts = (*SERVICES, RECORDER) if service == "all" else (service,)
        ctx.sets += tuple(f"{section_of(each)}.name={_quoted(name)}" for each in hosts)
    if log_format is not None:
        ctx.sets += (f"logging.format={_quoted(log_format)}",)
    if ctx.loaded.context is not None:
        raise contexts.refused_by_services(ctx.loaded.context, ctx.loaded.context_origin)
    names: tuple[str, ...] = (service,)
    if service == "all":
        names = (*SERVICES, RECORDER) if ctx.settings.history.enabled else SERVICES
    compose.configure_logs(ctx)
    with ExitStack() as stack:
        url = ctx.settings.redis.url
        own = None
        if url == EMBEDDED:
            directory = state_directory(ctx.environ)
            server = stack.enter_context(private.serve_embedded(directory))
            own = server.url
            if not once:
                stack.enter_context(ServerKeeper(server))
        hosted = compose.Hosted(ctx, names, own)
        return hosted.once() if once else hosted.run()


def _explicit_urls(ctx: Context) -> list[str]:
    """The URLs that were asked for on the command line."""
    sets = [each.partition("=") for each in ctx.sets]
    urls = [value.strip().strip("\"'") for name, _, value in sets if name.strip() == "redis.url"]
    return urls if ctx.redis_url is None else [*urls, ctx.redis_url]


def _quoted(text: str) -> str:
    """As a TOML string, so that a name like 7 stays a text."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
