"""`qtctl stream list`: how long each stream is, how far back it goes, how fast it grows."""

from collections.abc import Mapping
from typing import Any

from qtctl.cli.framework.command import command, group
from qtctl.cli.framework.context import Context
from qtctl.cli.framework.listing import Lists
from qtctl.cli.output.listed import as_listed
from qtctl.cli.output.render import emit

app = group(
    "stream",
    help="The streams: length, age and growth.",
    default="list",
    examples="""
    qtctl stream list
    qtctl stream list -o json
    """,
)


def _listed(given: Mapping[str, Any]) -> Any:
    from qtctl.cli.views import streams

    return as_listed(streams.STATES)


@command(app, "list", lists=Lists(_listed))
def list_streams(ctx: Context) -> None:
    """Every stream: entries, ages, how many minutes are kept, growth.

    "per minute" is the average over what is kept; "last minute" is counted, up to 1,000.

    Examples:
        qtctl stream list
        qtctl stream list -o ndjson
        qtctl stream list --watch
    """
    from qtctl.cli.views import streams as view

    with ctx.store() as store:
        found = view.states(store)
    any_problem = any(row["problem"] for row in found)
    usual = view.STATES if any_problem or ctx.listing.columns else view.STATES[:-1]
    emit(ctx, found, usual)
