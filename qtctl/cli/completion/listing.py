"""What may stand behind the options of every list: columns, fields, verdicts, reasons."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from qtctl.cli.framework.list_options import ALL, Lists
from qtctl.cli.framework.listing import FILTERS
from qtctl.cli.output import Listed
from qtctl.errors import UsageError

OFFERED = frozenset({"columns", "sort", "where", "limit", *FILTERS})
"""The parameters that have an answer here."""


def offered(
    lists: Lists, name: str, given: Mapping[str, Sequence[str]], current: str
) -> tuple[str, Iterable[str]]:
    """The kind of answer (`open` where what is offered goes on) and the words, for a parameter."""
    if name == "limit":
        return "words", (ALL,)
    listed = _listed(lists, given)
    if name in FILTERS:
        filters = [each.filters[name] for each in listed if name in each.filters]
        return "words", _each(it.words for it in filters)
    names = _each(each.names for each in listed)
    if name == "sort":
        head = "-" if current.startswith("-") else ""
        return "words", [f"{head}{each}" for each in names]
    if name == "columns":
        head, comma, _ = current.rpartition(",")
        there = set(head.split(","))
        return "open", [f"{head}{comma}{each}" for each in names if each not in there]
    field, equals, _ = current.partition("=")
    if not equals:
        return "open", [f"{each}=" for each in names]
    known = [it for each in listed for it in each.filters.values() if it.key == field]
    return "words", [f"{field}={word}" for word in _each(it.words for it in known)]


def _listed(lists: Lists, given: Mapping[str, Sequence[str]]) -> Sequence[Listed]:
    """What the command lists by its arguments so far; all it may list where these say nothing."""
    arguments = {name: values[0] for name, values in given.items() if values}
    with suppress(UsageError):
        found = lists.of(arguments)
        return found if isinstance(found, list) else [found]
    return []


def _each(groups: Iterable[Iterable[str]]) -> list[str]:
    """Each word once, in order."""
    return list(dict.fromkeys(str(word) for group in groups for word in group))
