"""One plan: its decision gate by gate, or where it is while there is none."""

from typing import Any

from rich.text import Text

from qtctl.cli.framework.context import Context
from qtctl.cli.live import drawing
from qtctl.cli.live.page import Moment, TextPage, Words
from qtctl.cli.output import Fields, Rows, verdict_style
from qtctl.cli.views import plans as view
from qtctl.errors import NotFoundError
from qtctl.wire.client.store import Store
from qtctl.wire.queries import decisions


class PlanPage(TextPage):
    """The same as `qtctl plan show ID`; the gates come first."""

    reads = True

    def __init__(self, ctx: Context, plan_id: str, symbol: str = "", entry_id: str = "") -> None:
        super().__init__(ctx)
        self.plan_id = plan_id
        self.title = f"plan {plan_id}"
        self._symbol, self._entry_id = symbol, entry_id

    def read(self, store: Store) -> Any:
        """The decision with its worksheet, or what there is of an undecided plan."""
        decision = decisions.by_id(store, [self.plan_id]).get(self.plan_id)
        if decision is not None:
            limits, source = view.limits_of(self.ctx, store, decision)
            return decision, view.gate_rows(decision, limits), source
        record = view.undecided(self.ctx, store, self.plan_id, self._entry_id)
        if record is None:
            raise NotFoundError(
                f"no decision about {self.plan_id} (they are kept for 24 h), and it is not "
                "among the newest plans: see events (6), and 'qtctl tail rejected'"
            )
        return record, [], ""

    def lines(self, moment: Moment, width: int) -> list[Text]:
        """The verdict, the gates, and all that is recorded."""
        record, gates, source = self.held.value
        if not gates:
            return drawing.fields(record, view.UNDECIDED, width, moment.utc)
        verdict, reason = record.get("verdict", ""), record.get("reason", "")
        head = " ".join((record.get("kind", ""), "of", record.get("symbol", "")))
        top = drawing.labelled(f"{verdict} ", f"{reason} · {head}", verdict_style(verdict), 0)
        columns = view.HEAD + (view.WITHDRAWN if record.get("withdrawn_at") else ())
        return [
            top,
            Text(),
            *drawing.page(record, (Rows(gates, view.GATES),), width, moment.utc),
            *drawing.wrapped(f"Limits: {source}", width, "dim"),
            Text(),
            *drawing.page(record, (Fields(columns),), width, moment.utc),
        ]

    @property
    def symbol(self) -> str:
        """The plan's."""
        if self._symbol or self.held.at is None:
            return self._symbol
        return str(self.held.value[0].get("symbol", ""))

    def commands(self) -> list[tuple[str, Words]]:
        """The same page."""
        return [("this plan", ("plan", "show", self.plan_id))]
