"""`qtctl plan show`: one decision, by Redis, else by the history."""

from collections.abc import Mapping, Sequence

from qtctl.cli.framework.context import Context
from qtctl.cli.output import Fields, emit_one, format
from qtctl.cli.views import plans, what_if
from qtctl.cli.views.past import HISTORY, Past
from qtctl.domain.gates import Limits
from qtctl.domain.what_if import Changes
from qtctl.errors import NotFoundError, RedisUnreachable
from qtctl.settings.rules import rules_from
from qtctl.wire.client.store import Store
from qtctl.wire.queries import decisions


def show(ctx: Context, plan_id: str, given: Sequence[str] | None) -> None:
    """Print it. Errors: NotFoundError; RedisUnreachable where the history does not have it."""
    changes = what_if.changes_asked(given)
    try:
        with ctx.store() as store:
            _show(ctx, store, plan_id, changes)
    except RedisUnreachable as away:
        past = Past(ctx, None)
        found = past.decision(plan_id)
        if found is None:
            raise
        ctx.warn(f"{away}; this is what the history has, and Redis may know of a later decision")
        _show_past(ctx, None, past, found, changes)


def _show(ctx: Context, store: Store, plan_id: str, changes: Changes) -> None:
    past = Past(ctx, store)
    decision = decisions.by_id(store, [plan_id]).get(plan_id)
    if decision is not None:
        _print(ctx, store, past, decision, changes)
        return
    waiting = plans.undecided(ctx, store, plan_id)
    if waiting is None or waiting["note"] == plans.UNKNOWN:
        found = past.decision(plan_id)
        if found is not None:
            _show_past(ctx, store, past, found, changes)
            return
    past.report()
    if changes or waiting is None:
        raise NotFoundError(
            f"no decision about {plan_id} (Redis keeps them for 24 h, the history longer): "
            "see 'qtctl tail plans' and 'qtctl tail rejected'"
        )
    emit_one(ctx, waiting, Fields(plans.UNDECIDED))


def _show_past(
    ctx: Context, store: Store | None, past: Past, found: tuple[Mapping[str, str], int],
    changes: Changes,
) -> None:  # fmt: skip
    decision, count = found
    at = float(decision.get("decided_at") or 0)
    past.note(1, at, at + 1)
    _print(ctx, store, past, decision, changes)
    past.report()
    if count > 1:
        ctx.say(f"The last of {format.count(count, 'decision')} about it: qtctl history query "
                "\"SELECT * FROM decisions WHERE plan_id = '…'\"")  # fmt: skip


def _print(
    ctx: Context, store: Store | None, past: Past, decision: Mapping[str, str], changes: Changes
) -> None:
    limits, source = _limits(ctx, store, past, decision)
    known = past.limits([decision.get("limits", "")]) if changes else {}
    again = what_if.judged_again(known, [decision], changes)[0] if changes else None
    if ctx.output == "table":
        ctx.say(f"Limits: {source}")
    plans.show(ctx, decision, limits, changes, again)


def _limits(
    ctx: Context, store: Store | None, past: Past, decision: Mapping[str, str]
) -> tuple[Limits, str]:
    """The limits that it was judged by; where nobody knows them, those in force now."""
    digest = decision.get("limits", "")
    is_past = decision.get("from") == HISTORY
    limits = past.limits([digest])[digest] if is_past else None
    if limits is not None:
        return limits, f"in force at decision time ({digest})"
    if store is not None:
        return plans.limits_of(ctx, store, decision)
    now = rules_from(ctx.settings.governor, Limits)
    return now, f"of this command's settings; those at decision time ({digest}) are unknown"
