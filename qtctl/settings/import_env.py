"""EnvironmentFiles of existing units turned into TOML. Source: section 5 of the specification."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from qtctl.settings import environment
from qtctl.settings.catalog import by_path, by_variable, fields, plain
from qtctl.settings.dump import to_toml
from qtctl.settings.environment import METRICS, REDIS_PARTS, URL, Variables, assignments, is_name
from qtctl.settings.load import DEFAULT, SERVICES, check, resolve
from qtctl.settings.model import SECTIONS
from qtctl.settings.secrets import PASSWORD
from qtctl.settings.sources import Claim, nearest, shown_name
from qtctl.settings.urls import has_password, without_password

_PUT = "put it into a file of its own and name that in [redis] password_file"


def import_env(files: Sequence[Path]) -> tuple[str, list[str]]:
    """TOML with the settings that the files have (a later file wins), and warnings: what could
    not be taken over (passwords never are), comments behind values, and where two files differ.

    A file that is clearly one service's (by its other variables) speaks of that service with
    METRICS_PORT, METRICS_ADDR and P31_MIN_CONF; else P31_MIN_CONF is for both.
    Errors: ConfigError for a file that can't be read, and for a value that can't be.
    """
    claims: list[Claim] = []
    warnings: list[str] = []
    for path in files:
        found, told = _claims_of(path, _url_so_far(claims))
        warnings += [*told, *_overruled(claims, found)]
        claims += found
    settings, origins, _ = resolve(claims)
    check(settings, origins, None)
    content: dict[str, dict[str, Any]] = {}
    for field in fields():
        if origins[field.path] != DEFAULT:
            value = getattr(getattr(settings, field.section), field.key)
            if field.path == "redis.url" and has_password(value):
                value = without_password(value)
                warnings.append(
                    f"redis.url ({origins[field.path]}): its password is left out; {_PUT}"
                )
            content.setdefault(field.section, {})[field.key] = value
    return to_toml(content), warnings


def _claims_of(path: Path, base_url: str) -> tuple[list[Claim], list[str]]:
    """What one file says, weakest first, and its warnings."""
    pairs = assignments(path)
    values = {name: value for name, value in pairs if is_name(name)}
    variables = Variables(values, f"file {path}")
    service = _service(values)
    claims = list(environment.old_claims(variables, SECTIONS if service is None else (service,)))
    if service is not None:
        claims += environment.metrics_claims(variables, service)
    if URL not in values:
        claims += environment.redis_claims(variables, base_url)
    claims += environment.new_claims(variables)
    told = [
        f"file {path}: {shown_name(name)} is no name of a variable; systemd leaves it out"
        for name, _ in pairs
        if not is_name(name)
    ]
    told += _left_out(variables, service)
    return claims, told + variables.warnings


def _service(values: Mapping[str, str]) -> str | None:
    """The one service whose variables these are, or None where they are of both or of neither."""
    about = {
        settings[0].section
        for name, settings in by_variable().items()
        if name in values and len(settings) == 1
    }
    services = [service for service in SERVICES if service in about]
    return services[0] if len(services) == 1 else None


def _left_out(variables: Variables, service: str | None) -> Iterator[str]:
    """A warning for each variable that is not taken over."""
    for name in variables.values:
        told = variables.origin(name)
        if name == environment.CONFIG:
            yield f"{told} is no setting and is left out"
        elif name == PASSWORD:
            yield f"{told} is a password and is left out; {_PUT}"
        elif name not in by_variable():
            yield f"{told} is unknown and left out{nearest(name, by_variable())}"
        elif name in METRICS and service is None:
            key = METRICS[name]
            yield (
                f"{told} is left out: the file does not tell of which service it is; "
                f"set allocation.{key} or governor.{key}"
            )
        elif name in REDIS_PARTS and URL in variables.values:
            yield f"{told} is left out: {URL} stands beside it"


def _overruled(before: Sequence[Claim], now: Sequence[Claim]) -> Iterator[str]:
    """A warning for each setting that another file has set otherwise."""
    known = {claim.field.path: claim for claim in before}
    for claim in now:
        earlier = known.get(claim.field.path)
        if earlier is not None and earlier.value != claim.value:
            yield (
                f"{claim.field.path} = {plain(claim.value)} ({claim.origin}) overrules "
                f"{plain(earlier.value)} ({earlier.origin})"
            )


def _url_so_far(claims: Sequence[Claim]) -> str:
    urls = [claim.value for claim in claims if claim.field.path == "redis.url"]
    return str(urls[-1] if urls else by_path()["redis.url"].default)
