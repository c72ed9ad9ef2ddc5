"""All sources put together: which value holds, where it comes from, and what it overrules."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from qtctl.errors import ConfigError
from qtctl.settings import contexts, environment, platform, secrets, sources
from qtctl.settings.catalog import by_path, by_variable, checked, plain, streams
from qtctl.settings.checks import check
from qtctl.settings.contexts import KnownContext
from qtctl.settings.environment import Variables
from qtctl.settings.model import SECTIONS, Settings
from qtctl.settings.sources import Claim, UnusableFileError
from qtctl.settings.urls import mask_text, scheme_of

SERVICES = ("allocation", "governor")
"""The two loops."""
RECORDER = "recorder"
"""The service beside them that writes the history."""
DEFAULT = "default"


def section_of(service: str) -> str:
    """The section of a service's settings."""
    return "history" if service == RECORDER else service


class Loaded(Struct, frozen=True, kw_only=True):
    """The settings in force, and where each comes from.

    origins: for every setting (`allocation.min_conf`) `default`, `file …`, `environment …`,
    `--set` or `--redis-url`. overruled: (origin, value without a password) of weaker sources,
    weakest first, where there are any. file: the TOML file that was read. explicit_url: the URL
    came from a flag. password: where the password is if it is not in the URL. injected: variables
    under our names that a platform has set, and that are ignored. context: the one in force, which
    the origin context_origin asked for; contexts: all of the file, none for a service.
    """

    settings: Settings
    origins: dict[str, str]
    overruled: dict[str, list[tuple[str, str]]]
    warnings: list[str]
    explicit_url: bool
    file: Path | None
    password: secrets.Secret | None
    injected: list[str] = []
    context: KnownContext | None = None
    context_origin: str = ""
    contexts: tuple[KnownContext, ...] = ()


class _Given(Struct, frozen=True):
    """What `load` was called with."""

    config: Path | None
    environ: Mapping[str, str]
    content: str | None
    redis_url: str | None
    sets: Sequence[str]
    service: str | None
    context: str | None


def load(
    *,
    config: Path | None,
    environ: Mapping[str, str],
    content: str | None = None,
    redis_url: str | None = None,
    sets: Sequence[str] = (),
    service: str | None = None,
    context: str | None = None,
    lenient: bool = False,
) -> Loaded:
    """The settings: defaults < TOML < environment < --set and --redis-url.

    config: the file of `--config`; content: its text, where it may not be in place yet. service:
    `allocation`, `governor` or `all` in `serve`, which decides what METRICS_PORT and METRICS_ADDR
    mean; None elsewhere, where they mean nothing. context: of `--context`, whose Redis counts
    instead of all that file and environment say about one.
    lenient: only [redis] must be right. Where anything else is wrong, the sections that hold
    together with it count, the others are as by default, and a warning says so. A file that is
    missing or broken as a whole is left out, where --redis-url or QTCTL_REDIS_URL names the Redis.
    Errors: ConfigError, one line with the setting, where its value comes from, and the value;
    UsageError for a context that --context names and that is not there.
    """
    given = _Given(config, environ, content, redis_url, sets, service, context)
    if not lenient:
        return _load(given, tuple(SECTIONS))
    try:
        return _lenient(given)
    except UnusableFileError as problem:
        return _without_file(given, problem)


def _without_file(given: _Given, problem: UnusableFileError) -> Loaded:
    """The same without the file. Errors: UnusableFileError where nothing else names the Redis."""
    environ = given.environ
    named = contexts.asked(given.context, Variables(environ))
    flags = _flag_claims(given.sets, given.redis_url)
    named, _ = contexts.in_force(named, flags)
    explicit_url = any(claim.field.path == "redis.url" for claim in flags)
    if named is not None or not (explicit_url or environ.get(environment.URL)):
        what = "" if named is None else f"the context {named.name} is in it; "
        raise UnusableFileError(
            f"{problem}; {what}without the file: name the Redis by --redis-url, and the prefix by "
            "--set redis.prefix=… unless it is the default"
        ) from problem
    loaded = _lenient(msgspec.structs.replace(given, config=None, content=""))
    prefix, origin = loaded.settings.redis.prefix, loaded.origins["redis.prefix"]
    went_on = f"{problem}; going on without it, with the prefix {prefix} ({origin})"
    how = "; --set redis.prefix=… names another" if origin == DEFAULT else ""
    loaded.warnings.insert(0, went_on + how)
    return loaded


def _lenient(given: _Given) -> Loaded:
    """By as many sections as hold together with [redis]."""
    problems: list[ConfigError] = []
    for sections in (tuple(SECTIONS), ("redis", "governor"), ("redis",)):
        try:
            loaded = _load(given, sections)
        except ConfigError as problem:
            problems.append(problem)
            continue
        for each in problems[:1]:
            ignored = ", ".join(f"[{name}]" for name in SECTIONS if name not in sections)
            loaded.warnings.insert(0, f"{each}; going on with the defaults of {ignored}")
        return loaded
    raise problems[-1]


def _load(given: _Given, sections: Sequence[str]) -> Loaded:
    """The same by these sections only; the others are as by default."""
    environ, sets = given.environ, given.sets
    whole = len(sections) == len(SECTIONS)
    if not whole:
        environ, sets = _only(environ, sets, sections)
    injected = platform.injected(environ)
    environ = {name: value for name, value in environ.items() if name not in injected}
    variables = Variables(environ)
    environment.unknown_ours(variables)
    try:
        file, toml = given.config, given.content
        if toml is None:
            file, toml = _file(given.config, variables)
        tables = sources.parsed(toml, file)
    except ConfigError as problem:
        raise UnusableFileError(str(problem)) from problem
    others = tables.pop(contexts.SECTION, {})
    if not whole:
        tables = {name: tables[name] for name in sections if name in tables}
    flags = _flag_claims(sets, given.redis_url)
    named = contexts.asked(given.context, variables)
    named, set_aside = contexts.in_force(named, flags)
    chosen = None if named is None else contexts.chosen(named, others, file)
    claims = list(sources.toml_claims(tables, f"file {file}"))
    explicit_url = any(claim.field.path == "redis.url" for claim in flags)
    has_url = explicit_url or chosen is not None
    claims += _environment_claims(variables, given.service, sources.url_of(claims), has_url)
    set_aside += contexts.unused(named, environ)
    if chosen is not None:
        claims = contexts.instead(chosen, claims)
        # Nor may the password of another server reach this one.
        environ = {name: environ[name] for name in environ if name not in secrets.VARIABLES}
    settings, origins, overruled = resolve([*claims, *flags])
    check(settings, origins, given.service)
    warnings = [
        *variables.warnings,
        *environment.unknown_old(variables).values(),
        *set_aside,
        *_unencrypted(settings, origins),
        *secrets.unused(settings.redis, origins, environ),
    ]
    every = whole and given.service is None
    return Loaded(
        settings=settings,
        origins=origins,
        overruled=overruled,
        warnings=warnings,
        explicit_url=explicit_url or (named is not None and named.by_flag),
        file=file,
        password=secrets.find(settings.redis, origins, environ),
        injected=sorted(name for name in injected if environment.is_ours(name)),
        context=chosen,
        context_origin="" if named is None else named.origin,
        contexts=tuple(contexts.known(others, f"file {file}")) if every else (),
    )


def _only(
    environ: Mapping[str, str], sets: Sequence[str], sections: Sequence[str]
) -> tuple[dict[str, str], list[str]]:
    """The variables and assignments of these sections, and what is of none."""
    others = {
        name
        for name, about in by_variable().items()
        if not any(field.section in sections for field in about)
    }
    ours = {*by_variable(), *environment.NO_SETTINGS}
    kept = {
        name: value
        for name, value in environ.items()
        if name not in others and (name in ours or not name.startswith(environment.OURS))
    }
    return kept, [each for each in sets if each.strip().partition(".")[0] in sections]


def resolve(
    claims: Iterable[Claim],
) -> tuple[Settings, dict[str, str], dict[str, list[tuple[str, str]]]]:
    """Settings, origins and overruled (see Loaded) from claims in rising order of strength."""
    by_setting: dict[str, list[Claim]] = {}
    for claim in claims:
        by_setting.setdefault(claim.field.path, []).append(claim)
    origins = dict.fromkeys(by_path(), DEFAULT)
    values: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    overruled: dict[str, list[tuple[str, str]]] = {}
    for path, (*weaker, strongest) in by_setting.items():
        origins[path] = strongest.origin
        values[strongest.field.section][strongest.field.key] = strongest.value
        if weaker:
            overruled[path] = [(claim.origin, plain(claim.value)) for claim in weaker]
    if "prefix" in values["redis"]:
        for path, rest in streams().items():
            section, _, key = path.partition(".")
            values[section].setdefault(key, values["redis"]["prefix"] + rest)
    sections: dict[str, Any] = {name: SECTIONS[name](**given) for name, given in values.items()}
    return Settings(**sections), origins, overruled


def _file(config: Path | None, variables: Variables) -> tuple[Path | None, str]:
    """The TOML file to use and its text; None where there is none."""
    by = "--config"
    if config is None and variables.values.get(environment.CONFIG):
        by, text = environment.CONFIG, variables.text(environment.CONFIG)
        config = Path(text) if text else None
    path = config or sources.DEFAULT_FILE
    try:
        return path, sources.read_text(path)
    except FileNotFoundError as problem:
        if config is None:
            return None, ""
        raise ConfigError(f"file {mask_text(str(path))} ({by}) does not exist") from problem


def _environment_claims(
    variables: Variables, service: str | None, base_url: str, explicit_url: bool
) -> list[Claim]:
    claims = list(environment.old_claims(variables, SECTIONS))
    if service == "all":
        environment.refuse_one_port_for_two(variables)
    elif service in SERVICES:
        claims += environment.metrics_claims(variables, service)
    # Parts of a URL mean nothing beside a whole one of the same strength or more.
    if not explicit_url and environment.URL not in variables.values:
        claims += environment.redis_claims(variables, base_url)
    return [*claims, *environment.new_claims(variables)]


def _flag_claims(sets: Sequence[str], redis_url: str | None) -> list[Claim]:
    claims = list(sources.set_claims(sets))
    if redis_url is not None:
        field = by_path()["redis.url"]
        claims.append(Claim(field, checked(field, redis_url, "--redis-url"), "--redis-url"))
    return claims


def _unencrypted(settings: Settings, origins: Mapping[str, str]) -> list[str]:
    """A warning where certificates are set and the URL does not use them."""
    if scheme_of(settings.redis.url) != "redis":
        return []
    return [
        f"redis.{key} ({origins[f'redis.{key}']}) changes nothing: redis.url "
        f"({origins['redis.url']}) is redis://, which is not encrypted; rediss:// is"
        for key in ("tls_ca_file", "tls_cert_file")
        if getattr(settings.redis, key)
    ]
