"""The password for Redis: where it is, and how it is read. It is never part of the settings.

The first of these that exists: the one in the URL; a file named by `--set redis.password_file`;
QTCTL_REDIS_PASSWORD; the file of `[redis] password_file`; $CREDENTIALS_DIRECTORY/redis-password,
where systemd puts what LoadCredential= names. A password must not be on a command line: `ps`
shows it.
"""

import codecs
from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import Struct

from qtctl.errors import ConfigError
from qtctl.settings.model import Redis
from qtctl.settings.urls import has_password

PASSWORD = "QTCTL_REDIS_PASSWORD"
CREDENTIALS = "CREDENTIALS_DIRECTORY"
CREDENTIAL = "redis-password"
VARIABLES = (PASSWORD, CREDENTIALS)
MAX_BYTES = 4_096
_FILE = "redis.password_file"


class Secret(Struct, frozen=True):
    """A password stored elsewhere (origin), read again for each connection."""

    origin: str
    read: Callable[[], str]
    """Errors: ConfigError naming the file, and where that name comes from."""


def find(redis: Redis, origins: Mapping[str, str], environ: Mapping[str, str]) -> Secret | None:
    """The password to use if the URL has none of its own; None where there is none. No file is
    read: it only looks whether systemd's exists."""
    if has_password(redis.url):
        return None
    by_file = _of_file(redis.password_file, f"{_FILE}, {origins[_FILE]}")
    if by_file is not None and origins[_FILE] == "--set":
        return by_file
    text = environ.get(PASSWORD, "")
    if text:
        return Secret(f"environment {PASSWORD}", lambda: text)
    folder = environ.get(CREDENTIALS, "")
    path = Path(folder) / CREDENTIAL
    return by_file or (_of_file(str(path), f"${CREDENTIALS}") if folder and path.exists() else None)


def unused(redis: Redis, origins: Mapping[str, str], environ: Mapping[str, str]) -> list[str]:
    """A warning where the URL's own password hides another that was given on purpose."""
    if not has_password(redis.url):
        return []
    given = [f"environment {PASSWORD}"] if environ.get(PASSWORD) else []
    given += [f"{_FILE} ({origins[_FILE]})"] if redis.password_file else []
    return [
        f"{origin} is not used: redis.url ({origins['redis.url']}) has a password of its own"
        for origin in given
    ]


def _of_file(name: str, why: str) -> Secret | None:
    if not name:
        return None
    path = Path(name)
    return Secret(f"file {path} ({why})", lambda: _read(path, why))


def _read(path: Path, why: str) -> str:
    """The only line of a file. Its content never appears in an error."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as problem:
        raise ConfigError(f"file {path} ({why}) can't be read: {problem.strerror}") from problem
    line = raw.removeprefix(codecs.BOM_UTF8).removesuffix(b"\n").removesuffix(b"\r")
    if not line or len(raw) > MAX_BYTES or b"\n" in line or b"\0" in line:
        raise ConfigError(f"file {path} ({why}) must hold a password on one line, and nothing else")
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"file {path} ({why}) is not UTF-8") from None
