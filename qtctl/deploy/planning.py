"""What a deployment or a rollback would change on a host, computed before anything is touched."""

import grp
import pwd
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from qtctl import __version__
from qtctl.deploy import effective, packaged, units, users
from qtctl.deploy.diffs import unified
from qtctl.deploy.effective import View
from qtctl.deploy.host import ABSENT, Host, State
from qtctl.deploy.limits import Risk, changed, limits_of, risks
from qtctl.deploy.records import APPLYING, Change, Record, undone
from qtctl.deploy.systemctl import Systemctl
from qtctl.deploy.wanted import Choices, Owner, enabling, notes, on_disk
from qtctl.errors import ConfigError, NotFoundError, RefusedError
from qtctl.settings.import_env import Note

USER = "qt"


@dataclass
class Plan:
    """What would be done. running_before and running: units, None in a staging folder. settings:
    those that change for a service, a line each. edited: paths that somebody has changed since.
    limits: all that there will be, by the paths of settings. creates: the user that has to be made
    first; owners are not known until then. notes: on the settings files of the operator's folder.
    loosened: limits that somebody has loosened since the last deployment, where there is nothing
    else to do. clears: what it undoes was cut short, and may have left folders even where no file
    differs."""

    kind: str
    changes: list[Change]
    kept: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    running_before: list[str] | None = None
    running: list[str] | None = None
    stop: list[str] = field(default_factory=list)
    restart: list[str] = field(default_factory=list)
    why_restart: str = ""
    undoes: tuple[str, ...] = ()
    edited: list[str] = field(default_factory=list)
    settings: list[str] = field(default_factory=list)
    risks: list[Risk] = field(default_factory=list)
    limits: dict[str, Any] = field(default_factory=dict)
    creates: str = ""
    notes: list[Note] = field(default_factory=list)
    loosened: list[Risk] = field(default_factory=list)
    clears: bool = False

    @property
    def empty(self) -> bool:
        """True if there is nothing to do."""
        return not (self.changes or self.stop or self.restart or self.clears)

    def diff(self, change: Change) -> list[str]:
        """The lines of a change's diff, with secrets masked."""
        return unified(change.path, change.before, change.after, packaged.lines())


def deploy(
    host: Host, systemd: Systemctl | None, choices: Choices, records: Sequence[Record]
) -> Plan:
    """The plan for installing this version. systemd is None in a staging folder. Errors:
    RefusedError for an obstacle; ConfigError for settings with which a service would not start."""
    now = View(host, {})
    layout = choices.layout or ("together" if now.enabled() == [units.SINGLE] else "separate")
    root, ours = _owner(host, "root", "root"), _owner(host, "root", USER)
    wanted, kept = on_disk(host, now, choices, root, ours)
    running = list(units.LAYOUTS[layout])
    if not effective.records(View(host, wanted), packaged.unit_texts()):
        running = [unit for unit in running if unit != units.RECORDER]
    wanted |= enabling(now, running, root)
    plan = _planned("deploy", host, wanted)
    plan.kept = kept
    plan.notes = notes(choices)
    plan.creates = USER if host.live and not _user_exists() else ""
    if systemd is not None:
        _plan_services(plan, systemd, running, _why(plan, choices, records))
    _compare(host, plan, records)
    return plan


def rollback(
    host: Host, systemd: Systemctl | None, records: Sequence[Record], id: str | None
) -> Plan:
    """The plan for restoring what was there before a deployment, by default the last that is not
    undone; later ones are undone with it.

    Errors: NotFoundError where there is none; RefusedError for an obstacle.
    """
    target = _target(records, id)
    later = [record for record in records if record.id >= target.id]
    wanted: dict[str, State] = {}
    left: dict[str, State] = {}
    for record in later:
        for change in record.changes:
            wanted.setdefault(change.path, change.before)
            left[change.path] = change.after
    plan = _planned("rollback", host, wanted)
    plan.undoes = tuple(each.id for each in later)
    plan.clears = any(record.state == APPLYING for record in later)
    if not plan.clears:
        plan.edited = [each.path for each in plan.changes if not each.before.fits(left[each.path])]
    if systemd is not None:
        running = [unit for unit in units.UNITS if unit in (target.running_before or ())]
        _plan_services(plan, systemd, running, "its files change" if plan.changes else "")
    _compare(host, plan, records)
    return plan


def record_of(plan: Plan, id: str, began_at: float, by: str) -> Record:
    """The plan as the record that is kept of it."""
    extra = {"by": by, "risks": [str(risk) for risk in plan.risks], "stop": plan.stop,
             "restart": plan.restart, "limits": plan.limits}  # fmt: skip
    return Record(
        id, plan.kind, __version__, began_at, tuple(plan.changes), folders=plan.folders,
        undoes=plan.undoes, running_before=plan.running_before, running=plan.running, extra=extra,
    )  # fmt: skip


def _planned(kind: str, host: Host, wanted: Mapping[str, State]) -> Plan:
    """The changes that lead to what is wanted, and the folders to be made, the outermost first."""
    found = [Change(path, host.read(path), state) for path, state in wanted.items()]
    changes = [change for change in found if not change.before.fits(change.after)]
    paths = [change.path for change in changes if change.after != ABSENT]
    folders = dict.fromkeys(each for path in paths for each in host.missing_folders(path))
    return Plan(kind, changes, folders=list(folders))


def _compare(host: Host, plan: Plan, records: Sequence[Record]) -> None:
    """What changes for the services, and which of it raises risk: against the files as they are,
    and against the last deployment, since a running service may not have read later edits.

    Errors: ConfigError for settings with which a service would not start. In a rollback they are
    a risk instead: the previous files need not have been qtctl's.
    """
    kept = (record.extra.get("limits") for record in reversed(records))
    last: Mapping[str, Any] = next(filter(None, kept), {})
    ours = packaged.unit_texts()
    if not (plan.changes or plan.stop or plan.restart):
        if last and plan.kind == "deploy":
            now = limits_of(effective.effective(View(host, {}), ours))
            plan.loosened = list(risks(last, now))
        return
    new = View(host, {change.path: change.after for change in plan.changes})
    try:
        after = effective.effective(new, ours)
    except ConfigError as problem:
        if plan.kind == "deploy":
            raise
        plan.risks = [Risk("limits", "known", f"unknown ({problem})")]
        return
    plan.limits = limits_of(after)
    try:
        before = effective.effective(View(host, {}), ours)
    except ConfigError as problem:
        plan.risks = [Risk("limits", f"unknown ({problem})", "new")]
        return
    plan.settings = list(changed(before, after))
    plan.risks = list(risks(limits_of(before), plan.limits))
    known = {risk.limit for risk in plan.risks}
    plan.risks += [risk for risk in risks(last, plan.limits) if risk.limit not in known]


def _plan_services(plan: Plan, systemd: Systemctl, running: Sequence[str], why: str) -> None:
    """Which units will be stopped and started."""
    found = {unit: systemd.status(unit) for unit in units.UNITS}
    masked = [unit for unit, status in found.items() if status.load == "masked"]
    if masked:
        raise RefusedError(f"{masked[0]} is masked; to allow it: systemctl unmask {masked[0]}")
    plan.running_before = [unit for unit in units.UNITS if found[unit].running]
    plan.running = list(running)
    plan.stop = [unit for unit in plan.running_before if unit not in running]
    plan.restart = [unit for unit in running if why or found[unit].active != "active"]
    plan.why_restart = why or "it is not running"


def _why(plan: Plan, choices: Choices, records: Sequence[Record]) -> str:
    """Why running services must be restarted; empty if they need not."""
    if plan.changes:
        return "its files change"
    done = [record for record in records if record.kind == "deploy"]
    if done and done[-1].version != __version__:
        return f"it may still run qtctl {done[-1].version}"
    return "--restart" if choices.restart else ""


def _target(records: Sequence[Record], id: str | None) -> Record:
    """Errors: NotFoundError, with the ids there are."""
    gone = undone(records)
    for record in reversed(records):
        if record.id == id:
            return record
        if id is None and record.kind == "deploy" and record.id not in gone and record.changes:
            return record
    if id is None:
        raise NotFoundError("there is no deployment to undo")
    known = ", ".join(record.id for record in records[-5:]) or "none"
    raise NotFoundError(f"no deployment {id}; known: {known}")


def _owner(host: Host, user: str, group: str) -> Owner:
    """The uid and gid to set; None in a staging folder, and where the user of the services has to
    be made first. Errors: RefusedError where that can't be."""
    if not host.live:
        return None
    if not _user_exists():
        if not users.creates(USER):
            raise users.missing(USER)
        return None
    return pwd.getpwnam(user).pw_uid, grp.getgrnam(group).gr_gid


def _user_exists() -> bool:
    try:
        return bool(pwd.getpwnam(USER) and grp.getgrnam(USER))
    except KeyError:
        return False
