"""Every setting as a line of a table, and how one value is read, checked and shown.

The loader, `config show`, the template and the docs read the table; the model's own fields make it.
"""

import math
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Literal, get_args, get_origin

import msgspec
from msgspec import Meta

from qtctl.errors import ConfigError
from qtctl.settings.model import SECTIONS, Redis, Settings
from qtctl.settings.urls import mask_url, url_problem

_WORDS = {float: "number", int: "integer", bool: "boolean"}
_NUMBER = re.compile(r"-?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_BOOLEANS = {
    "true": True, "1": True, "yes": True, "on": True,
    "false": False, "0": False, "no": False, "off": False,
}  # fmt: skip
_SHOWN_CHARS = 100


class FieldInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One setting. type: `number`, `integer`, `boolean`, `text` or `list`. range: what is allowed
    of it, in words (`0 to 1`), empty for all. variable: its new name in the environment; env: the
    old ones. annotation: its type with all its limits, for msgspec."""

    section: str
    key: str
    type: str
    default: Any
    range: str
    description: str
    variable: str
    env: tuple[str, ...]
    annotation: Any

    @property
    def path(self) -> str:
        """`governor.min_conf`."""
        return f"{self.section}.{self.key}"

    def of(self, settings: Settings) -> Any:
        """Its value in these settings."""
        return getattr(getattr(settings, self.section), self.key)

    @property
    def expected(self) -> str:
        """What a value must be, for an error: `a number, 0 to 1`."""
        if self.type == "boolean" or (self.type == "text" and self.range):
            return self.range
        named = {"integer": "a whole number", "list": "a list of text", "text": "text"}
        what = named.get(self.type, f"a {self.type}")
        return f"{what}, {self.range}" if self.range else what


@cache
def fields() -> tuple[FieldInfo, ...]:
    """All settings, in the order of the model."""
    return tuple(
        _field(section, field)
        for section, struct in SECTIONS.items()
        for field in msgspec.structs.fields(struct)
    )


@cache
def by_path() -> dict[str, FieldInfo]:
    """All settings by their path, `governor.min_conf`."""
    return {field.path: field for field in fields()}


@cache
def streams() -> dict[str, str]:
    """The settings that name a stream, by their path, and what follows the prefix in each unless it
    is set."""
    named = (each for each in fields() if each.key.startswith("stream_") and each.type == "text")
    return {field.path: field.default.removeprefix(Redis().prefix) for field in named}


@cache
def by_variable() -> dict[str, tuple[FieldInfo, ...]]:
    """The settings that each environment variable sets, by new names and old."""
    found: dict[str, tuple[FieldInfo, ...]] = {}
    for field in fields():
        for name in (field.variable, *field.env):
            found[name] = (*found.get(name, ()), field)
    return found


def _field(section: str, field: msgspec.structs.FieldInfo) -> FieldInfo:
    base, annotations = _unwrapped(field.type)
    description, *env = (each for each in annotations if isinstance(each, str))
    return FieldInfo(
        section=section,
        key=field.name,
        type="list" if get_origin(base) is tuple else _WORDS.get(base, "text"),
        default=field.default,
        range="; ".join(_limits(base, annotations)),
        description=description,
        variable=f"QTCTL_{section}_{field.name}".upper(),
        env=tuple(env),
        annotation=field.type,
    )


def _unwrapped(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    """A type without its annotations, and those."""
    found = getattr(annotation, "__metadata__", ())
    return (annotation.__origin__ if found else annotation), found


def _limits(base: Any, annotations: tuple[Any, ...]) -> Iterator[str]:
    if base is bool:
        yield "true or false"
    elif get_origin(base) is Literal:
        *others, last = get_args(base)
        yield f"{', '.join(others)} or {last}"
    for meta in (each for each in annotations if isinstance(each, Meta)):
        if meta.extra and "expected" in meta.extra:
            yield meta.extra["expected"]
        if meta.ge is not None or meta.gt is not None:
            least = f"{meta.ge}" if meta.gt is None else f"over {meta.gt}"
            more = " or more" if meta.gt is None else ""
            yield f"{least}{more if meta.le is None else f' to {meta.le}'}"
        if meta.max_length is not None:
            yield f"{meta.min_length} to {meta.max_length} of them"
    if get_origin(base) is tuple:
        text = "; ".join(_limits(*_unwrapped(get_args(base)[0])))
        if text:
            yield f"each: {text}"


def from_text(field: FieldInfo, text: str) -> Any:
    """A value in plain text, as the environment has it: numbers are decimals, a list is comma
    separated. Other text is returned unchanged, for `checked` to refuse."""
    text = text.strip()
    if field.type == "number" and _NUMBER.fullmatch(text):
        return float(text)
    if field.type == "integer" and _INTEGER.fullmatch(text):
        return int(text)
    if field.type == "boolean":
        return _BOOLEANS.get(text.lower(), text)
    if field.type == "list":
        return [item.strip() for item in text.split(",") if item.strip()]
    return text


def checked(field: FieldInfo, value: Any, origin: str, text: str | None = None) -> Any:
    """The value in the setting's own type. text: how it was written, for the error. Errors:
    ConfigError naming the setting, the origin, the value and what was expected."""
    wrong = refuse(field, value if text is None else text, origin)
    try:
        fits = msgspec.convert(value, field.annotation)
    except (msgspec.ValidationError, OverflowError):
        raise wrong from None
    if isinstance(fits, float):
        if not math.isfinite(fits):
            raise wrong
        # -0.0 would give other settings, by their digest, than 0.0.
        return fits + 0.0
    if field.path == "redis.url" and (problem := url_problem(fits)):
        raise refuse(field, fits, origin, problem)
    return fits


def refuse(field: FieldInfo, value: Any, origin: str, why: str = "") -> ConfigError:
    """The error for an invalid value: one line."""
    why = why or f"expected {field.expected}"
    return ConfigError(f"{field.path} = {shown(value)} ({origin}): {why}")


def shown(value: Any) -> str:
    """A value in an error: on one line, not too long, no password in it."""
    text = repr(_masked(value))
    if isinstance(value, bool):
        text = text.lower()
    elif not isinstance(value, str | int | float | list | tuple | dict):
        text = str(value)
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1] + "…"


def plain(value: Any) -> str:
    """A value as one would write it in the environment, without a password."""
    if isinstance(value, list | tuple):
        return ",".join(plain(item) for item in value)
    if isinstance(value, bool):
        return str(value).lower()
    return mask_url(value) if isinstance(value, str) else str(value)


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        return mask_url(value)
    if isinstance(value, list | tuple):
        return [_masked(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _masked(item) for key, item in value.items()}
    return value
