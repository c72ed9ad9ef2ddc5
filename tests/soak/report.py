"""The table that a run ends with."""

import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence

import msgspec

from tests.soak.history import Findings
from tests.soak.nemesis import Done
from tests.soak.scenario import Scenario

EXAMPLES = 5


class Report(msgspec.Struct, frozen=True):
    """A finished run. ok: nothing happened that must not."""

    scenario: Scenario
    findings: Findings
    done: Sequence[Done]
    seconds: float
    lost_replies: int
    refused: int
    held: int

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
            f"{self.seconds:.0f} s in all, appendfsync {run.fsync}",
            "",
        ]

    def _figures(self) -> list[str]:
        found, history = self.findings, self.findings.history
        logged = {plan_id for plan_id, _ in history.logged}
        settled = set(history.decisions)
        recoveries = found.recoveries(self.done)
        longest = max(recoveries, key=lambda r: r[1], default=("", 0.0))
        ages = found.queue_ages() or [0.0]
        p99 = ages[int(0.99 * (len(ages) - 1))]
        rows: list[tuple[str, str]] = [
            ("plans sent", f"{len(history.plans):,}"),
            ("  replies lost on the way", f"{self.lost_replies:,}"),
            ("  refused for want of memory", f"{self.refused:,}"),
            ("distinct plan_ids", f"{found.distinct:,}"),
            ("decided", f"{len(settled):,}"),
            ("permitted", f"{len(found.permitted):,}"),
            ("  not logged: killed before it could", f"{len(found.permitted - logged):,}"),
            ("taken", f"{len(found.taken):,}"),
            ("  perhaps taken, answer lost", f"{len(found.unsure):,}"),
            ("withdrawn", f"{len(found.withdrawn):,}"),
            ("expired untaken", f"{len(found.expired):,}"),
            ("still there", f"{len(found.permitted & history.permits):,}"),
            (
                "rejected as unreadable",
                f"{len({e.fields['entry_id'] for e in history.rejected}):,}",
            ),
            ("repeats told again", f"{found.told_again:,}"),
            *((f"blocked: {reason}", f"{n:,}") for reason, n in found.reasons().most_common()),
            ("decided twice", f"{len(found.decided_twice()):,}"),
            ("permitted twice", f"{len(found.permitted_twice()):,}"),
            ("taken twice", f"{len(found.taken_twice()):,}"),
            ("lost", f"{len(found.lost()):,}"),
            ("waited in the queue, median / 99 %", f"{statistics.median(ages):.3f} / {p99:.1f} s"),
            ("longest recovery", f"{longest[1]:.1f} s ({longest[0]})"),
        ]
        return [f"{name:<42} {value:>10}" for name, value in rows] + [""]

    def _acts(self) -> list[str]:
        times: dict[str, list[float]] = defaultdict(list)
        for kind, seconds in self.findings.recoveries(self.done):
            times[kind].append(seconds)
        lines = [f"{'nemesis':<42} {'acts':>5} {'recovery':>9} {'longest':>8}"]
        counts = Counter(act.kind.value for act in self.done)
        for kind, count in counts.most_common():
            median = f"{statistics.median(times[kind]):.2f} s" if times[kind] else "-"
            most = f"{max(times[kind]):.2f} s" if times[kind] else "-"
            lines.append(f"{kind:<42} {count:>5} {median:>9} {most:>8}")
        lines.append(f"{'all':<42} {len(self.done):>5}")
        lines.append(f"{'  governors killed with plans in hand':<42} {self.held:>5}")
        return [*lines, ""]

    def _end(self) -> list[str]:
        lines = []
        for breach in self.findings.breaches:
            ids = ", ".join(breach.ids[:EXAMPLES])
            more = len(breach.ids) - EXAMPLES
            tail = f" and {more:,} more" if more > 0 else ""
            lines.append(f"BREACH {breach.what}: {len(breach.ids):,} ({ids}{tail})")
        return lines or ["nothing lost, nothing twice"]
