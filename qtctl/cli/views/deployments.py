"""What `deploy` and `rollback` share: where, the plan shown, the question, the steps told."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qtctl import clock
from qtctl.cli.framework.context import Context
from qtctl.cli.views.deploy_plan import how, show, writer
from qtctl.errors import QtctlError, RefusedError, UsageError

if TYPE_CHECKING:
    from qtctl.deploy.applying import Done
    from qtctl.deploy.host import Host
    from qtctl.deploy.limits import Risk
    from qtctl.deploy.planning import Plan
    from qtctl.deploy.records import Record, Records
    from qtctl.deploy.systemctl import Systemctl

Root = Annotated[
    str | None,
    typer.Option(
        "--root", metavar="DIR", help="Stage in a folder: its files alone, no systemd, no root."
    ),
]
Yes = Annotated[
    bool, typer.Option("--yes", help="Go on without asking; not where that raises risk.")
]
AcceptRisk = Annotated[
    list[str] | None,
    typer.Option(
        "--accept-risk",
        metavar="LIMIT=VALUE",
        help="Accept this limit being loosened to this value; repeatable.",
    ),
]
Finish = Annotated[bool, typer.Option("--finish", help="Finish one that was interrupted.")]
Wait = Annotated[
    str, typer.Option("--wait", metavar="S", help="How long to wait for each service.")
]
LIVE = Path("/")
Planner = Callable[["Host", "Systemctl | None", "Sequence[Record]"], "Plan"]


def target(ctx: Context, root: str | None) -> "tuple[Host, Systemctl | None]":
    """The host to work on, and its systemd (none in a staging folder).

    Errors: RefusedError for who may not, and without systemd; UsageError for a bad folder, and
    for options that mean nothing here.
    """
    from qtctl.deploy import systemctl
    from qtctl.deploy.host import Host

    for given, option in ((ctx.config, "--config"), (ctx.redis_url, "--redis-url")):
        if given is not None:
            raise UsageError(f"{option} means nothing here: the services read /etc/quantum")
    if ctx.sets:
        raise UsageError("--set means nothing here: put it into /etc/quantum/qtctl.toml")
    if root is not None:
        return Host(_staging(root), live=False), None
    if os.geteuid() != 0:
        raise RefusedError("only root may do this (sudo); --root DIR stages the files in a folder")
    return Host(LIVE, live=True), systemctl.here(ctx.environ)


def carry_out(
    ctx: Context,
    host: "Host",
    systemd: "Systemctl | None",
    planner: Planner,
    *,
    yes: bool,
    no_input: bool,
    dry_run: bool,
    accepted: Sequence[str],
    wait_sec: float,
) -> None:
    """Plan, show, ask, do. Nobody else can do the same meanwhile."""
    from qtctl.deploy import planning
    from qtctl.deploy.records import Records, unfinished

    records = Records(host)
    if dry_run:
        plan = planner(host, systemd, records.all())
        show(ctx, plan)
        _emit(ctx, host, plan, None, [])
        return
    with records.locked():
        there = records.all()
        half = unfinished(there)
        plan = planner(host, systemd, there)
        if half is not None and half.id not in plan.undoes:
            raise RefusedError(_half(half))
        show(ctx, plan)
        if plan.empty:
            ctx.say("Nothing to do: everything is as it should be.")
            _emit(ctx, host, plan, None, [])
            return
        _ask(ctx, plan, yes=yes, no_input=no_input, accepted=accepted)
        now = clock.now()
        record = planning.record_of(plan, records.new_id(now), now, _who(ctx))
        _kept(ctx, records, record)
        _apply(ctx, host, systemd, records, record, plan, wait_sec)


def refuse_dry_run(dry_run: bool) -> None:
    """Errors: UsageError. What was begun has been shown; there is no plan left to print."""
    if dry_run:
        raise UsageError("--finish and --dry-run: only one of them")


def finish(
    ctx: Context, host: "Host", systemd: "Systemctl | None", kind: str, wait_sec: float
) -> None:
    """Go on with what was interrupted. Errors: RefusedError where nothing was."""
    from qtctl.deploy.records import Records, unfinished

    records = Records(host)
    with records.locked():
        half = unfinished(records.all())
        if half is None:
            raise RefusedError("nothing was interrupted: there is nothing to finish")
        if half.kind != kind:
            raise RefusedError(_half(half))
        ctx.say(f"Going on with {half.kind} {half.id}; its plan was agreed to then.")
        _apply(ctx, host, systemd, records, half, None, wait_sec)


def _ask(ctx: Context, plan: "Plan", *, yes: bool, no_input: bool, accepted: Sequence[str]) -> None:
    """Errors: RefusedError unless all is agreed to."""
    from qtctl.cli.framework.safety import agreed

    left = [risk for risk in plan.risks if risk.answer not in accepted]
    if not left:
        agreed(ctx, f"{plan.kind.capitalize()} this?", yes=yes, no_input=no_input)
        return
    limits = ", ".join(risk.limit for risk in left)
    if no_input or not sys.stdin.isatty():
        options = " ".join(f"--accept-risk {_quoted(risk.answer)}" for risk in left)
        raise RefusedError(
            f"this raises risk ({limits}), and nobody can be asked here; nothing was done. "
            f"To accept it: {options}"
        )
    ctx.say(f"This raises risk: {limits}. To go on, type yes:")
    if sys.stdin.readline().strip().lower() != "yes":
        raise RefusedError("not done: the answer was not yes")


def _who(ctx: Context) -> str:
    """Who does this: the one behind sudo, else the user."""
    import pwd

    try:
        return ctx.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _quoted(text: str) -> str:
    import shlex

    return shlex.quote(text)


def _kept(ctx: Context, records: "Records", record: "Record") -> None:
    """Write the record. Errors: QtctlError where that fails: nothing is touched yet."""
    try:
        folder = records.add(record)
    except OSError as problem:
        raise QtctlError(
            f"what is there could not be kept in {records.folder}: {problem.strerror}; nothing "
            "was changed"
        ) from problem
    writer(ctx)(f"kept what was there in {folder}")


def _apply(
    ctx: Context,
    host: "Host",
    systemd: "Systemctl | None",
    records: "Records",
    record: "Record",
    plan: "Plan | None",
    wait_sec: float,
) -> None:
    from qtctl.deploy.applying import Applying

    write = writer(ctx)
    steps: list[Done] = []

    def tell(done: "Done") -> None:
        steps.append(done)
        write(f"{done.number}/{done.of} {done.what}{f': {done.said}' if done.said else ''}")

    try:
        Applying(host, systemd, records, wait_sec).run(record, tell)
    except QtctlError:
        _emit(ctx, host, plan, record, steps, ok=False)
        raise
    _emit(ctx, host, plan, record, steps)
    ctx.say(_ending(host, record))


def _ending(host: "Host", record: "Record") -> str:
    if not host.live:
        return f"{record.kind} {record.id} is staged in {host.root}; no service was touched."
    if not record.changes:
        return f"{record.kind} {record.id} is done; no file was changed."
    if record.kind == "deploy":
        return f"deploy {record.id} is done; 'qtctl rollback' puts back what was there."
    return f"rollback {record.id} is done; 'qtctl rollback {record.id}' takes it back."


def _emit(
    ctx: Context,
    host: "Host",
    plan: "Plan | None",
    record: "Record | None",
    steps: "Sequence[Done]",
    ok: bool = True,
) -> None:
    """The whole as one JSON object, where JSON was asked for."""
    if ctx.output == "table":
        return
    from qtctl.cli.output.render import emit_one

    changes = (plan.changes if plan is not None else record.changes if record else ()) or ()
    risks: list[Risk] = plan.risks if plan is not None else []
    document = {
        "id": None if record is None else record.id,
        "kind": record.kind if record is not None else plan.kind if plan is not None else "",
        "root": str(host.root),
        "ok": ok,
        "changes": [{"path": each.path, "change": how(each)} for each in changes],
        "kept": plan.kept if plan is not None else [],
        "settings": plan.settings if plan is not None else [],
        "risks": [
            {"limit": each.limit, "before": each.before, "after": each.after} for each in risks
        ],
        "stop": plan.stop if plan is not None else [],
        "restart": plan.restart if plan is not None else [],
        "steps": [{"number": each.number, "what": each.what, "said": each.said} for each in steps],
    }
    emit_one(ctx, document)


def _half(half: "Record") -> str:
    undo = "qtctl rollback" if half.kind == "deploy" else f"qtctl rollback {half.id}"
    why = half.failure or "it was interrupted"
    return (
        f"{half.kind} {half.id} is not finished ({why}): 'qtctl {half.kind} --finish' finishes it, "
        f"'{undo}' puts back what was there"
    )


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
