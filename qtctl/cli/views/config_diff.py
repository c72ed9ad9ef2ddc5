"""This shell's settings beside those of the running services, by the services' own records."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from qtctl import __version__
from qtctl.cli.framework.arguments import choice
from qtctl.cli.framework.context import Context
from qtctl.settings import RECORDER, SERVICES, public, section_of
from qtctl.wire.queries import services
from qtctl.wire.schema.service import ServiceRecord

HINT = (
    "A service reads files and environment when it starts, its file also at SIGHUP; "
    "a shell lacks the environment of a unit."
)


class Compared(NamedTuple):
    """rows: each setting that differs, once per instance (None on the side that does not know it).
    same: something was compared, and nothing differs. notes: a line each."""

    rows: list[dict[str, Any]]
    same: bool
    notes: list[str]


def compared(ctx: Context, service: str | None) -> Compared:
    """This shell beside one kind of service (whose METRICS_PORT then counts), or all that run.
    Errors: UsageError for no such service; RedisUnreachable, WireError, ConfigError."""
    if service is not None:
        ctx.service = choice(service, "SERVICE", (*SERVICES, RECORDER))
    wanted = (service,) if service else (*SERVICES, RECORDER)
    with ctx.store() as store:
        running = {name: services.running(store, name) for name in wanted}
    alive = [each for name in wanted for each in running[name]]
    rows = [row for each in alive for row in _differences(ctx, each)]
    needed = wanted if service else SERVICES
    notes = [f"No {name} is running on {ctx.where()}." for name in needed if not running[name]]
    notes += [_summary(each, rows) for each in alive]
    if rows:
        notes.append(HINT)
    return Compared(rows, bool(alive) and not rows, notes)


def _differences(ctx: Context, there: ServiceRecord) -> Iterator[dict[str, Any]]:
    section = section_of(there.service)
    ours = public(getattr(ctx.settings, section))
    # Another version may have other settings.
    for key in dict.fromkeys((*ours, *there.settings)):
        if key in ours and key in there.settings and _same(ours[key], there.settings[key]):
            continue
        path = f"{section}.{key}"
        yield {
            "key": path,
            "here": ours.get(key),
            "there": there.settings.get(key),
            "service": there.service,
            "instance": there.name,
            "origin": ctx.loaded.origins.get(path),
        }


def _same(here: Any, there: Any) -> bool:
    return bool(here == there) and isinstance(here, bool) == isinstance(there, bool)


def _summary(each: ServiceRecord, rows: Sequence[dict[str, Any]]) -> str:
    mine = [row for row in rows if (row["service"], row["instance"]) == (each.service, each.name)]
    few = "setting differs" if len(mine) == 1 else "settings differ"
    result = f"{len(mine)} {few}" if mine else "the same settings as here"
    other = "" if each.version == __version__ else f" (it is qtctl {each.version})"
    return f"{each.service} {each.name}: {result}{other}."
