"""What stands before a command that could reach a real order, and the options that answer it."""

from typing import TYPE_CHECKING, Annotated

import typer

from qtctl.errors import RefusedError

if TYPE_CHECKING:
    from qtctl.wire.store import Store

Force = Annotated[bool, typer.Option("--force", help="Override a refusal.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would be done; do nothing.")]


def refuse_other_groups(store: "Store", what: str, force: bool) -> None:
    """A plan that another group reads could become an order; a permit, what it waits for.

    Errors: RefusedError naming the groups, unless forced.
    """
    from qtctl.wire.keys import GROUP
    from qtctl.wire.streams import other_groups

    groups = other_groups(store, GROUP)
    if groups and not force:
        raise RefusedError(
            f"{store.keys.plans} is also read by the group {', '.join(groups)}: {what}. "
            "Use another Redis (--redis-url embedded:), or --force"
        )
