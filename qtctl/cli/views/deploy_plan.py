"""A plan of `deploy` or `rollback`, as people read it."""

import sys
from collections import Counter
from typing import TYPE_CHECKING, Protocol

from qtctl.cli.framework.context import Context

if TYPE_CHECKING:
    from qtctl.deploy.planning import Plan
    from qtctl.deploy.records import Change


def show(ctx: Context, plan: "Plan") -> None:
    """The plan: a diff of every file, then in short, then what raises risk, line by line.

    It goes to stdout where a table was asked for; else to stderr, since JSON comes at the end.
    """
    write = writer(ctx)
    for change in plan.changes:
        edited = " (edited since it was installed)" if change.path in plan.edited else ""
        write(f"{_VERBS[how(change)]} {change.path}{_attributes(change)}{edited}", "bold")
        for line in plan.diff(change):
            write(f"  {line}", _STYLES.get(line[:1], ""))
    counts = Counter(_VERBS[how(change)] for change in plan.changes)
    if counts:
        write(f"In all: {', '.join(f'{verb} {count}' for verb, count in counts.items())}")
    for path in plan.kept:
        write(f"keep {path}: it differs from the packaged one (--replace-config takes that)")
    for unit in plan.stop:
        write(f"stop {unit}")
    for unit in plan.restart:
        write(f"start {unit}: {plan.why_restart}")
    for setting in plan.settings:
        write(f"changes {setting}")
    for risk in plan.risks:
        write(str(risk), "bold red")


_STYLES = {"-": "red", "+": "green", "@": "cyan"}
_VERBS = {"new": "install", "replaced": "replace", "removed": "remove"}


def how(change: "Change") -> str:
    """`new`, `replaced` or `removed`."""
    if change.before.kind == "absent":
        return "new"
    return "removed" if change.after.kind == "absent" else "replaced"


def _attributes(change: "Change") -> str:
    """What the text of a file does not show: ` (mode 0600 → 0640)`."""
    was, will_be = change.before, change.after
    told = []
    if was.kind == will_be.kind == "file" and was.mode != will_be.mode:
        told.append(f"mode {was.mode:04o} → {will_be.mode:04o}")
    elif was.kind == "absent" and will_be.kind == "file":
        told.append(f"mode {will_be.mode:04o}")
    if will_be.owner is not None and was.owner not in (None, will_be.owner):
        told.append(f"owner {was.owner[0]}:{was.owner[1]} → {will_be.owner[0]}:{will_be.owner[1]}")
    return f" ({', '.join(told)})" if told else ""


class Writer(Protocol):
    """Prints one line at once, escaped; the style only where there is a terminal."""

    def __call__(self, text: str, style: str = "") -> None: ...


def writer(ctx: Context) -> Writer:
    """For what is planned or done: on stdout for people, on stderr beside JSON."""
    from qtctl.cli.output import tables
    from qtctl.text import escape

    stream = sys.stdout if ctx.output == "table" else sys.stderr
    terminal = tables.console(ctx) if ctx.output == "table" and tables.on_terminal(ctx) else None

    def write(text: str, style: str = "") -> None:
        if terminal is not None and style:
            terminal.print(escape(text), style=style, soft_wrap=True)
        else:
            stream.write(f"{escape(text)}\n")
        stream.flush()

    return write
