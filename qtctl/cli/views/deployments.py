"""What `deploy` and `rollback` share: where, the plan shown, the question, the steps, the list."""

import os
import shlex
import socket
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from qtctl import clock
from qtctl.cli.framework import arguments
from qtctl.cli.framework.context import Context
from qtctl.cli.framework.safety import agreed
from qtctl.cli.output import tables
from qtctl.cli.output.columns import moment, text
from qtctl.cli.output.render import emit, emit_one
from qtctl.deploy import packaged, planning, systemctl
from qtctl.deploy.applying import Applying, Done
from qtctl.deploy.host import Host
from qtctl.deploy.planning import Plan
from qtctl.deploy.records import Change, Record, Records, undone, unfinished
from qtctl.deploy.systemctl import Systemctl
from qtctl.errors import QtctlError, RefusedError, UsageError
from qtctl.operator import user_at_host
from qtctl.text import escape

LIVE = Path("/")
Planner = Callable[[Host, Systemctl | None, Sequence[Record]], Plan]
LISTED = (
    text("id", "id"),
    text("kind", "kind"),
    text("version", "version", drop=2),
    moment("at", "began_at", drop=1),
    text("by", "by", drop=3),
    text("files", "files"),
    text("state", "state", fold=True),
)
_STATES = {
    "applying": "not finished",
    "applied": "files in place, services not",
    "done": "done",
}
_STYLES = {"-": "red", "+": "green", "@": "cyan"}
_VERBS = {"new": "install", "replaced": "replace", "removed": "remove"}


class Options(NamedTuple):
    """The options of both commands, as given."""

    root: str | None
    wait: str
    accept_risk: Sequence[str] | None
    yes: bool
    no_input: bool
    dry_run: bool
    finish: bool


def planner(ctx: Context, choices: planning.Choices) -> Planner:
    """Plans a deployment, and says where to."""

    def plan(host: Host, systemd: Systemctl | None, records: Sequence[Record]) -> Plan:
        where = f"this host, {socket.gethostname()}" if host.live else f"the folder {host.root}"
        ctx.say(f"deploy to {where}")
        if host.live and (warning := packaged.owner_warning()) is not None:
            ctx.warn(warning)
        return planning.deploy(host, systemd, choices, records)

    return plan


def run(ctx: Context, kind: str, planner: Planner, options: Options) -> None:
    """Plan, show, ask, do; or finish what was interrupted. Nothing else can deploy meanwhile."""
    host, systemd = _target(ctx, options.root)
    wait_sec = arguments.duration(options.wait, "--wait", 1, 3600)
    if options.finish and options.dry_run:
        raise UsageError("--finish and --dry-run can't be combined")
    records = Records(host)
    if options.dry_run:
        plan = planner(host, systemd, records.all())
        _show(ctx, plan)
        _emit(ctx, host, plan)
        return
    with records.locked():
        found = records.all()
        records.tidy(found)
        half = unfinished(found)
        if options.finish:
            if half is None:
                raise RefusedError("nothing was interrupted: there is nothing to finish")
            if half.kind != kind:
                raise _unfinished(half)
            ctx.say(f"Resuming {half.kind} {half.id}; its plan was confirmed when it started.")
            record, plan = half, Plan(kind, list(half.changes))
        else:
            plan = planner(host, systemd, found)
            if half is not None and half.id not in plan.undoes:
                raise _unfinished(half)
            _show(ctx, plan)
            if plan.empty:
                ctx.say("Nothing to do: everything is up to date.")
                _emit(ctx, host, plan)
                return
            _ask(ctx, plan, options)
            record = _save(ctx, plan, records)
        _apply(ctx, Applying(host, systemd, records, wait_sec), record, plan, host)


def list_all(ctx: Context, root: str | None) -> None:
    """A row for each record, the newest first."""
    records = Records(_target(ctx, root)[0]).all()
    gone = undone(records)
    rows = [
        {
            "id": record.id,
            "kind": record.kind,
            "version": record.version,
            "began_at": record.began_at,
            "files": len(record.changes),
            "state": _STATES[record.state] + (", undone" if record.id in gone else ""),
            "by": record.extra.get("by", ""),
            "risks": list(record.extra.get("risks", ())),
            "failure": record.failure,
            "undoes": list(record.undoes),
        }
        for record in reversed(records)
    ]
    emit(ctx, rows, LISTED, empty="Nothing was deployed with qtctl here.")


def _target(ctx: Context, root: str | None) -> tuple[Host, Systemctl | None]:
    """The host to work on, and its systemd (none in a staging folder). Errors: RefusedError
    without root or systemd; UsageError for a bad folder, and options that do not apply."""
    given = {"--config": ctx.config, "--redis-url": ctx.redis_url, "--context": ctx.context}
    for option, value in given.items():
        if value is not None:
            raise UsageError(f"{option} does not apply here: the services read /etc/quantum")
    if ctx.sets:
        raise UsageError("--set does not apply here: put it into /etc/quantum/qtctl.toml")
    if root is not None:
        return Host(_staging(root), live=False), None
    if os.geteuid() != 0:
        raise RefusedError("only root may do this (sudo); --root DIR stages the files in a folder")
    return Host(LIVE, live=True), systemctl.here(ctx.environ)


def _staging(root: str) -> Path:
    """The folder, made if only it is missing. Errors: UsageError."""
    path = Path(root)
    if path.resolve() == Path("/"):
        raise UsageError("--root / is the running system: leave it out")
    try:
        path.mkdir(exist_ok=True)
    except OSError as problem:
        raise UsageError(f"--root {root}: {problem.strerror}") from problem
    return path.resolve()


def _unfinished(half: Record) -> RefusedError:
    why = half.failure or "it was interrupted"
    return RefusedError(
        f"{half.kind} {half.id} is not finished ({why}): 'qtctl {half.kind} --finish' finishes it, "
        f"'{half.undo}' restores what was there"
    )


def _ask(ctx: Context, plan: Plan, options: Options) -> None:
    """Errors: RefusedError unless all is confirmed."""
    left = [risk for risk in plan.risks if risk.answer not in (options.accept_risk or ())]
    if not left:
        question = f"{plan.kind.capitalize()} this?"
        agreed(ctx, question, yes=options.yes, no_input=options.no_input)
        return
    limits = ", ".join(risk.limit for risk in left)
    if options.no_input or not sys.stdin.isatty():
        answers = " ".join(f"--accept-risk {shlex.quote(risk.answer)}" for risk in left)
        raise RefusedError(
            f"this raises risk ({limits}), and there is no terminal to confirm on; nothing was "
            f"done. To accept it: {answers}"
        )
    ctx.say(f"This raises risk: {limits}. To continue, type yes:")
    if sys.stdin.readline().strip().lower() != "yes":
        raise RefusedError("not done: the answer was not yes")


def _save(ctx: Context, plan: Plan, records: Records) -> Record:
    """Write the record. Errors: QtctlError where that fails: nothing is touched yet."""
    now = clock.now()
    record = planning.record_of(plan, records.new_id(now), now, user_at_host(ctx.environ))
    try:
        for each in records.all():
            if each.id in plan.undoes:
                records.free(each)
        folder = records.add(record)
    except OSError as problem:
        raise QtctlError(
            f"the current files could not be saved in {records.folder}: {problem.strerror}; "
            "nothing was changed"
        ) from problem
    _writer(ctx)(f"saved the current files in {folder}")
    return record


def _apply(ctx: Context, applying: Applying, record: Record, plan: Plan, host: Host) -> None:
    write = _writer(ctx)
    steps: list[Done] = []

    def report(done: Done) -> None:
        steps.append(done)
        write(f"{done.number}/{done.of} {done.what}{f': {done.result}' if done.result else ''}")

    try:
        applying.run(record, report)
    except QtctlError:
        _emit(ctx, host, plan, record.id, steps, ok=False)
        raise
    _emit(ctx, host, plan, record.id, steps)
    done = f"{record.kind} {record.id} is"
    if not host.live:
        ctx.say(f"{done} staged in {host.root}; no service was touched.")
    elif not record.changes:
        ctx.say(f"{done} done; no file was changed.")
    else:
        ctx.say(f"{done} done; '{record.undo}' restores what was there.")


def _show(ctx: Context, plan: Plan) -> None:
    """The plan: a diff of every file, then in short, then what raises risk, line by line."""
    write = _writer(ctx)
    verbs = [_VERBS[_how(change)] for change in plan.changes]
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
    for risk in plan.risks:
        write(str(risk), "bold red")


def _how(change: Change) -> str:
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


def _writer(ctx: Context) -> Callable[..., None]:
    """Prints a line at once, escaped, with a style on a terminal. It goes to stdout where a table
    was asked for; else to stderr, since JSON comes at the end."""
    stream = sys.stdout if ctx.output == "table" else sys.stderr
    terminal = tables.console(ctx) if ctx.output == "table" and tables.on_terminal(ctx) else None

    def write(text: str, style: str = "") -> None:
        if terminal is not None and style:
            terminal.print(escape(text), style=style, soft_wrap=True)
        else:
            stream.write(f"{escape(text)}\n")
        stream.flush()

    return write


def _emit(
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
        "changes": [{"path": each.path, "change": _how(each)} for each in plan.changes],
        "kept": plan.kept,
        "settings": plan.settings,
        "risks": plan.risks,
        "stop": plan.stop,
        "restart": plan.restart,
        "steps": [
            {"number": each.number, "what": each.what, "said": each.result} for each in steps
        ],
    }
    emit_one(ctx, document)
