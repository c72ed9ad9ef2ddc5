"""`qtctl permit`: permits with the time they have left, and the reference consumer."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qtctl.cli.framework import arguments
from qtctl.cli.framework.command import command, group
from qtctl.cli.framework.context import Context
from qtctl.cli.framework.safety import Force, refuse_other_groups
from qtctl.cli.output import format
from qtctl.cli.output.columns import age, moment, money, number, text, ttl
from qtctl.cli.output.render import Fields, emit, emit_one
from qtctl.errors import NotFoundError, WireError

if TYPE_CHECKING:
    from qtctl.wire.client.store import Store
    from qtctl.wire.queries.permits import StoredPermit

app = group(
    "permit",
    help="Single-use permits: what is open, what one says, and taking one.",
    default="list",
    examples="""
    qtctl permit list
    qtctl permit show p1
    qtctl permit take p1 --cap 150
    """,
)

ACTION_STYLE = {"DOWNSIZE": "yellow"}


def _style(value: Any) -> str:
    return ACTION_STYLE.get(str(value), "")


LISTED = (
    text("plan", "plan_id"),
    text("symbol", "symbol"),
    ttl("left", "ttl_s", style=lambda left: "red" if left == -1 else ""),
    text("action", "eff_action", style=_style),
    number("factor", "eff_factor", places=4),
    age("extra cooldown", "extra_cooldown_sec", drop=2),
    text("score reason", "eff_reason", drop=1),
    text("qty", "computed_qty", right=True, drop=3),
    money("notional USD", "computed_notional", drop=3),
)
SHOWN = (
    text("plan", "plan_id"),
    text("symbol", "symbol"),
    text("granted", "granted"),
    text("decision", "decision"),
    ttl("left", "ttl_s"),
    moment("created", "created_at"),
    text("qty", "computed_qty"),
    money("notional USD", "computed_notional"),
    text("action", "eff_action", style=_style),
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
    text("action", "eff_action", style=_style),
    number("factor", "downsize_factor", places=4),
    money("cap USD", "cap_usd"),
    money("adjusted cap USD", "adjusted_cap_usd"),
    age("extra cooldown", "extra_cooldown_sec"),
    text("score reason", "eff_reason"),
)


@command(app, "list")
def list_permits(ctx: Context) -> None:
    """Permits that nobody has taken yet, the next to expire first.

    Examples:
        qtctl permit list
        qtctl permit -o json
    """
    with ctx.store() as store:
        found = rows(store)
        for row in found:
            if "granted" not in row:
                ctx.warn(f"permit {row['plan_id']} is neither a JSON object nor a hash")
        emit(ctx, found, LISTED, empty="No permits are open.")


@command(app)
def show(ctx: Context, plan_id: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """One permit, with all its fields.

    Examples:
        qtctl permit show p1
        qtctl permit show p1 -o json
    """
    from qtctl.wire.queries import permits

    arguments.plan_id(plan_id)
    with ctx.store() as store:
        held = permits.one(store, plan_id)
        if held is None:
            raise NotFoundError(_why_none(ctx, store, plan_id))
        if held.fields is None:
            raise WireError(f"the permit of {plan_id} is neither a JSON object nor a hash")
        emit_one(ctx, _row(held), Fields(SHOWN))


@command(app)
def take(
    ctx: Context,
    plan_id: Annotated[str, typer.Argument(metavar="ID")],
    cap: Annotated[
        str | None, typer.Option("--cap", metavar="USD", help="The cap to adjust.")
    ] = None,
    force: Force = False,
) -> None:
    """Take a permit as a consumer does: once, atomically; print the adjusted cap and cooldown.

    Refuses where another group reads the plans: the Apply Layer waits for this permit.

    Examples:
        qtctl permit take p1
        qtctl permit take p1 --cap 150
    """
    from qtctl.wire.queries import permits

    arguments.plan_id(plan_id)
    cap_usd = None if cap is None else arguments.number(cap, "--cap", 0)
    with ctx.store() as store:
        ctx.say(f"{ctx.where()} take the permit of {plan_id}")
        refuse_other_groups(store, "its consumer waits for this permit", force)
        fields = permits.take(store, plan_id)
        if fields is None:
            raise NotFoundError(_why_none(ctx, store, plan_id))
        emit_one(ctx, _adjusted(plan_id, fields, cap_usd), Fields(TAKEN))


def rows(store: "Store") -> list[dict[str, Any]]:
    """One row a permit, the next to expire first."""
    from qtctl.wire.queries import permits

    return rows_of(permits.listed(store))


def rows_of(held: "Sequence[StoredPermit]") -> list[dict[str, Any]]:
    """The same of permits that were read."""
    return [_row(permit) for permit in sorted(held, key=lambda permit: permit.ttl_sec or -1)]


def _row(permit: "StoredPermit") -> dict[str, Any]:
    """The JSON of a permit: plan_id, ttl_s (−1 where it has no lifetime), the permit's fields."""
    left = -1 if permit.ttl_sec is None else round(permit.ttl_sec, 3)
    # First in the order, and last to be set: a field in the permit can't pass for one of these.
    known = {"plan_id": permit.plan_id, "ttl_s": left}
    return known | (permit.fields or {}) | known


def _adjusted(plan_id: str, fields: Mapping[str, Any], cap_usd: float | None) -> dict[str, Any]:
    """What a consumer does with the hint; what is missing or unreadable changes nothing."""
    factor = format.as_number(fields.get("downsize_factor"))
    factor = factor if factor is not None and 0 <= factor <= 1 else 1.0
    return {
        "plan_id": plan_id,
        **{name: value for name, value in fields.items() if name != "plan_id"},
        "cap_usd": cap_usd,
        "adjusted_cap_usd": None if cap_usd is None else round(cap_usd * factor, 2),
    }


def _why_none(ctx: Context, store: "Store", plan_id: str) -> str:
    """No permit: was it taken, did it run out, was it never given."""
    from qtctl.wire.queries import decisions

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
