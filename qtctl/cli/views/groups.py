"""Consumer groups: what each holds, and how what dead consumers hold gets to a living one."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from qtctl.cli.framework.arguments import choice
from qtctl.cli.framework.context import Context
from qtctl.cli.output import Listed, Rows, emit, emit_one
from qtctl.cli.output.columns import Column, age, number, text, texts
from qtctl.cli.views.health import readiness
from qtctl.cli.views.streams import stream_keys
from qtctl.errors import NotFoundError, RefusedError, WireError
from qtctl.wire.client import xinfo
from qtctl.wire.client.store import Store
from qtctl.wire.client.xinfo import Pending
from qtctl.wire.control.groups import hand_over
from qtctl.wire.governor.plan_queue import PlanQueue
from qtctl.wire.queries import groups, services
from qtctl.wire.queries.groups import STUCK_SEC, Group
from qtctl.wire.schema.keys import GROUP

STUCK_MOST = 1_000
"""Stuck entries are counted up to here."""
_START = "Start a governor: systemctl start quantum-governor, or qtctl serve governor"
_NOT_BY_ITSELF = (
    "A live governor takes over by itself after 5 s; 'qtctl doctor' and its log show why it did "
    "not."
)
GROUPS = (
    text("stream", "stream", drop=1),
    text("group", "group"),
    Column("lag", "lag", lambda lag, utc: "unknown" if lag is None else f"{lag:,}", right=True),
    number("pending", "pending"),
    Column(
        "stuck",
        "stuck",
        lambda stuck, utc: f"{stuck:,}{'+' if stuck == STUCK_MOST else ''}",
        right=True,
        style=lambda stuck: "red" if stuck else "",
    ),
    age("oldest stuck", "stuck_s", drop=2),
    number("consumers", lambda row: len(row["consumers"])),
)
LISTED = Listed(GROUPS, fields=("behind", "stuck_s", "cut"))
CONSUMERS = (
    text("group", "group", drop=1),
    text("consumer", "consumer"),
    number("pending", "pending"),
    age("idle", "idle_s"),
    age("longest held", "held_s", drop=2),
    number("deliveries", "deliveries", style=lambda most: "red" if (most or 0) > 1 else ""),
)
DONE = (
    *texts("group", "did", "consumer"),
    number("entries", "entries"),
)


def looked(ctx: Context, store: Store, stream: str | None) -> tuple[list[dict[str, Any]], bool]:
    """The rows, and whether a stream could not be looked at: one hides no other."""
    found: list[dict[str, Any]] = []
    unread = False
    for key in _keys(store, stream):
        try:
            found += rows(store, key)
        except WireError as problem:
            ctx.warn(str(problem))
            unread = True
    return found, unread


def rows(store: Store, stream: str) -> list[dict[str, Any]]:
    """One row a group of a stream; its consumers in it."""
    out = []
    for found in groups.groups(store, stream):
        held = groups.pending(store, stream, found.name) if found.pending else []
        out.append(_row(stream, found, held))
    return out


def _row(stream: str, found: Group, held: Sequence[Pending]) -> dict[str, Any]:
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


def _keys(store: Store, stream: str | None) -> list[str]:
    known = stream_keys(store)
    return list(known.values()) if stream is None else [known[choice(stream, "--stream", known)]]


def target(
    store: Store, name: str | None, stream: str | None, *, or_governors: bool = False
) -> tuple[str, str]:
    """The stream and the group that are meant. or_governors: theirs, also where it is gone.
    Errors: NotFoundError for a group that is not there."""
    (key,) = _keys(store, stream or "plans")
    wanted = name or GROUP
    there = [each.name for each in xinfo.groups(store, key)]
    is_ours = wanted == GROUP and key == store.keys.plans
    if wanted not in there and not (or_governors and is_ours):
        existing = ", ".join(there) or "none"
        raise NotFoundError(f"no group {wanted} on {key}; existing groups: {existing}")
    return key, wanted


def show(ctx: Context, found: list[dict[str, Any]], unread: bool) -> None:
    """Print the groups, and below them the consumers of those that are shown with all columns."""
    none = (
        "" if unread else "No groups: no service has run here, and nobody else reads the streams."
    )
    shown = list(LISTED.select(found, ctx.listing).rows)
    if ctx.output != "table" or ctx.listing.columns or ctx.listing.wide or not shown:
        emit(ctx, found, LISTED, empty=none if not found else "No groups match.")
        return
    consumers = [
        {"group": each["group"], **consumer} for each in shown for consumer in each["consumers"]
    ]
    emit_one(ctx, {}, Rows(shown, GROUPS), Rows(consumers, CONSUMERS))
    for each in shown:
        if each["cut"]:
            ctx.say(f"{each['group']}: deliveries are of its oldest pending entries only.")


ALIVE_SEC = 60.0
"""A consumer of another group that asked for something within this is alive."""


class Recovered(NamedTuple):
    """done: rows of what was (or would be) done. stuck: entries that are still stuck, for want of a
    live consumer to take them over. trimmed: stuck ones that are no longer in the stream. waiting:
    entries that nobody takes up, for want of a governor that works; None for more than are
    counted."""

    done: list[dict[str, Any]]
    stuck: int = 0
    trimmed: int = 0
    waiting: int | None = 0


def recover(store: Store, stream: str, group: str, *, dry_run: bool) -> Recovered:
    """Create the governors' group where it is gone; hand what dead consumers hold to a live one.
    Nothing is acknowledged, so nothing is lost. Errors: RedisUnreachable, WireError."""
    if group not in {each.name for each in xinfo.groups(store, stream)}:
        if not dry_run:
            PlanQueue(store, store, "").ensure_group()
        return Recovered([did(group, "create, starting one hour back")])
    to = _living(store, stream, group)
    moved = stuck = trimmed = 0
    for page in groups.stuck(store, stream, group):
        theirs = [entry for entry in page if entry.consumer != to]
        there = groups.still_there(store, stream, [entry.id for entry in theirs])
        # XCLAIM would drop those; live consumers find and count them by themselves.
        trimmed += len(theirs) - len(there)
        found = [entry for entry in theirs if entry.id in there]
        if to is None:
            stuck += len(found)
        elif dry_run:
            moved += len(found)
        else:
            moved += hand_over(store, stream, group, found, to, STUCK_SEC)
    done = [did(group, "hand over", to, moved)] if to is not None and moved else []
    return Recovered(done, stuck, trimmed, _waiting(store, stream, group) if to is None else 0)


def _waiting(store: Store, stream: str, group: str) -> int | None:
    """What lies before the governors' group while none of them works."""
    if group != GROUP or stream != store.keys.plans:
        return 0
    (found,) = (each for each in groups.groups(store, stream) if each.name == group)
    return found.behind


def did(group: str, what: str, consumer: str = "", entries: int = 0) -> dict[str, Any]:
    """A row of what was done."""
    return {"group": group, "did": what, "consumer": consumer, "entries": entries}


def _living(store: Store, stream: str, group: str) -> str | None:
    """A live consumer: a governor that is not late, elsewhere the one that asked last."""
    if group == GROUP and stream == store.keys.plans:
        now = store.now_ms() / 1000
        running = [it for it in services.running(store, "governor") if not it.is_late(now)]
        # A record outlives a governor that was killed: the ports on this host are asked.
        return next((it.name for it in running if readiness(it)[0] != "silent"), None)
    for found in groups.groups(store, stream):
        if found.name == group and found.consumers:
            latest = min(found.consumers, key=lambda each: each.idle_sec)
            return latest.name if latest.idle_sec < ALIVE_SEC else None
    return None


def refuse_others(name: str, key: str, store: Store, force: bool) -> bool:
    """Whether it is the governors' group. Errors: RefusedError where it is not, without force."""
    is_ours = name == GROUP and key == store.keys.plans
    if not is_ours and not force:
        raise RefusedError(
            f"the group {name} of {key} belongs to another system: ask its owner, or pass --force"
        )
    return is_ours


def report_done(ctx: Context, done: Sequence[dict[str, Any]], empty: str, dry_run: bool) -> None:
    """Print what was done, or that nothing was to do."""
    emit(ctx, done, DONE, empty=empty)
    if dry_run and done:
        ctx.say("--dry-run: nothing was done.")


def report_rest(ctx: Context, found: Recovered, is_ours: bool) -> None:
    """On stderr: what a recovery leaves behind."""
    if found.trimmed:
        ctx.say(f"No longer in the stream, trimmed and lost: {found.trimmed:,}.")
    if is_ours and any(row["entries"] for row in found.done):
        ctx.say(_NOT_BY_ITSELF)
    if found.stuck:
        start = _START if is_ours else "Start one of its consumers."
        still = "entry is" if found.stuck == 1 else "entries are"
        ctx.say(f"{found.stuck:,} {still} still stuck: no live consumer to take them over. {start}")
    if found.waiting != 0:
        many = "Over 1,000" if found.waiting is None else f"{found.waiting:,}"
        wait = "plan waits" if found.waiting == 1 else "plans wait"
        ctx.say(f"{many} {wait} in the stream, and no governor is taking them. {_START}")
