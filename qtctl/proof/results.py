"""What a proof found: checks, scenarios, steps. Their JSON is in docs/proofs.md."""

from collections.abc import Sequence

import msgspec


class Check(msgspec.Struct, frozen=True):
    """One expectation beside what was seen; `what` names the key or address it was read from."""

    what: str
    expected: str
    actual: str
    ok: bool


def equal(what: str, expected: str, actual: str | None) -> Check:
    """A check that the text is exactly the expected one; None: it was not there."""
    return Check(what, expected, "(not there)" if actual is None else actual, expected == actual)


class ScenarioResult(msgspec.Struct, frozen=True):
    """One scenario, run. duration_s: from the step's start to its last look."""

    step: str
    id: str
    title: str
    duration_s: float
    checks: tuple[Check, ...]
    note: str = ""
    """What a reader must know although nothing failed: trading was halted, …"""

    @property
    def passed(self) -> bool:
        """True if there was a check, and all held."""
        return bool(self.checks) and all(check.ok for check in self.checks)

    def as_json(self) -> dict[str, object]:
        """Its part of the document."""
        status = "pass" if self.passed else "fail"
        found: dict[str, object] = {"id": self.id, "title": self.title, "status": status}
        found |= {"duration_s": self.duration_s, "checks": list(self.checks)}
        return found | ({"note": self.note} if self.note else {})


class Report(msgspec.Struct, frozen=True):
    """A whole run."""

    results: tuple[ScenarioResult, ...]
    duration_s: float

    @property
    def passed(self) -> int:
        """How many scenarios passed."""
        return sum(result.passed for result in self.results)

    @property
    def failed(self) -> int:
        """How many did not."""
        return len(self.results) - self.passed

    @property
    def summary(self) -> str:
        """The last line of the report."""
        if self.failed == 0 and self.results:
            return "✅ SUMMARY: PASS (all tests passed)"
        return f"❌ SUMMARY: FAIL ({self.failed} test(s) failed)"

    def steps(self) -> list[str]:
        """The steps that were run, in order."""
        return list(dict.fromkeys(result.step for result in self.results))

    def of(self, step: str) -> Sequence[ScenarioResult]:
        """The scenarios of one step."""
        return [result for result in self.results if result.step == step]

    def as_json(self) -> dict[str, object]:
        """The document of `-o json`."""
        steps = [
            {"step": step, "scenarios": [result.as_json() for result in self.of(step)]}
            for step in self.steps()
        ]
        totals = {"passed": self.passed, "failed": self.failed, "duration_s": self.duration_s}
        return {**totals, "steps": steps}
