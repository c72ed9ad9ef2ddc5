"""`qtctl why`: why there was no trade in a symbol, on one screen."""

from typing import Annotated

from qtctl.cli.framework import Context, arg, arguments, command, new_app, opt
from qtctl.errors import NotFoundError

app = new_app("why")


@command(app)
def why(
    ctx: Context,
    symbol: Annotated[str, arg("SYMBOL")],
    since: Annotated[str, opt("--since AGO", "How far back: 90, 5m, 1h, 2d (to 30d).")] = "1h",
) -> None:
    """Why there was no trade in a symbol: one screen, one sentence, one command to go on with.

    The last plan that was meant to be carried out decides the answer, unless the kill switch or a
    missing governor stops everything now; verdicts are counted over the whole time. Streams are
    read back 10,000 entries at most; what lies before comes from the history, where there is one,
    and stderr says so, or it says where that was not far enough. Whether a permit
    was taken or expired is known only if it is gone before its time: a take leaves no trace in
    Redis.

    Examples:
        qtctl why BTCUSDT
        qtctl why BTCUSDT --since 10m
        qtctl why BTCUSDT --since 2d
        qtctl why BTCUSDT -o json
    """
    from qtctl.cli.views import why_facts, why_page
    from qtctl.cli.views.past import Past

    name = arguments.symbol(symbol)
    since_sec = arguments.duration(since, "--since", 1, 30 * 86_400)
    with ctx.store() as store:
        past = Past(ctx, store)
        answer = why_facts.answer(ctx, store, name, since_sec, past)
        past.report()
        if answer is None:
            raise NotFoundError(why_page.unknown(store, name, since_sec))
        why_page.show(ctx, why_page.record(ctx, store, answer), answer.facts)
