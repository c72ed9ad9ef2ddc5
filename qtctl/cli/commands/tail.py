"""`qtctl tail`: the last entries of a stream, and what comes after them."""

from typing import Annotated, Any

import typer

from qtctl.cli.framework import arguments
from qtctl.cli.framework.command import command, new_app
from qtctl.cli.framework.context import Context
from qtctl.cli.output.render import emit

app = new_app("tail")


@command(app)
def tail(
    ctx: Context,
    stream: Annotated[str, typer.Argument(help="proposed, plans, events or rejected.")],
    symbols: Annotated[list[str] | None, typer.Argument(metavar="SYMBOL")] = None,
    count: Annotated[str, typer.Option("-n", metavar="N", help="How many entries.")] = "10",
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until Ctrl-C.")] = False,
) -> None:
    """The last entries of a stream, oldest first; with -f also what comes after them.

    proposed: the allocation loop's; plans: with their verdicts; events: what happened to plans
    and permits; rejected: plans that can't be read. Following survives a lost connection without
    a gap or a repeat; what was trimmed meanwhile is reported.

    Examples:
        qtctl tail proposed
        qtctl tail plans BTCUSDT -n 20
        qtctl tail events -f
        qtctl tail rejected -o json
    """
    from qtctl.cli.views import streams as view
    from qtctl.domain.names import ascii_upper

    arguments.choice(stream, "STREAM", view.COLUMNS)
    wanted = arguments.spellings(symbols)
    most = arguments.whole(count, "-n", 0, 1_000_000)
    field = "raw:symbol" if stream == "rejected" else "symbol"

    def is_wanted(entry: Any) -> bool:
        return not wanted or ascii_upper(entry.fields.get(field, "")) in wanted

    with ctx.store() as store:
        if follow:
            from qtctl.cli.live.follow import follow as print_and_follow

            print_and_follow(ctx, store, stream, most, is_wanted)
            return
        key = view.stream_keys(store)[stream]
        empty = f"{key} has no entries" + (" for these symbols." if wanted else ".")
        found = view.last(ctx, store, stream, most, is_wanted)
        emit(ctx, found, view.COLUMNS[stream], empty=empty)
