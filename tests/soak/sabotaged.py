"""`qtctl`, broken on purpose: for the test that the soak would see it.

python -m tests.soak.sabotaged HOW ARGS…
"""

import itertools
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from qtctl.services import halt_keeper, judge, server_watch
from qtctl.wire.allocation import scores
from qtctl.wire.client import scripts, store
from qtctl.wire.governor.plan_queue import Entry
from tests.soak import off_clock

COMMIT = "commit_permit"
DECIDES = "redis.call('HSET', DECISION, unpack(ARGV, record_from))"
JUDGES = "local permit_there = "
TELLS = "event(verdict, reason)\n-- Only"

SABOTAGE = {
    # The decision is not remembered: every repeat of a plan gets a permit again.
    "forgets": (DECIDES, "redis.call('DEL', DECISION)"),
    # Plans of which nothing is ever heard: acknowledged and not judged.
    "drops": (
        JUDGES,
        "if string.sub(plan_id, -1) == '7' then\n"
        "  redis.call('XACK', PLANS, group, entry_id)\n"
        "  return {'skipped', 'ok'}\n"
        "end\n" + JUDGES,
    ),
    # What was judged stays pending.
    "hoards": ("redis.call('XACK', PLANS, group, entry_id)", "return"),
    # Permits that no event tells of.
    # An open that the clock left ahead of it counts as just now.
    "keeps-marks": (
        "ahead = last[2] and tonumber(last[2]) * 1000 > now_ms + 0.5",
        "if last[2] and tonumber(last[2]) * 1000 > now_ms + 0.5 then last[2] = now end",
    ),
    "hides": (TELLS, f"if string.sub(plan_id, -1) ~= '7' then\n{TELLS[:22]}\nend\n-- Only"),
}
"""By name: what in the atomic step is replaced, and with what."""


DIES = "dies"
"""It ends by itself, now and then, with nobody's help."""
DIES_AFTER = 40
ACKS_FIRST = "acks-first"
"""It acknowledges what it is about to judge: only a kill at the right moment shows that."""
GAP_SEC = 0.005
OWN_CLOCK = "own-clock"
"""It takes the age of a score by the clock of its host."""
FORGETS_HALTS = "forgets-halts"
"""A server that comes back empty has no halt, and so it has none either."""

TRUSTS_SERVERS = "trusts-servers"
"""It takes a server that is back for the one that it knew, and remembers nothing itself."""


def sabotage(how: str) -> None:
    """From now on this process does it wrong."""
    if how == DIES:
        _end_after(DIES_AFTER)
    elif how == ACKS_FIRST:
        _acknowledge_first()
    elif how == OWN_CLOCK:
        _by_own_clock()
    elif how == TRUSTS_SERVERS:
        _trust_servers()
    elif how == FORGETS_HALTS:
        _forget_halts()
    else:
        _break_script(*SABOTAGE[how])


def _end_after(count: int) -> None:
    honest = store.Store.calls
    left = itertools.count(count, -1)

    def mortal(*args: Any) -> Any:
        if next(left) == 0:
            os._exit(70)
        return honest(*args)

    store.Store.calls = mortal  # type: ignore[assignment, method-assign]


def _acknowledge_first() -> None:
    honest = judge.Judge.serve

    def hasty(self: judge.Judge, entries: Sequence[Entry], *args: Any) -> list[str]:
        self._queue.acknowledge([entry.id for entry in entries])
        time.sleep(GAP_SEC)
        return honest(self, entries, *args)

    judge.Judge.serve = hasty  # type: ignore[assignment, method-assign]


def _by_own_clock() -> None:
    honest = scores.efficiencies

    def by_host(*args: Any) -> Any:
        return time.time(), honest(*args)[1]

    scores.efficiencies = by_host  # type: ignore[assignment]
    # No symbol is as its upper case is, so that no score is left to the step.
    vars(judge)["ascii_upper"] = str.lower


def _forget_halts() -> None:
    halt_keeper.HaltKeeper._keep = lambda *_: None  # type: ignore[method-assign]
    halt_keeper.HaltKeeper._stands = lambda *_: True  # type: ignore[method-assign]


def _trust_servers() -> None:
    server_watch._before = lambda *_: (0, 0)
    server_watch.RecentPermits.has = lambda *_: False  # type: ignore[method-assign]


def _break_script(good: str, bad: str) -> None:
    honest = scripts.source
    if good not in honest(COMMIT):
        raise SystemExit(f"nothing to break: the atomic step has no {good!r}")

    def broken(name: str) -> str:
        text = honest(name)
        return text.replace(good, bad) if name == COMMIT else text

    scripts.source = broken  # type: ignore[assignment]
    scripts.digest.cache_clear()


if __name__ == "__main__":
    off_clock.install()
    sabotage(sys.argv.pop(1))
    from qtctl.cli.main import main

    main()
