"""What the governors and the operators did, the newest first."""

from qtctl.cli.live.page import ListPage, Page, Words
from qtctl.cli.live.pages.plan import PlanPage
from qtctl.cli.live.pages.tail import TailPage
from qtctl.cli.live.pages.why import WhyPage
from qtctl.cli.live.selection import Shape
from qtctl.cli.views.streams import LISTED

SHAPE = Shape(
    LISTED["events"].columns,
    key=lambda row: str(row["id"]),
    names=lambda row: row.values(),
    is_problem=lambda row: row.get("event") != "permitted",
)


class EventsPage(TailPage):
    """The same as `qtctl tail events`."""

    shape = SHAPE
    title = "events"
    empty = "no events"
    hints = ("↵ open", *ListPage.hints)

    def entered(self) -> Page | None:
        """The plan, or else the symbol."""
        row = self.selection.row or {}
        if row.get("plan_id"):
            return PlanPage(self.ctx, row["plan_id"], self.symbol)
        return WhyPage(self.ctx, self.symbol) if self.symbol else None

    def commands(self) -> list[tuple[str, Words]]:
        """The list, and what is selected."""
        row = self.selection.row or {}
        own: list[tuple[str, Words]] = []
        if row.get("plan_id"):
            own = [("the selected plan", ("plan", "show", row["plan_id"]))]
        elif self.symbol:
            own = [("the selected symbol", ("why", self.symbol))]
        return [("this list", ("tail", "events", "-n", "100")), *own]
