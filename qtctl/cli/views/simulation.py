"""What `simulate` runs and prints."""

from pathlib import Path
from typing import Any

import msgspec

from qtctl import clock
from qtctl.cli.framework import arguments
from qtctl.cli.framework.context import Context
from qtctl.cli.output.columns import number, text
from qtctl.errors import RefusedError, UsageError
from qtctl.simulate.history_maker import HistoryMaker, Wanted, window
from qtctl.simulate.live import LiveMarket
from qtctl.simulate.market import Market
from qtctl.simulate.publishers import Publishers
from qtctl.wire.client.store import Store

STEP_SEC, TELL_SEC = 0.2, 10.0
FAR_MS = 366 * 86_400_000
"""A simulation in real time ends before."""
WRITTEN = tuple(number(name, name) for name in ("targets", "scores", "plans", "taken"))
MADE = (
    text("folder", "folder"),
    *(number(name, name) for name in ("passes", "proposals", "decisions", "days")),
    number("seconds", "seconds", places=1),
)


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """What to simulate in real time; during_sec None: until Ctrl-C."""

    symbols: int
    seed: int
    per_minute: float
    speed: float
    take: float
    during_sec: float | None
    force: bool


def run(ctx: Context, store: Store, wanted: Live) -> dict[str, Any]:
    """Writes until the time is up or Ctrl-C; returns what was written."""
    start_ms = store.now_ms()
    market = Market(wanted.seed, wanted.symbols, start_ms, start_ms + FAR_MS)
    publishers = Publishers(wanted.seed ^ start_ms, market.names, wanted.per_minute)
    live = LiveMarket(
        store, market, publishers, start_ms=start_ms, speed=wanted.speed, take=wanted.take,
        force=wanted.force,
    )  # fmt: skip
    faster = "" if wanted.speed == 1 else f" at {wanted.speed:g} times the speed of the clock"
    ctx.announce(
        f"simulating {wanted.symbols:,} symbols, {wanted.per_minute:g} plans per minute{faster}"
    )
    begun = reported = clock.monotonic()
    try:
        live.begin()
        while wanted.during_sec is None or clock.monotonic() - begun < wanted.during_sec:
            live.step(store.now_ms())
            if clock.monotonic() - reported >= TELL_SEC:
                reported = clock.monotonic()
                done = live.written
                ctx.say(f"plans sent: {done.plans:,}; permits taken: {done.taken:,}")
            clock.sleep(STEP_SEC)
    finally:
        ctx.say("'qtctl inject clear' removes the targets, scores and plans.")
    return msgspec.structs.asdict(live.written)


def wanted_history(
    *, end: str | None, hours: float, symbols: int, seed: int, per_minute: float,
    faults: frozenset[str],
) -> Wanted:  # fmt: skip
    """What `simulate history` is asked for. end: a time as typed; None is now."""
    now = clock.now()
    at = now if end is None else arguments.when(end, "--end").on(now)
    end_ms = int(at // 10) * 10_000
    start_ms, end_ms = window(end_ms, hours)
    if start_ms < 0:
        raise UsageError(f"--end {end!r} less {hours:g} h lies before 1970")
    return Wanted(
        seed=seed, symbols=symbols, start_ms=start_ms, end_ms=end_ms, per_minute=per_minute,
        faults=faults,
    )  # fmt: skip


def make_history(ctx: Context, wanted: Wanted, folder: Path) -> dict[str, Any]:
    """Makes it in a folder that is new or empty; the figures. Where it ends early nothing stays: a
    part would pass for the whole."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RefusedError(f"{folder} is not an empty folder: name a new one")
    begun = clock.monotonic()
    try:
        made = HistoryMaker(wanted, ctx.settings).write(folder)
    except BaseException:
        for each in folder.iterdir() if folder.is_dir() else ():
            each.unlink(missing_ok=True)
        raise
    return {
        "folder": str(folder),
        **msgspec.structs.asdict(made),
        "seconds": round(clock.monotonic() - begun, 1),
    }
