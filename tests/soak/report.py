"""The table that a run ends with."""

import os
import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence

import msgspec

from tests.soak.history import Findings
from tests.soak.nemesis import Done
from tests.soak.scenario import Scenario
from tests.soak.waits import recoveries

EXAMPLES = 5


class Report(msgspec.Struct, frozen=True):
    """A finished run. ok: nothing happened that must not."""

    scenario: Scenario
    findings: Findings
    done: Sequence[Done]
    decided_at: Sequence[float]
    seconds: float
    lost_replies: int
    refused: int
    held: int
    skipped: int

    @property
    def ok(self) -> bool:
        """No breach."""
        return not self.findings.breaches

    @property
    def breached(self) -> set[str]:
        """What was breached, in words."""
        return {breach.what for breach in self.findings.breaches}

    def __str__(self) -> str:
        return "\n".join([*self._head(), *self._figures(), *self._acts(), *self._end()])

    def _head(self) -> list[str]:
        run = self.scenario
        return [
            f"soak: seed {run.seed}, {run.plans:,} plans at {run.rate:g}/s, "
            f"{self.seconds:.0f} s in all, appendfsync {run.fsync}, "
            f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores",
            "",
        ]

    def recoveries(self) -> list[tuple[str, float]]:
        """Kind of act and seconds until the next decision, where there was one."""
        return recoveries(self.decided_at, [(act.kind.value, act.free) for act in self.done])

    def _figures(self) -> list[str]:
        found = self.findings
        logged = {plan_id for plan_id, _, _ in found.held.logged}
        longest = max(self.recoveries(), key=lambda r: r[1], default=("", 0.0))
        waits = found.waits
        ages = sorted(verdict.wait for verdict in waits.verdicts) or [0.0]
        p99 = ages[int(0.99 * (len(ages) - 1))]
        fresh = sorted(waits.unexplained(verdict) for verdict in waits.closes) or [0.0]
        most = self.scenario.fresh_sec
        rows: list[tuple[str, str]] = [
            ("plans sent", f"{found.plans:,}"),
            ("  replies lost on the way", f"{self.lost_replies:,}"),
            ("  refused for want of memory", f"{self.refused:,}"),
            ("distinct plan_ids", f"{found.distinct:,}"),
            ("decided", f"{found.decided:,}"),
            ("permitted", f"{len(found.permitted):,}"),
            ("  not logged: killed before it could", f"{len(found.permitted - logged):,}"),
            ("taken", f"{len(found.taken):,}"),
            ("  perhaps taken, answer lost", f"{len(found.unsure):,}"),
            ("withdrawn", f"{len(found.withdrawn):,}"),
            ("expired untaken", f"{len(found.expired):,}"),
            ("still there", f"{len(found.permitted & found.permits):,}"),
            ("rejected as unreadable", f"{found.rejected:,}"),
            ("servers that lost all data", f"{len(found.eras) - 1}"),
            ("  plans that went with them undecided", f"{found.gone:,}"),
            ("  plans sent again and permitted again", f"{found.again:,}"),
            ("  halts that a living governor had to keep", f"{found.diary.must_know()[0]}"),
            ("jumps of the clock that one had to notice", f"{found.diary.must_know()[1]}"),
            ("repeats told again", f"{found.told_again:,}"),
            *((f"blocked: {reason}", f"{n:,}") for reason, n in found.reasons().most_common()),
            ("decided twice", f"{len(found.decided_twice()):,}"),
            ("permitted twice", f"{len(found.permitted_twice()):,}"),
            ("taken twice", f"{len(found.taken_twice()):,}"),
            ("lost", f"{len(found.lost()):,}"),
            ("waited in the queue, median / 99 %", f"{statistics.median(ages):.3f} / {p99:.1f} s"),
            (
                "closes: longest wait without a reason",
                f"{fresh[-1]:.2f} s of {most:g}",
            ),
            ("longest recovery", f"{longest[1]:.1f} s ({longest[0]})"),
        ]
        return [f"{name:<46} {value:>10}" for name, value in rows] + [""]

    def _acts(self) -> list[str]:
        times: dict[str, list[float]] = defaultdict(list)
        for kind, seconds in self.recoveries():
            times[kind].append(seconds)
        lines = [f"{'nemesis':<42} {'acts':>5} {'recovery':>9} {'longest':>8}"]
        counts = Counter(act.kind.value for act in self.done)
        for kind, count in counts.most_common():
            median = f"{statistics.median(times[kind]):.2f} s" if times[kind] else "-"
            most = f"{max(times[kind]):.2f} s" if times[kind] else "-"
            lines.append(f"{kind:<42} {count:>5} {median:>9} {most:>8}")
        lines.append(f"{'all':<42} {len(self.done):>5}")
        if self.skipped:
            lines.append(f"{'  skipped: libfaketime is not installed':<42} {self.skipped:>5}")
        lines.append(f"{'  governors killed with plans in hand':<42} {self.held:>5}")
        return [*lines, ""]

    def _end(self) -> list[str]:
        lines = []
        for breach in self.findings.breaches:
            ids = ", ".join(breach.ids[:EXAMPLES])
            more = len(breach.ids) - EXAMPLES
            tail = f" and {more:,} more" if more > 0 else ""
            lines.append(f"BREACH {breach.what}: {len(breach.ids):,} ({ids}{tail})")
        return lines or [
            "nothing lost, nothing twice, no halt forgotten, no refusal or wait without a reason"
        ]
