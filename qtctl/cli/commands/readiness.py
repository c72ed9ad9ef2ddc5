"""`qtctl readiness`: whether the history is good enough to enforce on."""

from qtctl.cli.framework import ROWS, Context, arguments, command, group
from qtctl.cli.framework.evidence_options import Folder, Most, Page, PolicyFile, Symbols, Until
from qtctl.cli.output import emit, emit_one

app = group(
    "readiness",
    help="Is the history good enough to enforce the proposals? Gate by gate.",
    default="check",
    examples="""
    qtctl readiness
    qtctl readiness --symbols BTCUSDT
    qtctl readiness selftest
    """,
)


@command(app)
def check(
    ctx: Context,
    symbols: Symbols = None,
    policy: PolicyFile = None,
    until: Until = None,
    limit: Most = "10",
    folder: Folder = None,
    html: Page = None,
) -> int:
    """READY, NOT READY or CAN'T TELL: whether the history is enough to enforce the proposals.

    Gate by gate, for the whole and for each symbol; exits 0 only if READY. Judges the last 48 h of
    records (or as the policy says), on a copy as well. qtctl never enforces. docs/evidence.md has
    the gates and a policy.

    Examples:
        qtctl readiness
        qtctl readiness --symbols BTCUSDT
        qtctl readiness --dir /srv/copy -o json
        qtctl readiness --html readiness.html
    """
    from pathlib import Path

    from qtctl.cli.views import evidence_window as windows
    from qtctl.cli.views import history as view
    from qtctl.cli.views import readiness as pages
    from qtctl.cli.views.html import files, readiness_page
    from qtctl.evidence import policy as policies
    from qtctl.evidence import readiness as judging

    most = arguments.whole(limit, "--limit", 0)
    wanted = windows.symbols(symbols)
    limits = policies.load(None if policy is None else Path(policy))
    files.refuse_bad(ctx, html)
    history = view.opened(ctx, folder)
    until_ms = windows.until_ms(ctx, history, until)
    found = judging.assess(history, limits, wanted, until_ms)
    window = judging.window_of(history, limits, until_ms)
    files.deliver(
        ctx, html, lambda: readiness_page(found, limits),
        lambda: emit_one(ctx, found, *pages.page(ctx, found, window, limits, most)),
    )  # fmt: skip
    return int(found.verdict != "READY")


@command(app, outputs=ROWS)
def selftest(ctx: Context) -> int:
    """Plant each fault in a copy of a clean synthetic history: each must fail its own gate alone.

    At least one for each gate, and some that leave a gate unknown. Takes seconds, needs neither
    Redis nor a history; exits 1 if a gate is blind or sees too much.

    Examples:
        qtctl readiness selftest
    """
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from qtctl.cli.views import readiness as pages
    from qtctl.simulate import selftest as planting

    with TemporaryDirectory(prefix="qtctl-selftest-") as folder:
        found = list(planting.run(Path(folder)))
    emit(ctx, found, pages.SELFTEST)
    wrong = [each.fault for each in found if not each.right]
    if wrong:
        ctx.say(f"Not as it must be: {', '.join(wrong)}.")
    return int(bool(wrong))
