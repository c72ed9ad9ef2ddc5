"""`qtctl proof`: the six-plus-six scenarios, proven from outside."""

from pathlib import Path
from typing import Annotated

from qtctl.cli.framework import Context, arg, arguments, command, new_app, opt
from qtctl.cli.framework.safety import NoInput, Yes
from qtctl.errors import UsageError

app = new_app("proof")

CHOICES = {"step1": ("step1",), "step2": ("step2",), "all": ("step1", "step2")}


@command(app)
def proof(
    ctx: Context,
    step: Annotated[str, arg("STEP", "step1 (allocation), step2 (governor) or all.")],
    live: Annotated[
        bool, opt("--live", "Prove the running services, with symbols of our own.")
    ] = False,
    report: Annotated[
        str | None, opt("--report DIR", "Also junit.xml, proof.json, report.html.")
    ] = None,
    host_redis: Annotated[
        bool, opt("--host-redis", "The private server is this host's own Redis.")
    ] = False,
    yes: Yes = False,
    no_input: NoInput = False,
) -> int:
    """Prove the twelve scenarios, six for each loop; 0 is PASS, 1 is FAIL.

    Without --live a private server and services of its own are used. With it the running ones are
    proven, by symbols and closing plans that no other system knows; everything is removed
    afterwards. The expected numbers are fixed, whatever the settings.

    Examples:
        qtctl proof step2
        qtctl proof all --report /tmp/proof
        qtctl proof all --host-redis --report /tmp/proof
        qtctl proof step1 --live
    """
    arguments.choice(step, "STEP", CHOICES)
    from qtctl.cli.views import proofs

    if live and host_redis:
        raise UsageError("--host-redis is for a private server, and --live uses none")
    found, about = proofs.conduct(
        ctx, CHOICES[step], live=live, host_redis=host_redis, yes=yes, no_input=no_input
    )
    proofs.show(ctx, found)
    if report is not None:
        proofs.write(ctx, Path(report), found, about)
    return int(found.failed > 0)
