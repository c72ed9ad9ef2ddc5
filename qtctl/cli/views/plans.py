"""Decisions of the governor, a row for each."""

from qtctl.cli.output.columns import age, money, recent, size_hint, text
from qtctl.cli.output.styles import verdict_style
from qtctl.wire.client.store import Store
from qtctl.wire.queries import decisions

LISTED = (
    recent("decided", "decided_at", drop=1),
    text("plan", "plan_id"),
    text("symbol", "symbol"),
    text("kind", "kind", drop=2),
    text("verdict", "verdict", style=verdict_style),
    text("reason", "reason"),
    text("action", "action", drop=3),
    money("notional USD", "notional_usd", drop=4),
    size_hint("eff_action", drop=3),
    age("in queue", "queue_age_sec", drop=4),
)


def rows(store: Store) -> list[dict[str, str]]:
    """One row a decision, the latest first."""
    return decisions.every(store)
