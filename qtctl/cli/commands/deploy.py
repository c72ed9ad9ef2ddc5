"""`qtctl deploy`: install the services on this host and start them, keeping what was there."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qtctl.cli.framework import arguments
from qtctl.cli.framework.command import command, new_app
from qtctl.cli.framework.context import Context
from qtctl.cli.framework.safety import DryRun, NoInput
from qtctl.cli.views import deployments
from qtctl.cli.views.deployments import AcceptRisk, Finish, Root, Wait, Yes
from qtctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtctl.deploy.host import Host
    from qtctl.deploy.planning import Plan
    from qtctl.deploy.records import Record
    from qtctl.deploy.systemctl import Systemctl

app = new_app("deploy")


@command(app)
def deploy(
    ctx: Context,
    root: Root = None,
    together: Annotated[
        bool | None,
        typer.Option(
            "--together/--separate",
            help="One process for both loops (qtctl.service), or one each. Default: as it is now, "
            "at first separate.",
            show_default=False,
        ),
    ] = None,
    replace_config: Annotated[
        bool,
        typer.Option("--replace-config", help="Take the packaged settings instead of yours."),
    ] = False,
    etc: Annotated[
        str | None,
        typer.Option("--etc", metavar="DIR", help="Take the settings files of this folder."),
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Restart the services also where nothing changes.")
    ] = False,
    wait: Wait = "30s",
    accept_risk: AcceptRisk = None,
    yes: Yes = False,
    no_input: NoInput = False,
    dry_run: DryRun = False,
    finish: Finish = False,
) -> None:
    """Install the services and start them: the plan first, as a diff of every file.

    Settings in /etc/quantum that are there already are kept, unless --etc or --replace-config
    asks for others. What is replaced is kept, and `qtctl rollback` puts it back. A limit that
    would be loosened (RAISES RISK) needs a yes of its own, which --yes does not give.

    Examples:
        sudo qtctl deploy
        sudo qtctl deploy --dry-run
        sudo qtctl deploy --etc ./etc --yes --accept-risk max_exec_per_hour=30
        qtctl deploy --root /tmp/stage --yes
    """
    if etc is not None and replace_config:
        raise UsageError("--etc and --replace-config: only one of them")
    host, systemd = deployments.target(ctx, root)
    wait_sec = arguments.duration(wait, "--wait", 1, 3600)
    if finish:
        deployments.refuse_dry_run(dry_run)
        deployments.finish(ctx, host, systemd, "deploy", wait_sec)
        return

    def plan(host: "Host", systemd: "Systemctl | None", records: "Sequence[Record]") -> "Plan":
        from qtctl.deploy import packaged, planning

        layout = None if together is None else "together" if together else "separate"
        settings = packaged.folder("etc") if replace_config else None if etc is None else Path(etc)
        return planning.deploy(host, systemd, planning.Choices(layout, settings, restart), records)

    ctx.say(f"deploy to {_told(host, systemd)}")
    if systemd is not None:
        _warn(ctx)
    deployments.carry_out(
        ctx,
        host,
        systemd,
        plan,
        yes=yes,
        no_input=no_input,
        dry_run=dry_run,
        accepted=accept_risk or (),
        wait_sec=wait_sec,
    )


def _warn(ctx: Context) -> None:
    from qtctl.deploy import packaged

    warning = packaged.owner_warning()
    if warning is not None:
        ctx.warn(warning)


def _told(host: "Host", systemd: "Systemctl | None") -> str:
    import socket

    return f"the folder {host.root}" if systemd is None else f"this host, {socket.gethostname()}"
