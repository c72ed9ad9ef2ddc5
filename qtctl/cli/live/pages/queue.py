"""The queue: how far each group is, and the plans before the governors, the oldest first."""

from typing import Any

from rich.text import Text

from qtctl.cli.live import drawing
from qtctl.cli.live.page import ListPage, Moment, Page, Words
from qtctl.cli.live.pages.plan import PlanPage
from qtctl.cli.live.selection import Shape
from qtctl.cli.output import format
from qtctl.cli.output.columns import age, number, text
from qtctl.domain.entry_ids import time_of
from qtctl.wire.client.store import Store
from qtctl.wire.queries import queue
from qtctl.wire.queries.groups import Group

COLUMNS = (
    age("queued", "age_s"),
    text("state", "state", width=7, style=lambda state: "bold red" if state == "STUCK" else ""),
    text("symbol", "symbol", width=8),
    text("plan", "plan_id"),
    text("action", "action", drop=1),
    text("decision", "decision", drop=3),
    text("consumer", "consumer", drop=2),
    age("held for", "idle_s", drop=4),
    number("deliveries", "deliveries", drop=5),
)

SHAPE = Shape(
    COLUMNS,
    key=lambda row: str(row["entry_id"]),
    names=lambda row: (row["plan_id"], row["symbol"], row["consumer"], row["state"]),
    is_problem=lambda row: row["state"] == "STUCK",
)


class QueuePage(ListPage):
    """The same as `qtctl group list`, with the plans themselves."""

    shape = SHAPE
    title = "queue"
    empty = "the queue is empty: every plan was read and settled"
    hints = ("↵ plan", *ListPage.hints)

    def read(self, store: Store) -> Any:
        """The groups, and a row for each plan; ages by the server's clock."""
        found = queue.queue(store)
        now = store.now_ms() / 1000
        rows = [
            {
                "entry_id": plan.entry_id,
                "age_s": now - time_of(plan.entry_id),
                "state": plan.state.upper() if plan.state == "stuck" else plan.state,
                **{
                    name: plan.fields.get(name, "")
                    for name in ("plan_id", "symbol", "action", "decision")
                },
                "consumer": plan.consumer,
                "idle_s": plan.idle_sec,
                "deliveries": plan.deliveries or None,
            }
            for plan in found.plans
        ]
        return found, rows

    def rows(self, moment: Moment) -> list[dict[str, Any]]:
        """The plans."""
        found: list[dict[str, Any]] = self.held.value[1] if self.held.at is not None else []
        return found

    def head(self, moment: Moment, width: int, height: int) -> list[Text]:
        """A line for each group."""
        if self.held.at is None:
            return []
        found = self.held.value[0]
        lines = [_group(each) for each in found.groups]
        if not lines:
            lines = [drawing.labelled("group ", "NOT THERE: no governor has run on this Redis",
                                      "bold red", 0)]  # fmt: skip
        return [*lines, Text()]

    def limit(self, moment: Moment, listed: int) -> str:
        """Of a long queue the beginning."""
        cut = self.held.value[0].cut
        return f"the oldest {queue.MOST:,} that wait or are held" if cut else ""

    def entered(self) -> Page | None:
        """The plan as far as it has come."""
        row = self.selection.row
        return None if row is None or not row["plan_id"] else PlanPage(
            self.ctx, row["plan_id"], row["symbol"], row["entry_id"]
        )  # fmt: skip

    def commands(self) -> list[tuple[str, Words]]:
        """The groups, and the selected plan."""
        own = self.of_plan("the selected plan", "plan", "show")
        return [("the groups", ("group", "list")), *own]


def _group(found: Group) -> Text:
    lag = "unknown" if found.lag is None else f"{found.lag:,}"
    parts = [f"lag {lag}", f"{found.pending:,} pending"]
    if found.oldest_behind_ms is not None and found.behind is None:
        parts.append(f"over {1_000:,} behind")
    if found.stuck:
        parts.append(f"{found.stuck:,} STUCK, the longest {format.span(found.stuck_sec)}")
    if found.ahead_of:
        parts.append("AHEAD of the stream: it is given nothing")
    if found.consumers is not None:
        parts.append(format.count(len(found.consumers), "consumer"))
    bad = bool(found.stuck or found.ahead_of)
    return drawing.labelled(f"group {found.name} ", ", ".join(parts), "bold red" * bad, 0)
