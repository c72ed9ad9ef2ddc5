"""All sources put together: which value holds, where it comes from, and what it overrules.

Each value alone has been checked by its source; here the settings are checked against each other.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from qtctl.errors import ConfigError
from qtctl.settings import environment, platform, secrets, sources
from qtctl.settings.catalog import by_path, by_variable, checked, fields, plain, shown
from qtctl.settings.environment import Variables
from qtctl.settings.model import SECTIONS, STREAMS, Governor, Settings
from qtctl.settings.secrets import Secret
from qtctl.settings.sources import (
    Claim,
    UnusableFileError,
    parsed,
    read_text,
    set_claims,
    toml_claims,
)
from qtctl.settings.urls import CLUSTER, hash_tag, mask_text, scheme_of

SERVICES = ("allocation", "governor")
DEFAULT = "default"


class Loaded(Struct, frozen=True, kw_only=True):
    """The settings in force, and where each comes from.

    origins: for every setting (`allocation.min_conf`) `default`, `file …`, `environment …`,
    `--set` or `--redis-url`. overruled: (origin, value without a password) of weaker sources,
    weakest first, where there are any. file: the TOML file that was read. explicit_url: the URL
    came from a flag. password: where the password is if it is not in the URL. injected: variables
    under our names that a platform has set, and that are ignored.
    """

    settings: Settings
    origins: dict[str, str]
    overruled: dict[str, list[tuple[str, str]]]
    warnings: list[str]
    explicit_url: bool
    file: Path | None
    password: Secret | None
    injected: list[str] = []


def load(
    *,
    config: Path | None,
    environ: Mapping[str, str],
    content: str | None = None,
    redis_url: str | None = None,
    sets: Sequence[str] = (),
    service: str | None = None,
    lenient: bool = False,
) -> Loaded:
    """The settings: defaults < TOML < environment < --set and --redis-url.

    config: the file of `--config`; content: its text, where it may not be in place yet. service:
    `allocation`, `governor` or `all` in `serve`, which decides what METRICS_PORT and METRICS_ADDR
    mean; None elsewhere, where they mean nothing.
    lenient: only [redis] must be right. Where anything else is wrong, the sections that hold
    together with it count, the others are as by default, and a warning says so. A file that is
    missing or broken as a whole is left out, where --redis-url or QTCTL_REDIS_URL names the Redis.
    Errors: ConfigError, one line with the setting, where its value comes from, and the value.
    """
    if not lenient:
        return _load(config, environ, content, redis_url, sets, service, tuple(SECTIONS))
    try:
        return _lenient(config, environ, content, redis_url, sets, service)
    except UnusableFileError as problem:
        loaded = _lenient(None, environ, "", redis_url, sets, service)
        if not loaded.explicit_url and not environ.get(environment.URL):
            raise UnusableFileError(
                f"{problem}; without the file: name the Redis by --redis-url, and the prefix by "
                "--set redis.prefix=… unless it is the default"
            ) from problem
        prefix, origin = loaded.settings.redis.prefix, loaded.origins["redis.prefix"]
        told = f"{problem}; going on without it, with the prefix {prefix} ({origin})"
        how = "; --set redis.prefix=… names another" if origin == DEFAULT else ""
        loaded.warnings.insert(0, told + how)
        return loaded


def _lenient(
    config: Path | None,
    environ: Mapping[str, str],
    content: str | None,
    redis_url: str | None,
    sets: Sequence[str],
    service: str | None,
) -> Loaded:
    """By as many sections as hold together with [redis]."""
    problems: list[ConfigError] = []
    for sections in (tuple(SECTIONS), ("redis", "governor"), ("redis",)):
        try:
            loaded = _load(config, environ, content, redis_url, sets, service, sections)
        except ConfigError as problem:
            problems.append(problem)
            continue
        for each in problems[:1]:
            ignored = ", ".join(f"[{name}]" for name in SECTIONS if name not in sections)
            loaded.warnings.insert(0, f"{each}; going on with the defaults of {ignored}")
        return loaded
    raise problems[-1]


def _load(
    config: Path | None,
    environ: Mapping[str, str],
    content: str | None,
    redis_url: str | None,
    sets: Sequence[str],
    service: str | None,
    sections: Sequence[str],
) -> Loaded:
    """The same by these sections only; the others are as by default."""
    if len(sections) < len(SECTIONS):
        environ, sets = _only(environ, sets, sections)
    injected = platform.injected(environ)
    environ = {name: value for name, value in environ.items() if name not in injected}
    variables = Variables(environ)
    environment.unknown_ours(variables)
    try:
        file, toml = _file(config, variables) if content is None else (config, content)
        tables = parsed(toml, file)
    except ConfigError as problem:
        raise UnusableFileError(str(problem)) from problem
    if len(sections) < len(SECTIONS):
        tables = {name: tables[name] for name in sections if name in tables}
    claims = list(toml_claims(tables, f"file {file}"))
    flags = _flag_claims(sets, redis_url)
    explicit_url = any(claim.field.path == "redis.url" for claim in flags)
    claims += _environment_claims(variables, service, sources.url_of(claims), explicit_url)
    settings, origins, overruled = resolve([*claims, *flags])
    check(settings, origins, service)
    warnings = [
        *variables.warnings,
        *environment.unknown_old(variables).values(),
        *_unencrypted(settings, origins),
        *secrets.unused(settings.redis, origins, environ),
    ]
    return Loaded(
        settings=settings,
        origins=origins,
        overruled=overruled,
        warnings=warnings,
        explicit_url=explicit_url,
        file=file,
        password=secrets.find(settings.redis, origins, environ),
        injected=sorted(name for name in injected if environment.is_ours(name)),
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
    for field in fields():
        if field.path in by_setting:
            strongest = by_setting[field.path][-1]
            origins[field.path] = strongest.origin
            values[field.section][field.key] = strongest.value
    if "prefix" in values["redis"]:
        for (section, key), rest in STREAMS.items():
            values[section].setdefault(key, values["redis"]["prefix"] + rest)
    overruled = {
        path: [(claim.origin, plain(claim.value)) for claim in all_claims[:-1]]
        for path, all_claims in by_setting.items()
        if len(all_claims) > 1
    }
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
        return path, read_text(path)
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
    claims = list(set_claims(sets))
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


def check(settings: Settings, origins: Mapping[str, str], service: str | None) -> None:
    """The settings against each other. Errors: ConfigError with their values and origins."""

    def described(path: str) -> str:
        return f"{path} = {shown(by_path()[path].of(settings))} ({origins[path]})"

    for problem in _conflicts(settings, service, described):
        raise ConfigError(problem)


def _conflicts(
    settings: Settings, service: str | None, described: Callable[[str], str]
) -> Iterator[str]:
    redis, allocation, governor = settings.redis, settings.allocation, settings.governor
    if redis.tls_key_file and not redis.tls_cert_file:
        yield f"{described('redis.tls_key_file')} needs redis.tls_cert_file as well"
    if allocation.min_mult > allocation.max_mult:
        yield f"{described('allocation.min_mult')} is over {described('allocation.max_mult')}"
    opening, closing = (
        {action.upper() for action in actions}
        for actions in (governor.open_actions, governor.close_actions)
    )
    both = opening & closing
    if both:
        yield (
            f"an action can't open and close: {', '.join(sorted(both))} is in "
            f"{described('governor.open_actions')} and in {described('governor.close_actions')}"
        )
    usual = (*Governor().kill_keys, *Governor().halt_keys)
    for key in ("kill_keys", "halt_keys"):
        for name in getattr(governor, key):
            # It would be looked for under the prefix twice, and never be found set. The usual names
            # are meant as they stand, also under a prefix like `governor:`.
            if name not in usual and name.startswith(redis.prefix):
                yield (
                    f"{described(f'governor.{key}')}: {name} begins with redis.prefix, which is "
                    "added anyway; leave it out"
                )
    streams = {path: by_path()[path].of(settings) for path in map(".".join, STREAMS)}
    seen: dict[str, str] = {}
    for path, name in streams.items():
        # A service that wrote where it reads would feed on its own output.
        if name in seen:
            yield f"{described(path)} is the same stream as {described(seen[name])}"
        seen[name] = path
    if service == "all" and allocation.metrics_port == governor.metrics_port != 0:
        yield (
            f"serve all needs two ports: {described('allocation.metrics_port')} is also "
            f"{described('governor.metrics_port')}"
        )
    if scheme_of(redis.url) != CLUSTER:
        return
    tag = hash_tag(redis.prefix)
    if not tag:
        why = "on a cluster all keys must share a slot, as under {quantum}:"
        yield f"{described('redis.prefix')} has no hash tag: {why}"
    for path, name in streams.items():
        if hash_tag(name) != tag:
            of_prefix = f"hash tag {{{tag}}} of {described('redis.prefix')}"
            yield f"{described(path)} must carry the {of_prefix} on a cluster"
