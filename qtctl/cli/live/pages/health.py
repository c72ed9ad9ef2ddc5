"""How everything stands: services, kill switch, plans, the queue, and the last half hour."""

from collections.abc import Sequence

from rich.text import Text

from qtctl.cli.framework.context import Context
from qtctl.cli.live import drawing
from qtctl.cli.live.page import Moment, TextPage, Words
from qtctl.cli.live.pages.permits import still_open, ticking
from qtctl.cli.live.trends import Trend
from qtctl.cli.output import format, verdict_style
from qtctl.cli.output.columns import recent, text
from qtctl.cli.output.sparks import bars
from qtctl.cli.views import health_page as page
from qtctl.cli.views.health_record import Overall, Service

EVENTS = (
    recent("time", "at"),
    text("event", "event", style=verdict_style, width=9),
    text("reason", "reason"),
    text("plan", "plan_id", drop=1),
)
LEAST_EVENTS = 4
"""For fewer there is no table."""
WIDE = 140
"""From here on permits stand beside the rest."""
MOST_SERVICES = 6
_LABEL = 13


class HealthPage(TextPage):
    """The same as `qtctl status`, with trends; the latest events where there is room."""

    title = "health"

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self._width = self._room = 0

    def draw(self, moment: Moment, width: int, height: int) -> list[Text]:
        """Permits stand beside the rest on a wide screen."""
        self._width, self._room = width, height
        return super().draw(moment, width, height)

    def lines(self, moment: Moment, width: int) -> list[Text]:
        """What is wrong is red, in capitals, and among the first."""
        if width < WIDE:
            return self._all(moment, width)
        left = width * 11 // 20
        right = _permits(moment, width - left - drawing.MARGIN, self._room)
        return drawing.beside(self._all(moment, left), left, right)

    def _all(self, moment: Moment, width: int) -> list[Text]:
        lines = _left(moment, width, self._width)
        return [*lines, *_events(moment, width, self._room - len(lines))]

    def commands(self) -> list[tuple[str, Words]]:
        """The same page, and what is wrong with it."""
        return [("this page", ("status",)), ("what is wrong, and how to fix it", ("doctor",))]


def headline(found: Overall) -> str:
    """The incident in one line, "" where there is none."""
    if not found.banner:
        return ""
    more = len(found.banner) - 1
    return f"INCIDENT {found.banner[0].text}{f' (and {more} more: 1)' if more else ''}"


def _alarms(found: Overall, width: int, screen: int, utc: bool) -> list[Text]:
    """The worst where the line above all pages has no room for it, what to run, and the others."""
    worst = page.banner(found.banner) if len(headline(found)) > screen else ()
    rest = (*page.next_command(found.banner), *page.also(found.banner))
    return drawing.fields(found, (*worst, *rest), width, utc)


def _left(moment: Moment, width: int, screen: int) -> list[Text]:
    found = moment.seen.overall
    alarms = _alarms(found, width, screen, moment.utc)
    lines = [*alarms, *([Text()] if alarms else [])]
    lines += [line for it in _worst_first(found.services)[:MOST_SERVICES]
             for line in _service(it, width)]  # fmt: skip
    if len(found.services) > MOST_SERVICES:
        left = _worst_first(found.services)[MOST_SERVICES:]
        well = sum(it.well for it in left)
        lines += _lines("", f"and {len(left)} more, {well} of them well", width)
    state = [line for each in _state(found) for line in _lines(*each[:2], width, each[2])]
    return [*lines, *state, Text(), *_trends(moment.seen.trends, width), *_blocks(found, width)]


def _state(found: Overall) -> list[tuple[str, str, bool]]:
    """Title, value, and whether something is wrong there."""
    odd = (
        found.redis.may_evict
        or found.redis.role not in ("master", None)
        or (found.redis.lost and not found.redis.acknowledged)
    )
    bad_group = found.group is None or found.group.stuck > 0
    clocks = page.clocks(found)
    off = [("clocks", clocks, True)] if clocks.startswith("OFF") else []
    return [
        ("redis", page.server(found.redis), bool(odd)),
        ("kill switch", page.kill_switch(found), found.kill_switch.mode != "normal"),
        *off,
        ("upstream", page.upstream(found), "upstream" in found.problems),
        ("plans", page.plans(found), found.plans.stream != "ok" or "plan_ids" in found.problems),
        ("group", page.group(found), bad_group or "group" in found.problems),
        (
            "permits",
            page.permits(found),
            "permits" in found.problems or found.permits.without_ttl > 0,
        ),
    ]


def _trends(trends: Sequence[Trend], width: int) -> list[Text]:
    lines = [Text.assemble((f"{'last 30 min':<{_LABEL}}", "bold"), ("a cell is a minute", "dim"))]
    for trend in trends:
        now, most = trend.values[-1], trend.most
        figures = "not known" if most is None else f"most {most:,}"
        figures += "" if now is None else f", this minute {now:,}"
        lines += _lines(f"  {trend.name}", f"{bars(trend.values)}▏ {figures}", width)
    return lines


def _blocks(found: Overall, width: int) -> list[Text]:
    if not found.plans.blocks:
        return []
    counts = found.plans.blocks.items()
    return [
        Text(),
        *drawing.wrapped(page.blocked_since(found.plans), width, "bold"),
        *(drawing.labelled(f"{count:>9,}  ", reason, "", 0) for reason, count in counts),
    ]


def _events(moment: Moment, width: int, room: int) -> list[Text]:
    rows = moment.seen.events[: room - 3]
    if room < LEAST_EVENTS + 3 or not rows:
        return []
    title = Text("the latest events (6 lists them)", "bold")
    return [Text(), title, *drawing.table(rows, EVENTS, width, moment.utc)]


def _permits(moment: Moment, width: int, room: int) -> list[Text]:
    rows = still_open(moment)
    if not rows:
        return [Text("no open permits", "bold")]
    title = Text(f"{format.count(len(rows), 'permit')}, the newest first", "bold")
    return [title, *drawing.table(rows[: max(1, room - 2)], ticking(moment), width, moment.utc)]


def _worst_first(services: Sequence[Service]) -> list[Service]:
    return sorted(services, key=lambda it: it.well)


def _service(it: Service, width: int) -> list[Text]:
    age = it.last_pass_age_s
    passed = "" if age is None or it.state == "late" else f", last pass {format.span(age)} ago"
    name = f"{it.name}  " if it.name else ""
    return _lines(it.service, f"{name}{page.state(it)}{passed}", width, not it.well)


def _lines(title: str, value: str, width: int, bad: bool = False) -> list[Text]:
    """Long values go on below themselves: nothing that is wrong is cut."""
    parts = drawing.wrapped(value, width - _LABEL, "bold red" if bad else "")
    return [
        Text.assemble((f"{title if not place else '':<{_LABEL}}", "bold"), part)
        for place, part in enumerate(parts)
    ]
