"""`qtctl evidence`: all that is known of a window in one folder, and whether such a folder is
unchanged."""

from typing import Annotated

from qtctl.cli.framework import Context, arg, command, group, opt
from qtctl.cli.framework.evidence_options import Folder, PolicyFile, Since, Until
from qtctl.cli.output import emit_one

app = group(
    "evidence",
    help="A folder with all that is known of a window, which verifies anywhere.",
    examples="""
    qtctl evidence export --out /srv/evidence
    qtctl evidence verify /srv/evidence --digest 3f5a…
    """,
)


@command(app)
def export(
    ctx: Context,
    out: Annotated[str, opt("--out DIR", "A new or empty folder.")],
    since: Since = "48h",
    until: Until = None,
    symbols: Annotated[
        list[str] | None, opt("--symbols A,B", "Report and readiness of these only.")
    ] = None,
    policy: PolicyFile = None,
    proofs: Annotated[
        str | None,
        opt("--proofs DIR", "Those of 'qtctl proof all --report DIR', instead of a run now."),
    ] = None,
    no_proofs: Annotated[
        bool, opt("--no-proofs", "Leave the proofs out; the folder says so.")
    ] = False,
    folder: Folder = None,
) -> None:
    """Report, readiness, parity, settings, halts, gaps, proofs and the days' hashes in one folder.

    Begin with its index.html. Its digest is printed at the end: write it down elsewhere, and
    'qtctl evidence verify' tells on any machine whether a byte has changed. The proofs run now, on
    a private server; no other Redis is needed. It exits 0 once the folder is written, whatever the
    verdict, and never writes into a folder that has something in it.

    Examples:
        qtctl evidence export --out /srv/evidence
        qtctl evidence export --since 7d --symbols BTCUSDT --out ./btc
        qtctl evidence export --dir /srv/copy --no-proofs --out ./evidence
    """
    from pathlib import Path

    from qtctl.cli.views import evidence_export as exporting
    from qtctl.cli.views import evidence_verified as view
    from qtctl.cli.views import evidence_window as windows
    from qtctl.errors import UsageError

    if proofs is not None and no_proofs:
        raise UsageError("--proofs and --no-proofs exclude each other: give one of them")
    if not out:
        raise UsageError("--out is empty: name a new or empty folder")
    wanted = exporting.Wanted(
        folder, since, until, windows.symbols(symbols),
        None if policy is None else Path(policy), None if proofs is None else Path(proofs),
        no_proofs,
    )  # fmt: skip
    target = Path(out)
    found = exporting.export(ctx, target, wanted)
    emit_one(
        ctx, view.as_record(target, found), view.written(ctx, target, found.about, found.digest)
    )
    for each in found.left_out:
        ctx.say(f"Left out: {each.what}: {each.why}.")
    ctx.say("Keep the digest away from the folder: it shows whether anything was changed since.")


@command(app)
def verify(
    ctx: Context,
    folder: Annotated[str, arg("DIR", "What export wrote.")],
    digest: Annotated[str | None, opt("--digest HEX", "The one that was written down.")] = None,
    history: Annotated[
        str | None, opt("--history DIR", "Its days must be those of the evidence.")
    ] = None,
) -> int:
    """Check every file of such a folder; exits 1 at one changed byte, and names the file.

    Needs the folder alone: neither Redis, nor a history, nor settings. A folder that was made anew
    as a whole is only known by its --digest.

    Examples:
        qtctl evidence verify /srv/evidence
        qtctl evidence verify /srv/evidence --digest 3f5a… --history /srv/copy
    """
    from pathlib import Path

    from qtctl.cli.views import evidence_verified as view
    from qtctl.evidence import verifying

    found = verifying.check(
        Path(folder),
        None if digest is None else verifying.digest_of(digest),
        None if history is None else Path(history),
    )
    emit_one(ctx, found, *view.page(ctx, found))
    if not found.verified:
        return 1
    for each in found.cannot_know:
        ctx.say(f"Not known: {each}.")
    return 0
