"""`qtctl group`: consumer groups, what they hold, who is dead; hand over and tidy up."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qtctl.cli.framework import arguments
from qtctl.cli.framework.command import command, group
from qtctl.cli.framework.context import Context
from qtctl.cli.framework.safety import DryRun, Force
from qtctl.cli.output.columns import age, number, text
from qtctl.cli.output.render import Rows, emit, emit_one
from qtctl.errors import NotFoundError, RefusedError, UsageError, WireError

if TYPE_CHECKING:
    from qtctl.cli.views.recovery import Recovered
    from qtctl.wire.client.store import Store
    from qtctl.wire.queries.groups import Group, Pending

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

STUCK_SEC = 60.0
"""What is pending and untouched for so long is held by nobody who lives."""
STUCK_MOST = 1_000
"""Stuck entries are counted up to here."""
_START = "Start a governor: systemctl start quantum-governor, or qtctl serve governor"
_NOT_BY_ITSELF = (
    "A governor that lives takes over by itself after 5 s; why it did not, 'qtctl doctor' and its "
    "log tell."
)

GROUPS = (
    text("stream", "stream", drop=1),
    text("group", "group"),
    text("lag", lambda row: "unknown" if row["lag"] is None else f"{row['lag']:,}", right=True),
    number("pending", "pending"),
    text(
        "stuck",
        lambda row: f"{row['stuck']:,}{'+' if row['stuck'] == STUCK_MOST else ''}",
        right=True,
        style=lambda stuck: "" if stuck == "0" else "red",
    ),
    age("oldest stuck", "stuck_s", drop=2),
    number("consumers", lambda row: len(row["consumers"])),
)
CONSUMERS = (
    text("group", "group", drop=1),
    text("consumer", "consumer"),
    number("pending", "pending"),
    age("idle", "idle_s"),
    age("longest held", "held_s", drop=2),
    number("deliveries", "deliveries", style=lambda most: "red" if (most or 0) > 1 else ""),
)
DONE = (
    text("group", "group"),
    text("did", "did"),
    text("consumer", "consumer"),
    number("entries", "entries"),
)

Stream = Annotated[
    str | None,
    typer.Option("--stream", help="plans, proposed, events or rejected. Default: all, or plans."),
]
Name = Annotated[str | None, typer.Argument(metavar="GROUP", help="Default: governor.")]


@command(app, "list")
def list_groups(ctx: Context, stream: Stream = None) -> None:
    """Every consumer group: lag (unknown where Redis does not know it), pending, its consumers.

    stuck: pending and untouched for a minute. deliveries: the most that one of a consumer's
    entries had; of the oldest 1,000 pending ones.

    Examples:
        qtctl group list
        qtctl group list --stream plans -o json
    """
    with ctx.store() as store:
        found, unread = _looked(ctx, store, stream)
    _list(ctx, found, unread)
    if unread:
        raise typer.Exit(1)


def _looked(ctx: Context, store: "Store", stream: str | None) -> tuple[list[dict[str, Any]], bool]:
    """The rows, and whether a stream could not be looked at: one hides no other."""
    found: list[dict[str, Any]] = []
    unread = False
    for key in _streams(store, stream):
        try:
            found += rows(store, key)
        except WireError as problem:
            ctx.warn(str(problem))
            unread = True
    return found, unread


def _list(ctx: Context, found: list[dict[str, Any]], unread: bool) -> None:
    if ctx.output != "table":
        emit(ctx, found, GROUPS)
        return
    if not found and not unread:
        ctx.say("No groups: no service has run here, and nobody else reads the streams.")
    consumers = [
        {"group": each["group"], **consumer} for each in found for consumer in each["consumers"]
    ]
    emit_one(ctx, {}, Rows(found, GROUPS), Rows(consumers, CONSUMERS))
    for each in found:
        if each["cut"]:
            ctx.say(f"{each['group']}: deliveries are of its oldest pending entries only.")


@command(app)
def recover(
    ctx: Context,
    name: Name = None,
    stream: Stream = None,
    dry_run: DryRun = False,
    force: Force = False,
) -> None:
    """Make a group work again: create the governors' where it is gone, and hand what the dead hold
    to a consumer that lives.

    Nothing is acknowledged, so nothing is lost. Governors take over by themselves what lies for
    5 s; where that has not happened, none lives. Another system's group needs --force: what is
    handed over is carried out there. Ends with 1 where something stays stuck.

    Examples:
        qtctl group recover --dry-run
        qtctl group recover
        qtctl group recover apply_layer --force
    """
    from qtctl.cli.views import recovery

    with ctx.store() as store:
        key, group_name = _target(store, name, stream, or_governors=True)
        is_ours = _refuse_others(group_name, key, store, force)
        ctx.say(f"{ctx.where()} recover the group {group_name} of {key}")
        found = recovery.recover(store, key, group_name, dry_run=dry_run)
    _tell(ctx, found.done, "" if found.stuck or found.trimmed else "Nothing is stuck.", dry_run)
    _tell_rest(ctx, found, is_ours)
    if found.stuck:
        raise typer.Exit(1)


@command(app)
def prune(
    ctx: Context,
    name: Name = None,
    stream: Stream = None,
    idle: Annotated[str, typer.Option("--idle", help="Only those idle for so long.")] = "1h",
    dry_run: DryRun = False,
    force: Force = False,
) -> None:
    """Remove consumers that hold nothing and have asked for nothing for long.

    One that holds entries is never removed: its entries would be lost.

    Examples:
        qtctl group prune --dry-run
        qtctl group prune --idle 10m
    """
    from qtctl.cli.views.recovery import did
    from qtctl.wire.queries import groups

    idle_sec = arguments.duration(idle, "--idle", 1, 30 * 86_400)
    with ctx.store() as store:
        key, group_name = _target(store, name, stream)
        _refuse_others(group_name, key, store, force)
        ctx.say(f"{ctx.where()} prune the group {group_name} of {key}")
        if dry_run:
            mine = next(each for each in rows(store, key) if each["group"] == group_name)
            gone = [
                each["consumer"]
                for each in mine["consumers"]
                if not each["pending"] and each["idle_s"] > idle_sec
            ]
        else:
            gone = groups.remove_idle(store, key, group_name, idle_sec)
    done = [did(group_name, "remove", consumer) for consumer in gone]
    _tell(ctx, done, f"No consumer without entries is idle for {idle}.", dry_run)


def rows(store: "Store", stream: str) -> list[dict[str, Any]]:
    """One row a group of a stream; its consumers in it."""
    from qtctl.wire.queries import groups

    out = []
    for found in groups.groups(store, stream, int(STUCK_SEC * 1000)):
        held = groups.pending(store, stream, found.name) if found.pending else []
        out.append(_row(stream, found, held))
    return out


def _row(stream: str, found: "Group", held: "Sequence[Pending]") -> dict[str, Any]:
    consumers = []
    for each in found.consumers or ():
        own = [entry for entry in held if entry.consumer == each.name]
        consumers.append(
            {
                "consumer": each.name,
                "pending": each.pending,
                "idle_s": round(each.idle_sec, 3),
                "held_s": max((entry.idle_sec for entry in own), default=None),
                "deliveries": max((entry.deliveries for entry in own), default=None),
            }
        )
    return {
        "stream": stream,
        "group": found.name,
        "lag": found.lag,
        "behind": found.behind,
        "pending": found.pending,
        "stuck": found.stuck,
        "stuck_s": found.stuck_sec if found.stuck else None,
        "cut": found.pending > len(held),
        "consumers": consumers,
    }


def _streams(store: "Store", word: str | None) -> list[str]:
    keys = store.keys
    known = {
        "plans": keys.plans,
        "proposed": keys.proposed_stream,
        "events": keys.events,
        "rejected": keys.rejected,
    }
    if word is None:
        return list(known.values())
    if word not in known:
        raise UsageError(f"--stream {word!r} is none of {', '.join(known)}")
    return [known[word]]


def _target(
    store: "Store", name: str | None, stream: str | None, *, or_governors: bool = False
) -> tuple[str, str]:
    """The stream and the group that are meant. or_governors: theirs, also where it is gone.

    Errors: NotFoundError for a group that is not there.
    """
    from qtctl.wire.queries.groups import group_names
    from qtctl.wire.schema.keys import GROUP

    (key,) = _streams(store, stream or "plans")
    wanted = name or GROUP
    there = group_names(store, key)
    is_ours = wanted == GROUP and key == store.keys.plans
    if wanted not in there and not (or_governors and is_ours):
        told = ", ".join(there) or "none"
        raise NotFoundError(f"no group {wanted} on {key}; there: {told}")
    return key, wanted


def _refuse_others(name: str, key: str, store: "Store", force: bool) -> bool:
    """Whether it is the governors' group. Errors: RefusedError where it is not, without force."""
    from qtctl.wire.schema.keys import GROUP

    is_ours = name == GROUP and key == store.keys.plans
    if not is_ours and not force:
        raise RefusedError(
            f"the group {name} of {key} is another system's: ask its owner first, or --force"
        )
    return is_ours


def _tell(ctx: Context, done: Sequence[dict[str, Any]], empty: str, dry_run: bool) -> None:
    emit(ctx, done, DONE, empty=empty)
    if dry_run and done:
        ctx.say("--dry-run: nothing was done.")


def _tell_rest(ctx: Context, found: "Recovered", is_ours: bool) -> None:
    if found.trimmed:
        ctx.say(f"{found.trimmed:,} are not in the stream any more: trimmed, and lost.")
    if is_ours and any(row["entries"] for row in found.done):
        ctx.say(_NOT_BY_ITSELF)
    if found.stuck:
        start = _START if is_ours else "Start one of its consumers."
        ctx.say(f"{found.stuck:,} entries stay stuck: nobody lives who could take them. {start}")
