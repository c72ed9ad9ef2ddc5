"""`qtctl permit`: permits with the time they have left, and the reference consumer."""

from collections.abc import Iterator
from typing import Annotated, Any

from qtctl.cli.framework import Context, arg, arguments, command, group, opt
from qtctl.cli.framework.list_options import Lists
from qtctl.cli.framework.safety import Force, refuse_other_groups
from qtctl.cli.output import Fields, emit, emit_one
from qtctl.errors import NotFoundError, RefusedError, WireError

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


@command(
    app, "list", lists=Lists("qtctl.cli.views.permits", filters=("kind", "reason"), by_time=True)
)
def list_permits(ctx: Context) -> None:
    """Permits that nobody has taken yet, the next to expire first.

    Examples:
        qtctl permit list
        qtctl permit -o json
        qtctl permit list --where eff_action=DOWNSIZE --watch
    """
    from qtctl.cli.views import permits as view

    def found() -> Iterator[dict[str, Any]]:
        for row in view.rows(store):
            if "granted" not in row:
                ctx.warn(f"permit {row['plan_id']} is neither a JSON object nor a hash")
            yield row

    with ctx.store() as store:
        empty = "No permits match." if ctx.window(store).filtered else "No permits are open."
        emit(ctx, found(), view.LISTED, empty=empty, as_json=view.as_json)


@command(app)
def show(ctx: Context, plan_id: Annotated[str, arg("ID")]) -> None:
    """One permit, with all its fields.

    Examples:
        qtctl permit show p1
        qtctl permit show p1 -o json
    """
    from qtctl.cli.views import permits as view
    from qtctl.wire.queries import permits

    arguments.plan_id(plan_id)
    with ctx.store() as store:
        held = permits.one(store, plan_id)
        if held is None:
            raise NotFoundError(view.why_none(ctx, store, plan_id))
        if held.fields is None:
            raise WireError(f"the permit of {plan_id} is neither a JSON object nor a hash")
        emit_one(ctx, view.row_of(held), Fields(view.SHOWN))


@command(app)
def take(
    ctx: Context,
    plan_id: Annotated[str, arg("ID")],
    cap: Annotated[str | None, opt("--cap USD", "The cap to adjust.")] = None,
    force: Force = False,
) -> None:
    """Take a permit as a consumer does: once, atomically; print the adjusted cap and cooldown.

    Refuses where another group reads the plans: the Apply Layer waits for this permit. One that
    is older than permit_ttl_sec by the clock of Redis (which stepped back then) is void.

    Examples:
        qtctl permit take p1
        qtctl permit take p1 --cap 150
    """
    from qtctl.cli.views import permits as view
    from qtctl.wire.control.permits import take_permit, void

    arguments.plan_id(plan_id)
    cap_usd = None if cap is None else arguments.number(cap, "--cap", 0)
    with ctx.store() as store:
        refuse_other_groups(store, "its consumer waits for this permit", force)
        ctx.announce(f"taking the permit of {plan_id}")
        ttl_sec = view.lifetime(ctx, store)
        now = store.now_ms() / 1000
        fields = take_permit(store, plan_id)
        if fields is None:
            raise NotFoundError(view.why_none(ctx, store, plan_id))
        problem = void(fields, now, ttl_sec)
        if problem:
            raise RefusedError(
                f"the permit of {plan_id} is void: {problem}. It is taken now, and must not be "
                "acted on: the clock of Redis stepped ('qtctl doctor')"
            )
        emit_one(ctx, view.adjusted(plan_id, fields, cap_usd), Fields(view.TAKEN))
