"""`qtctl tail`: the last entries of a stream, and what comes after them."""

from collections.abc import Mapping
from typing import Annotated, Any

from qtctl.cli.framework import Context, arg, arguments, command, new_app, opt
from qtctl.cli.framework.list_options import Lists
from qtctl.cli.output import emit
from qtctl.errors import UsageError

app = new_app("tail")


def _listed(given: Mapping[str, Any]) -> Any:
    from qtctl.cli.views import streams

    if "stream" not in given:
        return list(streams.LISTED.values())
    return streams.LISTED[arguments.choice(given["stream"], "STREAM", streams.LISTED)]


@command(
    app,
    lists=Lists(
        _listed, limit=10, filters=("verdict", "kind", "reason"), by_time=True, follows="follow"
    ),
)
def tail(
    ctx: Context,
    stream: Annotated[
        str, arg("STREAM", "plans, proposed, events, decisions, passes or rejected.")
    ],
    symbols: Annotated[list[str] | None, arg("SYMBOL")] = None,
    follow: Annotated[bool, opt("-f, --follow", "Go on until Ctrl-C.")] = False,
) -> None:
    """The last entries of a stream, oldest first; with -f also what comes after them.

    proposed: the allocation loop's; plans: with their verdicts; events: what happened to plans
    and permits; decisions: every decision with all its facts; passes: what each pass of the
    allocation loop decided on; rejected: plans that can't be read. Following survives a lost
    connection without a gap or a repeat; what was trimmed meanwhile is reported.

    Examples:
        qtctl tail proposed
        qtctl tail plans BTCUSDT -n 20
        qtctl tail plans --since 10:00 --until 10:05 --verdict blocked
        qtctl tail events -f --where actor=gov-1
        qtctl tail decisions --reason duplicate_plan
        qtctl tail rejected -o json
    """
    from qtctl.cli.views import nearest
    from qtctl.cli.views import streams as view

    wanted = arguments.spellings(symbols)
    if wanted and stream == "passes":
        raise UsageError("every pass has all symbols: leave out SYMBOL")
    with ctx.store() as store:
        listing = ctx.window(store)
        look = view.Look(stream, listing, frozenset(wanted))
        if follow:
            from qtctl.cli.live.follow import follow as print_and_follow

            print_and_follow(ctx, store, look)
            return
        found = view.last(ctx, store, look)
        if listing.limit == 0 and not listing.order:
            return emit(ctx, found, view.LISTED[stream])
        key = view.stream_keys(store)[stream]
        empty = f"{key} has no entries"
        if wanted and not listing.filtered:
            empty += " for these symbols"
        elif listing.filtered:
            empty += " that match"
        near = nearest.meant(store, sorted(wanted)) if not found else ""
        emit(ctx, found, view.LISTED[stream], empty=f"{empty}.{near}")
