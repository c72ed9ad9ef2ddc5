"""Symbols: the live target beside the proposal, the widest change first."""

from typing import Any

from qtctl.cli.live.page import ListPage, Page, Words
from qtctl.cli.live.pages.why import WhyPage
from qtctl.cli.live.selection import Prepared, Shape
from qtctl.cli.output import reason_style
from qtctl.cli.output.columns import age, money, number, percent, text, ttl
from qtctl.cli.views import targets
from qtctl.wire.client.store import Store

# At least so wide, that a number that grows does not move the others.
COLUMNS = (
    text("symbol", "symbol", width=12),
    money("target USD", "base_target", width=12),
    money("proposed USD", "proposed_target", width=12, drop=1),
    percent("change %", "change_pct"),
    text("reason", "reason", width=11, style=reason_style),
    number("score", "eff_score", places=4, drop=2, width=6),
    age("target age", "target_age_s", drop=3),
    number("multiplier", "multiplier", places=4, drop=4),
    text("confidence", "eff_confidence", right=True, drop=5),
    age("proposal age", "proposed_age_s", drop=6),
    ttl("expires in", "ttl_s", drop=7),
)

SHAPE = Shape(
    COLUMNS,
    key=lambda row: str(row["symbol"]),
    names=lambda row: (row["symbol"], row["reason"]),
    is_problem=lambda row: row["reason"] != "ok",
)


class SymbolsPage(ListPage):
    """The same as `qtctl target list`."""

    shape = SHAPE
    title = "symbols"
    empty = "no targets: is P2.9 writing them?"
    hints = ("↵ why", *ListPage.hints)

    def read(self, store: Store) -> Any:
        """All of them: for 10,000 a second, which is why it is read seldom then."""
        return Prepared(targets.rows(store, ()), SHAPE).ahead()

    def entered(self) -> Page | None:
        """Why there was no trade in it."""
        return WhyPage(self.ctx, self.symbol) if self.symbol else None

    def commands(self) -> list[tuple[str, Words]]:
        """The list, and the selected symbol."""
        own = [("the selected symbol", ("why", self.symbol))] if self.symbol else []
        return [("this list", ("target", "list")), *own]
