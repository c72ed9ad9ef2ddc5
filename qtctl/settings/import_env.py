"""EnvironmentFiles of existing units turned into TOML."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

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

_LIMITS = ("GOV_", "P31_", "QTCTL_GOVERNOR_", "QTCTL_ALLOCATION_", "QTCTL_SAFETY_")
PUT = "put it into a file of its own and set [redis] password_file to that"


class Note(Struct, frozen=True):
    """Something in an EnvironmentFile that does not become a setting as it stands.

    kind: `limit` (dropped, and by its name a limit), `unknown`, `invalid` (systemd skips the name),
    `comment` (ignored behind a value), `password`, `ambiguous` (either service's), `overridden`;
    what: the variable, or the setting, with its value where there is one; hint: what is meant, or
    what to do; text: all of it in one sentence.
    """

    kind: str
    file: str
    what: str
    hint: str
    text: str


class Imported(Struct, frozen=True):
    """TOML of so many settings, and the notes about the files."""

    toml: str
    settings: int
    notes: list[Note]


def imported(files: Sequence[Path]) -> Imported:
    """TOML with the settings in the files (a later file wins), and notes: what was skipped
    (passwords always are), trailing comments, and where two files differ.

    In a file that clearly belongs to one service (by its other variables), METRICS_PORT,
    METRICS_ADDR and P31_MIN_CONF mean that service; else P31_MIN_CONF is for both.
    Errors: ConfigError for a file that can't be read, and for invalid values.
    """
    claims: list[Claim] = []
    notes: list[Note] = []
    for path in files:
        found, problems = _claims_of(path, url_of(claims))
        notes += [*problems, *_overridden(path, claims, found)]
        claims += found
    settings, origins, _ = resolve(claims)
    check(settings, origins, None)
    content: dict[str, dict[str, Any]] = {}
    for field in fields():
        if origins[field.path] != DEFAULT:
            value = field.of(settings)
            if field.path == "redis.url" and has_password(value):
                value = without_password(value)
                text = f"redis.url ({origins[field.path]}): its password is skipped: {PUT}"
                notes.append(Note("password", "", "redis.url", PUT, text))
            content.setdefault(field.section, {})[field.key] = value
    return Imported(to_toml(content), sum(map(len, content.values())), notes)


def notes_of(path: Path) -> list[Note]:
    """The notes on one file that stays as it is: a password in it counts. Errors: ConfigError."""
    _, notes = _claims_of(path, url_of([]))
    return [note for note in notes if note.kind in ("limit", "unknown", "invalid", "comment")]


def _claims_of(path: Path, base_url: str) -> tuple[list[Claim], list[Note]]:
    """The claims of one file, weakest first, and the notes on it."""
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
    file = str(path)
    notes = [_invalid(name, file) for name, _ in pairs if name not in values]
    notes += _left_out(variables, service, file)
    notes += [
        Note("comment", file, f"{name}={shown_name(variables.text(name))}", "", text)
        for name, text in variables.comments.items()
    ]
    return claims, notes


def _invalid(name: str, file: str) -> Note:
    kind = "limit" if _is_limit(name.removeprefix("export ").strip()) else "invalid"
    text = f"file {file}: {shown_name(name)} is not a valid variable name; systemd skips it"
    return Note(kind, file, shown_name(name), "systemd skips such a name", text)


def _service(values: Mapping[str, str]) -> str | None:
    """The one service that these variables belong to, or None for both or neither."""
    about = {
        settings[0].section
        for name, settings in by_variable().items()
        if name in values and len(settings) == 1
    }
    services = [service for service in SERVICES if service in about]
    return services[0] if len(services) == 1 else None


def _left_out(variables: Variables, service: str | None, file: str) -> Iterator[Note]:
    """A note on each variable that is skipped."""
    for name in variables.values:
        origin = variables.origin(name)
        if name in (environment.CONFIG, environment.CONTEXT):
            yield Note("unknown", file, name, "", f"{origin} is not a setting; skipped")
        elif name == PASSWORD:
            yield Note("password", file, name, PUT, f"{origin} is a password; skipped: {PUT}")
        elif name not in by_variable():
            near = nearest(name, by_variable())
            kind = "limit" if _is_limit(name) else "unknown"
            text = f"{origin} is unknown; skipped{near}"
            yield Note(kind, file, shown_name(name), near.removeprefix(": "), text)
        elif name in METRICS and service is None:
            key = METRICS[name]
            hint = f"set allocation.{key} or governor.{key}"
            text = f"{origin} is skipped: the file could belong to either service; {hint}"
            yield Note("ambiguous", file, name, hint, text)
        elif name in REDIS_PARTS and URL in variables.values:
            yield Note(
                "unknown", file, name, f"{URL} is set as well",
                f"{origin} is skipped: {URL} is set as well",
            )  # fmt: skip


def _is_limit(name: str) -> bool:
    """True for a name that nothing here knows, of the families of our limits or close to one."""
    known = [each for each in by_variable() if each.startswith(_LIMITS)]
    return name.startswith(_LIMITS) or bool(nearest(name, known))


def _overridden(path: Path, before: Sequence[Claim], now: Sequence[Claim]) -> Iterator[Note]:
    """A note on each setting that an earlier file sets differently."""
    known = {claim.field.path: claim for claim in before}
    for claim in now:
        earlier = known.get(claim.field.path)
        if earlier is not None and earlier.value != claim.value:
            what = f"{claim.field.path} = {plain(claim.value)}"
            instead = f"{plain(earlier.value)} ({earlier.origin})"
            text = f"{what} ({claim.origin}) overrides {instead}"
            yield Note("overridden", str(path), what, f"not {instead}", text)
