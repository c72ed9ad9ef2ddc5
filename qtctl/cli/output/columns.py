"""Columns as data: what a table shows, and what it may leave out where there is no room.

`key` is a field's name (of a mapping or an object) or a function of the row. `drop` is the order in
which columns go where a terminal is narrow: 0 stays always, the highest goes first. Where not even
the rest fits, each row becomes a card, a line for each column. Piped output and JSON never lose
anything.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from qtctl import clock
from qtctl.cli.output import format
from qtctl.cli.output.styles import action_style

Key = str | Callable[[Any], Any]
Style = str | Callable[[Any], str]
"""A rich style such as `red`, or a function from the value to one. It only underlines what the
text says anyway."""


Wrap = Literal["", "words", "id"]


def value_at(row: Any, key: Key) -> Any:
    """What a row has there; None where it lacks the field."""
    if not isinstance(key, str):
        return key(row)
    return row.get(key) if isinstance(row, Mapping) else getattr(row, key, None)


def slug(title: str) -> str:
    """A title as one word: `in queue` as `in_queue`."""
    return "_".join(title.lower().split())


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table, or one line of an object."""

    title: str
    key: Key
    show: Callable[[Any, bool], str]
    """From the value, and whether times are UTC, to one printable line."""
    right: bool = False
    fold: bool = False
    """Prose: may be broken over lines, before any column is left out. Nothing else is broken."""
    drop: int = 0
    style: Style = ""
    width: int = 0
    """The least width, so that the lines of a stream stay aligned."""
    wrap: Wrap = ""
    """Where nothing else is left to give way, a value may go on in the next line: `words` behind a
    blank, `_` or `-`, `id` anywhere. All of it stays."""
    named: str = ""
    """Its name for --columns, --sort, JSON and CSV, where `key` is a function."""

    @property
    def name(self) -> str:
        """What --columns and --sort call it: the field's name, else the title in one word."""
        if self.named or isinstance(self.key, str):
            return self.named or str(self.key)
        return slug(self.title)

    def value(self, row: Any) -> Any:
        """The value of this column in a row; None where the row lacks it."""
        return value_at(row, self.key)

    def cell(self, row: Any, utc: bool) -> str:
        """What is printed for a row."""
        return self.show(self.value(row), utc)

    def style_of(self, row: Any) -> str:
        """The style of that."""
        return self.style if isinstance(self.style, str) else self.style(self.value(row))


def _kind(show: Callable[[Any], str], **usual: Any) -> Callable[..., Column]:
    """A kind of column: what makes one from its title, its key and what is not as usual."""

    def column(title: str, key: Key, **more: Any) -> Column:
        return Column(title, key, lambda value, utc: show(value), **{**usual, **more})

    return column


def _sign_style(value: Any) -> str:
    number = format.as_number(value)
    return "" if not number else "green" if number > 0 else "red"


text = _kind(format.text)
"""Any text or value as it is, escaped."""


def texts(*names: str) -> tuple[Column, ...]:
    """Columns of texts whose titles are the names of their fields."""
    return tuple(text(name, name) for name in names)


plan_id = _kind(format.text, wrap="id")
"""An id, never cut: where it can't stand in one line it goes on in the next."""
word = _kind(format.text, wrap="words")
"""A word of words: FULL_CLOSE_PROPOSED, hourly_limit_exceeded."""
money = _kind(format.money, right=True)
"""An amount in USD."""
percent = _kind(format.percent, right=True, style=_sign_style)
"""A change in percent, with its sign."""
age = _kind(format.span, right=True)
"""Seconds since something, or until it."""
ttl = _kind(format.ttl, right=True)
"""Seconds until a key expires."""
size_hint = partial(_kind(format.size_hint, style=action_style), "size hint")
"""What a score makes of a permit's size."""


def line(title: str, words: str, style: str = "", *, width: int = 0) -> Column:
    """These words, whatever the object is. width: of the title at least, so that parts of a page
    that stand below each other are aligned."""
    return text(title.ljust(width), lambda _: words, style=style)


def number(title: str, key: Key, places: int = 0, **more: Any) -> Column:
    """A number with thousands and a fixed count of decimals."""
    return Column(title, key, lambda value, utc: format.fixed(value, places), right=True, **more)


def moment(title: str, key: Key, **more: Any) -> Column:
    """A time: UTC with `Z`, or local with its offset."""
    return Column(title, key, format.moment, **{"wrap": "words", **more})


def recent(title: str, key: Key, **more: Any) -> Column:
    """A time in a list of latest things: today's without the date."""
    return Column(
        title,
        key,
        lambda value, utc: format.recent(value, clock.now(), utc),
        **{"wrap": "words", **more},
    )
