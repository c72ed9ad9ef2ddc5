"""Blocked plans as they come, the newest first."""

from qtctl.cli.live.page import ListPage, Page, Words
from qtctl.cli.live.pages.plan import PlanPage
from qtctl.cli.live.pages.tail import TailPage
from qtctl.cli.live.selection import Shape
from qtctl.cli.output.columns import age, money, recent, text
from qtctl.domain.entry_ids import time_of
from qtctl.wire.client.store import Store
from qtctl.wire.queries import decisions
from qtctl.wire.queries.streams import StreamEntry

COLUMNS = (
    recent("blocked", "at"),
    # A close that is refused leaves risk where it is.
    text("kind", "kind", width=5, style=lambda kind: "bold red" if kind == "CLOSE" else ""),
    text("symbol", "symbol", width=8),
    text("reason", "reason", width=18),
    text("plan", "plan_id", drop=1),
    text("action", "action", drop=2),
    money("notional USD", "notional_usd", drop=3),
    age("in queue", "queue_age_sec", drop=4),
    text("source", "source", drop=5),
)

SHAPE = Shape(
    COLUMNS,
    key=lambda row: str(row["id"]),
    names=lambda row: (row["plan_id"], row["symbol"], row["reason"]),
    is_problem=lambda row: row["kind"] == "CLOSE",
)


class BlockedPage(TailPage):
    """The same as `qtctl plan list --blocked`, and repeats and conflicts beside."""

    shape = SHAPE
    title = "blocked"
    empty = "nothing was blocked, as far back as the events go"
    hints = ("↵ plan", *ListPage.hints)

    def is_wanted(self, entry: StreamEntry) -> bool:
        """Those that were blocked."""
        return entry.fields.get("event") == "blocked"

    def rows_of(self, store: Store, entries: list[StreamEntry]) -> list[dict[str, str]]:
        """The event, and of the decision what was blocked; capitals for closes, which should
        pass."""
        ids = list(dict.fromkeys(entry.fields.get("plan_id", "") for entry in entries))
        known = decisions.by_id(store, [id_ for id_ in ids if id_])
        rows = []
        for entry in entries:
            plan_id = entry.fields.get("plan_id", "")
            decision = known.get(plan_id, {})
            # A repeat or a conflict leaves the first decision as it was.
            own = decision if decision.get("reason") == entry.fields.get("reason") else {}
            kind = decision.get("kind", "")
            rows.append(
                {
                    "id": entry.id,
                    "at": str(time_of(entry.id)),
                    "plan_id": plan_id,
                    "symbol": entry.fields.get("symbol", ""),
                    "reason": entry.fields.get("reason", ""),
                    "kind": "CLOSE" if kind == "close" else kind,
                    **{
                        name: own.get(name, "")
                        for name in ("action", "notional_usd", "queue_age_sec", "source")
                    },
                }
            )
        return rows

    def entered(self) -> Page | None:
        """The plan, gate by gate."""
        row = self.selection.row
        return None if row is None else PlanPage(self.ctx, row["plan_id"], row["symbol"])

    def commands(self) -> list[tuple[str, Words]]:
        """The list, and the selected plan."""
        own = self.of_plan("the selected plan", "plan", "show")
        return [("this list", ("plan", "list", "--blocked", "--since", "1h")), *own]
