"""`qtctl report`: what both loops did over a window, the shadow beside the live."""

from qtctl.cli.framework import Context, arguments, command, new_app
from qtctl.cli.framework.evidence_options import Folder, Most, Page, Since, Symbols, Until
from qtctl.cli.output import emit_one

app = new_app("report")


@command(app)
def report(
    ctx: Context,
    since: Since = "48h",
    until: Until = None,
    symbols: Symbols = None,
    limit: Most = "10",
    folder: Folder = None,
    html: Page = None,
) -> None:
    """What both loops did over a window of the history, each figure with what it is a share of.

    Reads the history alone, so it works on a copy without Redis. What the history lacks counts as
    unknown, never as nothing. Proofs are left out. docs/evidence.md has the formulas.

    Examples:
        qtctl report
        qtctl report --since 7d --symbols BTCUSDT
        qtctl report --dir /srv/copy -o json
        qtctl report --since 7d --html report.html
    """  # fmt: skip
    from qtctl.cli.views import evidence_window as windows
    from qtctl.cli.views import history as view
    from qtctl.cli.views import report as pages
    from qtctl.cli.views.html import files, report_page
    from qtctl.evidence import report as reports

    most = arguments.whole(limit, "--limit", 0)
    wanted = windows.symbols(symbols)
    files.refuse_bad(ctx, html)
    history = view.opened(ctx, folder)
    window = windows.asked(ctx, history, since, until)
    found = reports.make(history, window, wanted)
    files.deliver(
        ctx, html, lambda: report_page(found),
        lambda: emit_one(ctx, found, *pages.page(ctx, found, window, most)),
    )  # fmt: skip
