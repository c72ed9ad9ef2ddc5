"""`qtctl rollback`: put back what was there before a deployment."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from qtctl.cli.framework import arguments
from qtctl.cli.framework.command import command, new_app
from qtctl.cli.framework.context import Context
from qtctl.cli.framework.safety import DryRun, NoInput
from qtctl.cli.output.columns import moment, text
from qtctl.cli.output.render import emit
from qtctl.cli.views import deployments
from qtctl.cli.views.deployments import AcceptRisk, Finish, Root, Wait, Yes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtctl.deploy.host import Host
    from qtctl.deploy.planning import Plan
    from qtctl.deploy.records import Record
    from qtctl.deploy.systemctl import Systemctl

app = new_app("rollback")

LISTED = (
    text("id", "id"),
    text("kind", "kind"),
    text("version", "version", drop=2),
    moment("at", "began_at", drop=1),
    text("by", "by", drop=3),
    text("files", "files"),
    text("state", "state", fold=True),
)


@command(app)
def rollback(
    ctx: Context,
    deployment: Annotated[
        str | None, typer.Argument(metavar="ID", help="Default: the last that is not undone.")
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="List what there is; do nothing.")] = False,
    root: Root = None,
    wait: Wait = "30s",
    accept_risk: AcceptRisk = None,
    yes: Yes = False,
    no_input: NoInput = False,
    dry_run: DryRun = False,
    finish: Finish = False,
) -> None:
    """Put back what was there before a deployment, byte for byte, and restart the services.

    What came after that deployment is undone with it. A rollback is kept like a deployment, so it
    can be taken back by its ID.

    Examples:
        sudo qtctl rollback
        sudo qtctl rollback --list
        sudo qtctl rollback 20260128T101500Z --dry-run
    """
    host, systemd = deployments.target(ctx, root)
    if listed:
        emit(ctx, _rows(host), LISTED, empty="Nothing was deployed with qtctl here.")
        return
    wait_sec = arguments.duration(wait, "--wait", 1, 3600)
    if finish:
        deployments.refuse_dry_run(dry_run)
        deployments.finish(ctx, host, systemd, "rollback", wait_sec)
        return

    def plan(host: "Host", systemd: "Systemctl | None", records: "Sequence[Record]") -> "Plan":
        from qtctl.deploy import planning
        from qtctl.deploy.records import Records

        if deployment is not None:
            Records(host).get(deployment)
        return planning.rollback(host, systemd, records, deployment)

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


def _rows(host: "Host") -> list[dict[str, Any]]:
    """One row a record, the newest first."""
    from qtctl.deploy.records import Records, undone

    records = Records(host).all()
    gone = undone(records)
    return [
        {
            "id": record.id,
            "kind": record.kind,
            "version": record.version,
            "began_at": record.began_at,
            "files": len(record.changes),
            "state": _STATES[record.state] + (", undone" if record.id in gone else ""),
            "by": record.extra.get("by", ""),
            "risks": list(record.extra.get("risks", ())),
            "failure": record.failure,
            "undoes": list(record.undoes),
        }
        for record in reversed(records)
    ]


_STATES = {
    "applying": "not finished",
    "applied": "files in place, services not",
    "done": "done",
}
