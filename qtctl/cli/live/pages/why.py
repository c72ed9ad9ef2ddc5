"""One symbol: why there was no trade in it, and its plans of the last hour."""

from typing import Any

from rich.text import Text

from qtctl.cli.framework import arguments
from qtctl.cli.framework.context import Context
from qtctl.cli.live import drawing
from qtctl.cli.live.page import ListPage, Moment, Page, Words
from qtctl.cli.live.pages.plan import PlanPage
from qtctl.cli.live.selection import Row, Shape
from qtctl.cli.output import verdict_style
from qtctl.cli.output.columns import recent, text
from qtctl.cli.views import why_facts, why_page
from qtctl.errors import NotFoundError
from qtctl.wire.client.store import Store

SINCE_SEC = 3600.0
PLANS = (
    recent("queued", "at"),
    text("plan", "plan_id"),
    text("kind", "kind", drop=3),
    text("decision", "decision", drop=2),
    text("verdict", "verdict", style=verdict_style, width=9),
    text("reason", "reason", drop=1),
)
_FACTS_FROM = 18
"""Lines from which on the state of things stands between the answer and the plans."""

SHAPE = Shape(
    PLANS,
    key=lambda row: row["entry_id"] or row["plan_id"],
    names=lambda row: (row["plan_id"], row["reason"], row["verdict"]),
    is_problem=lambda row: row["verdict"] != "permitted",
)


class WhyPage(ListPage):
    """The same as `qtctl why SYMBOL`; below it the plans, to be opened."""

    shape = SHAPE
    empty = "no plan in the last hour"
    hints = ("↵ plan", *ListPage.hints)

    def __init__(self, ctx: Context, symbol: str) -> None:
        super().__init__(ctx)
        self.name = symbol
        self.title = f"why {symbol}"

    def read(self, store: Store) -> Any:
        """The answer, and a row for each plan, the latest first."""
        symbol = arguments.symbol(self.name)
        answer = why_facts.answer(self.ctx, store, symbol, SINCE_SEC)
        if answer is None:
            raise NotFoundError(why_page.unknown(store, symbol, SINCE_SEC))
        rows = [
            {"at": it.at, "plan_id": it.plan_id, "entry_id": it.entry_id, "kind": it.kind,
             "decision": it.decision, "verdict": it.verdict or (it.waits and f"in {it.waits}"),
             "reason": it.reason or it.problem, "symbol": symbol}
            for it in answer.facts.plans
        ]  # fmt: skip
        return why_page.record(self.ctx, store, answer), answer.facts, rows

    def rows(self, moment: Moment) -> list[Row]:
        """Its plans."""
        found: list[Row] = self.held.value[2] if self.held.at is not None else []
        return found

    def head(self, moment: Moment, width: int, height: int) -> list[Text]:
        """The answer, the command to go on with, and how things stand where there is room."""
        if self.held.at is None:
            return []
        record, facts, _ = self.held.value
        answer = (*why_page.ANSWER, *why_page.NEXT)
        lines = drawing.fields(record, answer, width, moment.utc)
        for also in record["also"]:
            lines += drawing.fields(also, (why_page.ALSO[0],), width, moment.utc)
        if height >= _FACTS_FROM:
            lines += drawing.fields(record, why_page.head(facts)[1:], width, moment.utc)
        return [*lines, Text()]

    def entered(self) -> Page | None:
        """The selected plan."""
        row = self.selection.row
        return None if row is None or not row["plan_id"] else PlanPage(
            self.ctx, row["plan_id"], self.name
        )  # fmt: skip

    @property
    def symbol(self) -> str:
        """The one it is about."""
        return self.name

    def commands(self) -> list[tuple[str, Words]]:
        """The answer, and the selected plan."""
        own = self.of_plan("the selected plan", "plan", "show")
        return [("this answer", ("why", self.name)), *own]
