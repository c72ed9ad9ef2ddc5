"""Permits that nobody has taken yet, the newest first, with the time they have left."""

from collections.abc import Sequence
from dataclasses import replace

from qtctl.cli.framework.context import Context
from qtctl.cli.live.page import ListPage, Moment, Page, Words
from qtctl.cli.live.pages.plan import PlanPage
from qtctl.cli.live.poller import TopSnapshot
from qtctl.cli.live.selection import Row, Shape
from qtctl.cli.output import lifetime_style
from qtctl.cli.output.columns import Column, age, money, number, size_hint, text, ttl

COLUMNS = (
    text("permit", "plan_id"),
    text("symbol", "symbol", width=8),
    ttl("expires in", "ttl_s", width=5, style=lifetime_style),
    size_hint("eff_action", drop=1, width=9),
    number("factor", "eff_factor", places=4, drop=2),
    money("notional USD", "computed_notional", drop=3),
    text("qty", "computed_qty", right=True, drop=4),
    age("extra cooldown", "extra_cooldown_sec", drop=5),
    text("score reason", "eff_reason", drop=6),
)

SHAPE = Shape(
    COLUMNS,
    key=lambda row: str(row["plan_id"]),
    names=lambda row: (row["plan_id"], row.get("symbol", "")),
    # One that never expires should not exist, nor one that nobody can read.
    is_problem=lambda row: row["ttl_s"] == -1 or "symbol" not in row,
)


class PermitsPage(ListPage):
    """The same as `qtctl permit list`."""

    shape = SHAPE
    title = "permits"
    reads = False
    empty = "no open permits"
    hints = ("↵ plan", *ListPage.hints)

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self._open: list[Row] | None = None
        self._of: TopSnapshot | None = None

    def rows(self, moment: Moment) -> Sequence[Row]:
        """Those that are still open by now."""
        found = still_open(moment)
        if self._open is None or self._of is not moment.seen or len(found) != len(self._open):
            self._open, self._of = found, moment.seen
        return self._open

    def limit(self, moment: Moment, listed: int) -> str:
        """Older ones are counted only."""
        only = moment.seen.overall.permits.newest_only
        return "older ones are not looked at" if only else ""

    def columns(self, moment: Moment) -> Sequence[Column]:
        """With the time that is left by now."""
        return ticking(moment)

    def entered(self) -> Page | None:
        """The plan that it was issued for."""
        row = self.selection.row
        return None if row is None else PlanPage(self.ctx, row["plan_id"], self.symbol)

    def commands(self) -> list[tuple[str, Words]]:
        """The list, and the selected permit."""
        own = self.of_plan("the selected permit", "permit", "show")
        return [("this list", ("permit", "list")), *own]


def still_open(moment: Moment) -> list[Row]:
    """Permits expire whether Redis can be asked or not."""
    since = _since(moment)
    return [row for row in moment.seen.permits if row["ttl_s"] == -1 or row["ttl_s"] > since]


def ticking(moment: Moment) -> tuple[Column, ...]:
    """The columns; the time that is left goes on between two looks."""
    since = _since(moment)

    def left(row: Row) -> float:
        ttl_s: float = row["ttl_s"]
        return ttl_s if ttl_s == -1 else ttl_s - since

    return tuple(
        replace(column, key=left) if column.key == "ttl_s" else column for column in COLUMNS
    )


def _since(moment: Moment) -> float:
    # While it is paused the picture stands still.
    return 0.0 if moment.paused else max(0.0, moment.now - moment.seen.at)
