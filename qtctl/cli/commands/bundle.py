"""`qtctl bundle`: everything for a post-mortem, in one file."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from qtctl.cli.framework import Context, arguments, command, new_app, opt
from qtctl.cli.framework.safety import Force
from qtctl.cli.output import emit_one

app = new_app("bundle")


@command(app)
def bundle(
    ctx: Context,
    out: Annotated[
        str | None, opt("--out FILE", "Default: qtctl-bundle-TIME.tar.gz, here.")
    ] = None,
    since: Annotated[str, opt("--since AGO", "How far back timeline and logs go.")] = "24h",
    force: Force = False,
    root: Annotated[
        str | None, opt("--root DIR", "Units and deploy records of a folder instead.")
    ] = None,
) -> int:
    """Everything for a post-mortem in one .tar.gz, for its owner alone: doctor, status, timeline,
    settings without secrets, groups, streams, the last decisions, events and log lines, versions.

    Its manifest.json says what each file is, and what could not be had, with the reason; then it
    exits 1, also without Redis. It changes nothing, begins nothing new after a minute, and holds no
    password; look through it all the same before it leaves the house: plans and reasons are in it.
    Prints the name of the file; never overwrites one without --force.

    Examples:
        qtctl bundle
        sudo qtctl bundle --out /tmp/incident.tar.gz --since 6h
        qtctl bundle -o json --out b.tar.gz --force
    """
    from qtctl import clock
    from qtctl.cli.output import archive, format
    from qtctl.cli.views.bundle import Bundle

    since_sec = arguments.duration(since, "--since", 60, 30 * 86_400)
    stamp = datetime.fromtimestamp(clock.now(), UTC).strftime("%Y%m%dT%H%M%SZ")
    path = Path(out if out is not None else f"qtctl-bundle-{stamp}.tar.gz")
    archive.refuse_existing(path, force=force)
    made = Bundle(ctx, since_sec, Path(root or "/"), live=root is None)
    found = made.gather()
    size = found.write(path, made.at, force=force)
    if ctx.output == "table":
        typer.echo(str(path))
    else:
        emit_one(ctx, {"file": str(path), "bytes": size, **found.manifest})
    files = format.count(len(found.files), "file")
    ctx.say(f"{files}, {size / 1024:,.0f} KiB; passwords are not in it, plans and reasons are.")
    for why in dict.fromkeys(each["why"] for each in found.missing):
        names = ", ".join(each["name"] for each in found.missing if each["why"] == why)
        ctx.say(f"Missing {names}: {why}")
    return int(bool(found.missing))
