"""`qtctl top` without a screen: a line for each look, or a JSON document."""

import sys
from collections.abc import Callable

from qtctl import clock
from qtctl.cli.framework.context import Context
from qtctl.cli.live.poller import Poller, Row, TopSnapshot
from qtctl.cli.live.view import away
from qtctl.cli.output import format, to_json
from qtctl.cli.views import health_page as page
from qtctl.text import escape


def write(ctx: Context, poller: Poller, interval_sec: float, count: int | None) -> None:
    """Print one look after the other, for ever or so many."""
    lines = (_documents if ctx.output == "ndjson" else _summaries)(ctx)
    seen = poller.seen
    while True:
        sys.stdout.write("".join(f"{each}\n" for each in lines(seen)))
        sys.stdout.flush()
        if count is not None and seen.looks >= count:
            return
        clock.sleep(interval_sec)
        seen = poller.look()


def summary(seen: TopSnapshot, now: float, utc: bool) -> str:
    """One look in one line."""
    found = seen.overall
    # They come with the widest change first.
    widest = seen.symbols[0] if seen.symbols else None
    alarm = page.headline(found.banner)
    parts = [
        *([f"INCIDENT {alarm}"] if alarm else []),
        format.moment(found.at, utc) if seen.away_since is None else away(seen, now, utc),
        *(f"{it.service} {it.name} {page.state(it)}".replace("  ", " ") for it in found.services),
        f"kill switch {page.kill_switch(found)}",
        f"plans {page.plans(found)}",
        f"group {page.group(found)}",
        f"permits {page.permits(found)}",
    ]
    if widest is not None:
        parts.append(f"widest change {widest['symbol']} {format.percent(widest['change_pct'])} %")
    return escape(" · ".join(parts))


def permit_line(row: Row) -> str:
    """A permit in one line."""
    parts = (row["plan_id"], row.get("symbol"), f"expires in {format.ttl(row['ttl_s'])}",
            format.size_hint(row.get("eff_action")), row.get("eff_factor"))  # fmt: skip
    return " ".join(escape(str(part)) for part in parts if part)


def _summaries(ctx: Context) -> Callable[[TopSnapshot], list[str]]:
    known: set[str] = set()

    def lines(seen: TopSnapshot) -> list[str]:
        """A line, and one for each permit that was not there the last time."""
        fresh = [row for row in reversed(seen.permits) if row["plan_id"] not in known]
        known.clear()
        known.update(row["plan_id"] for row in seen.permits)
        permits = [f"  permit {permit_line(row)}" for row in fresh]
        return [summary(seen, clock.monotonic(), ctx.utc), *permits]

    return lines


def _documents(ctx: Context) -> Callable[[TopSnapshot], list[str]]:
    problem = ""

    def lines(seen: TopSnapshot) -> list[str]:
        """The document; none while Redis is away, which is reported once on stderr."""
        nonlocal problem
        if seen.problem != problem:
            ctx.say(f"{seen.problem}; waiting for it" if seen.problem else "Redis is back")
        problem = seen.problem
        return [] if seen.problem else [to_json(seen.overall)]

    return lines
