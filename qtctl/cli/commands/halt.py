"""`qtctl halt`: stops opens at once, or everything. Never asks."""

from typing import Annotated

from qtctl.cli.framework import Context, arg, command, new_app, opt
from qtctl.cli.framework.safety import DryRun, Reason
from qtctl.errors import UsageError

app = new_app("halt")


@command(app)
def halt(
    ctx: Context,
    symbol: Annotated[str | None, arg("SYMBOL", "Stop this one only.")] = None,
    everything: Annotated[bool, opt("--all", "Stop closes too.")] = False,
    revoke: Annotated[
        bool, opt("--revoke", "With --all: withdraw the permits of closes too.")
    ] = False,
    reason: Reason = "",
    force: Annotated[bool, opt("--force", "Stop a symbol that nothing here knows.")] = False,
    dry_run: DryRun = False,
    unasked: Annotated[bool, opt("--yes, --no-input", hidden=True)] = False,
) -> int:
    """Stop opens at once; closes still pass. Never asks. `qtctl resume` undoes it.

    Takes effect on the very next plan, and withdraws the permits of opens that nobody has taken
    yet; those of closes stay, which an Apply Layer may take for up to a minute, unless --revoke is
    given with --all. Exits 1 where no governor is working on this Redis that would obey it (none
    runs, or all are late or do not answer), or where a permit could not be withdrawn: opens may go
    on then.

    A SYMBOL that nothing here knows is refused, with the nearest that is known. Of the settings
    only [redis] must be right: what is wrong elsewhere is a warning. With --redis-url (or
    QTCTL_REDIS_URL) so is a file that is missing or is no TOML; then the prefix is the default,
    unless --set redis.prefix=… names it.

    Examples:
        qtctl halt
        qtctl halt --reason "exchange is down"
        qtctl halt --all
        qtctl halt --all --revoke
        qtctl halt BTCUSDT
        qtctl halt --dry-run
    """
    from qtctl.cli.views import halting, halts

    if revoke and not everything:
        raise UsageError("--revoke needs --all: without it closes still pass, and get new permits")
    ctx.lenient = True
    order = halts.request(ctx, symbol, reason, revoke=revoke)
    report = halting.halt(ctx, order, everything, force=force, dry_run=dry_run)
    halting.report_halt(ctx, order, everything, dry_run, report)
    return int(not halting.is_certain(report))
