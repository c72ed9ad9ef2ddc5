"""`qtctl config`: the settings in force, where each comes from, and files to begin with."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from qtctl.cli.framework import ROWS, Context, arg, command, group
from qtctl.cli.framework.list_options import Lists
from qtctl.cli.output import Fields, Listed, Rows, emit, emit_one
from qtctl.cli.output.columns import Column, text
from qtctl.errors import UsageError

if TYPE_CHECKING:
    from qtctl.settings.contexts import KnownContext

app = group(
    "config",
    help="Settings in force, and where each comes from.",
    default="show",
    examples="""
    qtctl config show governor
    qtctl config diff
    qtctl config contexts
    qtctl config check --config /etc/quantum/qtctl.toml
    qtctl config import-env /etc/quantum/p32.env > qtctl.toml
    """,
)

SETTINGS = (
    text("setting", "key"),
    text("value", "value", fold=True),
    text("from", "origin", fold=True),
)
OVERRULED = text(
    "instead of",
    lambda row: [f"{it['value']} ({it['origin']})" for it in row["overruled"]],
    fold=True,
    drop=1,
)
ABOUT = (
    *SETTINGS,
    text("default", "default", fold=True),
    text("allowed", "allowed", fold=True),
    text("what it does", "description", fold=True),
)
ELSEWHERE = (
    text("option", lambda row: _options(row["key"])),
    text("environment", "variables"),
    text("file", lambda row: "[{}] {}".format(*row["key"].split("."))),
)
DIFFERENCES = (
    text("setting", "key"),
    text("here", "here", fold=True),
    text("there", "there", fold=True),
    text("instance", "instance"),
    text("here from", "origin", fold=True, drop=1),
)
CONTEXTS = (
    Column("", "current", lambda current, utc: "*" if current else ""),
    text("name", "name"),
    text("redis", lambda row: _display_url(row["url"]), fold=True),
    text("prefix", "prefix"),
    text("user", "username", drop=1),
    text("password", "password", fold=True, drop=2),
    text("protected", "protected"),
)
CHECKED = (
    text("file", lambda checked: checked["file"] or "none"),
    text("context", lambda checked: checked["context"] or "none"),
    text("redis", "redis"),
    text("password", lambda checked: checked["password"] or "none"),
    text("warnings", lambda checked: len(checked["warnings"])),
)


@command(app, outputs=("toml", *ROWS))
def show(
    ctx: Context,
    keys: Annotated[
        list[str] | None, arg("KEY", "A setting (governor.min_conf) or a section.")
    ] = None,
) -> None:
    """Settings in force: the value of each, and the file, variable or option it comes from.

    Of one setting all there is to know: what was overruled, what it does, what is allowed.
    Passwords are never shown. -o toml prints a file that gives the same settings.

    Examples:
        qtctl config show
        qtctl config show governor redis.url
        qtctl config show governor.min_conf
        qtctl config show -o toml
    """
    from qtctl.cli.views import settings_shown

    rows = [row for row in settings_shown.rows(ctx) if not keys or _is_asked(row["key"], keys)]
    for key in keys or ():
        if not any(_is_asked(row["key"], [key]) for row in rows):
            raise UsageError(
                f"KEY {key!r} is neither a setting nor a section: see 'qtctl config show'"
            )
    _say_context(ctx)
    if ctx.loaded.injected:
        ctx.say(f"Ignored, since a platform has set them: {', '.join(ctx.loaded.injected)}")
    if ctx.output == "toml":
        sys.stdout.write(_toml(ctx, rows))
    elif ctx.output == "table" and [row["key"] for row in rows] == keys:
        overruled = Rows(rows[0]["overruled"][::-1], SETTINGS[1:], "Overruled, the strongest first")
        elsewhere = Fields(ELSEWHERE, "Where it can be set, the strongest first", unbroken=True)
        emit_one(ctx, rows[0], Fields(ABOUT), overruled, elsewhere)
    else:
        any_overruled = any(row["overruled"] for row in rows)
        emit(ctx, rows, (*SETTINGS, OVERRULED) if any_overruled else SETTINGS)


@command(app, outputs=ROWS)
def diff(
    ctx: Context,
    service: Annotated[
        str | None, arg("SERVICE", "allocation, governor or recorder. Default: all that run.")
    ] = None,
) -> int:
    """Compare this shell's settings with those that the running services say they run with.

    0 where they are the same, 1 where one differs or no service runs. A record has the settings of
    its own service alone: not [redis], [safety] and [logging].

    Examples:
        qtctl config diff
        qtctl config diff governor -o json
        qtctl config diff --config new.toml
    """
    from qtctl.cli.views import config_diff

    found = config_diff.compared(ctx, service)
    _say_context(ctx)
    emit(ctx, found.rows, DIFFERENCES)
    for line in found.notes:
        ctx.say(line)
    return int(not found.same)


@command(app)
def check(ctx: Context) -> None:
    """Read all settings as a service would; 0 if they are good, 5 with what is wrong.

    The password and the certificates are read as well. Redis is not asked.

    Examples:
        qtctl config check
        qtctl config check --config new.toml && qtctl serve all --config new.toml
    """
    file, password = ctx.loaded.file, ctx.loaded.password
    ctx.access().check(ctx.settings.redis.url)
    checked = {
        "ok": True,
        "file": None if file is None else str(file),
        "context": None if ctx.loaded.context is None else ctx.loaded.context.name,
        "redis": ctx.where(),
        "password": _password_of_url(ctx) if password is None else password.origin,
        "warnings": list(ctx.loaded.warnings),
    }
    emit_one(ctx, checked, Fields(CHECKED))
    ctx.say("The configuration is good.")


@command(app, lists=Lists(lambda given: Listed(CONTEXTS)))
def contexts(ctx: Context) -> None:
    """The Redis servers that the file names: what `--context` and $QTCTL_CONTEXT take.

    Where one is protected, whatever changes something asks for its name to be typed first. The one
    in force has a star. Passwords are never shown.

    Examples:
        qtctl config contexts
        qtctl --context prod status
        qtctl --context prod --confirm-context prod inject clear
    """
    loaded = ctx.loaded
    rows = [_context_row(each, loaded.context) for each in loaded.contexts]
    file = "There is no file of settings" if loaded.file is None else f"None in file {loaded.file}"
    emit(ctx, rows, CONTEXTS, empty=f"{file}: a context is a section [contexts.NAME] with a url.")


@command(app)
def init(ctx: Context) -> None:
    """Print a commented file with every setting at its default.

    Examples:
        qtctl config init > /etc/quantum/qtctl.toml
    """
    from qtctl.settings import template

    sys.stdout.write(template())


@command(app, "import-env")
def import_env(
    ctx: Context,
    files: Annotated[list[str], arg("FILE", "An EnvironmentFile of systemd.")],
) -> int:
    """Turn EnvironmentFiles of existing units into TOML, read as systemd reads them.

    A later file wins over an earlier one. What is skipped is reported on stderr, in short; exits 1
    where that is a limit, by its name, which would not be in force any more.

    Examples:
        qtctl config import-env /etc/quantum/p29.env /etc/quantum/p32.env > qtctl.toml
    """
    from qtctl.cli.views import import_notes
    from qtctl.settings.import_env import imported

    found = imported([Path(file) for file in files])
    sys.stdout.write(found.toml)
    if found.notes:
        what = f"{found.settings} settings from {len(files)} file{'s' if len(files) > 1 else ''}"
        ctx.warn(f"{what}; {len(found.notes)} to look at:")
    for line in import_notes.lines(found.notes):
        ctx.say(line)
    return int(any(note.kind == "limit" for note in found.notes))


def _display_url(url: str) -> str:
    from qtctl.settings import display_url

    return display_url(url)


def _say_context(ctx: Context) -> None:
    if ctx.loaded.context is not None:
        ctx.say(f"Context: {ctx.loaded.context.name} ({ctx.loaded.context_origin})")


def _context_row(each: "KnownContext", in_force: "KnownContext | None") -> dict[str, Any]:
    from qtctl.settings import public
    from qtctl.settings.urls import has_password

    redis = public(each.redis)
    password = "in the url" if has_password(each.redis.url) else redis["password_file"]
    return {
        "name": each.name,
        "current": in_force is not None and each.name == in_force.name,
        **{key: redis[key] for key in ("url", "prefix", "username")},
        "password": password,
        "protected": each.protected,
    }


def _password_of_url(ctx: Context) -> str | None:
    from qtctl.settings.urls import has_password

    if not has_password(ctx.settings.redis.url):
        return None
    origin = ctx.loaded.origins["redis.url"]
    return f"{origin} (seen by everybody: ps)" if origin.startswith("--") else origin


def _options(key: str) -> str:
    return f"--set {key}=VALUE" + (", --redis-url URL" if key == "redis.url" else "")


def _is_asked(key: str, asked: Sequence[str]) -> bool:
    """Whether a setting is among those asked for, by its own name or its section's."""
    return key in asked or key.partition(".")[0] in asked


def _toml(ctx: Context, rows: Sequence[Mapping[str, Any]]) -> str:
    from qtctl.settings import to_toml

    sections: dict[str, dict[str, Any]] = {}
    for row in rows:
        section, _, key = row["key"].partition(".")
        sections.setdefault(section, {})[key] = row["value"]
    url = ctx.settings.redis.url
    if sections.get("redis", {}).get("url", url) != url:
        ctx.warn("redis.url has a password, which is not shown: put it in before use")
    return to_toml(sections)
