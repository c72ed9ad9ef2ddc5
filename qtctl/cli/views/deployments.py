"""What `deploy` and `rollback` share: where, the plan shown, the question, the steps, the list."""

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from qtctl import clock
from qtctl.cli.framework import arguments
from qtctl.cli.framework.context import Context
from qtctl.cli.framework.safety import agreed
from qtctl.cli.output import emit
from qtctl.cli.output.columns import moment, text
from qtctl.cli.views import deployment_plan as view
from qtctl.deploy import packaged, planning, systemctl, users
from qtctl.deploy.applying import Applying, Done
from qtctl.deploy.host import Host
from qtctl.deploy.planning import Plan
from qtctl.deploy.records import Record, Records, undone, unfinished
from qtctl.deploy.systemctl import Systemctl
from qtctl.deploy.wanted import Choices
from qtctl.errors import QtctlError, RefusedError, UsageError
from qtctl.operator import user_at_host

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


class Options(NamedTuple):
    """The options of both commands, as given."""

    root: str | None
    wait: str
    accept_risk: Sequence[str] | None
    yes: bool
    no_input: bool
    dry_run: bool
    finish: bool


def planner(choices: Choices) -> Planner:
    """Plans a deployment."""

    def plan(host: Host, systemd: Systemctl | None, records: Sequence[Record]) -> Plan:
        if choices.prefix is not None and host.live:
            raise UsageError("--prefix needs --root: here the services run this very qtctl")
        return planning.deploy(host, systemd, choices, records)

    return plan


def run(ctx: Context, kind: str, planner: Planner, options: Options) -> None:
    """Plan, show, ask, do; or finish what was interrupted. Nothing else can deploy meanwhile."""
    host, systemd = _target(ctx, options.root)
    wait_sec = arguments.duration(options.wait, "--wait", 1, 3600)
    if options.finish and options.dry_run:
        raise UsageError("--finish and --dry-run can't be combined")
    records = Records(host)
    if kind == "deploy":
        ctx.say(f"deploy to {view.where(host)}")
        for warning in packaged.warnings() if host.live else ():
            ctx.warn(warning)
    if options.dry_run:
        plan = planner(host, systemd, records.all())
        view.summarize(ctx, host, plan)
        view.show(ctx, host, plan)
        view.emit(ctx, host, plan)
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
            view.show(ctx, host, plan)
            if plan.empty:
                view.emit(ctx, host, plan)
                return
            _ask(ctx, plan, options)
            if plan.creates:
                users.create(plan.creates, ctx.environ)
                plan = planner(host, systemd, found)  # now that the owners are known
                if plan.creates:
                    raise users.missing(plan.creates)
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
    view.writer(ctx)(f"saved the current files in {folder}")
    return record


def _apply(ctx: Context, applying: Applying, record: Record, plan: Plan, host: Host) -> None:
    write = view.writer(ctx)
    steps: list[Done] = []

    def report(done: Done) -> None:
        steps.append(done)
        write(f"{done.number}/{done.of} {done.what}{f': {done.result}' if done.result else ''}")

    try:
        applying.run(record, report)
    except QtctlError:
        view.emit(ctx, host, plan, record.id, steps, ok=False)
        raise
    view.emit(ctx, host, plan, record.id, steps)
    done = f"{record.kind} {record.id} is"
    if not host.live:
        ctx.say(f"{done} staged in {host.root}; no service was touched.")
    elif not record.changes:
        ctx.say(f"{done} done; no file was changed.")
    else:
        ctx.say(f"{done} done; '{record.undo}' restores what was there.")
