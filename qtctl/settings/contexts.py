"""Contexts: other Redis servers by name, `[contexts.prod]`, for the commands of operators.

A context stands instead of `[redis]` as a whole, and of every variable about Redis: what another
server is logged in to with must never reach this one. Only the time-outs of `[redis]` stay.
Services take no context.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from qtctl.errors import ConfigError, QtctlError, UsageError
from qtctl.settings.catalog import by_path, checked, shown
from qtctl.settings.environment import CONFIG, CONTEXT, REDIS_PARTS, URL, Variables
from qtctl.settings.model import Redis
from qtctl.settings.secrets import PASSWORD
from qtctl.settings.sources import DEFAULT_FILE, Claim, nearest, parsed, read_text, shown_name

SECTION = "contexts"
FLAG = "--context"
PROTECTED = "protected"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SHARED = ("redis.connect_timeout_sec", "redis.timeout_sec")
"""What says nothing about who and where."""
KEYS = tuple(name for name in Redis.__struct_fields__ if f"redis.{name}" not in _SHARED)
"""What a context may say, besides `protected`."""


class Named(Struct, frozen=True):
    """A context that was asked for, and by what: `--context` or `environment QTCTL_CONTEXT`."""

    name: str
    origin: str

    @property
    def by_flag(self) -> bool:
        """True if it stands on the command line."""
        return self.origin == FLAG


class KnownContext(Struct, frozen=True):
    """One context of the file: what it says about Redis, and whether changes need its name."""

    name: str
    claims: tuple[Claim, ...]
    protected: bool

    @property
    def redis(self) -> Redis:
        """Its server; not to be shown without masking the URL."""
        return Redis(**{claim.field.key: claim.value for claim in self.claims})


def asked(flag: str | None, variables: Variables) -> Named | None:
    """The context that the command line, else the environment names."""
    if flag is not None:
        return Named(flag, FLAG)
    text = variables.text(CONTEXT) if variables.values.get(CONTEXT) else ""
    return Named(text, variables.origin(CONTEXT)) if text else None


def in_force(named: Named | None, flags: Sequence[Claim]) -> tuple[Named | None, list[str]]:
    """Which context counts beside what else the command line says, and warnings. Errors:
    UsageError for a command line that names two Redis."""
    if named is None:
        return None, []
    url = next((claim.origin for claim in flags if claim.field.path == "redis.url"), None)
    if url is not None:
        option = url if url.startswith("--redis") else "--set redis.url"
        if named.by_flag:
            raise UsageError(f"{FLAG} and {option} can't be combined: each names a Redis")
        return None, [f"the context {named.name} ({named.origin}) is not used: {option} is given"]
    return named, []


def refused_by_services(context: KnownContext, origin: str) -> QtctlError:
    """The error of a service that was given a context: whatever becomes of the contexts in the file
    while it runs must not move it to another Redis."""
    why = (
        f"serve takes no context ({origin} {context.name}): a service goes by [redis], {URL} or "
        "--redis-url"
    )
    return UsageError(why) if origin == FLAG else ConfigError(f"{why}; unset {CONTEXT}")


def unused(named: Named | None, environ: Mapping[str, str]) -> list[str]:
    """A warning where the environment names another Redis, or a password, beside a context."""
    if named is None or named.by_flag:
        return []
    ignored = [name for name in (URL, PASSWORD, *REDIS_PARTS) if environ.get(name)]
    verb = "is" if len(ignored) == 1 else "are"
    why = f"not used: the context {named.name} ({named.origin}) says which Redis it is"
    return [f"environment {', '.join(ignored)} {verb} {why}"] if ignored else []


def known(table: Any, origin: str, only: str | None = None) -> Iterator[KnownContext]:
    """The contexts of a file (`origin`), or only this one. Errors: ConfigError."""
    if not isinstance(table, Mapping):
        raise ConfigError(f"{SECTION} = {shown(table)} ({origin}): write [{SECTION}.NAME]")
    for name, keys in table.items():
        if only is None or name == only:
            yield _known(name, keys, origin)


def chosen(named: Named, table: Any, file: Path | None) -> KnownContext:
    """The context that was asked for. Errors: UsageError (by the flag) or ConfigError (by the
    environment) for one that is not there, naming those that are."""
    where = f"file {file}"
    found = next(known(table, where, named.name), None)
    if found is not None:
        return found
    names = ", ".join(sorted(map(shown_name, table)))
    there = f"known in {where}: {names}" if names else f"{where} has no [{SECTION}.NAME]"
    there = there if file is not None else "there is no file of settings"
    near = nearest(named.name, table)
    what = f"unknown context {shown_name(named.name)} ({named.origin}){near and near + ' ('}"
    what += f"{there})" if near else f": {there}"
    raise UsageError(what) if named.by_flag else ConfigError(what)


def instead(context: KnownContext, claims: Iterable[Claim]) -> list[Claim]:
    """The claims with those of the context instead of all others about Redis. What the context
    overrules stays in front of it, to be shown."""
    own = {claim.field.path for claim in context.claims}
    kept = (it for it in claims if it.field.section != "redis" or it.field.path in (*_SHARED, *own))
    return [*kept, *context.claims]


def names(config: Path | None, environ: Mapping[str, str]) -> list[str]:
    """The names in the file that a command would read, whatever else is wrong with it. Errors:
    OSError, ConfigError for one that can't be read."""
    path = config or Path(environ.get(CONFIG) or DEFAULT_FILE)
    table = parsed(read_text(path), path).get(SECTION, {})
    return sorted(name for name in table if _NAME.fullmatch(name))


def _known(name: str, keys: Any, origin: str) -> KnownContext:
    place = f"{origin} [{SECTION}.{shown_name(name)}]"
    if _NAME.fullmatch(name) is None:
        raise ConfigError(f"{place}: a context's name is 1 to 64 letters, digits, _ and -")
    if not isinstance(keys, Mapping):
        raise ConfigError(f"{SECTION}.{name} = {shown(keys)} ({origin}): write [{SECTION}.{name}]")
    for key in keys:
        if key not in (*KEYS, PROTECTED):
            near = nearest(key, (*KEYS, PROTECTED))
            raise ConfigError(
                f"unknown setting {SECTION}.{name}.{shown_name(key)} ({origin}){near}"
            )
    protected = keys.get(PROTECTED, False)
    if not isinstance(protected, bool):
        value = f"{SECTION}.{name}.{PROTECTED} = {shown(protected)}"
        raise ConfigError(f"{value} ({origin}): expected true or false")
    if "url" not in keys:
        raise ConfigError(f"{SECTION}.{name} ({origin}) has no url: which Redis is it?")
    claims = []
    for key in KEYS:
        if key in keys:
            field = by_path()[f"redis.{key}"]
            try:
                claims.append(Claim(field, checked(field, keys[key], place), place))
            except QtctlError as problem:
                text = str(problem).replace(f"redis.{key} =", f"{SECTION}.{name}.{key} =", 1)
                raise ConfigError(text) from problem
    return KnownContext(name, tuple(claims), protected)
