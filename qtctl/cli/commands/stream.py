"""`qtctl stream list`: how long each stream is, how far back it goes, how fast it grows."""

from qtctl.cli.framework import Context, command, group
from qtctl.cli.framework.list_options import Lists
from qtctl.cli.output import emit

app = group(
    "stream",
    help="The streams: length, age and growth.",
    default="list",
    examples="""
    qtctl stream list
    qtctl stream list -o json
    """,
)


@command(app, "list", lists=Lists("qtctl.cli.views.stream_states"))
def list_streams(ctx: Context) -> None:
    """Every stream: entries, ages, how many minutes are kept, growth.

    "per minute" is the average over what is kept; "last minute" is counted, up to 1,000.

    Examples:
        qtctl stream list
        qtctl stream list -o ndjson
        qtctl stream list --watch
    """
    from qtctl.cli.views import stream_states as view

    with ctx.store() as store:
        found = view.states(store)
    any_problem = any(row["problem"] for row in found)
    usual = view.COLUMNS if any_problem or ctx.listing.columns else view.COLUMNS[:-1]
    emit(ctx, found, usual)
