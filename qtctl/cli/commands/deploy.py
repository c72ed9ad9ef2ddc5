"""`qtctl deploy`: install the services on this host and start them, keeping what was there."""

from pathlib import Path
from typing import Annotated

from qtctl.cli.framework import Context, command, new_app, opt
from qtctl.cli.framework.safety import AcceptRisk, DryRun, Finish, NoInput, Root, Wait, YesButRisk
from qtctl.errors import UsageError

app = new_app("deploy")


@command(app)
def deploy(
    ctx: Context,
    root: Root = None,
    together: Annotated[
        bool | None,
        opt(
            "--together/--separate",
            "One process for both loops (qtctl.service), or one each. Default: as installed now, "
            "separate at first.",
            show_default=False,
        ),
    ] = None,
    replace_config: Annotated[
        bool, opt("--replace-config", "Replace your settings with the packaged ones.")
    ] = False,
    etc: Annotated[str | None, opt("--etc DIR", "Use the settings files in this folder.")] = None,
    prefix: Annotated[
        str | None,
        opt("--prefix DIR", "With --root: where qtctl will be on that host. Default: /opt/qtctl."),
    ] = None,
    restart: Annotated[
        bool, opt("--restart", "Restart the services even if nothing changes.")
    ] = False,
    wait: Wait = "30s",
    accept_risk: AcceptRisk = None,
    yes: YesButRisk = False,
    no_input: NoInput = False,
    dry_run: DryRun = False,
    finish: Finish = False,
) -> None:
    """Install the services and start them: the plan first, as a diff of every file.

    The user and group qt of the services are created where they are missing. With --root nothing
    runs and nobody is created: the folder is for another host, with qtctl in /opt/qtctl there.

    Existing settings in /etc/quantum are kept unless --etc or --replace-config is given. Replaced
    files are saved, and `qtctl rollback` restores them. A limit that would be loosened (RAISES
    RISK) must be confirmed separately; --yes does not cover it.

    Examples:
        sudo qtctl deploy
        sudo qtctl deploy --dry-run
        sudo qtctl deploy --etc ./etc --yes --accept-risk max_exec_per_hour=30
        qtctl deploy --root /tmp/stage --yes
    """
    if etc is not None and replace_config:
        raise UsageError("--etc and --replace-config can't be combined")
    if prefix is not None and not prefix.startswith("/"):
        raise UsageError(f"--prefix {prefix!r} is not an absolute path, such as /opt/qtctl")
    from qtctl.cli.views import deployments
    from qtctl.deploy import packaged
    from qtctl.deploy.wanted import Choices

    layout = None if together is None else "together" if together else "separate"
    settings = packaged.folder("etc") if replace_config else None if etc is None else Path(etc)
    planner = deployments.planner(Choices(layout, settings, restart, prefix))
    options = deployments.Options(root, wait, accept_risk, yes, no_input, dry_run, finish)
    deployments.run(ctx, "deploy", planner, options)
