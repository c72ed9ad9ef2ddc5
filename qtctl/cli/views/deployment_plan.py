"""A deployment or rollback as an operator reads it: in short, file by file, and as JSON."""

import socket
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any

from qtctl import __version__
from qtctl.cli.framework.context import Context
from qtctl.cli.output import emit_one, tables
from qtctl.cli.views import import_notes
from qtctl.deploy.applying import Done
from qtctl.deploy.host import Host
from qtctl.deploy.planning import Plan
from qtctl.deploy.records import Change
from qtctl.text import escape

_STYLES = {"-": "red", "+": "green", "@": "cyan"}
_VERBS = {"new": "install", "replaced": "replace", "removed": "remove"}
_SUMMARY_LINES = 10
_NAMES_CHARS = 55


def where(host: Host) -> str:
    """Where to, in a few words."""
    return f"this host, {socket.gethostname()}" if host.live else f"the folder {host.root}"


def summarize(ctx: Context, host: Host, plan: Plan) -> None:
    """All of the plan in ten lines at most, for `--dry-run`: what raises risk first."""
    if plan.empty:
        return
    write = writer(ctx)
    what = f"deploy qtctl {__version__}" if plan.kind == "deploy" else "roll back"
    write(f"Would {what}, {where(host)}:", "bold")
    facts = [f"  {line}" for line in _facts(plan)]
    risks = [str(risk) for risk in plan.risks]
    # Never under 1: there are at most seven facts.
    room = _SUMMARY_LINES - 2 - len(facts)
    if len(risks) > room:
        more = "more limits" if room > 1 else "limits"
        risks[room - 1 :] = [f"RAISES RISK: {len(risks) - room + 1} {more}, listed below"]
    for risk in risks:
        write(risk, "bold red")
    for fact in facts:
        write(fact)
    write("Every file follows, line by line; nothing was done.")


def _facts(plan: Plan) -> Iterator[str]:
    for verb in _VERBS.values():
        paths = [change.path for change in plan.changes if _VERBS[how(change)] == verb]
        if paths:
            yield f"{verb} {_few(paths)}"
    if plan.kept:
        yield f"keep {_few(plan.kept)}"
    if plan.creates:
        yield f"create user and group {plan.creates}"
    services = [f"stop {', '.join(plan.stop)}"] if plan.stop else []
    services += [f"start {', '.join(plan.restart)}: {plan.why_restart}"] if plan.restart else []
    if services:
        yield "; ".join(services)
    settings = [f"change {plan.settings[0]}"] if plan.settings else []
    settings += [f"{len(plan.settings) - 1} more settings"] if len(plan.settings) > 1 else []
    settings += [f"{len(plan.notes)} variables to look at, listed below"] if plan.notes else []
    if settings:
        yield "; ".join(settings)


def _few(paths: Sequence[str]) -> str:
    """How many, and as many names as fit in a line: `10 files: qtctl.toml, governor.env, …`."""
    names = list(dict.fromkeys(PurePosixPath(path).name for path in paths))
    shown = ", ".join(names)
    while len(shown) > _NAMES_CHARS:
        names.pop()
        shown = ", ".join([*names, "…"])
    return f"{len(paths)} file{'s' if len(paths) > 1 else ''}: {shown}"


def show(ctx: Context, host: Host, plan: Plan) -> None:
    """The plan: a diff of every file, then in short, then what raises risk, line by line; that
    nothing is to do where it has no step."""
    write = writer(ctx)
    if plan.creates:
        write(f"create user and group {plan.creates} (systemd-sysusers)", "bold")
    verbs = [_VERBS[how(change)] for change in plan.changes]
    for verb, change in zip(verbs, plan.changes, strict=True):
        edited = " (edited since it was installed)" if change.path in plan.edited else ""
        write(f"{verb} {change.path}{_attributes(change)}{edited}", "bold")
        for line in plan.diff(change):
            write(f"  {line}", _STYLES.get(line[:1], ""))
    if verbs:
        write(f"Total: {', '.join(f'{verb} {count}' for verb, count in Counter(verbs).items())}")
    for path in plan.kept:
        write(f"keep {path}: it differs from the packaged one (--replace-config takes that)")
    for unit in plan.stop:
        write(f"stop {unit}")
    for unit in plan.restart:
        write(f"start {unit}: {plan.why_restart}")
    for setting in plan.settings:
        write(f"changes {setting}")
    for line in import_notes.lines(plan.notes):
        write(line if line.startswith(" ") else f"warning: {line}")
    for risk in plan.risks:
        write(str(risk), "bold red")
    if plan.empty:
        _nothing_to_do(ctx, host, plan)


def _nothing_to_do(ctx: Context, host: Host, plan: Plan) -> None:
    """One sentence for a plan without a step, and the limits that were loosened beside it."""
    write = writer(ctx)
    for risk in plan.loosened:
        write(str(risk), "bold red")
    services = f", {' and '.join(plan.running)} running" if plan.running else ""
    if plan.kind == "deploy":
        outcome = f"everything is up to date (qtctl {__version__}{services})"
    else:
        outcome = "everything is as it was before"
    ctx.say(f"Nothing to do: {outcome}.")
    if plan.loosened:
        take = " (--restart takes it now, and asks)" if host.live else ""
        what = "a limit was" if len(plan.loosened) == 1 else "limits were"
        ctx.say(
            f"But {what} loosened by hand since the last deployment; a service goes by that from "
            f"its next start on{take}."
        )


def how(change: Change) -> str:
    """`new`, `replaced` or `removed`."""
    if change.before.kind == "absent":
        return "new"
    return "removed" if change.after.kind == "absent" else "replaced"


def _attributes(change: Change) -> str:
    """What the text of a file does not show: ` (mode 0600 → 0640)`."""
    was, will_be = change.before, change.after
    shown = []
    if was.kind == will_be.kind == "file" and was.mode != will_be.mode:
        shown.append(f"mode {was.mode:04o} → {will_be.mode:04o}")
    elif was.kind == "absent" and will_be.kind == "file":
        shown.append(f"mode {will_be.mode:04o}")
    if will_be.owner is not None and was.owner not in (None, will_be.owner):
        shown.append(f"owner {was.owner[0]}:{was.owner[1]} → {will_be.owner[0]}:{will_be.owner[1]}")
    return f" ({', '.join(shown)})" if shown else ""


def writer(ctx: Context) -> Callable[..., None]:
    """Prints a line at once, escaped, with a style on a terminal. It goes to stdout where a table
    was asked for; else to stderr, since JSON comes at the end."""
    stream = sys.stdout if ctx.output == "table" else sys.stderr
    paint = tables.painter(ctx)

    def write(text: str, style: str = "") -> None:
        stream.write(f"{paint(escape(text), style if stream is sys.stdout else '')}\n")
        stream.flush()

    return write


def emit(
    ctx: Context,
    host: Host,
    plan: Plan,
    id: str | None = None,
    steps: Sequence[Done] = (),
    ok: bool = True,
) -> None:
    """The whole as one JSON object, where JSON was asked for."""
    if ctx.output == "table":
        return
    document: dict[str, Any] = {
        "id": id,
        "kind": plan.kind,
        "root": str(host.root),
        "ok": ok,
        "changes": [{"path": each.path, "change": how(each)} for each in plan.changes],
        "kept": plan.kept,
        "settings": plan.settings,
        "risks": plan.risks,
        "loosened": plan.loosened,
        "creates": plan.creates,
        "warnings": [note.text for note in plan.notes],
        "stop": plan.stop,
        "restart": plan.restart,
        "steps": [
            {"number": each.number, "what": each.what, "said": each.result} for each in steps
        ],
    }
    emit_one(ctx, document)
