"""`qtctl rollback`: restore what was there before a deployment."""

from functools import partial
from typing import Annotated

from qtctl.cli.framework import Context, arg, command, new_app, opt
from qtctl.cli.framework.safety import AcceptRisk, DryRun, Finish, NoInput, Root, Wait, YesButRisk

app = new_app("rollback")


@command(app)
def rollback(
    ctx: Context,
    deployment: Annotated[str | None, arg("ID", "Default: the last that is not undone.")] = None,
    listed: Annotated[bool, opt("--list", "List the deployments; do nothing.")] = False,
    root: Root = None,
    wait: Wait = "30s",
    accept_risk: AcceptRisk = None,
    yes: YesButRisk = False,
    no_input: NoInput = False,
    dry_run: DryRun = False,
    finish: Finish = False,
) -> None:
    """Restore what was there before a deployment, byte for byte, and restart the services.

    Later deployments are undone with it. A rollback is recorded like a deployment, so it can be
    undone by its ID.

    Examples:
        sudo qtctl rollback
        sudo qtctl rollback --list
        sudo qtctl rollback 20260128T101500Z --dry-run
    """
    from qtctl.cli.views import deployments
    from qtctl.deploy import planning

    if listed:
        deployments.list_all(ctx, root)
        return
    options = deployments.Options(root, wait, accept_risk, yes, no_input, dry_run, finish)
    deployments.run(ctx, "rollback", partial(planning.rollback, id=deployment), options)
