"""Entries that were delivered before and not finished, with their tries counted.

Those with nothing against them share their round trips. One that was in hand when something broke
is served alone from then on, so that what breaks the governor is found and takes no other with it.
"""

import logging
from collections.abc import Sequence

from qtctl import clock
from qtctl.errors import RedisUnreachable, WireError
from qtctl.services.judge import Judge
from qtctl.services.metrics import GovernorMetrics
from qtctl.services.problem_log import ProblemLog
from qtctl.wire.governor.commit import ServerMarks
from qtctl.wire.governor.plan_queue import Entry, PlanQueue

log = logging.getLogger("qtctl.governor")
MAX_TRIES = 5
"""An entry is rejected once this many tries ended in an exception or the governor's death."""
AT_ONCE = 50
"""Entries that are served together."""
SHARE_SEC = 0.1
"""After so much of a pass the rest waits for the next: new entries are served in between."""


class Redelivery:
    """Serves redelivered entries. What Redis did (refused, went away) never counts against one."""

    def __init__(self, queue: PlanQueue, judge: Judge, metrics: GovernorMetrics) -> None:
        self._queue = queue
        self._judge = judge
        self._metrics = metrics
        self._bad_counts = ProblemLog(log, "count of tries")
        self._owed: list[str] = []
        """Entries that have a try too many against them, once for each."""

    def serve(
        self, entries: Sequence[Entry], marks: ServerMarks
    ) -> tuple[list[str], Sequence[Entry]]:
        """Serves them in their order, as far as a pass has time for it: the ids that Redis refused
        and that stay pending, and what is left for the next pass. Errors: RedisUnreachable,
        WireError."""
        refused: list[str] = []
        until = clock.monotonic() + SHARE_SEC
        while entries:
            count = _together(entries)
            refused += self._serve(entries[:count], marks)
            entries = entries[count:]
            if clock.monotonic() >= until:
                break
        return refused, entries

    def _serve(self, entries: Sequence[Entry], marks: ServerMarks) -> list[str]:
        ids = counted = [entry.id for entry in entries]
        try:
            tries = self._queue.tries.begin(ids)
            counted = [id_ for id_, count in zip(ids, tries, strict=True) if isinstance(count, int)]
            failed = self._try(entries, tries, marks)
            settled = [id_ for id_ in ids if id_ not in failed] if failed else ids
            problem = self._queue.tries.drop(settled)
        except (RedisUnreachable, WireError):
            self._owed += counted  # They may have been, and only the reply was lost.
            raise
        if problem is not None:
            self._uncountable(problem)
        self._owed += [id_ for id_ in failed if id_ in counted]
        self.forgive()
        return failed

    def _try(
        self, entries: Sequence[Entry], counted: Sequence[int | WireError], marks: ServerMarks
    ) -> list[str]:
        """The ids that Redis refused."""
        failed: list[str] = []
        together: list[Entry] = []
        attempt = 1
        for entry, tries in zip(entries, counted, strict=True):
            if isinstance(tries, WireError):
                # An uncounted try is better than a plan, and all behind it, that is never judged.
                self._uncountable(tries)
                failed += self._judge.serve([entry], marks)
            elif tries - self._owed.count(entry.id) > MAX_TRIES:
                problem = f"{tries - 1} tries ended in an exception or in the governor's death"
                failed += self._judge.reject(entry, problem)
            else:
                together.append(entry)
                attempt = max(attempt, tries)
        return failed + self._judge.serve(together, marks, attempt)

    def forgive(self) -> None:
        """The tries that Redis ended do not count. Errors: RedisUnreachable, after which those are
        owed that were."""
        if self._owed:
            problem = self._queue.tries.uncount(self._owed)
            if problem is None:
                self._owed = []
            else:
                self._uncountable(problem)

    def _uncountable(self, problem: WireError) -> None:
        self._metrics.errors.labels("tries").inc()
        self._bad_counts.update({"governor:tries:*": str(problem)})


def _together(entries: Sequence[Entry]) -> int:
    """How many of the first share their round trips: all with nothing against them, at most
    AT_ONCE, or one that was in hand when something broke."""
    clean = 0
    for entry in entries[:AT_ONCE]:
        if entry.tries > 0:
            break
        clean += 1
    return max(1, clean)
