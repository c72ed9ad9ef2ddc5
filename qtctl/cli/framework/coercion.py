"""Typer's parameters without pydantic, for the plain types that qtctl's commands use.

Typer 0.29 and later turns every value into its type with a pydantic adapter, also where none was
given: 80 ms and 20 MB for every command and for `serve`. Text, flags and plain numbers need none of
that. Where Typer has no such hook (before 0.29, or if it goes again), or a parameter asks for more
(a range, a path, choices), Typer does as it always does.
"""

from collections.abc import Iterable
from typing import Any

import typer

_PLAIN: dict[Any, str] = {
    str: "a text",
    list[str]: "texts",
    bool: "a flag",
    int: "a whole number",
    float: "a number",
}


class _PlainParam:
    """Stands in for Typer's own runtime parameter: one method, `coerce`."""

    def __init__(self, kind: Any) -> None:
        self._kind = kind

    def coerce(self, value: Any, *_: Any, **where: Any) -> Any:
        """The value in its type; BadParameter where it is none."""
        if self._kind == list[str]:
            return tuple(value or ())
        if value is None or isinstance(value, self._kind):
            return value
        try:
            return self._kind(value)
        except ValueError as error:
            message = f"{value!r} is not {_PLAIN[self._kind]}"
            raise typer.BadParameter(message, **where) from error


def lighten(params: Iterable[Any]) -> None:
    """Give the parameters of plain types a coercion of their own, once each."""
    for param in params:
        if getattr(param, "_runtime_param", param) is not None:
            continue
        descriptor = param.type_descriptor
        asked = descriptor.parameter_info
        ranged = asked.min is not None or asked.max is not None
        if not ranged and getattr(asked, "parser", None) is None and _is_plain(descriptor):
            param._runtime_param = _PlainParam(descriptor.annotation)


def _is_plain(descriptor: Any) -> bool:
    try:
        return descriptor.annotation in _PLAIN
    except TypeError:  # an annotation that can't be hashed is none of these
        return False
