"""Where settings come from: a TOML file, the environment, and `--set`.

Each source yields claims: a setting, a valid value, and its origin in words. Claims come in rising
order of strength; `load` keeps the last one. tomllib and difflib are imported where they are
used: most commands need neither.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from msgspec import Struct

from qtctl.errors import ConfigError
from qtctl.settings.catalog import FieldInfo, by_path, checked, from_text, shown
from qtctl.settings.model import SECTIONS
from qtctl.settings.urls import mask_url

DEFAULT_FILE = Path("/etc/quantum/qtctl.toml")
MAX_BYTES, MAX_LINES, MAX_LINE_BYTES, MAX_PARTS = 1_000_000, 10_000, 4_096, 32
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class UnusableFileError(ConfigError):
    """The file as a whole gives no settings: it is missing, can't be read or is not TOML."""


class Claim(Struct, frozen=True):
    """The value that one source gives one setting, checked and in the setting's type."""

    field: FieldInfo
    value: Any
    origin: str


def read_text(path: Path) -> str:
    """A file of settings. Errors: ConfigError naming the file, and the line where it is not UTF-8;
    FileNotFoundError."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise
    except OSError as problem:
        raise ConfigError(f"file {path} can't be read: {problem.strerror}") from problem
    refuse_oversized(raw, f"file {path}")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as problem:
        line = raw.count(b"\n", 0, problem.start) + 1
        utf_16 = ", but UTF-16" if raw.startswith((b"\xff\xfe", b"\xfe\xff")) else ""
        raise ConfigError(f"file {path} is not UTF-8{utf_16} (at line {line})") from problem


def refuse_oversized(raw: bytes, origin: str) -> None:
    """Errors: ConfigError for a file that no person has written: reading it would take minutes."""
    lines = raw.split(b"\n")
    if len(raw) > MAX_BYTES:
        raise ConfigError(f"{origin} is over {MAX_BYTES:,} bytes: not a settings file")
    if len(lines) > MAX_LINES:
        raise ConfigError(f"{origin} has over {MAX_LINES:,} lines: not a settings file")
    long = next((at for at, line in enumerate(lines, 1) if len(line) > MAX_LINE_BYTES), None)
    if long is not None:
        raise ConfigError(f"{origin}: line {long} is over {MAX_LINE_BYTES:,} bytes")


def parsed(text: str, path: Path | None) -> dict[str, Any]:
    """The text of a TOML file. Errors: ConfigError naming the file, and the line."""
    if not text:
        return {}
    import tomllib

    text = text.removeprefix("\ufeff")  # Windows' editors put one there.
    deep = next((at for at, line in enumerate(text.split("\n"), 1) if _is_deep(line)), None)
    if deep is not None:
        raise ConfigError(f"file {path}: line {deep} has a name of over {MAX_PARTS} parts")
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as problem:
        why = " ".join(str(problem).split())
        raise ConfigError(f"file {path} is not TOML: {why}") from problem


def _is_deep(line: str) -> bool:
    """True for a dotted name that costs tomllib the square of its parts."""
    names = [line] if line.lstrip().startswith("[") else line.split("=")[:-1]
    return any(name.count(".") >= MAX_PARTS for name in names)


def toml_claims(content: Mapping[str, Any], origin: str) -> Iterator[Claim]:
    """The claims of a TOML document. Errors: ConfigError."""
    for section, keys in content.items():
        if section not in SECTIONS:
            raise unknown("section", section, origin, (*SECTIONS, *by_path()))
        if not isinstance(keys, dict):
            how = f"{section} is a section; write [{section}] and its settings below"
            raise ConfigError(f"{section} = {shown(keys)} ({origin}): {how}")
        for key, value in keys.items():
            field = by_path().get(f"{section}.{key}")
            if field is None:
                raise unknown("setting", f"{section}.{key}", origin, by_path())
            yield Claim(field, checked(field, value, origin), origin)


def set_claims(sets: Iterable[str]) -> Iterator[Claim]:
    """The claims of `--set SECTION.KEY=VALUE`: TOML where it parses and fits, else plain text.
    Errors: ConfigError."""
    for assignment in sets:
        path, equals, text = assignment.partition("=")
        path = path.strip()
        if not equals:
            # It may be a URL with its password, meant for another option.
            raise ConfigError(f"--set {shown(assignment)}: expected SECTION.KEY=VALUE")
        field = by_path().get(path)
        if field is None:
            raise unknown("setting", path, "--set", by_path())
        yield Claim(field, _set_value(field, text), "--set")


def url_of(claims: Iterable[Claim]) -> str:
    """The URL as these claims have it, else the default."""
    urls = [claim.value for claim in claims if claim.field.path == "redis.url"]
    return str(urls[-1] if urls else by_path()["redis.url"].default)


def unknown(what: str, name: str, origin: str, known: Iterable[str]) -> ConfigError:
    """The error for an unknown name, with the nearest known one."""
    return ConfigError(f"unknown {what} {shown_name(name)} ({origin}){nearest(name, known)}")


def nearest(name: str, known: Iterable[str]) -> str:
    """`: did you mean …?`, or nothing. The same key in another section wins."""
    import difflib

    names, key = list(known), "." + name.rpartition(".")[2]
    near = [other for other in names if other.endswith(key)]
    near = near or difflib.get_close_matches(name[:200], names, n=1, cutoff=0.7)
    return f": did you mean {near[0]}?" if near else ""


def shown_name(name: str) -> str:
    """A name in an error: quoted unless it is a plain one."""
    return name if _PLAIN_NAME.fullmatch(name) else shown(mask_url(name))


def _set_value(field: FieldInfo, text: str) -> Any:
    import tomllib

    try:
        document = {} if _is_deep(text) else tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        document = {}
    # A line break in the text could have begun another key.
    if document.keys() == {"value"}:
        value = document["value"]
        # Quotes and brackets are TOML and nothing else; 5 may also be the text 5.
        if isinstance(value, str | list | dict):
            return checked(field, value, "--set")
        with suppress(ConfigError):
            return checked(field, value, "--set")
    return checked(field, from_text(field, text), "--set", text)
