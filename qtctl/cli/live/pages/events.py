"""What the governors and the operators did, the newest first."""

from typing import Any

from qtctl.cli.framework.context import Context
from qtctl.cli.live.page import ListPage, Moment, Page, Words
from qtctl.cli.live.pages.plan import PlanPage
from qtctl.cli.live.pages.tail import MOST, Tail
from qtctl.cli.live.pages.why import WhyPage
from qtctl.cli.live.selection import Selection, Shape
from qtctl.cli.views.streams import LISTED
from qtctl.wire.client.store import Store
from qtctl.wire.queries.streams import StreamEntry

SHAPE = Shape(
    LISTED["events"].columns,
    key=lambda row: str(row["id"]),
    names=lambda row: row.values(),
    is_problem=lambda row: row.get("event") != "permitted",
)


class EventsPage(ListPage):
    """The same as `qtctl tail events`."""

    title = "events"
    empty = "no events"
    hints = ("↵ open", *ListPage.hints)

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx, Selection(SHAPE))
        self._tail = Tail(lambda store: store.keys.events, lambda entry: True, _rows_of)

    def read(self, store: Store) -> Any:
        """The newest of them."""
        return self._tail.read(store)

    def limit(self, moment: Moment, listed: int) -> str:
        """Older ones are let go of."""
        return f"the newest {MOST:,} are kept" if listed >= MOST else ""

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


def _rows_of(store: Store, entries: list[StreamEntry]) -> list[dict[str, str]]:
    return [{"id": entry.id} | entry.fields | {"id": entry.id} for entry in entries]
