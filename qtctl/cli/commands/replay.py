"""`qtctl replay`: a window of the history again, under other settings."""

from typing import Annotated

from qtctl.cli.framework import Context, command, new_app, opt
from qtctl.cli.framework.evidence_options import Folder, Page, Since, Until

app = new_app("replay")


@command(app)
def replay(
    ctx: Context,
    since: Since = "48h",
    until: Until = None,
    sweep: Annotated[
        list[str] | None,
        opt("--sweep KEY=A:B:STEP", "A curve over values of a setting; repeatable."),
    ] = None,
    folder: Folder = None,
    html: Page = None,
) -> int:
    """The recorded decisions and proposals again, under other settings (--set).

    First with the settings that were in force: every verdict, reason, factor and multiplier must
    come out as recorded, or the differences are listed, and it exits 1. Without --set and --sweep
    that is all.

    Then under the settings of --set (limits and hints of the governor, the formula of the
    allocation loop): alone, each decision on its recorded counts, and in sequence, with the counts,
    cooldowns and duplicates that the replayed permits leave behind. Kill switch, quarantine, ages,
    plans and scores stay as recorded. What upstream would have done otherwise is not modelled. No
    Redis is needed; see docs/evidence.md.

    Examples:
        qtctl replay
        qtctl replay --since 24h --set governor.max_exec_per_hour=5
        qtctl replay --set allocation.scale=2 --dir /srv/copy -o json
        qtctl replay --sweep governor.symbol_cooldown_sec=0:120:15 --html replay.html
    """
    from qtctl.cli.views import replay as view
    from qtctl.cli.views.html import files, replay_page

    files.refuse_bad(ctx, html)
    found = view.run(ctx, folder, since, until, sweep or ())
    files.deliver(
        ctx, html, lambda: replay_page(found.window, found.result), lambda: view.show(ctx, found)
    )
    return int(not found.result.parity.holds)
