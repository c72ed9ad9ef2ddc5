"""Injecting synthetic keys and plans, and what is reported about it."""

import secrets
from collections.abc import Callable, Collection, Mapping

import typer

from qtctl import clock
from qtctl.cli.framework import arguments
from qtctl.cli.framework.context import Context
from qtctl.cli.output import emit_one, format
from qtctl.cli.output.columns import number, text
from qtctl.cli.views import nearest
from qtctl.cli.views.in_force import InForce
from qtctl.domain.names import ascii_upper
from qtctl.domain.plans import EXECUTE, SIDES, PlanRules, kind_of
from qtctl.domain.readings import score_time
from qtctl.domain.reasons import SKIPPED_DECISIONS, Kind
from qtctl.errors import NotFoundError, RefusedError
from qtctl.settings import sources
from qtctl.wire.client.store import Store
from qtctl.wire.control import injection
from qtctl.wire.control.injection import InTheWay
from qtctl.wire.queries import verdicts
from qtctl.wire.schema.keys import KeySpec

MAX_TTL_SEC = 30 * 86_400
MAX_SHOWN_CHARS = 40
_ANOTHER_KEY = "this is a key of its own, and {upper} keeps the one that it has"
CLEARED = (text("key", "key"), text("did", "did"), number("entries", "count"))


def cover(
    ctx: Context,
    spec: KeySpec,
    symbol: str,
    made: Callable[[int], Mapping[str, str]],
    ttl: str,
    force: bool,
    dry_run: bool,
) -> None:
    """Write a synthetic hash; made: its fields at a time of the server (epoch ms). Errors:
    RefusedError where another one would be overwritten."""
    with ctx.store() as store:
        ctx.confirm(dry_run=dry_run)
        nearest.spelt(ctx, symbol, _ANOTHER_KEY)
        fields = made(store.now_ms())
        ttl_sec = int(arguments.duration(ttl, "--ttl", 1, MAX_TTL_SEC))
        key = store.keys.at(spec, symbol)
        what = f"injecting {key}: {listed(fields)}; for {format.span(ttl_sec)}"
        # A look first: what is refused is not announced.
        _refuse(store, key, injection.cover(store, key, fields, ttl_sec, force=force, dry_run=True))
        ctx.announce(what, dry_run=dry_run)
        if not dry_run:
            _refuse(store, key, injection.cover(store, key, fields, ttl_sec, force=force))
    if ctx.output != "table":
        emit_one(ctx, {"key": key, "ttl_s": ttl_sec, **fields})


def _refuse(store: Store, key: str, found: InTheWay | None) -> None:
    if found is not None:
        raise RefusedError(
            f"{key} holds {_in_the_way(found, store.now_ms() / 1000)}, not written by inject; "
            "--force overwrites it, and 'qtctl inject clear' restores it"
        )


def _in_the_way(found: InTheWay, now: float) -> str:
    """What an operator needs to know before overwriting it: what it is, and how old."""
    if found.type != "hash":
        return f"a {found.type}"
    at = score_time(found.fields, now)
    age = "of unknown age" if at is None else f"{format.span(now - at)} old"
    shown: dict[str, str] = {
        name: found.fields[name][:MAX_SHOWN_CHARS]
        for name in ("efficiency_score", "target_usd", "confidence", "mode", "version")
        if name in found.fields
    }
    return f"a hash {age} ({listed(shown) or 'other fields'})"


def unknown_words(ctx: Context, store: Store, entry: Mapping[str, str]) -> list[str]:
    """A sentence for each word of a plan that the governor does not know, and what it makes of it;
    empty words are left to it."""
    rules, _ = InForce(ctx, store).of("governor", PlanRules)
    actions = {*rules.open_actions, *rules.close_actions}
    notes = []
    if entry["decision"] and entry["decision"] not in (EXECUTE, *SKIPPED_DECISIONS):
        notes.append(
            f"--decision {entry['decision']!r} is none that the governor knows ({EXECUTE}, "
            f"{', '.join(SKIPPED_DECISIONS)}): it will not be carried out"
        )
    if entry["action"] and not _any_case(entry["action"], actions):
        near = sources.nearest(entry["action"].upper(), sorted(actions))
        reduce_only = True if entry.get("reduceOnly") else None
        kind = kind_of(entry["action"], entry["side"], reduce_only, rules)
        counts = "an open" if kind == Kind.OPEN else "a close"
        notes.append(f"--action {entry['action']!r} is unknown{near or '.'} It counts as {counts}")
    if entry["side"] and not _any_case(entry["side"], SIDES):
        notes.append(f"--side {entry['side']!r} is not one of {', '.join(SIDES)} (in any case)")
    return notes


def _any_case(word: str, known: Collection[str]) -> bool:
    return ascii_upper(word) in {ascii_upper(each) for each in known}


def new_plan_id(now_ms: int) -> str:
    """An id that nobody has used."""
    return f"inj-{now_ms}-{secrets.token_hex(3)}"


def listed(fields: Mapping[str, str]) -> str:
    """Fields in one line."""
    return " ".join(f"{name}={value}" for name, value in fields.items())


def send(ctx: Context, store: Store, entry: Mapping[str, str], wait_sec: float | None) -> None:
    """Send a plan, and wait for its verdict. Errors: NotFoundError without one in time."""
    rules, _ = InForce(ctx, store).of("governor", PlanRules)
    entry_id = injection.send_plan(store, entry)
    typer.echo(entry["plan_id"])
    if wait_sec is None:
        return
    deadline = clock.monotonic() + wait_sec
    while (verdict := verdicts.of_entry(store, entry_id, entry, rules)) is None:
        if clock.monotonic() >= deadline:
            raise NotFoundError(
                f"no verdict on {entry['plan_id']} within {format.span(wait_sec)}: is a governor "
                "running on this Redis? ('qtctl serve governor')"
            )
        clock.sleep(0.02)
    ctx.say(f"{entry['plan_id']}: {verdict.verdict} ({verdict.reason})")
