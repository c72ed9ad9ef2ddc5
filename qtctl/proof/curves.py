"""The two curves of a report, with the points on them that were proven.

They are those of the default settings: what is expected are fixed numbers.
"""

from collections.abc import Sequence

from qtctl import svg
from qtctl.domain import numbers
from qtctl.domain.allocation import AllocationRules, multiplier
from qtctl.domain.downsize import DownsizeRules, hint
from qtctl.domain.readings import Efficiency
from qtctl.domain.reasons import EffReason
from qtctl.proof.results import ScenarioResult
from qtctl.proof.scenarios import SCENARIOS
from qtctl.svg import Axis, Dot, Line

_SCORE = Axis("efficiency score", 0, 1, [(tick / 5, f"{tick / 5:g}") for tick in range(6)])
_XS = [step / 200 for step in range(201)]


def curve_of(step: str, results: Sequence[ScenarioResult]) -> str:
    """The curve that a step proves points of, as SVG; "" for a step without one."""
    if step == "step1":
        rules, field, title = AllocationRules(), "multiplier", "Multiplier over score"
        y = Axis("multiplier", 0.4, 1.6, [(tick / 4, f"{tick / 4:g}") for tick in range(2, 7)])
        points = [(x, multiplier(_score(x), rules)) for x in _XS]
        ends = rules.min_mult, rules.max_mult
        sentence = f"It rises with the score from {ends[0]:g} to {ends[1]:g}, and is 1 at 0.5."
    elif step == "step2":
        hints, field, title = DownsizeRules(), "eff_factor", "Downsize factor over score"
        y = Axis("downsize factor", 0, 1.1, [(tick / 4, f"{tick / 4:g}") for tick in range(5)])
        points = [(x, hint(_score(x), hints).factor) for x in _XS]
        sentence = (
            f"Below a score of {hints.downsize_threshold:g} it falls with the score, to "
            f"{hints.min_factor:g} at the least; from there on it is 1."
        )
    else:
        return ""
    return svg.chart(title, sentence, _SCORE, y, [Line(points)], _dots(results, field))


def _score(value: float) -> Efficiency:
    return Efficiency(EffReason.OK, value, 1.0)


def _dots(results: Sequence[ScenarioResult], field: str) -> list[Dot]:
    """What was read back for each scenario whose score counts."""
    found = []
    for result in results:
        scenario = next(s for s in SCENARIOS if (s.step, s.id) == (result.step, result.id))
        usable = "ok" in scenario.expected.values()
        seen = next((c.actual for c in result.checks if c.what.endswith(f" {field}")), None)
        value = None if seen is None else numbers.number(seen)
        if scenario.given is None or not usable or value is None:
            continue
        score = float(scenario.given.score)
        label = f"{result.id}: {score:g} gives {value:g}"
        found.append(Dot((score, value), label, "good" if result.passed else "bad"))
    return found
