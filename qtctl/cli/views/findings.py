"""What the doctor found, and the page made of it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from qtctl.cli.framework.context import Context
from qtctl.cli.output import Fields, Rows, format
from qtctl.cli.output.columns import line, text, texts
from qtctl.deploy.host import Host
from qtctl.doctor.command_lines import CommandLines, own_words, words_of
from qtctl.doctor.findings import Finding, Level
from qtctl.doctor.hosts import installed, server_unit
from qtctl.doctor.inspection import Inspection
from qtctl.doctor.running import Report, examine
from qtctl.errors import ConfigError, RedisUnreachable
from qtctl.settings import Settings

STYLES = {"wrong": "red", "warning": "yellow", "unknown": "magenta"}
PASSED = (text("ok", "check"), text("seen", "what", fold=True))
_line = partial(line, width=7)
"""As wide as the longest level: all lines of a finding begin alike."""

COLUMNS = texts("check", "level", "what", "why", "command")
"""A finding in a line."""


def report(ctx: Context, root: Path, *, live: bool, scan: int) -> tuple[Report, str]:
    """The report, and what is wrong with the settings of this shell ("" for nothing)."""
    ctx.print_warnings = False
    away, problem = "", ""
    with ExitStack() as stack:
        store = None
        try:
            store = stack.enter_context(ctx.store(notice=False))
        except RedisUnreachable as gone:
            away = str(gone)
        except ConfigError as bad:
            away = problem = str(bad)
        look = _look(ctx, root, live=live, store=store, scan=scan, problem=problem)
        return examine(look, away), problem


def _look(
    ctx: Context, root: Path, *, live: bool, store: Any, scan: int, problem: str
) -> Inspection:
    host = Host(root, live)
    about: dict[str, Any] = {
        "installed": installed(host),
        "server_unit": server_unit(host),
        "environ": ctx.environ,
        "scan": scan,
    }
    try:
        loaded = ctx.loaded
    except ConfigError:
        words = CommandLines(own_words(ctx.redis_url, ctx.config, ctx.sets, ctx.context))
        return Inspection(None, Settings(), problem=problem, words=words, **about)
    url = loaded.settings.redis.url
    if store is not None:
        with suppress(RedisUnreachable):
            url = store.server_url()
    words = words_of(loaded, url, ctx.redis_url, ctx.config, ctx.sets)
    return Inspection(
        store,
        loaded.settings,
        warnings=loaded.warnings,
        problem=problem,
        words=words,
        where=ctx.where(),
        **about,
    )


def exit_code(report: Report, strict: bool, config_problem: str) -> int:
    """What doctor exits with."""
    if config_problem:
        return ConfigError.exit_code
    if report.away:
        return RedisUnreachable.exit_code
    counted = [Level.WRONG, *((Level.WARNING, Level.UNKNOWN) if strict else ())]
    return int(any(report.count(level) for level in counted))


def page(report: Report, verbose: bool, where: str) -> Iterator[Fields | Rows]:
    """The findings, the worst first; where: "" with settings that are not valid."""
    passed = [it for it in report.findings if it.level is Level.OK]
    for finding in _merged(report.findings):
        yield from _lines(finding)
    if verbose:
        yield Rows(passed, PASSED)
    areas = Counter(it.check.partition(".")[0] for it in passed)
    columns = [_line("ok", ", ".join(f"{area} {count}" for area, count in areas.items()))]
    columns.append(_line("total", _summary(report, where), style="bold"))
    yield Fields(columns[1:] if verbose or not passed else columns)


def _merged(findings: Sequence[Finding]) -> list[Finding]:
    """What is not ok, with checks that say the very same as one: a permission that lacks is lacked
    by many."""
    merged: dict[tuple[str, ...], Finding] = {}
    for it in findings:
        if it.level is not Level.OK:
            same = (it.level, it.what, it.why, it.command)
            first = merged.get(same)
            merged[same] = replace(first, check=f"{first.check}, {it.check}") if first else it
    return list(merged.values())


def _lines(finding: Finding) -> Iterator[Fields]:
    level = finding.level.value
    columns = [_line(level.upper(), f"{finding.check}: {finding.what}", style=STYLES[level])]
    if finding.why:
        columns.append(_line("why", finding.why))
    yield Fields(columns)
    if finding.command:
        yield Fields((_line("run", finding.command),), unbroken=True, joined=True)


def _summary(report: Report, where: str) -> str:
    wrong, warnings, unknown, good = (report.count(level) for level in Level)
    at = f"; {where}" if where else ""
    return f"{wrong} wrong, {format.count(warnings, 'warning')}, {unknown} unknown, {good} ok{at}"
