"""The options that mean the same in every list: how many rows, which, which columns, in which
order, how often.

A command that lists takes them by `lists=` of the decorator; its columns, which know what can be
sorted and filtered, are loaded when they are needed::

    @command(app, "list", lists=Lists("qtctl.cli.views.permits", filters=("reason",), by_time=True))
    def list_permits(ctx: Context) -> None:
        with ctx.store() as store:
            ctx.window(store)  # With by_time: what --since and --until mean by the server's clock.
            emit(ctx, view.rows(store), view.LISTED)  # Filtered, sorted and cut by `ctx.listing`.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

from qtctl.cli.framework import arguments
from qtctl.cli.framework.listing import FILTERS, Listing, Order, Where
from qtctl.cli.framework.options import keywords, option
from qtctl.errors import UsageError

PANEL = "Options of every list"
MAX_ROWS = 1_000_000
ALL = "all"


@dataclass(frozen=True)
class Lists:
    """What a command lists. listed: the module that has its `output.listed.Listed` as LISTED, or a
    function from its arguments to that, to all of them where they are not known (completion);
    limit: rows unless asked otherwise, which a window of time lifts; filters: those of FILTERS that
    it has; by_time: it has --since and --until; follows: the parameter that makes it go on, if it
    has one."""

    listed: str | Callable[[Mapping[str, Any]], Any]
    limit: int | None = None
    filters: tuple[str, ...] = ()
    by_time: bool = False
    follows: str = ""

    def of(self, given: Mapping[str, Any]) -> Any:
        """What is listed with these arguments. Errors: UsageError."""
        if isinstance(self.listed, str):
            return import_module(self.listed).LISTED
        return self.listed(given)

    def parameters(self) -> list[inspect.Parameter]:
        """Its options, as keyword parameters."""
        # Those that it lacks are taken as well, so that the error says which it has.
        kinds = {
            name: _option(
                list[str], f"--{name} {name.upper()}", help, hidden=name not in self.filters
            )
            for name, help in FILTERS.items()
        }
        if self.by_time:
            before = "Not before: 5m or 1h ago, or 2026-01-28T10:00."
            kinds["since"] = _option(str, "--since TIME", before)
            kinds["until"] = _option(str, "--until TIME", "Not after; the same forms.")
        kinds |= _COMMON
        if self.limit is not None:
            more = f"How many; all for all. Default: {self.limit}."
            if self.by_time:
                more = f"{more[:-1]}, all with --since."
            kinds["limit"] = _option(str, "-n, --limit N", more)
        return keywords(kinds)

    def asked(self, given: Mapping[str, Any], utc: bool) -> Listing:
        """What these values of its options ask for. Errors: UsageError."""
        since, until = given.get("since"), given.get("until")
        limit, default = self.limit, True
        if given["limit"] is not None:
            limit, default = _limit(given["limit"]), False
        elif since is not None:
            limit = None
        listing = Listing(
            offered=True,
            limit=limit,
            default_limit=default,
            columns=tuple(_names(given["columns"], "--columns")),
            wide=bool(given["wide"]),
            order=tuple(map(_order, _names(given["sort"], "--sort"))),
            where=tuple(_where(text) for text in given["where"] or ()),
            only={name: tuple(given[name]) for name in FILTERS if given[name]},
            since=None if since is None else arguments.when(since, "--since", utc=utc),
            until=None if until is None else arguments.when(until, "--until", utc=utc),
            watch_sec=None
            if given["watch"] is None
            else arguments.duration(given["watch"], "--watch", 0.1, 86_400),
        )
        if self.follows and given.get(self.follows):
            for option, is_given in (("--sort", listing.order), ("--watch", listing.watch_sec)):
                if is_given:
                    raise UsageError(f"{option} and --follow don't go together")
            if until is not None:
                raise UsageError("--until and --follow don't go together: following has no end")
        self.of(given).check(listing)
        return listing


_option = partial(option, rich_help_panel=PANEL)
_COMMON: dict[str, Any] = {
    "where": _option(
        list[str],
        "--where FIELD=VALUE",
        "Only rows whose field has this value, or with != another; repeatable.",
    ),
    "limit": _option(str, "-n, --limit N", "How many; all for all."),
    "sort": _option(str, "--sort COLUMN", "Sort by a column; -COLUMN the other way round."),
    "columns": _option(
        str, "--columns COLUMN,…", "Which columns, in which order; fields of the JSON too."
    ),
    "wide": _option(bool, "--wide", "All columns, however narrow it is."),
    "watch": _option(str, "--watch [S]", "Again and again, every S seconds. Default: 2."),
}


def _limit(text: str) -> int | None:
    return None if text == ALL else arguments.whole(text, "-n", 0, MAX_ROWS)


def _names(text: str | None, option: str) -> Sequence[str]:
    """Names with commas between them, each once."""
    if text is None:
        return ()
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise UsageError(f"{option} {text!r} lacks a name: give columns as a,b,c")
    return list(dict.fromkeys(names))


def _order(name: str) -> Order:
    return Order(name.lstrip("+-"), name.startswith("-"))


def _where(text: str) -> Where:
    name, equals, value = text.partition("=")
    differs = name.endswith("!")
    name = name.removesuffix("!").strip()
    if not equals or not name:
        raise UsageError(f"--where {text!r} is not FIELD=VALUE, as reason=symbol_cooldown")
    return Where(name, value, differs)
