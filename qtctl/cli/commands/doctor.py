"""`qtctl doctor`: the production checklist, run."""

from pathlib import Path
from typing import Annotated

from qtctl.cli.framework import ROWS, Context, arguments, command, new_app, opt
from qtctl.cli.output import emit, emit_one

app = new_app("doctor")


@command(app, outputs=ROWS)
def doctor(
    ctx: Context,
    strict: Annotated[bool, opt("--strict", "Exit 1 for warnings and unknowns as well.")] = False,
    verbose: Annotated[bool, opt("-v, --verbose", "Also list the checks that passed.")] = False,
    scan: Annotated[str, opt("--scan KEYS", "Scan at most this many keys.")] = "2000000",
    root: Annotated[
        str | None, opt("--root DIR", "Look for units and their files in a folder.")
    ] = None,
) -> int:
    """Look at everything, change nothing: Redis, upstream, streams, groups, permits, services,
    settings, kill switches. Each finding says what, why it matters, and the command that fixes it.

    Exits 1 if something is wrong, 0 with warnings alone, 3 where Redis is away (what needs no Redis
    is checked all the same), 5 with invalid settings. `unknown` is what could not be determined,
    mostly for want of a permission. Units and EnvironmentFiles are those of this host.

    Examples:
        qtctl doctor
        qtctl doctor --verbose
        qtctl doctor --strict -o json
        sudo qtctl doctor
    """
    from qtctl.cli.views import findings

    most = arguments.whole(scan, "--scan", 1_000, 1_000_000_000)
    report, problem = findings.report(ctx, Path(root or "/"), live=root is None, scan=most)
    if ctx.output == "table":
        emit_one(ctx, report, *findings.page(report, verbose, "" if problem else ctx.where()))
    else:
        emit(ctx, report.findings, findings.COLUMNS)
    return findings.exit_code(report, strict, problem)
