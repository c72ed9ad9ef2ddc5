"""`make soak`: plans, consumers and a nemesis for minutes; then what became of it all.

    python -m tests.soak [--plans 20000] [--rate 45] [--seed N] [--seconds S]

Exits 1 where anything was lost, happened twice, or was refused or late without a reason.
"""

import argparse
import random
import sys
from pathlib import Path

from tests.soak import lost_tail
from tests.soak.harness import run
from tests.soak.scenario import Scenario

TAIL_EVERY_SEC = 30.0
"""A tail is lost for so much of a run; these rounds come after it, on servers of their own."""


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--plans", type=int, default=20_000, help="entries sent (20000)")
    parser.add_argument("--rate", type=float, default=45.0, help="of them a second (45)")
    parser.add_argument("--seconds", type=float, help="instead of --plans: send for so long")
    parser.add_argument("--seed", type=int, help="of plans and acts (default: a new one)")
    parser.add_argument("--fsync", default="always", choices=("always", "everysec", "no"))
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep logs and files there")
    asked = parser.parse_args()
    seed = random.randrange(1_000_000) if asked.seed is None else asked.seed
    plans = asked.plans if asked.seconds is None else int(asked.seconds * asked.rate)
    what = Scenario(plans=plans, rate=asked.rate, seed=seed, fsync=asked.fsync)
    _say(f"seed {seed}, some {what.seconds:.0f} s")
    report = run(what, _say, asked.keep)
    tails = lost_tail.run(max(2, round(what.seconds / TAIL_EVERY_SEC)), seed, _say)
    sys.stdout.write(f"{report}\n{tails}\n")
    return 0 if report.ok and tails.ok else 1


def _say(line: str) -> None:
    sys.stderr.write(f"soak: {line}\n")


if __name__ == "__main__":
    sys.exit(main())
