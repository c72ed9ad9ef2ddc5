"""`qtctl group`: consumer groups, what they hold, who is dead; hand over and tidy up."""

from typing import Annotated

from qtctl.cli.framework import ROWS, Context, arg, arguments, command, group, opt
from qtctl.cli.framework.list_options import Lists
from qtctl.cli.framework.safety import DryRun, Force

app = group(
    "group",
    help="Consumer groups of the streams: lag, pending, consumers.",
    default="list",
    examples="""
    qtctl group list
    qtctl group recover --dry-run
    qtctl group prune --idle 1h
    """,
)

Stream = Annotated[
    str | None, opt("--stream", "plans, proposed, events or rejected. Default: all, or plans.")
]
Name = Annotated[str | None, arg("GROUP", "Default: governor.")]


@command(app, "list", lists=Lists("qtctl.cli.views.groups"))
def list_groups(ctx: Context, stream: Stream = None) -> int:
    """Every consumer group: lag (unknown where Redis does not know it), pending, its consumers.

    stuck: pending and untouched for a minute. deliveries: the most that one of a consumer's
    entries had; of the oldest 1,000 pending ones.

    Examples:
        qtctl group list
        qtctl group list --stream plans -o json
        qtctl group list --sort -lag --watch
    """
    from qtctl.cli.views import groups as view

    with ctx.store() as store:
        found, unread = view.looked(ctx, store, stream)
    view.show(ctx, found, unread)
    return int(unread)


@command(app, outputs=ROWS)
def recover(
    ctx: Context,
    name: Name = None,
    stream: Stream = None,
    dry_run: DryRun = False,
    force: Force = False,
) -> int:
    """Make a group work again: create the governors' where it is gone, and hand what dead consumers
    hold to a live one.

    Nothing is acknowledged, so nothing is lost. Governors take over by themselves what nobody has
    touched for 5 s; where that has not happened, none is running. Another system's group needs
    --force: what is handed over is carried out there. Exits 1 where something is still stuck, or
    plans wait and no governor is taking them.

    Examples:
        qtctl group recover --dry-run
        qtctl group recover
        qtctl group recover apply_layer --force
    """
    from qtctl.cli.views import groups as view

    with ctx.store() as store:
        key, group_name = view.target(store, name, stream, or_governors=True)
        is_ours = view.refuse_others(group_name, key, store, force)
        ctx.announce(f"recovering the group {group_name} of {key}", dry_run=dry_run)
        found = view.recover(store, key, group_name, dry_run=dry_run)
    rest = found.stuck or found.trimmed or found.waiting != 0
    view.report_done(ctx, found.done, "" if rest else "Nothing is stuck.", dry_run)
    view.report_rest(ctx, found, is_ours)
    return int(found.stuck > 0 or found.waiting != 0)


@command(app, outputs=ROWS)
def prune(
    ctx: Context,
    name: Name = None,
    stream: Stream = None,
    idle: Annotated[str, opt("--idle", "Only those idle for at least this long.")] = "1h",
    dry_run: DryRun = False,
    force: Force = False,
) -> None:
    """Remove consumers that hold nothing and have been idle for long.

    One that holds entries is never removed: its entries would be lost.

    Examples:
        qtctl group prune --dry-run
        qtctl group prune --idle 10m
    """
    from qtctl.cli.views import groups as view
    from qtctl.wire.control import groups

    idle_sec = arguments.duration(idle, "--idle", 1, 30 * 86_400)
    with ctx.store() as store:
        key, group_name = view.target(store, name, stream)
        view.refuse_others(group_name, key, store, force)
        ctx.announce(f"pruning the group {group_name} of {key}", dry_run=dry_run)
        if dry_run:
            mine = next(each for each in view.rows(store, key) if each["group"] == group_name)
            gone = [
                each["consumer"]
                for each in mine["consumers"]
                if not each["pending"] and each["idle_s"] > idle_sec
            ]
        else:
            gone = groups.remove_idle(store, key, group_name, idle_sec)
    done = [view.did(group_name, "remove", consumer) for consumer in gone]
    view.report_done(ctx, done, f"No consumer without entries is idle for {idle}.", dry_run)
