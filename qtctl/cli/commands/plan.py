"""`qtctl plan`: decisions, and why each fell as it did, gate by gate."""

from collections.abc import Mapping
from typing import Annotated, Any

from qtctl.cli.framework import Context, arg, arguments, command, group, opt
from qtctl.cli.framework.list_options import Lists
from qtctl.cli.output import emit
from qtctl.errors import UsageError

app = group(
    "plan",
    help="Decisions of the governor, kept for 24 h, and the gates behind each.",
    default="list",
    examples="""
    qtctl plan list BTCUSDT --blocked --since 1h
    qtctl plan list --reason symbol_cooldown -n 100
    qtctl plan list --since 1h --what-if max_exec_per_hour=5
    qtctl plan show p1
    """,
)

WhatIf = Annotated[
    list[str] | None,
    opt("--what-if KEY=VALUE", "Judge again under another limit of the governor; repeatable."),
]


def _listed(given: Mapping[str, Any]) -> Any:
    from qtctl.cli.views import plans, what_if

    return what_if.LISTED if given.get("given") else plans.LISTED


@command(
    app,
    "list",
    lists=Lists(_listed, limit=20, filters=("verdict", "kind", "reason"), by_time=True),
)
def list_plans(
    ctx: Context,
    symbols: Annotated[list[str] | None, arg("SYMBOL")] = None,
    blocked: Annotated[bool, opt("--blocked", "As --verdict blocked.")] = False,
    given: WhatIf = None,
    all_: Annotated[
        bool, opt("--all", "With --what-if: also those that stay as they are.")
    ] = False,
) -> None:
    """Decisions, the latest first; what Redis has forgotten comes from the history, where there is
    one: its rows have from=history, and stderr says how many they are.

    With --what-if each is judged again on its own stored facts, and only those are listed that
    would get another verdict, then those with another reason, then the unknown (their limits are
    forgotten, or their record lacks a fact). What follows is not simulated: one permit more would
    have raised the counts of later plans. Keys are the governor's limits:
    max_exec_per_hour, max_exec_per_5min, max_opens_per_5min_total, symbol_cooldown_sec,
    reopen_cooldown_sec, max_notional_per_trade_usd, kill_score_critical, max_queue_age_sec,
    max_plan_age_sec.

    Examples:
        qtctl plan list
        qtctl plan list BTCUSDT --blocked --since 1h
        qtctl plan list --kind close --since 10:00 --until 10:30 -o csv
        qtctl plan list --since 7d --reason hourly_limit_exceeded
        qtctl plan list --sort -notional_usd --columns plan_id,notional_usd,reason
        qtctl plan list --since 1h --what-if max_exec_per_hour=5
    """
    from qtctl.cli.views import plans as view
    from qtctl.cli.views import what_if
    from qtctl.cli.views.past import Past

    wanted = arguments.spellings(symbols)
    changes = what_if.changes_asked(given)
    if all_ and not changes:
        raise UsageError("--all needs --what-if: without it all decisions are listed anyway")
    if blocked:
        ctx.listing = ctx.listing.only_also("verdict", "blocked")
    with ctx.store() as store:
        listing, past = ctx.window(store), Past(ctx, store)
        rows = view.found(store, listing, wanted)
        found = past.listed(rows, listing, wanted, view.LISTED.matches(listing))
        if changes and (judged := list(found)):
            # One more is read than is asked for, to know whether there are more.
            most = len(judged) if listing.limit is None or listing.order else listing.limit
            judged, more = judged[:most], judged[most:]
            known = past.limits(row.get("limits", "") for row in judged)
            view.show_again(ctx, what_if.compared(known, judged, changes), all_)
            if more:
                ctx.say(
                    f"Only the latest {most:,} were judged; there are more: -n all judges them."
                )
        else:
            emit(ctx, found, view.LISTED, empty=view.NONE)
        past.report()


def show(ctx: Context, plan_id: Annotated[str, arg("ID")], given: WhatIf = None) -> None:
    """One decision, explained gate by gate from the facts that it rests on.

    A plan that was never judged (its decision is not EXECUTE, it could not be read, it waits, it
    was too old) is looked for in the plan stream, and the answer says which it is. A decision that
    Redis has forgotten comes from the history, and so does one while Redis can't be reached.

    `explain` is another name for it. With --what-if it is judged again on these facts under other
    limits, and both worksheets stand side by side.

    Examples:
        qtctl plan show p1
        qtctl plan explain p1 -o json
        qtctl plan show p1 --what-if max_exec_per_hour=5 --what-if symbol_cooldown_sec=30
    """
    from qtctl.cli.views import plan_shown

    arguments.plan_id(plan_id)
    plan_shown.show(ctx, plan_id, given)


command(app)(show)
command(app, "explain", hidden=True)(show)
