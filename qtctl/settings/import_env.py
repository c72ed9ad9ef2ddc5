"""EnvironmentFiles of existing units turned into TOML."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from qtctl.settings import environment
from qtctl.settings.catalog import by_variable, fields, plain
from qtctl.settings.checks import check
from qtctl.settings.dump import to_toml
from qtctl.settings.environment import METRICS, REDIS_PARTS, URL, Variables, read_envfile, valid
from qtctl.settings.load import DEFAULT, SERVICES, resolve
from qtctl.settings.model import SECTIONS
from qtctl.settings.secrets import PASSWORD
from qtctl.settings.sources import Claim, nearest, shown_name, url_of
from qtctl.settings.urls import has_password, without_password

_PUT = "put it into a file of its own and set [redis] password_file to that"


def import_env(files: Sequence[Path]) -> tuple[str, list[str]]:
    """TOML with the settings in the files (a later file wins), and warnings: what was skipped
    (passwords always are), trailing comments, and where two files differ.

    In a file that clearly belongs to one service (by its other variables), METRICS_PORT,
    METRICS_ADDR and P31_MIN_CONF mean that service; else P31_MIN_CONF is for both.
    Errors: ConfigError for a file that can't be read, and for invalid values.
    """
    claims: list[Claim] = []
    warnings: list[str] = []
    for path in files:
        found, problems = _claims_of(path, url_of(claims))
        warnings += [*problems, *_overruled(claims, found)]
        claims += found
    settings, origins, _ = resolve(claims)
    check(settings, origins, None)
    content: dict[str, dict[str, Any]] = {}
    for field in fields():
        if origins[field.path] != DEFAULT:
            value = field.of(settings)
            if field.path == "redis.url" and has_password(value):
                value = without_password(value)
                where = f"redis.url ({origins[field.path]})"
                warnings.append(f"{where}: its password is skipped: {_PUT}")
            content.setdefault(field.section, {})[field.key] = value
    return to_toml(content), warnings


def _claims_of(path: Path, base_url: str) -> tuple[list[Claim], list[str]]:
    """The claims of one file, weakest first, and its warnings."""
    pairs = read_envfile(path)
    values = valid(pairs)
    variables = Variables(values, f"file {path}")
    service = _service(values)
    claims = list(environment.old_claims(variables, SECTIONS if service is None else (service,)))
    if service is not None:
        claims += environment.metrics_claims(variables, service)
    if URL not in values:
        claims += environment.redis_claims(variables, base_url)
    claims += environment.new_claims(variables)
    invalid = [
        f"file {path}: {shown_name(name)} is not a valid variable name; systemd skips it"
        for name, _ in pairs
        if name not in values
    ]
    return claims, [*invalid, *_left_out(variables, service), *variables.warnings]


def _service(values: Mapping[str, str]) -> str | None:
    """The one service that these variables belong to, or None for both or neither."""
    about = {
        settings[0].section
        for name, settings in by_variable().items()
        if name in values and len(settings) == 1
    }
    services = [service for service in SERVICES if service in about]
    return services[0] if len(services) == 1 else None


def _left_out(variables: Variables, service: str | None) -> Iterator[str]:
    """A warning for each variable that is skipped."""
    for name in variables.values:
        origin = variables.origin(name)
        if name in (environment.CONFIG, environment.CONTEXT):
            yield f"{origin} is not a setting; skipped"
        elif name == PASSWORD:
            yield f"{origin} is a password; skipped: {_PUT}"
        elif name not in by_variable():
            yield f"{origin} is unknown; skipped{nearest(name, by_variable())}"
        elif name in METRICS and service is None:
            key = METRICS[name]
            yield (
                f"{origin} is skipped: the file could belong to either service; "
                f"set allocation.{key} or governor.{key}"
            )
        elif name in REDIS_PARTS and URL in variables.values:
            yield f"{origin} is skipped: {URL} is set as well"


def _overruled(before: Sequence[Claim], now: Sequence[Claim]) -> Iterator[str]:
    """A warning for each setting that an earlier file sets differently."""
    known = {claim.field.path: claim for claim in before}
    for claim in now:
        earlier = known.get(claim.field.path)
        if earlier is not None and earlier.value != claim.value:
            yield (
                f"{claim.field.path} = {plain(claim.value)} ({claim.origin}) overrides "
                f"{plain(earlier.value)} ({earlier.origin})"
            )
