"""Carrying out a plan: step after step, each told, stopped at the first that fails.

Every step finds out whether it is done already, so that what was interrupted can be finished.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from qtctl.deploy import units
from qtctl.deploy.host import ABSENT, Host
from qtctl.deploy.records import APPLIED, DONE, Change, Record, Records
from qtctl.deploy.systemctl import Systemctl
from qtctl.errors import QtctlError
from qtctl.text import escape

Action = Callable[[], str]
"""Does something; what it says is added to the step's line."""


@dataclass(frozen=True)
class Step:
    """One step. `what` is told in the infinitive: `install /etc/quantum/governor.env`."""

    what: str
    action: Action


@dataclass(frozen=True)
class Done:
    """A step that was done: number of how many, and what came of it."""

    number: int
    of: int
    what: str
    said: str


class Applying:
    """Carries out the plan of one record."""

    def __init__(
        self, host: Host, systemd: Systemctl | None, records: Records, wait_sec: float
    ) -> None:
        self._host = host
        self._systemd = systemd
        self._records = records
        self._wait_sec = wait_sec

    def run(self, record: Record, tell: Callable[[Done], None]) -> None:
        """All steps of a record that `Records.add` has kept. Errors: QtctlError."""
        files, services = self._file_steps(record), self._service_steps(record)
        steps = [*files, *services]
        if not files:
            record = self._records.update(record, APPLIED)
        for number, step in enumerate(steps, start=1):
            try:
                said = step.action()
            except (OSError, QtctlError) as problem:
                why = problem if isinstance(problem, QtctlError) else problem.strerror
                raise self._failed(record, steps, number, str(why), len(files)) from problem
            tell(Done(number, len(steps), step.what, said))
            if number == len(files) and record.state != APPLIED:
                record = self._records.update(record, APPLIED)
        self._records.update(record, DONE)

    def _file_steps(self, record: Record) -> list[Step]:
        steps = []
        if self._systemd is not None:
            leaving = {change.path for change in record.changes if change.after == ABSENT}
            stop = [unit for unit in self._extra(record, "stop") if units.path_of(unit) in leaving]
            steps += [Step(f"stop {unit}", self._stop(unit)) for unit in stop]
        steps += [Step(_told(change), self._put(change)) for change in record.changes]
        made = self._made(record)
        if made:
            steps.append(Step("take away the folders that are empty now", self._drop(made)))
        return steps

    def _service_steps(self, record: Record) -> Iterator[Step]:
        systemd = self._systemd
        if systemd is None:
            return
        if record.changes:
            yield Step("systemctl daemon-reload", partial(_quietly, systemd.daemon_reload))
        for unit in self._extra(record, "stop"):
            yield Step(f"stop {unit}", self._stop(unit))
        for unit in self._extra(record, "restart"):
            yield Step(f"start {unit} and wait until it is ready", self._restart(unit))

    def _made(self, record: Record) -> list[str]:
        """Folders that the undone deployments made, the innermost first."""
        made = [
            folder
            for other in self._records.all()
            if other.id in record.undoes
            for folder in other.folders
        ]
        return sorted(dict.fromkeys(made), key=len, reverse=True)

    def _extra(self, record: Record, name: str) -> list[str]:
        return list(record.extra.get(name, ()))

    def _put(self, change: Change) -> Action:
        def put() -> str:
            there = self._host.read(change.path)
            if there.fits(change.after):
                return "was so already"
            if not there.fits(change.before):
                raise QtctlError(f"somebody else has changed {change.path} meanwhile")
            for folder in self._host.missing_folders(change.path):
                self._host.make_folder(folder)
            self._host.write(change.path, change.after)
            return ""

        return put

    def _drop(self, paths: list[str]) -> Action:
        def drop() -> str:
            return ", ".join(path for path in paths if self._host.drop_folder(path)) or "none"

        return drop

    def _stop(self, unit: str) -> Action:
        def stop() -> str:
            assert self._systemd is not None
            if not self._systemd.status(unit).running:
                return "was so already"
            self._systemd.stop(unit)
            return ""

        return stop

    def _restart(self, unit: str) -> Action:
        def restart() -> str:
            assert self._systemd is not None
            return str(self._systemd.restart(unit, self._wait_sec))

        return restart

    def _failed(
        self, record: Record, steps: list[Step], number: int, why: str, of_files: int
    ) -> QtctlError:
        step = steps[number - 1]
        problem = f"step {number} of {len(steps)}, {step.what}, failed: {escape(why)}"
        in_files = number <= of_files
        try:
            self._records.update(record, record.state, problem)
        except OSError:
            problem += " (and that could not be written down)"
        undo = "qtctl rollback" if record.kind == "deploy" else f"qtctl rollback {record.id}"
        if in_files:
            state = f"steps 1 to {number - 1} are done" if number > 1 else "no file was changed"
            ways = f"to go on: qtctl {record.kind} --finish; to put back what was there: {undo}"
        else:
            state = "all files are in place"
            left = [each.what.split()[1] for each in steps[number - 1 :] if "start " in each.what]
            ways = f"when it is mended: systemctl restart {' '.join(left)}"
            ways += f"; to put back what was there: {undo}" if record.changes else ""
        return QtctlError(f"{problem}. State: {state}. What next? {ways}")


def _quietly(action: Callable[[], None]) -> str:
    action()
    return ""


def _told(change: Change) -> str:
    if change.after == ABSENT:
        return f"remove {change.path}"
    if change.before == ABSENT:
        return f"install {change.path}"
    return f"replace {change.path}"
