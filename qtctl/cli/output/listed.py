"""What a list consists of: its columns, what its rows can be filtered by, and in which order they
come; and what a `Listing`, the options of a command line, makes of its rows.

A name stands for a column (by its field or its title in one word) or for a field of the JSON.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any

from qtctl.cli.framework.listing import FILTERS, Listing, Order, Where
from qtctl.cli.output import format
from qtctl.cli.output.columns import Column, Key, slug, text, value_at
from qtctl.domain import numbers
from qtctl.errors import UsageError
from qtctl.text import escape


@dataclass(frozen=True)
class Filter:
    """What --verdict, --kind or --reason looks at: a field or a function of the row, and the words
    that there are; empty where there may be any."""

    key: Key
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Listed:
    """A list as data. fields: of the JSON, beside the columns; any_field: rows may have others, as
    the entries of a stream; at: the time of a row (epoch seconds or a wire time), for --since;
    filters: by the name of the option."""

    columns: Sequence[Column]
    fields: Sequence[str] = ()
    any_field: bool = False
    at: Key | None = None
    filters: Mapping[str, Filter] = field(default_factory=dict)

    @cached_property
    def _columns(self) -> dict[str, Column]:
        """Every column by each of its names."""
        by_title = {slug(column.title): column for column in self.columns}
        return by_title | {column.name: column for column in self.columns}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names that can be given for columns."""
        own = (column.name for column in self.columns)
        return tuple(dict.fromkeys((*own, *self.fields)))

    def check(self, listing: Listing) -> None:
        """Errors: UsageError for a name or a word that this list does not have."""
        for option, names in _named(listing):
            for name in names:
                self.column(name, option)
        for option, words in listing.only.items():
            known = self.filters.get(option)
            if known is None:
                has = ", ".join(f"--{name}" for name in FILTERS if name in self.filters) or "none"
                raise UsageError(f"--{option} does not go with this list (it has {has})")
            for word in words:
                if known.words and word not in known.words:
                    raise UsageError(f"--{option} {word!r} must be one of {', '.join(known.words)}")

    def check_fields(self, listing: Listing, seen: Iterable[str]) -> None:
        """The same for names that nothing but the rows can tell, once these fields were seen in
        them. Errors: UsageError."""
        if not self.any_field:
            return
        there = set(seen)
        for option, names in _named(listing):
            for name in names:
                if self._columns.get(_plain(name)) is None and name not in (*self.fields, *there):
                    self._refuse(name, option, sorted(there))

    def column(self, name: str, option: str = "--columns") -> Column:
        """A column by its name, for a field of the JSON one that shows it as it is. Errors:
        UsageError with the names there are."""
        found = self._columns.get(name) or self._columns.get(_plain(name))
        if found is not None:
            return found
        if name not in self.fields and not self.any_field:
            self._refuse(name, option)
        return text(escape(name), name, wrap="words")

    def shown(self, listing: Listing) -> tuple[Column, ...]:
        """The columns asked for, else all."""
        return tuple(self.column(name) for name in listing.columns) or tuple(self.columns)

    def matches(self, listing: Listing) -> Callable[[Any], bool]:
        """Whether a row is wanted."""
        where = [(self._key(it.field), it) for it in listing.where]
        only = [(self.filters[name], set(words)) for name, words in listing.only.items()]
        after, before = listing.after, listing.before
        timed = after is not None or before is not None

        def wanted(row: Any) -> bool:
            if timed and not self._within(row, after, before):
                return False
            if not all(_words(value_at(row, known.key)) in words for known, words in only):
                return False
            return all(_holds(key, condition, row) for key, condition in where)

        return wanted

    def _within(self, row: Any, after: float | None, before: float | None) -> bool:
        at = None if self.at is None else seconds(value_at(row, self.at))
        if at is None:
            return False
        return (after is None or at >= after) and (before is None or at <= before)

    def ordered(self, rows: Iterable[Any], order: Sequence[Order]) -> Iterable[Any]:
        """The rows sorted: numbers by size, then words; what has no value last, either way; rows
        that are equal stay in the order they came in."""
        if not order:
            return rows
        listed = list(rows)
        for each in reversed(order):
            key = self._key(each.column)
            values = [(_rank(value_at(row, key)), row) for row in listed]
            there = [pair for pair in values if pair[0] is not None]
            there.sort(key=lambda pair: pair[0] or (0, 0.0, ""), reverse=each.descending)
            listed = [row for _, row in there] + [row for rank, row in values if rank is None]
        return listed

    def select(self, rows: Iterable[Any], listing: Listing) -> "Selection":
        """The rows that are wanted, in order, as many as asked for; read no further than that."""
        found = iter(self.ordered(filter(self.matches(listing), rows), listing.order))
        if listing.limit is None:
            return Selection(found)
        kept = list(islice(found, listing.limit))
        return Selection(iter(kept), len(kept) == listing.limit and bool(list(islice(found, 1))))

    def _key(self, name: str) -> Key:
        column = self._columns.get(name) or self._columns.get(_plain(name))
        if name in self.fields or column is None:
            return name
        return column.key

    def _refuse(self, name: str, option: str, more: Sequence[str] = ()) -> None:
        from qtctl.settings.sources import nearest

        names = tuple(dict.fromkeys((*self.names, *more)))
        what = "field" if option == "--where" else "column"
        hint = nearest(name, names) or "."
        raise UsageError(
            f"{option} {name!r}: no such {what}{hint} {what.capitalize()}s: {', '.join(names)}"
        )


@dataclass(frozen=True)
class Selection:
    """Rows that are wanted; more: there are others."""

    rows: Iterator[Any]
    more: bool = False


def as_listed(columns: "Sequence[Column] | Listed") -> Listed:
    """A list that has nothing but its columns."""
    return columns if isinstance(columns, Listed) else Listed(columns)


def seconds(value: Any) -> float | None:
    """Epoch seconds from a number or a wire time, None for what is neither."""
    return numbers.epoch(value) if isinstance(value, str) else format.as_number(value)


def _plain(name: str) -> str:
    return slug(name.replace("-", " "))


def _named(listing: Listing) -> Iterator[tuple[str, Sequence[str]]]:
    yield "--columns", listing.columns
    yield "--sort", [each.column for each in listing.order]
    yield "--where", [each.field for each in listing.where]


def _words(value: Any) -> str:
    """A value as JSON and the command line write it: true, 0.5, ok."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _holds(key: Key, condition: Where, row: Any) -> bool:
    return (_words(value_at(row, key)) == condition.value) != condition.differs


def _rank(value: Any) -> tuple[int, float, str] | None:
    if value is None or value == "":
        return None
    number = format.as_number(value)
    return (1, 0.0, _words(value)) if number is None else (0, number, "")
