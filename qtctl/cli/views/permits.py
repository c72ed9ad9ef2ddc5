"""Permits with the time they have left, and what a consumer makes of one."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from qtctl.cli.framework.context import Context
from qtctl.cli.output import Filter, Listed, format, lifetime_style
from qtctl.cli.output.columns import age, moment, money, number, plan_id, size_hint, text, ttl
from qtctl.cli.views.in_force import InForce
from qtctl.domain.reasons import EffReason, Kind
from qtctl.wire.client.store import Store
from qtctl.wire.queries import decisions, permits
from qtctl.wire.queries.permits import StoredPermit
from qtctl.wire.schema.permit import PERMIT_FIELDS

_KIND = "decision.kind"
"""In a row, beside the fields of the permit; JSON leaves it out unless it is asked for."""
LISTED = Listed(
    (
        plan_id("plan", "plan_id"),
        text("symbol", "symbol"),
        text("kind", _KIND, drop=1, named="kind"),
        ttl("expires in", "ttl_s", style=lifetime_style),
        size_hint("eff_action"),
        number("factor", "eff_factor", places=4),
        age("extra cooldown", "extra_cooldown_sec", drop=2),
        text("score reason", "eff_reason", drop=1),
        text("qty", "computed_qty", right=True, drop=3),
        money("notional USD", "computed_notional", drop=3),
    ),
    fields=PERMIT_FIELDS,
    at="created_at",
    filters={
        "kind": Filter(_KIND, tuple(Kind)),
        "reason": Filter("eff_reason", tuple(EffReason)),
    },
)
SHOWN = (
    text("plan", "plan_id"),
    text("symbol", "symbol"),
    text("granted", "granted"),
    text("decision", "decision"),
    ttl("expires in", "ttl_s"),
    moment("created", "created_at"),
    text("qty", "computed_qty"),
    money("notional USD", "computed_notional"),
    size_hint("eff_action"),
    number("factor", "eff_factor", places=4),
    age("extra cooldown", "extra_cooldown_sec"),
    text("score", "eff_score"),
    text("confidence", "eff_confidence"),
    text("score reason", "eff_reason"),
    text("score stale", lambda row: row.get("eff_stale") == "1"),
)
TAKEN = (
    text("plan", "plan_id"),
    text("symbol", "symbol"),
    size_hint("eff_action"),
    number("factor", "downsize_factor", places=4),
    money("cap USD", "cap_usd"),
    money("adjusted cap USD", "adjusted_cap_usd"),
    age("extra cooldown", "extra_cooldown_sec"),
    text("score reason", "eff_reason"),
)


class Lifetime(msgspec.Struct, frozen=True):
    """The setting of the governor that says how long permits live."""

    permit_ttl_sec: float


def lifetime(ctx: Context, store: Store) -> float:
    """How long the permits of the governor live, in seconds."""
    own, _ = InForce(ctx, store).of("governor", Lifetime)
    return own.permit_ttl_sec


def rows(store: Store) -> list[dict[str, Any]]:
    """One row a permit, the next to expire first; with the kind of its plan, where the decision is
    still there."""
    found = rows_of(permits.listed(store))
    known = decisions.by_id(store, [row["plan_id"] for row in found])
    return [row | {_KIND: known.get(row["plan_id"], {}).get("kind", "")} for row in found]


def as_json(row: dict[str, Any]) -> dict[str, Any]:
    """The JSON of such a row: the permit alone."""
    return {name: value for name, value in row.items() if name != _KIND}


def rows_of(held: Sequence[StoredPermit]) -> list[dict[str, Any]]:
    """The same of permits that were read."""
    return [row_of(permit) for permit in sorted(held, key=lambda permit: permit.ttl_sec or -1)]


def row_of(permit: StoredPermit) -> dict[str, Any]:
    """The JSON of a permit: plan_id, ttl_s (−1 where it has no lifetime), the permit's fields."""
    left = -1 if permit.ttl_sec is None else round(permit.ttl_sec, 3)
    # First in the order, and last to be set: a field in the permit can't pass for one of these.
    known = {"plan_id": permit.plan_id, "ttl_s": left}
    return known | (permit.fields or {}) | known


def adjusted(plan_id: str, fields: Mapping[str, Any], cap_usd: float | None) -> dict[str, Any]:
    """What a consumer does with the hint; what is missing or unreadable changes nothing."""
    factor = format.as_number(fields.get("downsize_factor"))
    factor = factor if factor is not None and 0 <= factor <= 1 else 1.0
    return {
        "plan_id": plan_id,
        **{name: value for name, value in fields.items() if name != "plan_id"},
        "cap_usd": cap_usd,
        "adjusted_cap_usd": None if cap_usd is None else round(cap_usd * factor, 2),
    }


def why_none(ctx: Context, store: Store, plan_id: str) -> str:
    """No permit: was it taken, did it run out, was it never given."""
    decision = decisions.by_id(store, [plan_id]).get(plan_id)
    if decision is None:
        return f"no permit for {plan_id}: no decision about it either (see 'qtctl tail plans')"
    at = format.moment(decision.get("decided_at", ""), ctx.utc)
    if decision.get("withdrawn_at"):
        withdrawn = format.moment(decision["withdrawn_at"], ctx.utc)
        return f"no permit for {plan_id}: withdrawn {withdrawn} (see 'qtctl plan show {plan_id}')"
    if decision.get("verdict") == "permitted":
        return f"no permit for {plan_id} any more: issued {at}, taken or expired since"
    return (
        f"no permit for {plan_id}: blocked {at}, {decision.get('reason', '')} "
        f"(see 'qtctl plan show {plan_id}')"
    )
