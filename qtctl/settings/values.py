"""One value: read from text, checked against its setting, and shown in an error.

Source: section 5 of the specification, and section 1 for what a number is.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from qtctl.errors import ConfigError
from qtctl.settings.catalog import FieldInfo
from qtctl.settings.urls import mask_url, url_problem

_NUMBER = re.compile(r"-?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_BOOLEANS = {
    "true": True, "1": True, "yes": True, "on": True,
    "false": False, "0": False, "no": False, "off": False,
}  # fmt: skip
_SHOWN_CHARS = 100


def from_text(field: FieldInfo, text: str) -> Any:
    """A value in plain text, as the environment has it: numbers are decimals, a list is comma
    separated. A text that can't be read so is given back as it is, for `checked` to refuse."""
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
    """The value in the setting's own type. text: how it was written, for the error.

    Errors: ConfigError naming the setting, the origin, the value and what was expected.
    """
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
    """The error for a value that can't be: one line."""
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
