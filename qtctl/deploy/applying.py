"""Carrying out a plan step by step; it stops at the first step that fails.

Every step checks whether it is already done, so that what was interrupted can be finished.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from qtctl.deploy import units
from qtctl.deploy.host import ABSENT, Host
from qtctl.deploy.records import APPLIED, DONE, Change, Record, Records
from qtctl.deploy.systemctl import Systemctl
from qtctl.errors import QtctlError
from qtctl.text import escape


class Step(NamedTuple):
    """One step. what: an infinitive, `install /etc/quantum/governor.env`; what the action returns
    is added to its line."""

    what: str
    action: Callable[[], str]


class Done(NamedTuple):
    """A step that was done: its number of how many, and the result."""

    number: int
    of: int
    what: str
    result: str


@dataclass(frozen=True)
class Applying:
    """Carries out the plan of one record; a restarted unit is waited for so long."""

    _host: Host
    _systemd: Systemctl | None
    _records: Records
    _wait_sec: float

    def run(self, record: Record, report: Callable[[Done], None]) -> None:
        """All steps of a record that `Records.add` has kept. Errors: QtctlError."""
        files, services = self._file_steps(record), self._service_steps(record)
        steps = [*files, *services]
        if not files:
            record = self._note(record, APPLIED)
        for number, step in enumerate(steps, start=1):
            try:
                result = step.action()
            except (OSError, QtctlError) as problem:
                why = problem if isinstance(problem, QtctlError) else problem.strerror
                raise self._failed(record, steps, number, str(why), len(files)) from problem
            report(Done(number, len(steps), step.what, result))
            if number == len(files) and record.state != APPLIED:
                record = self._note(record, APPLIED)
        self._note(record, DONE)

    def _note(self, record: Record, state: str) -> Record:
        try:
            return self._records.update(record, state)
        except OSError as problem:
            what = "all files are in place" + (", and so are the services" if state == DONE else "")
            finish = "" if state == DONE else f"to continue: qtctl {record.kind} --finish; "
            raise QtctlError(
                f"the record of {record.kind} {record.id} can't be written: {problem.strerror}. "
                f"State: {what}. Next: {finish}to restore what was there: {record.undo}"
            ) from problem

    def _file_steps(self, record: Record) -> list[Step]:
        steps = []
        if self._systemd is not None:
            leaving = {change.path for change in record.changes if change.after == ABSENT}
            stop = [unit for unit in record.extra["stop"] if units.path_of(unit) in leaving]
            steps += [Step(f"stop {unit}", partial(self._systemd.stop, unit)) for unit in stop]
        for change in record.changes:
            verb = "install" if change.before == ABSENT else "replace"
            verb = "remove" if change.after == ABSENT else verb
            steps.append(Step(f"{verb} {change.path}", partial(self._put, change)))
        if made := self._made(record):
            steps.append(Step("remove the folders that are empty now", partial(self._drop, made)))
        return steps

    def _service_steps(self, record: Record) -> Iterator[Step]:
        systemd = self._systemd
        if systemd is None:
            return
        if record.changes:
            yield Step("systemctl daemon-reload", systemd.daemon_reload)
        for unit in record.extra["stop"]:
            yield Step(f"stop {unit}", partial(systemd.stop, unit))
        for unit in record.extra["restart"]:
            restart = partial(systemd.restart, unit, self._wait_sec)
            yield Step(f"start {unit} and wait until it is ready", restart)

    def _made(self, record: Record) -> list[str]:
        """Folders that the undone deployments made, the innermost first."""
        undone = (other for other in self._records.all() if other.id in record.undoes)
        return sorted({folder for each in undone for folder in each.folders}, key=len, reverse=True)

    def _put(self, change: Change) -> str:
        there = self._host.read(change.path)
        if there.fits(change.after):
            return "already done"
        if not there.fits(change.before):
            raise QtctlError(f"somebody else has changed {change.path} meanwhile")
        for folder in self._host.missing_folders(change.path):
            self._host.make_folder(folder)
        self._host.write(change.path, change.after)
        return ""

    def _drop(self, paths: list[str]) -> str:
        return ", ".join(path for path in paths if self._host.drop_folder(path)) or "none"

    def _failed(
        self, record: Record, steps: list[Step], number: int, why: str, of_files: int
    ) -> QtctlError:
        step = steps[number - 1]
        problem = f"step {number} of {len(steps)}, {step.what}, failed: {escape(why)}"
        try:
            self._records.update(record, record.state, problem)
        except OSError:
            problem += " (and that could not be recorded)"
        if number <= of_files:
            state = f"steps 1 to {number - 1} are done" if number > 1 else "no file was changed"
            ways = f"to continue: qtctl {record.kind} --finish"
        else:
            state = "all files are in place"
            left = [each.what.split()[1] for each in steps[number - 1 :] if "start " in each.what]
            ways = f"once it is fixed: systemctl restart {' '.join(left)}"
        ways += f"; to restore what was there: {record.undo}" if record.changes else ""
        return QtctlError(f"{problem}. State: {state}. Next: {ways}")
