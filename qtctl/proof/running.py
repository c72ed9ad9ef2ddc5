"""One run: inputs, services, results, and the removal of everything it created.

Events, not sleeps: a scenario ends when its result appears, or times out with what it last saw.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from qtctl import clock
from qtctl.errors import QtctlError, RedisUnreachable
from qtctl.proof import judging
from qtctl.proof.environment import Environment, Live, wait_for_a_pass
from qtctl.proof.fixtures import Fixtures, Subject
from qtctl.proof.judging import Baseline
from qtctl.proof.results import Check, Report, ScenarioResult, holds
from qtctl.proof.scenarios import SCENARIOS, SERVICE_OF, Scenario

LOOK_SEC = 0.01
SERVICE_SEC = 3.0
"""How long a service may take to show its work in its metrics."""
CLEAN_UP_SEC = 30.0
Settings = Mapping[str, tuple[Any, str]]
OnResult = Callable[[ScenarioResult], None]


class Run:
    """One run of some steps on a stage. settings: section.key to value and origin, as in force;
    on_result is called with each scenario as it ends."""

    def __init__(
        self, stage: Environment, steps: Sequence[str], settings: Settings, on_result: OnResult
    ) -> None:
        self._stage = stage
        self._settings = settings
        self._on_result = on_result
        self._scenarios = [scenario for scenario in SCENARIOS if scenario.step in steps]
        self._steps = list(dict.fromkeys(scenario.step for scenario in self._scenarios))
        self.cast = Fixtures(stage.store, self._scenarios, live=stage.live)
        self._results: dict[tuple[str, str], ScenarioResult] = {}
        self._before: dict[str, Baseline] = {}
        self._begun = 0.0
        self._patience_sec: dict[str, float] = {}
        self._applied: dict[str, str] = {}

    def __call__(self) -> Report:
        """Runs it all; nothing is left behind, whatever happens.

        Errors: RedisUnreachable where Redis is away from the start, or stays away at the end.
        """
        self._begun = clock.monotonic()
        with self._cleaned_up():
            # Asked once: Redis may go away meanwhile, and that must not end the run.
            self._patience_sec = {step: self._stage.patience_sec(step) for step in self._steps}
            self.cast.write_inputs()
            self._before = {step: judging.scrape(self._stage, step) for step in self._steps}
            self._stage.ready()
            self.cast.send_plans()
            self._look_until_done()
            self._look_at_services()
        ordered = tuple(self._results[(s.step, s.id)] for s in self._scenarios)
        return Report(ordered, self._elapsed())

    @contextmanager
    def _cleaned_up(self) -> Iterator[None]:
        try:
            yield
        finally:
            if isinstance(self._stage, Live):
                self._clean_up(self._stage)

    def _clean_up(self, stage: Live) -> None:
        deadline = clock.monotonic() + CLEAN_UP_SEC
        while True:
            try:
                self.cast.remove(lambda: self._one_more_pass(stage))
                return
            except RedisUnreachable as problem:
                if clock.monotonic() >= deadline:
                    raise RedisUnreachable(
                        f"{problem}; the proof's symbols ({self.cast.names()}) could not be taken "
                        "away: its keys expire, its stream entries stay"
                    ) from problem
                clock.sleep(0.5)

    def _one_more_pass(self, stage: Live) -> None:
        if "step1" in self._steps:
            wait_for_a_pass(stage)

    def _look_until_done(self) -> None:
        """All data scenarios at once, each until its result appears or its time is up."""
        open_ = list(self.cast.actors)
        away = ""
        while open_:
            try:
                away = ""
                open_ = self._look(open_)
            except RedisUnreachable as problem:
                away = str(problem)
            timed_out = [a for a in open_ if self._elapsed() > self._patience(a.scenario)]
            for actor in timed_out:
                open_.remove(actor)
                self._end(actor.scenario, [self._nothing(actor, away)])
            if open_:
                clock.sleep(LOOK_SEC)

    def _look(self, actors: Sequence[Subject]) -> list[Subject]:
        store, left = self._stage.store, []
        proposals = self.cast.proposals()
        for actor in actors:
            note = ""
            if actor.scenario.step == "step1":
                checks = judging.proposal(store, actor, proposals.get(actor.symbol))
            else:
                found = judging.permit(store, actor)
                checks, note = found if found else (None, "")
            trouble = None if checks else self._stage.trouble(actor.scenario.step)
            if checks:
                if actor.scenario.step == "step2" and not note:
                    self._note_factor(actor, checks)
                self._end(actor.scenario, checks, note)
            elif trouble:
                self._end(actor.scenario, [self._nothing(actor, trouble)])
            else:
                left.append(actor)
        return left

    def _look_at_services(self) -> None:
        """Metrics and health, once the data scenarios are done."""
        open_ = [scenario for scenario in self._scenarios if scenario.what != "data"]
        deadline = clock.monotonic() + SERVICE_SEC
        while open_:
            for scenario in tuple(open_):
                checks = self._service_checks(scenario)
                # A service counts a pass just after what came of it can be seen: look again.
                if all(check.ok for check in checks) or clock.monotonic() >= deadline:
                    open_.remove(scenario)
                    self._end(scenario, checks)
            if open_:
                clock.sleep(LOOK_SEC)

    def _service_checks(self, scenario: Scenario) -> list[Check]:
        try:
            return self._asked(scenario)
        except QtctlError as problem:
            return [holds("Redis", "answers", str(problem), False)]

    def _asked(self, scenario: Scenario) -> list[Check]:
        before = self._before[scenario.step]
        if scenario.what == "health":
            return judging.health(self._stage, scenario.step, before, clock.now())
        return judging.metrics(self._stage, before, self._applied)

    def _note_factor(self, actor: Subject, checks: Sequence[Check]) -> None:
        """What the permits say was applied: the metrics must agree."""
        for check in checks:
            if check.what.endswith(" eff_factor"):
                self._applied[actor.symbol] = check.actual

    def _nothing(self, actor: Subject, trouble: str) -> Check:
        """The one check of a scenario without a result: where it should be, and why it is not."""
        scenario = actor.scenario
        service = SERVICE_OF[scenario.step]
        what = (
            f"a proposal for {actor.symbol}"
            if scenario.step == "step1"
            else f"a decision on {actor.plan_id}"
        )
        patience = self._patience(scenario)
        seen = trouble or f"nothing: the {service} runs, and wrote nothing about it"
        return holds(what, f"within {patience:g} s", seen, False)

    def _end(self, scenario: Scenario, checks: Sequence[Check], note: str = "") -> None:
        if not all(check.ok for check in checks):
            checks = [*checks, *judging.explained(scenario, self._settings)]
        result = ScenarioResult(
            scenario.step, scenario.id, scenario.title, self._elapsed(), tuple(checks), note
        )
        self._results[(scenario.step, scenario.id)] = result
        self._on_result(result)

    def _patience(self, scenario: Scenario) -> float:
        return self._patience_sec[scenario.step]

    def _elapsed(self) -> float:
        return round(clock.monotonic() - self._begun, 3)
