"""`qtctl simulate`: a synthetic market, in real time into a Redis or as hours of history."""

from pathlib import Path
from typing import Annotated

from qtctl.cli.framework import ROWS, Context, arguments, command, group, opt
from qtctl.cli.framework.safety import Force, refuse_other_groups
from qtctl.cli.output import Fields, emit_one

app = group(
    "simulate",
    help="A synthetic market by a seed: targets, scores, plans of several publishers.",
    default="live",
    examples="""
    qtctl --redis-url embedded: simulate --for 10m
    qtctl simulate history --hours 48 --symbols 500 --out /tmp/history
    qtctl simulate history --hours 48 --fault stale --out /tmp/stale
    """,
)
Symbols = Annotated[str, opt("--symbols N", "How many symbols.")]
Seed = Annotated[str, opt("--seed N", "The same seed, the same market.")]
Plans = Annotated[str, opt("--plans N", "Plans a minute, of all publishers together.")]
MAX_SYMBOLS, MAX_PLANS = 10_000, 100_000


@command(app)
def live(
    ctx: Context,
    symbols: Symbols = "10",
    seed: Seed = "1",
    plans: Plans = "6",
    speed: Annotated[str, opt("--speed", "So many times as fast as time goes by.")] = "1",
    take: Annotated[str, opt("--take SHARE", "Share of permits that are taken.")] = "0.9",
    during: Annotated[str | None, opt("--for TIME", "End after that; default: Ctrl-C.")] = None,
    force: Force = False,
) -> None:
    """Write a synthetic market into a Redis in real time, until Ctrl-C.

    Targets and scores are marked and are removed by `inject clear`; what is not synthetic is not
    overwritten without --force. Refuses where another consumer group reads the plans, since one
    could become an order.

    Examples:
        qtctl --redis-url embedded: simulate
        qtctl --redis-url embedded: simulate --symbols 50 --speed 10 --for 5m
    """
    from qtctl.cli.views import simulation

    wanted = simulation.Live(
        symbols=arguments.whole(symbols, "--symbols", 1, MAX_SYMBOLS),
        seed=arguments.whole(seed, "--seed", 0),
        per_minute=arguments.number(plans, "--plans", 0.01, MAX_PLANS),
        speed=arguments.number(speed, "--speed", 0.01, 1000),
        take=arguments.number(take, "--take", 0, 1),
        during_sec=None if during is None else arguments.duration(during, "--for", 1),
        force=force,
    )
    with ctx.store() as store:
        what = "a synthetic plan could become an order, and a permit be taken from it"
        refuse_other_groups(store, what, force)
        emit_one(ctx, simulation.run(ctx, store, wanted), Fields(simulation.WRITTEN))


@command(app, outputs=ROWS)
def history(
    ctx: Context,
    out: Annotated[str, opt("--out DIR", "A new or empty folder.")],
    hours: Annotated[str, opt("--hours N", "How long it is.")] = "48",
    symbols: Symbols = "500",
    seed: Seed = "1",
    plans: Plans = "6",
    fault: Annotated[
        list[str] | None, opt("--fault", "Plant one, from a quarter of the time on; repeatable.")
    ] = None,
    end: Annotated[str | None, opt("--end TIME", "When it ends; default: now.")] = None,
) -> None:
    """Make hours of history in seconds, by the same code as the services, marked synthetic.

    Faults: stale, flat, oscillating, compounding, gap, lockdown, drift. The settings in force
    apply (--set governor.max_exec_per_5min=0). The same options with the same --end give the same
    history, to the byte.

    Examples:
        qtctl simulate history --hours 48 --symbols 500 --out /tmp/history
        qtctl simulate history --hours 6 --seed 7 --end 2026-01-28T00:00 --out /tmp/same
        qtctl simulate history --fault gap --fault flat --out /tmp/bad
        qtctl history --dir /tmp/history
    """
    from qtctl.cli.views import simulation
    from qtctl.simulate.market import FAULTS

    faults = frozenset(arguments.choice(each, "--fault", FAULTS) for each in fault or ())
    wanted = simulation.wanted_history(
        end=end,
        hours=arguments.number(hours, "--hours", 0.01, 24 * 366),
        symbols=arguments.whole(symbols, "--symbols", 1, MAX_SYMBOLS),
        seed=arguments.whole(seed, "--seed", 0),
        per_minute=arguments.number(plans, "--plans", 0.01, MAX_PLANS),
        faults=faults,
    )
    made = simulation.make_history(ctx, wanted, Path(out))
    emit_one(ctx, made, Fields(simulation.MADE))
