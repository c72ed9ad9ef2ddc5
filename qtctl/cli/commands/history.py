"""`qtctl history`: what is recorded, read by SQL, verified, copied, exported, pruned."""

from typing import Annotated

from qtctl.cli.framework import ROWS, Context, arg, arguments, command, group, opt
from qtctl.cli.framework.list_options import Lists
from qtctl.cli.output import Fields, Rows, emit, emit_one

app = group(
    "history",
    help="What both loops decided, day by day: list, query, export, verify.",
    default="list",
    examples="""
    qtctl history
    qtctl history show 2026-01-31
    qtctl history query "SELECT reason, count(*) FROM decisions GROUP BY 1"
    qtctl history verify
    """,
)

Dir = Annotated[str | None, opt("--dir DIR", "Another folder, as a copy. Default: [history] dir.")]
Since = Annotated[str | None, opt("--since TIME", "Not before: 2d ago, or 2026-01-28T10:00.")]
Until = Annotated[str | None, opt("--until TIME", "Before; the same forms.")]


@command(app, "list", lists=Lists("qtctl.cli.views.history"))
def list_days(ctx: Context, folder: Dir = None) -> None:
    """Each day that was recorded: passes, decisions, gaps, size; below it since when, and gaps.

    A day is open while a recorder may write it, then sealed; missing if its file is gone.

    Examples:
        qtctl history
        qtctl history list -o json
        qtctl history --dir /srv/copy
    """
    from qtctl.cli.views import history as view
    from qtctl.history import chain, overview

    history = view.opened(ctx, folder)
    days = overview.days(history)
    columns = view.LISTED if ctx.listing.columns else view.usual(days)
    emit(ctx, days, columns, empty=f"Nothing is recorded yet in {history.folder}.")
    for line in view.describe(ctx, history, days, chain.head(history.folder)):
        ctx.say(line)


@command(app)
def show(ctx: Context, day: Annotated[str, arg("DAY")], folder: Dir = None) -> None:
    """One day: how much of what, its gaps, halts, and what was seen of services and server.

    Examples:
        qtctl history show 2026-01-31
        qtctl history show 2026-01-31 -o json
    """
    from qtctl.cli.views import history as view
    from qtctl.history import overview
    from qtctl.history.ids import DAY_MS, day_start_ms

    wanted = view.day(day)
    history = view.opened(ctx, folder)
    found = view.one_day(overview.days(history), wanted)
    start = day_start_ms(wanted)
    window = (start, start + DAY_MS)
    gaps, halts = history.gaps(*window), history.halts(*window)
    services, servers = history.services(*window), history.servers(*window)
    emit_one(
        ctx,
        found,
        Fields(view.DAY),
        Rows(gaps, view.GAPS, "Gaps"),
        Rows(halts, view.HALTS, "Halts"),
        Rows(services, view.SERVICES, "Services"),
        Rows(servers, view.SERVERS, "Redis"),
        as_json={
            "day": found, "gaps": gaps, "halts": halts, "services": services, "servers": servers,
        },
    )  # fmt: skip
    view.say_synthetic(ctx, history)


@command(app, outputs=ROWS)
def query(
    ctx: Context,
    sql: Annotated[str, arg("SQL", "One SELECT.")],
    since: Since = None,
    until: Until = None,
    timeout: Annotated[str, opt("--timeout", "Ended after so long.")] = "60s",
    limit: Annotated[str, opt("-n, --limit N", "Rows at most; all for all.")] = "10000",
    folder: Dir = None,
) -> None:
    """One SELECT over all days, in SQLite's SQL. It can only read; Ctrl-C ends it.

    Tables: decisions, proposals, passes, events, rejected, services, servers, halts, gaps; their
    columns are in docs/history.md. --since and --until leave out days before they are read.

    Examples:
        qtctl history query "SELECT reason, count(*) FROM decisions GROUP BY 1 ORDER BY 2 DESC"
        qtctl history query --since 2d -o csv "SELECT * FROM decisions WHERE symbol = 'BTCUSDT'"
    """
    from itertools import islice

    from qtctl.cli.output.columns import text
    from qtctl.cli.views import history as view
    from qtctl.history.query import Query

    most = None if limit == "all" else arguments.whole(limit, "-n", 0)
    timeout_sec = arguments.duration(timeout, "--timeout", 0.1, 86_400)
    since_ms, until_ms = view.window(ctx, since, until)
    history = view.opened(ctx, folder)
    view.explain_start(ctx, history, since_ms)
    with Query(
        history, sql, since_ms=since_ms, until_ms=until_ms, timeout_sec=timeout_sec
    ) as asked:
        for problem in asked.left_out:
            ctx.warn(f"left out: {problem}")
        names = view.unique(asked.columns)
        rows = asked.rows()
        shown = (dict(zip(names, map(view.plain, row), strict=True)) for row in islice(rows, most))
        emit(ctx, shown, [text(name, name) for name in names], empty="No rows.")
        if most is not None and next(rows, None) is not None:
            ctx.say(f"Stopped after {most:,} rows: -n all for all.")
    view.say_synthetic(ctx, history)


@command(app, outputs=ROWS)
def export(
    ctx: Context,
    out: Annotated[str, opt("--out DIR", "A new or empty folder.")],
    form: Annotated[str, opt("--format csv|jsonl|parquet", "Of the files.")] = "csv",
    since: Since = None,
    until: Until = None,
    table: Annotated[list[str] | None, opt("--table", "Only this table; repeatable.")] = None,
    folder: Dir = None,
) -> None:
    """Rows for other programs: one folder a day, one file a table.

    Parquet needs the extra: qtctl[parquet]. DuckDB, Spark and ClickHouse read the folders as one
    table, also those of many hosts.

    Examples:
        qtctl history export --since 2d --out /srv/export
        qtctl history export --format parquet --table decisions --out /srv/export
    """
    from pathlib import Path
    from typing import cast

    from qtctl.cli.views import history as view
    from qtctl.history import export as exporting
    from qtctl.history.tables import BY_NAME

    arguments.choice(form, "--format", ("csv", "jsonl", "parquet"))
    names = [arguments.choice(name, "--table", BY_NAME) for name in table or ()]
    since_ms, until_ms = view.window(ctx, since, until)
    history = view.opened(ctx, folder)
    view.explain_start(ctx, history, since_ms)
    files = exporting.export(
        history, Path(out), cast("exporting.Format", form),
        since_ms=since_ms, until_ms=until_ms, names=names,
    )  # fmt: skip
    emit(ctx, list(files), view.FILES)
    view.say_synthetic(ctx, history)


@command(app, outputs=ROWS)
def verify(ctx: Context, folder: Dir = None) -> int:
    """Check the chain, and every sealed day against it; exits 1 at a difference.

    An open day has no hash yet: SQLite checks its pages. Works on a copy, on any machine.

    Examples:
        qtctl history verify
        qtctl history verify --dir /srv/copy
    """
    from qtctl.cli.views import history as view
    from qtctl.history import chain
    from qtctl.history import verify as verifying

    where = view.folder(ctx, folder)
    findings = list(verifying.verify(where))
    emit(ctx, findings, view.FINDINGS, empty=f"Nothing is recorded yet in {where}.")
    bad = [finding for finding in findings if finding.status == "differs"]
    if bad:
        ctx.say(f"The first that differs: {bad[0].what}: {bad[0].detail}")
        return 1
    head = chain.head(where)
    ctx.say(f"Nothing differs. Head of the chain: {'none yet' if head == chain.NO_LINK else head}")
    if findings:
        view.say_synthetic(ctx, view.opened(ctx, folder))
    return 0


@command(app, outputs=ROWS)
def prune(
    ctx: Context,
    dry_run: Annotated[bool, opt("--dry-run", "Print what would be removed.")] = False,
    folder: Dir = None,
) -> None:
    """Remove the oldest sealed days, as [history] keep_days and max_bytes say; the chain notes it.

    A recorder does the same by itself.

    Examples:
        qtctl history prune --dry-run
        qtctl history prune --set history.keep_days=7
    """
    from qtctl import clock
    from qtctl.cli.views import history as view
    from qtctl.history import sealing

    where, settings = view.folder(ctx, folder), ctx.settings.history
    view.opened(ctx, folder)
    now_ms = int(clock.now() * 1000)
    found = sealing.prunable(where, now_ms, settings.keep_days, settings.max_bytes)
    if not dry_run:
        ctx.confirm()
        sealing.prune(where, found, now_ms)
    emit(ctx, found, view.PRUNED, empty="Nothing to remove.")


@command(app)
def copy(
    ctx: Context,
    target: Annotated[str, arg("DIR", "A new or empty folder.")],
    folder: Dir = None,
) -> int:
    """A whole copy, also while a recorder writes, or after it was killed; exits 1 if a day is
    damaged.

    Examples:
        qtctl history copy /srv/copy
    """
    from pathlib import Path

    from qtctl.cli.views import history as view
    from qtctl.history import copying

    damaged = False
    for day, problem in copying.copy(view.folder(ctx, folder), Path(target)):
        if problem:
            damaged = True
            ctx.warn(f"{problem}: copied as it is")
        ctx.say(f"{day} copied")
    return int(damaged)
