"""What the services logged, from the journal of this host: a line each."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import msgspec

from qtctl import clock
from qtctl.cli.framework.context import Context
from qtctl.cli.output import Listed, Stream, emit, verdict_style
from qtctl.cli.output.columns import Column, recent, text
from qtctl.deploy.units import SERVICE, SINGLE, UNITS
from qtctl.errors import NotFoundError
from qtctl.settings import RECORDER, SERVICES
from qtctl.supervisor import journalctl, log_words
from qtctl.supervisor.journalctl import Asked, Logged
from qtctl.supervisor.log_lines import with_fields

_LEVELS = {"warning": "yellow", "error": "bold red", "critical": "bold red", "debug": "dim"}
_OF_DECISIONS = "governor"


def words(row: Any) -> str:
    """A line without its fields where it is a decision, else with them."""
    if row["source"] == log_words.LOGGER:
        return log_words.words(row["message"], row["fields"])
    level = "" if row["level"] == "info" else f"{row['level'].upper()} "
    return f"{level}{with_fields(row['message'], row['fields'])}"


def _style(row: Any) -> str:
    if row["source"] == log_words.LOGGER:
        return verdict_style(log_words.verdict(row["message"]))
    return _LEVELS.get(row["level"], "")


LISTED = Listed(
    (
        recent("time", "at"),
        text("source", "source", drop=1, width=10),
        Column("what", lambda row: row, lambda row, utc: words(row), style=_style, wrap="words"),
    ),
    fields=("at", "unit", "level", "message", "fields"),
    at="at",
)
"""Columns of the list."""


def units_of(service: str | None) -> list[str]:
    """The units that run a service (they may share one); all of ours for None."""
    return [unit for unit in UNITS if service is None or SERVICE[unit] in (service, "all")]


def show(ctx: Context, service: str | None, *, follow: bool) -> None:
    """Print what the journal has. Errors: NotFoundError where there is none."""
    ctx.listing = ctx.listing.on(clock.now())
    listing, units = ctx.listing, units_of(service)
    if follow:
        asked = Asked(units, listing.after, listing.before, listing.limit, follow=True)
        out = Stream(ctx, LISTED)
        for row in rows(ctx, service, asked):
            out.write([row])
        return
    # From the end, and no further than what is wanted: a journal may have weeks.
    asked = Asked(units, listing.after, listing.before, newest_first=True)
    wanted = filter(LISTED.matches(listing), rows(ctx, service, asked))
    last = list(islice(wanted, None if listing.order else listing.limit))[::-1]
    if not last:
        _refuse_none(ctx, units)
    emit(ctx, last, LISTED, empty="No lines match.")


def _refuse_none(ctx: Context, units: Sequence[str]) -> None:
    """Errors: NotFoundError where these units never logged anything here."""
    if not any(True for _ in journalctl.read(Asked(units, most=1), ctx.environ.get("PATH"))):
        raise NotFoundError(
            f"the journal of this host has no lines of {', '.join(units)}: {journalctl.WHERE_ELSE}"
        )


def rows(ctx: Context, service: str | None, asked: Asked) -> Iterator[dict[str, Any]]:
    """What the journal has, the oldest first. Errors: NotFoundError where there is none."""
    for each in journalctl.read(asked, ctx.environ.get("PATH")):
        if service is None or _is_of(each, service):
            yield msgspec.structs.asdict(each)


def _is_of(line: Logged, service: str) -> bool:
    """False for a line of another service in the same process."""
    if line.unit != SINGLE:
        return True
    source = _OF_DECISIONS if line.source == log_words.LOGGER else line.source
    return source == service or source not in (*SERVICES, RECORDER)
