"""Texts as numbers that give them back exactly, and as themselves where none does."""

import re
from collections.abc import Callable

Loose = int | float | str | None
"""A text as read, or the number that gives it back exactly where that takes less room."""


def loose(text: str) -> Loose:
    """A text as it is stored where it is to be read back as it was."""
    if len(text) > 8:
        if text.isdecimal() and text.isascii() and text[0] != "0" and len(text) < 19:
            return int(text)
        try:
            value = float(text)
        except ValueError:
            return text
        if repr(value) == text:
            return value
    return text


def loose_text(value: Loose) -> str:
    """The text that it was; a column that is empty holds an empty one."""
    return "" if value is None else value if isinstance(value, str) else repr(value)


def scaled(places: int) -> tuple[Callable[[str], int | None], Callable[[int], str]]:
    """A decimal with so many places as an integer, and back."""
    one, shape = 10**places, re.compile(rf"-?(?:0|[1-9][0-9]{{0,12}})\.[0-9]{{{places}}}").fullmatch

    def value(text: str) -> int | None:
        if shape(text) is None:
            return None
        found = int(text[: -places - 1] + text[-places:])
        return found if found or text[0] != "-" else None

    def back(value: int) -> str:
        whole, rest = divmod(abs(value), one)
        return f"{'-' if value < 0 else ''}{whole}.{rest:0{places}d}"

    return value, back


def integer(text: str) -> int | None:
    """A count, None where it is none, or not as one is written."""
    return int(text) if _INTEGER(text) else None


_INTEGER = re.compile(r"0|[1-9][0-9]{0,15}").fullmatch
millis, millis_text = scaled(3)
cents, cents_text = scaled(2)
four, four_text = scaled(4)
