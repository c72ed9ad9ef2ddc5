"""One run: inputs, services, the results, and the removal of everything written.

Events, not sleeps: a scenario ends when its result appears, or times out with what it last saw.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qtctl import clock
from qtctl.errors import QtctlError, RedisUnreachable
from qtctl.proof import judging
from qtctl.proof.environment import Environment, Limit, Live
from qtctl.proof.fixtures import Fixtures, Subject
from qtctl.proof.judging import Samples
from qtctl.proof.results import Check, Report, ScenarioResult
from qtctl.proof.scenarios import SCENARIOS, SERVICE_OF, Scenario

LOOK_SEC = 0.01
SERVICE_SEC = 3.0
"""How long a service may take to show in its metrics what it has done."""
CLEAN_UP_SEC = 30.0


@dataclass
class Run:
    """One run of some steps in an environment. settings: section.key to value and origin, as in
    force; on_result is called with each scenario as it ends."""

    _environment: Environment
    _steps: Sequence[str]
    _settings: Mapping[str, tuple[Any, str]]
    _on_result: Callable[[ScenarioResult], None]

    def __post_init__(self) -> None:
        environment, steps = self._environment, self._steps
        self._scenarios = [scenario for scenario in SCENARIOS if scenario.step in steps]
        self.fixtures = Fixtures(environment.store, self._scenarios, live=environment.live)
        self._results: dict[tuple[str, str], ScenarioResult] = {}
        self._before: dict[str, Samples] = {}
        self._begun = 0.0
        self._limits: dict[str, Limit] = {}
        self._applied: dict[str, str] = {}

    def __call__(self) -> Report:
        """Runs it all; nothing is left behind, whatever happens. Errors: RedisUnreachable where
        Redis is unreachable from the start, or still at the end."""
        self._begun = clock.monotonic()
        try:
            self.fixtures.write_inputs()
            self._limits = {step: self._environment.limit(step) for step in self._steps}
            self._before = {step: judging.scrape(self._environment, step) for step in self._steps}
            self._environment.ready()
            self.fixtures.send_plans()
            self._look_until_done()
            self._look_at_services()
        finally:
            if isinstance(self._environment, Live):
                self._clean_up(self._environment)
        ordered = tuple(self._results[(s.step, s.id)] for s in self._scenarios)
        return Report(ordered, self._elapsed())

    def _clean_up(self, environment: Live) -> None:
        deadline = clock.monotonic() + CLEAN_UP_SEC
        while True:
            try:
                self.fixtures.remove_inputs()
                try:
                    if "step1" in self._steps:
                        environment.wait_for_a_pass()
                finally:
                    self.fixtures.remove_results()
                return
            except RedisUnreachable as problem:
                if clock.monotonic() >= deadline:
                    raise RedisUnreachable(
                        f"{problem}; the proof's symbols ({self.fixtures.names()}) could not be "
                        "removed: its keys expire, its stream entries stay"
                    ) from problem
                clock.sleep(0.5)

    def _look_until_done(self) -> None:
        """All data scenarios at once, each until its result arrives or its time is up."""
        open_ = list(self.fixtures.subjects)
        while open_:
            away = ""
            # Before the look: a pass that ends after it would end the wait for its result.
            over = {step for step, limit in self._limits.items() if limit.over()}
            try:
                open_ = self._look(open_)
            except RedisUnreachable as problem:
                away = str(problem)
            for subject in tuple(open_):
                if subject.scenario.step in over:
                    open_.remove(subject)
                    self._end(subject.scenario, [self._nothing(subject, away)])
            if open_:
                clock.sleep(LOOK_SEC)

    def _look(self, subjects: Sequence[Subject]) -> list[Subject]:
        store, left = self._environment.store, []
        proposals = self.fixtures.proposals()
        for subject in subjects:
            note = ""
            if subject.scenario.step == "step1":
                checks = judging.proposal(store, subject, proposals.get(subject.symbol))
            else:
                found = judging.permit(store, subject)
                checks, note = found if found else (None, "")
            trouble = None if checks else self._environment.trouble(subject.scenario.step)
            if checks:
                if not note:
                    # The metrics must show the factor of the permit.
                    factors = [c.actual for c in checks if c.what.endswith(" eff_factor")]
                    self._applied.update((subject.symbol, factor) for factor in factors)
                self._end(subject.scenario, checks, note)
            elif trouble:
                self._end(subject.scenario, [self._nothing(subject, trouble)])
            else:
                left.append(subject)
        return left

    def _look_at_services(self) -> None:
        """Metrics and health, after the data scenarios."""
        open_ = [scenario for scenario in self._scenarios if scenario.what != "data"]
        deadline = clock.monotonic() + SERVICE_SEC
        while open_:
            for scenario in tuple(open_):
                checks = self._service_checks(scenario)
                # A service counts a pass just after its result can be seen: look again.
                if all(check.ok for check in checks) or clock.monotonic() >= deadline:
                    open_.remove(scenario)
                    self._end(scenario, checks)
            if open_:
                clock.sleep(LOOK_SEC)

    def _service_checks(self, scenario: Scenario) -> list[Check]:
        before = self._before[scenario.step]
        try:
            if scenario.what == "health":
                return judging.health(self._environment, scenario.step, before)
            return judging.metrics(self._environment, before, self._applied)
        except QtctlError as problem:
            return [Check("Redis", "answers", str(problem), False)]

    def _nothing(self, subject: Subject, trouble: str) -> Check:
        """The one check of a scenario without a result: what was awaited, and why there is none."""
        step = subject.scenario.step
        proposal, decision = f"a proposal for {subject.symbol}", f"a decision on {subject.plan_id}"
        within = self._limits[step].within
        seen = trouble or f"nothing: the {SERVICE_OF[step]} runs, and wrote nothing about it"
        return Check(proposal if step == "step1" else decision, within, seen, False)

    def _end(self, scenario: Scenario, checks: Sequence[Check], note: str = "") -> None:
        if not all(check.ok for check in checks):
            checks = [*checks, *judging.explained(scenario, self._settings)]
        result = ScenarioResult(
            scenario.step, scenario.id, scenario.title, self._elapsed(), tuple(checks), note
        )
        self._results[(scenario.step, scenario.id)] = result
        self._on_result(result)

    def _elapsed(self) -> float:
        return round(clock.monotonic() - self._begun, 3)
