"""Entries that were delivered before and not finished: each alone, with its tries counted."""

import logging

from qtctl.errors import RedisUnreachable, WireError
from qtctl.services.judge import Judge
from qtctl.services.metrics import GovernorMetrics
from qtctl.services.problem_log import ProblemLog
from qtctl.wire.governor.commit import ServerMarks
from qtctl.wire.governor.plan_queue import Entry, PlanQueue

log = logging.getLogger("qtctl.governor")
MAX_TRIES = 5
"""An entry is rejected once this many tries ended in an exception or the governor's death."""


class Redelivery:
    """Serves redelivered entries. What Redis did (refused, went away) never counts against one."""

    def __init__(self, queue: PlanQueue, judge: Judge, metrics: GovernorMetrics) -> None:
        self._queue = queue
        self._judge = judge
        self._metrics = metrics
        self._bad_counts = ProblemLog(log, "count of tries")
        self._interrupted: str | None = None

    def serve(self, entry: Entry, marks: ServerMarks) -> list[str]:
        """Its id where Redis refused it and it stays pending. Errors: RedisUnreachable."""
        try:
            tries = self._queue.begin_try(entry.id)
        except RedisUnreachable:
            self._interrupted = entry.id  # It may have been counted, and only the reply was lost.
            raise
        except WireError as refused:
            # An uncounted try is better than a plan, and all behind it, that is never judged.
            self._metrics.errors.labels("tries").inc()
            self._bad_counts.update({"governor:tries:*": str(refused)})
            return self._judge.serve([entry], marks)
        try:
            if tries > MAX_TRIES:
                problem = f"{tries - 1} tries ended in an exception or in the governor's death"
                failed = self._judge.reject(entry, problem)
            else:
                failed = self._judge.serve([entry], marks, tries)
        except RedisUnreachable:
            self._interrupted = entry.id
            raise
        if failed:
            self._queue.forgive_try(entry.id)
        else:
            self._queue.end_try(entry.id)
        return failed

    def forgive_interrupted(self) -> None:
        """After a reconnect: the try that the lost connection ended does not count."""
        if self._interrupted is not None:
            self._queue.forgive_try(self._interrupted)
            self._interrupted = None
