"""What comes after the last entries of a stream, across lost connections, for `qtctl tail -f`."""

from collections.abc import Sequence

from qtctl import clock
from qtctl.cli.framework.context import Context
from qtctl.cli.output import Stream
from qtctl.cli.views import streams as view
from qtctl.errors import RedisUnreachable
from qtctl.wire.client.store import Store
from qtctl.wire.queries.streams import Follower, News, StreamEntry

SETTLE_SEC = 1.0
"""How long a plan is held back for its verdict."""
RETRY_SEC = 0.5
HALT_EVERY_SEC = 2.0
"""How often the kill switch is looked at."""


def follow(ctx: Context, store: Store, look: view.Look) -> None:
    stream = look.stream
    name = view.stream_keys(store)[stream]
    out = Stream(ctx, look.listed)
    follower = Follower(store, name)
    try:
        # The place first: what comes between it and the last entries is printed once, by id.
        follower.to_end()
        out.write(view.last(ctx, store, look, follower.is_behind))
        ctx.report_halt(store)
        while True:
            news = _next(ctx, store, follower)
            if news.anew:
                ctx.say(f"{name} was deleted and made anew: following the new one")
            if news.cut:
                ctx.say(f"{name} has lost its newest entries, which stand above")
            if news.lost:
                ctx.say(f"{news.lost:,} entries of {name} were trimmed before they could be read")
            fresh = [entry for entry in news.entries if look.has_symbol(entry)]
            if fresh:
                out.write(_settled_rows(ctx, store, stream, fresh))
    finally:
        follower.close()


def _next(ctx: Context, store: Store, follower: Follower) -> News:
    """What is new; a lost connection is reported once and waited out."""
    away = False
    while True:
        try:
            news = follower.read()
            if away:
                ctx.say("Redis is back")
                away = False
            if news:
                return news
            ctx.report_halt(store, HALT_EVERY_SEC)
            follower.wait()
        except RedisUnreachable as problem:
            if not away:
                ctx.say(f"{problem}; waiting for it")
            away = True
            clock.sleep(RETRY_SEC)


def _settled_rows(
    ctx: Context, store: Store, stream: str, entries: Sequence[StreamEntry]
) -> list[dict[str, str]]:
    """Plans come with their verdicts, or without where none fell within a second."""
    deadline = clock.monotonic() + SETTLE_SEC
    while True:
        try:
            rows = view.rows_of(ctx, store, stream, entries)
        except RedisUnreachable:
            rows = [{"id": entry.id} | entry.fields for entry in entries]
        open_ = stream == "plans" and any(not row.get("verdict") for row in rows)
        if not open_ or clock.monotonic() >= deadline:
            return rows
        clock.sleep(0.05)
